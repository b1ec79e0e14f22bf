# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of `stack` that acts on files only: the containers are what an Engine would list, and none is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._stack_run import StackRun

FILES = [{"path": f"config/{name}", "content": "x"} for name in ("kept", "dropped")]


class Listing(Engine):
    """An Engine with one running container of the project, made from the definition given; nothing can be changed."""

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__("/nonexistent/docker.sock")
        self.labels = {"com.docker.compose.project": "shop-db", "com.docker.compose.service": "db", **labels}

    def get(self, path: str, **_query: Any) -> Any:
        container = {"Id": "1", "Names": ["/shop-db-db-1"], "Labels": self.labels, "State": "running", "Status": "Up"}
        return {
            "/containers/json": [container],
            "/networks": [{"Name": "shop-db_default"}],
            "/volumes": {"Volumes": []},
            "/images/json": [],
        }[path]


def run(directory: Path, labels: dict[str, str], files: list[dict[str, str]], check: bool = False) -> dict[str, Any]:
    compose = {"services": {"db": {"image": "shop/db:1", "volumes": ["./config:/config:ro"]}}}
    params = {
        "state": "present",
        "project": "shop-db",
        "directory": str(directory),
        "compose": compose,
        "files": files,
        "directories": [],
        "hold": ["db"],
        "wait_timeout": 1,
        "remove_volumes": False,
    }
    engine = Listing(labels)
    made = StackRun(params, engine, check)
    if labels == CURRENT:
        (service,) = made.services
        engine.labels |= {"lastro.definition": service.definition, "lastro.files": service.files}
    return made.result()


OLD = {"lastro.definition": "old", "lastro.files": "old"}
CURRENT = {"lastro.definition": "as described", "lastro.files": "as described"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    run(tmp_path, OLD, FILES)
    assert (tmp_path / "config" / "dropped").exists()
    return tmp_path


def gone(result: dict[str, Any]) -> list[str]:
    return [entry["path"] for entry in result["files"] if entry["why"] == "gone"]


@pytest.mark.parametrize("check", [True, False])
def test_files_stay_while_a_service_on_hold_runs_with_its_old_definition(directory: Path, check: bool) -> None:
    result = run(directory, OLD, FILES[:1], check)
    assert result["pending"] == [{"service": "db", "why": "its definition changed"}]
    assert gone(result) == []
    assert (directory / "config" / "dropped").exists()


def test_they_go_once_nothing_is_pending(directory: Path) -> None:
    run(directory, OLD, FILES[:1])
    assert run(directory, OLD, FILES[:1])["changed"] is False
    result = run(directory, CURRENT, FILES[:1])
    assert (result["pending"], gone(result)) == ([], ["config/dropped"])
    assert not (directory / "config" / "dropped").exists()
    assert (directory / "config" / "kept").exists()
    assert run(directory, CURRENT, FILES[:1])["changed"] is False
