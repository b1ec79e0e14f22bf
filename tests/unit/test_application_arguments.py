# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the arguments of the lookup and the action to the application: what the inventory names has to be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import load, outline

from tests.support import REPOSITORY


def arguments(path: Path, **more: Any) -> dict[str, Any]:
    return {"compose_file": str(path), "platform": "shop", "address": "10.0.0.5", **more}


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(
        "services:\n  app:\n    image: shop/app:${APP_RELEASE}\n    hostname: ${A}-${B}-${C}-${APP_ENVIRONMENT}\n    scale: 3\n"
    )
    given = arguments(
        path, release="7", environment="stage", env={"A": True, "B": None, "C": 1.0}, replicas={"app": "2"}
    )
    found, directory = load(given)
    assert directory == str(tmp_path)
    assert found.services["app"].image == "shop/app:7"
    assert found.services["app"].spec["hostname"] == "true--1-stage"
    assert outline(found, directory)["services"] == {"app": {"kind": "worker", "image": "shop/app:7", "replicas": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "The Compose file {path} can't be read: No such file or directory. Correct app_compose_file."),
        (b"services: \xff\n", "The Compose file {path} is not text in UTF-8. Save it as UTF-8."),
        (
            b"services:\n  app: {image: 'a:$APP_RELEASE'}\n",
            "shop.yaml:2: variable APP_RELEASE is not set. Give it in `app_env`: {{APP_RELEASE: …}}; "
            "a secret is named in x-platform.env_from_files instead.",
        ),
    ],
)
def test_load_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "shop.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlatformError) as caught:
        load(arguments(path))
    assert str(caught.value) == message.format(path=path)


NAMES = """\
services:
  web: {image: a, secrets: [salt], x-platform: {route: {}, port: 80, env_from_files: [DATABASE_URL]}}
  worker: {image: a, profiles: [workers, all]}
  plain: {image: a}
  db: {image: 'postgres:17', profiles: [local], x-platform: {provided: postgres}}
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"replicas": {"web": 2, "wbe": 2}},
            "app_replicas names the service wbe, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"replicas": {"db": 1}},
            "app_replicas names the service db, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"allow_privileged": ["web", "agent"]},
            "app_allow_privileged names the service agent, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"secrets_for": {"wbe": {"salt": "geheim"}}},
            "app_secrets_for names the service wbe, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"secrets_for": {"web": {"DATABSE_URL": "geheim"}}},
            "app_secrets_for.web names the secret DATABSE_URL, which the service does not read. Its secrets: DATABASE_URL, salt.",
        ),
        (
            {"secrets_for": {"plain": {"salt": "geheim"}}},
            "app_secrets_for.plain names the secret salt, which the service does not read. Its secrets: none.",
        ),
        (
            {"secrets_for": {"web": "geheim"}},
            "app_secrets_for.web is not a mapping. Give the secrets of the service by name.",
        ),
        (
            {"profiles": ["workers", "wrokers"]},
            "app_profiles names the profile wrokers, which the application does not have. Its profiles: all, local, workers.",
        ),
        *(
            (
                {"replicas": {"web": count}},
                f"app_replicas.web is {count!r}, which is no number of copies. Give a number, 0 or more.",
            )
            for count in ("many", -1, 1.5, None, True, "")
        ),
    ],
)
def test_what_the_inventory_names_has_to_be_there(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(NAMES)
    with pytest.raises(PlatformError) as caught:
        load(arguments(path, **given))
    assert str(caught.value) == message


def test_what_the_inventory_may_name(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(NAMES)
    # A service whose profile is not chosen is there all the same: one inventory serves several environments.
    found, _directory = load(
        arguments(
            path,
            replicas={"web": "2", "worker": 3},
            allow_privileged=["worker"],
            secrets_for={"web": {"DATABASE_URL": "x"}, "worker": {"later": "x"}},
            profiles=["local"],
        )
    )
    assert found.replicas() == {"web": 2}


def test_the_reference_application() -> None:
    found, _directory = load(arguments(REPOSITORY / "examples" / "reference_app" / "compose.yaml", release="r1"))
    assert {name: service.kind for name, service in found.services.items()} == {
        "web": "web",
        "worker": "worker",
        "migrate": "migrate",
    }
    assert found.provided == {"postgres": "postgres", "redis": "redis"}
