# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role has the same shape; what a reader relies on in one holds in all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY

ROLES = sorted(path for path in (REPOSITORY / "roles").iterdir() if path.is_dir())
MAIN_LINES, TASK_LINES = 60, 80

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def specs_of(role: Path) -> dict[str, Any]:
    specs: dict[str, Any] = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return specs


def options_of(options: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield f"{path}{name}", option
        yield from options_of(option.get("options") or {}, f"{path}{name}.")


def test_roles_were_found() -> None:
    assert ROLES, "no role in roles/: every test of this file would have passed on nothing"


@each_role
def test_files_that_every_role_has(role: Path) -> None:
    wanted = [
        "defaults/main.yml",
        "meta/main.yml",
        "meta/argument_specs.yml",
        "tasks/main.yml",
        "README.md",
    ]
    assert [name for name in wanted if not (role / name).is_file()] == []


@each_role
def test_public_variables_carry_the_name_of_the_role(role: Path) -> None:
    names = [*(load(role / "defaults" / "main.yml") or {})]
    for spec in specs_of(role).values():
        names += spec.get("options") or {}
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []


@each_role
def test_internal_variables_are_marked(role: Path) -> None:
    names = [name for path in sorted((role / "vars").glob("*.yml")) for name in load(path) or {}]
    assert [name for name in names if not name.startswith(f"__{role.name}_")] == []


@each_role
def test_defaults_and_argument_specs_agree(role: Path) -> None:
    defaults: dict[str, Any] = load(role / "defaults" / "main.yml") or {}
    seen: set[str] = set()
    for entry, spec in specs_of(role).items():
        for name, option in (spec.get("options") or {}).items():
            seen.add(name)
            if "default" in option:
                assert name in defaults, f"{entry}: {name} has a default in the argument specs only"
                assert option["default"] == defaults[name], f"{entry}: {name} has two defaults"
            else:
                assert name not in defaults, f"{entry}: {name} has a default in defaults/main.yml only"
    assert sorted(set(defaults) - seen) == [], "defaults that no entry point takes"


@each_role
def test_every_public_variable_is_described(role: Path) -> None:
    bare = [
        f"{entry}: {name}"
        for entry, spec in specs_of(role).items()
        for name, option in options_of(spec.get("options") or {}, "")
        if not option.get("description") or not option.get("type")
    ]
    assert bare == []


@each_role
def test_every_entry_point_is_a_task_file(role: Path) -> None:
    missing = [entry for entry in specs_of(role) if not (role / "tasks" / f"{entry}.yml").is_file()]
    assert missing == []
    assert all(spec.get("short_description") for spec in specs_of(role).values())


@each_role
def test_task_files_stay_short(role: Path) -> None:
    def allowed(path: Path) -> int:
        return MAIN_LINES if path == role / "tasks" / "main.yml" else TASK_LINES

    sizes = {path: len(path.read_text().splitlines()) for path in (role / "tasks").rglob("*.yml")}
    assert {path.name: size for path, size in sizes.items() if size > allowed(path)} == {}


@each_role
def test_readme_is_up_to_date(role: Path) -> None:
    script = REPOSITORY / "scripts" / "role_readme.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check", role.name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run scripts/role_readme.py {role.name}\n{done.stdout}{done.stderr}"


@each_role
def test_molecule_scenario_exists(role: Path) -> None:
    assert (REPOSITORY / "molecule" / role.name / "molecule.yml").is_file()
