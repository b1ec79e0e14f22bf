# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Compose is taken: the one that the role docker counts as installed, by the same list of places."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _compose_cli, _docker_install
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError


def program(path: Path, says: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(mode)


def found(root: Path) -> str:
    path = _compose_cli.binary((f"{root}/first", f"{root}/second"), f"{root}/bin/docker-compose")
    return str(Path(path).relative_to(root))


def test_the_first_plugin_that_can_be_run_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "bin/docker-compose", "echo 2.40.0")
    assert found(tmp_path) == "bin/docker-compose"
    program(tmp_path / "second/docker-compose", "exit 1")
    assert found(tmp_path) == "second/docker-compose"
    program(tmp_path / "first/docker-compose", "exit 1", 0o644)
    assert found(tmp_path) == "second/docker-compose"
    (tmp_path / "first/docker-compose").chmod(0o755)
    assert found(tmp_path) == "first/docker-compose"


@pytest.mark.parametrize(
    ("says", "taken"),
    [
        ("echo v2.27.1", True),
        ("echo 2.26.1-4", True),
        ("echo 5.1.0", True),
        ("echo 1.29.2", False),
        ("echo v1.9", False),
        ("echo 2.40.0; exit 1", False),
        ("exit 127", False),
    ],
)
def test_the_program_outside_the_plugin_folders_has_to_be_version_2(tmp_path: Path, says: str, taken: bool) -> None:
    program(tmp_path / "bin/docker-compose", says)
    if taken:
        assert found(tmp_path) == "bin/docker-compose"
        return
    with pytest.raises(PlatformError) as caught:
        found(tmp_path)
    assert str(caught.value) == (
        "Docker Compose v2 is not installed on this host. The role lastro.platform.docker installs it."
    )


def test_the_role_docker_looks_where_the_stack_looks() -> None:
    assert _docker_install.PLUGIN_FOLDERS is _compose_cli.PLUGIN_FOLDERS
