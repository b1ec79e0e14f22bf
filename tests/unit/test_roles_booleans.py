# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`-e postgres_allow_restart=false` is text, and text is true: a role that decides by a boolean says `| bool`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support import REPOSITORY

ROLES = [REPOSITORY / "roles" / name for name in ("postgres", "redis")]


def booleans(role: Path) -> set[str]:
    """The variables of a role that are true or false."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    options = [item for spec in specs.values() for item in (spec.get("options") or {}).items()]
    return {name for name, option in options if option["type"] == "bool"}


def undecided(text: str, names: set[str]) -> list[str]:
    """Lines that take one of the variables as it came."""
    bare = re.compile(rf"\b({'|'.join(sorted(names))})\b(?!\s*(\||:))")
    return [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#") and bare.search(line)]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_booleans_are_read_as_booleans(role: Path) -> None:
    names = booleans(role)
    assert names
    files = [*(role / "tasks").glob("*.yml"), *(role / "vars").glob("*.yml"), *(role / "templates").glob("*.j2")]
    assert {path.name: lines for path in files if (lines := undecided(path.read_text(), names))} == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("when: x_allow", True),
        ("when: x_allow | bool", False),
        ("hold: \"{{ ['x'] if not x_allow else [] }}\"", True),
        ("hold: \"{{ ['x'] if not x_allow | bool else [] }}\"", False),
        ("x_allow: true", False),
        ("# x_allow", False),
        ("when: x_allowed", False),
    ],
)
def test_what_counts(line: str, found: bool) -> None:
    assert bool(undecided(line, {"x_allow"})) is found
