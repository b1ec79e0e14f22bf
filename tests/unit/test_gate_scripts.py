# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/gate and scripts/scenario with stand-ins for what they run: nothing that ran nothing is green. And the Makefile's list."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import REPOSITORY

STAGES = ("lint", "unit", "integration", "matrix", "artefacts", "molecule", "e2e")
NO_TESTS = "exit 5"  # what pytest says when it collected none


def step(name: str, *lines: str) -> str:
    """A step of Molecule's log, coloured as it is."""
    said = "".join(f"  \x1b[2m│\x1b[0m {line}\n" for line in lines)
    begin, end = (
        f"INFO    \x1b[0m redis ➜ \x1b[33m{name}\x1b[0m: \x1b[36m{word}\x1b[0m\n" for word in ("Executing", "Executed")
    )
    return begin + said + end


def plain(log: str) -> str:
    """The same where nobody sees colours, as under a timer."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log)
    return re.sub(r"^INFO +redis ➜ (\w+):", r"INFO     [redis > \1]", text, flags=re.MULTILINE).replace("│ ", "")


def recap(host: str, ok: int) -> str:
    return f"\x1b[32m{host:<26} : ok={ok}    changed=0    unreachable=0    failed=0\x1b[0m"


CREATE = step("create", recap("localhost", 2))
CONVERGE = step("converge", recap("redis", 9))
VERIFY = step("verify", recap("redis", 3))
NOBODY = "skipping: no hosts matched"

LINTERS = ("ansible-lint", "mypy", "yamllint", "ruff", "check-jsonschema", "zizmor", "bandit")
PROGRAMS = {
    **dict.fromkeys(LINTERS, "true"),
    **dict.fromkeys(("python", "pytest", "nox", "ansible-playbook"), "true"),
    "git": "echo examples/Dockerfile",
    "hadolint": "[ $# -gt 0 ]",
    "id": "echo 0",
    "molecule": "cat molecule.log",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The two scripts in a clone with one scenario, whose programs all do well."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for program, text in PROGRAMS.items():
        behave(tmp_path, program, text)
    (tmp_path / "scripts").mkdir()
    for script in ("gate", "scenario"):
        shutil.copy(REPOSITORY / "scripts" / script, tmp_path / "scripts")
    (tmp_path / "molecule/redis").mkdir(parents=True)
    (tmp_path / "molecule/redis/molecule.yml").touch()
    (tmp_path / "molecule.log").write_text(CREATE + CONVERGE + VERIFY)
    return tmp_path


def behave(clone: Path, program: str, text: str) -> None:
    path = clone / ".venv/bin" / program
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(clone: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(clone / "scripts" / script), *arguments],
        env={"PATH": f"{clone}/.venv/bin:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("program", "text", "red"),
    [
        ("git", PROGRAMS["git"], []),
        ("git", "exit 128", ["lint"]),  # no clone, or somebody else's
        ("git", "true", ["lint"]),
        ("pytest", NO_TESTS, ["unit", "integration", "e2e"]),
        ("nox", NO_TESTS, ["artefacts"]),
        ("python", "exit 1", ["lint", "matrix", "molecule"]),
        ("ansible-playbook", "exit 1", ["integration", "molecule", "e2e"]),
        ("id", "echo 1000", ["integration", "molecule", "e2e"]),
        ("molecule", "true", ["molecule"]),
        *((linter, "exit 1", ["lint"]) for linter in LINTERS),
    ],
)
def test_stages_are_red_when_a_program_failed_or_had_nothing_to_do(
    clone: Path, program: str, text: str, red: list[str]
) -> None:
    behave(clone, program, text)
    done = run(clone, "gate")
    assert re.findall(r"^== (\w+) FAILED", done.stdout, re.MULTILINE) == red, done.stdout
    assert re.findall(r"^== (\w+) passed", done.stdout, re.MULTILINE) == [name for name in STAGES if name not in red]
    assert (done.returncode != 0) == bool(red)
    assert f": {' '.join(red)}\n" in done.stdout if red else "gate passed" in done.stdout


@pytest.mark.parametrize("stage", ["unit", "molecule"])
def test_a_stage_alone_ends_as_it_went(clone: Path, stage: str) -> None:
    assert run(clone, "gate", stage).returncode == 0
    behave(clone, "pytest", NO_TESTS)
    behave(clone, "molecule", "true")
    assert run(clone, "gate", stage).returncode != 0


@pytest.mark.parametrize(
    ("log", "code", "green"),
    [
        (CREATE + CONVERGE + VERIFY, 0, True),
        (CREATE + CONVERGE + VERIFY, 1, False),
        ("", 0, False),
        # Creating the hosts is a play on this machine, and no test.
        (CREATE + CONVERGE, 0, False),
        (CREATE + CONVERGE + step("verify"), 0, False),
        (CREATE + CONVERGE + step("verify", recap("redis", 0)), 0, False),
        (CREATE + CONVERGE + step("verify", NOBODY, recap("redis", 3)), 0, False),
        (CREATE + step("converge", NOBODY) + VERIFY, 0, False),
    ],
)
def test_a_scenario_is_green_when_all_plays_found_a_host(clone: Path, log: str, code: int, green: bool) -> None:
    for written in (log, plain(log)):
        (clone / "molecule.log").write_text(written)
        behave(clone, "molecule", f"cat molecule.log; exit {code}")
        done = run(clone, "scenario", "redis")
        assert (done.returncode == 0) is green, done.stdout
        assert ("passed in" if green else "FAILED in") in done.stdout


def test_help_lists_every_target() -> None:
    told = re.findall(r"^([^\s:]+):.*## (.+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert len(told) > 20
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\S+) +(.+)$", shown, re.MULTILINE) == told


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ""),
        (["RELEASE=one"], "-e app_release=one"),
        (["RELEASE=one", "ARGUMENTS=--ask-become-pass"], "-e app_release=one --ask-become-pass"),
    ],
)
def test_make_hands_on_the_release_and_more(given: list[str], passed: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("RELEASE", "ARGUMENTS", "ENVIRONMENT")}
    command = ["make", "--dry-run", "deploy", *given]
    shown = subprocess.run(command, cwd=REPOSITORY, env=kept, capture_output=True, text=True, check=True).stdout
    (play,) = [line.split() for line in shown.splitlines() if "ansible-playbook" in line]
    assert " ".join(play[1:]) == " ".join(f"-i inventories/dev {passed} playbooks/deploy.yml".split())
