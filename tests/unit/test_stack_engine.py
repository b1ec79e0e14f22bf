# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack finds on a host: names of networks and volumes, traces of an Engine that is down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _stack_engine
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._stack import Reality

CREATE = {"x-platform": {"create": True}}


class Bare(Engine):
    """An Engine with nothing on it but the networks and volumes named `there`."""

    def get(self, path: str, **_query: Any) -> Any:
        return {"/networks": [{"Name": "there"}], "/volumes": {"Volumes": [{"Name": "there"}]}}.get(path, [])


@pytest.mark.parametrize(
    ("key", "spec", "missing"),
    [
        pytest.param("there", {"external": True}, False, id="external: the key is the name"),
        pytest.param("gone", {"external": True}, True, id="external and missing"),
        pytest.param("key", {"external": True, "name": "there"}, False, id="external with a name"),
        pytest.param("there", {}, True, id="of the project: its name stands before the key"),
        pytest.param("there", None, True, id="nothing said"),
        pytest.param("key", {"name": "there"}, False, id="of the project with a name"),
    ],
)
def test_networks_and_volumes_have_the_names_that_compose_gives_them(
    key: str, spec: dict[str, Any] | None, missing: bool
) -> None:
    compose = {
        "services": {"web": {"image": "shop/web:1", "networks": [key]}},
        "networks": {key: spec},
        "volumes": {key: spec},
    }
    found = _stack_engine.read(Bare(), "shop", compose)
    assert found.missing_networks == found.missing_volumes == (frozenset({key}) if missing else frozenset())


@pytest.mark.parametrize(
    ("volumes", "wanted"),
    [
        pytest.param({"data": {"external": True, "name": "shop_data", **CREATE}}, ["shop_data"], id="by its name"),
        pytest.param({"data": {"external": True, **CREATE}}, ["data"], id="without a name, as Compose takes it"),
        pytest.param({"there": {"external": True, **CREATE}}, [], id="there already"),
        pytest.param({"data": {"external": True}, "other": {}, "third": None}, [], id="nobody asked for it"),
    ],
)
def test_volumes_to_create(volumes: dict[str, Any], wanted: list[str]) -> None:
    compose = {"services": {}, "volumes": volumes}
    found = Reality(missing_volumes=frozenset(volumes) - {"there"})
    assert _stack_engine.volumes_to_create(compose, "shop", found) == wanted


@pytest.mark.parametrize(
    ("paths", "trace"),
    [
        pytest.param([], "", id="a bare host"),
        pytest.param(["data/containers/"], "", id="Docker was here and left no container"),
        pytest.param(["data/containers/0123/"], "data/containers", id="a container whose Engine was taken off"),
        pytest.param(["bin/dockerd"], "bin/dockerd", id="installed, wherever its data are"),
    ],
)
def test_an_engine_that_is_down_leaves_traces(tmp_path: Path, paths: list[str], trace: str) -> None:
    for path in paths:
        place = tmp_path / path
        if path.endswith("/"):
            place.mkdir(parents=True)
        else:
            place.parent.mkdir()
            place.touch(0o755)
    found = _stack_engine.engine_trace(f"{tmp_path}/data", f"{tmp_path}/bin")
    assert found == (f"{tmp_path}/{trace}" if trace else "")


@pytest.mark.parametrize(
    ("check", "wanted"),
    [
        ({"test": ["CMD", "true"], "start_period": "30s"}, {"start_interval": "1s"}),
        # The rest is the image's, and Compose wants to read the period.
        ({"interval": "15s"}, {"start_interval": "1s", "start_period": "5000ms"}),
        (None, {}),
        ({"disable": True}, {}),
        ({"test": ["CMD", "true"], "start_period": "9s", "start_interval": "3s"}, {}),
    ],
)
def test_a_container_is_looked_at_often_while_it_starts(check: dict[str, Any] | None, wanted: dict[str, str]) -> None:
    services = {
        "web": {"image": "shop/web", **({"healthcheck": check} if check else {})},
        "other": {"image": "shop/other", "healthcheck": {"interval": "9s"}},
    }
    periods = {"shop/web": 5_000_000_000, "shop/other": 0}
    found = _stack_engine.start_checks(["web", "other"], {"services": services}, periods.__getitem__)
    assert found == {"services": {"web": {"healthcheck": wanted}} if wanted else {}}
