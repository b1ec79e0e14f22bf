# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application does not get the volumes of the platform's own services, whatever it calls its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._application_checks import PLATFORM_VOLUMES
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

from tests.support import REPOSITORY

ROLES = sorted(path for path in (REPOSITORY / "roles").iterdir() if path.is_dir())


def application(text: str) -> Application:
    return Application(Source(text, "compose.yaml", {}), Settings(platform="shop", address="10.0.0.5"))


def rendered(text: str, variables: dict[str, Any]) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # not HTML
    environment.filters["to_json"] = json.dumps
    return environment.from_string(text).render(variables)


def volumes_of(role: Path) -> set[str]:
    """Docker volumes that the role's Compose files define, without the platform's name."""
    given = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    named = {
        name: value.replace("{{ platform_name }}", "shop") for name, value in given.items() if isinstance(value, str)
    }
    found: set[str] = set()
    for template in sorted((role / "templates").rglob("*")):
        for section in re.findall(r"^volumes:\n(?: .*\n)+", template.read_text(), re.MULTILINE):
            volumes = yaml.safe_load(rendered(section, named))["volumes"]
            found |= {volume["name"].removeprefix("shop_") for volume in volumes.values()}
    return found


def test_every_volume_of_a_role_is_reserved() -> None:
    found = {volume for role in ROLES for volume in volumes_of(role)}
    assert found == set(PLATFORM_VOLUMES)


def test_every_default_that_names_a_volume_is_reserved() -> None:
    """The same names by another way: `<platform_name>_` begins Docker volumes and nothing else."""
    text = "".join((role / "defaults" / "main.yml").read_text() for role in ROLES)
    named = re.findall(r'"\{\{ platform_name \}\}_(\w+)"', text)
    assert len(named) >= 3
    for name in named:
        assert any(volume == name or volume.startswith(f"{name}_") for volume in PLATFORM_VOLUMES), name


@pytest.mark.parametrize("volume", PLATFORM_VOLUMES)
@pytest.mark.parametrize("kind", ["worker", "singleton", "migrate", "job"])
@pytest.mark.parametrize(
    "entry", ["'{}:/data'", "'{}:/data:ro'", "{{type: volume, source: {}, target: /data, read_only: true}}"]
)
def test_a_volume_of_the_platform_is_refused(volume: str, kind: str, entry: str) -> None:
    with pytest.raises(SourceError) as caught:
        application(
            f"services:\n  app:\n    image: a\n    volumes: [{entry.format(volume)}]\n    x-platform: {{kind: {kind}}}\n"
            f"volumes:\n  {volume}: {{x-platform: {{shared: true}}}}\n"
        )
    assert str(caught.value) == (
        f"compose.yaml:4: service app mounts volume {volume}, which is the platform's own Docker volume shop_{volume}. "
        f"Give the volume another name, for example app_{volume}."
    )


@pytest.mark.parametrize(
    "volume", ["data", "postgres", "redis", "redis-data", "my_redis_data", "redis_data2", "postgres_dump"]
)
def test_other_names_are_the_applications(volume: str) -> None:
    text = f"services: {{app: {{image: a, volumes: ['{volume}:/data'], x-platform: {{kind: singleton}}}}}}\nvolumes: {{{volume}: }}\n"
    assert application(text).services


def test_what_only_a_provided_service_mounts_may_have_any_name() -> None:
    text = """\
services:
  app: {image: a}
  db: {image: 'postgres:17', volumes: ['postgres_data:/var/lib/postgresql/data'], x-platform: {provided: postgres}}
volumes: {postgres_data: }
"""
    assert application(text).provided == {"db": "postgres"}
