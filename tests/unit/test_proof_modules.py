# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdicts of the modules' proof."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.proof import modules
from tests.proof.modules_kills import Outcome, holds

BROKEN = Outcome(left="revision 0001, 0 rows", whole=True, finished=False, failed=True, completed=True)
LATE = replace(BROKEN, finished=True, failed=False)


@pytest.mark.parametrize(
    ("outcomes", "good"),
    [
        ([BROKEN, BROKEN], True),
        ([BROKEN, BROKEN, LATE], True),
        # Kills that came after the work show nothing.
        ([BROKEN, LATE], False),
        ([], False),
        ([BROKEN, BROKEN, replace(BROKEN, whole=False)], False),
        ([BROKEN, BROKEN, replace(BROKEN, completed=False)], False),
        # It says that it worked, and did not do it all.
        ([BROKEN, BROKEN, replace(BROKEN, failed=False)], False),
        # Killed after the last commit, before it could look at what it did.
        ([BROKEN, replace(BROKEN, finished=True)], True),
    ],
)
def test_kills(outcomes: list[Outcome], good: bool) -> None:
    assert holds(outcomes) is good


@pytest.mark.parametrize(
    ("suite", "found", "good"),
    [
        ('tests="19" failures="0" errors="0" skipped="0"', {"tests": 19, "passed": 19}, True),
        ('tests="19" failures="1" errors="0" skipped="0"', {"tests": 19, "passed": 18}, False),
        ('tests="19" failures="0" errors="2" skipped="0"', {"tests": 19, "passed": 17}, False),
        ('tests="19" failures="0" errors="0" skipped="3"', {"tests": 19, "passed": 16}, False),
        ('tests="0" failures="0" errors="0" skipped="0"', {"tests": 0, "passed": 0}, False),
        ("", {"tests": 0, "passed": 0}, False),
    ],
)
def test_tests_that_passed_are_counted(tmp_path: Path, suite: str, found: dict[str, Any], good: bool) -> None:
    report = tmp_path / "report.xml"
    if suite:
        report.write_text(f'<?xml version="1.0"?><testsuites name="x"><testsuite name="y" {suite}/></testsuites>')
    assert modules.counted(report) == found
    assert modules.good(found) is good


def test_a_file_runs_on_the_version_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "test_x.py"
    file.write_text(
        "import os\ndef test_a(): assert os.environ['LASTRO_TEST_POSTGRES'] == '15'\ndef test_b(): assert 0\n"
    )
    assert modules.tested(file) == {"tests": 2, "passed": 1}


def test_one_part_that_does_not_hold_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"one": lambda: {"holds": True, "figure": 7}, "two": lambda: {"holds": False}}
    monkeypatch.setattr(modules, "PARTS", parts)
    assert modules.prove() == {
        "holds": False,
        "one": {"holds": True, "figure": 7, "seconds": 0},
        "two": {"holds": False, "seconds": 0},
    }
    del parts["two"]
    assert modules.prove()["holds"]
