# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What arms the undo of a provisional switch, and what an undo makes of what it finds. HAProxy does not run here."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_memory as memory
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_provisional as provisional
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import StackDirectory


@pytest.fixture
def directory(tmp_path: Path) -> StackDirectory:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/colour.map").write_text("active blue\n")
    return StackDirectory(str(tmp_path))


def arm(directory: StackDirectory, seconds: float = 60) -> provisional.Provisional:
    return provisional.arm(directory, "blue", "green", "1.4", seconds)


def test_a_timer_of_systemd_where_there_is_one(
    directory: StackDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(provisional, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda command, **_more: ran.append(command))
    switch = arm(directory, 90)
    words = f"systemd-run --quiet --collect --unit=lastro-undo-{switch.token} --on-active=90 --timer-property=AccuracySec=100ms"
    program = [sys.executable, "-I", f"{tmp_path}/bin/undo.py", str(tmp_path), switch.token]
    assert ran == [[*words.split(), *program]]
    assert provisional.pending(directory) == switch
    assert (tmp_path / "bin").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "provisional.json").stat().st_mode & 0o777 == 0o600


def test_without_an_undo_nothing_is_switched(
    directory: StackDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_words: Any, **_more: Any) -> None:
        raise subprocess.CalledProcessError(1, "systemd-run", stderr="Failed to connect to bus\n")

    monkeypatch.setattr(provisional, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(PlatformError, match=r"can't be armed: Failed to connect to bus. Nothing was switched"):
        arm(directory)
    assert provisional.pending(directory) is None


def test_the_program_stands_alone(directory: StackDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Python alone, and without whatever the module had in its path."""
    monkeypatch.setattr(provisional, "_start", lambda *_words: None)
    switch = arm(directory, 0.2)
    subprocess.run([sys.executable, "-I", "-S", f"{tmp_path}/bin/undo.py", str(tmp_path), switch.token], check=True)
    assert not (tmp_path / "provisional.json").exists()
    assert provisional.undone(directory).startswith("it was taken back to blue at 20")


@pytest.mark.parametrize(
    ("file", "token", "told"),
    [
        ("blue", "mine", True),
        # Confirmed, and killed before the marker went.
        ("green", "mine", False),
        # A later step whose own undo was never started.
        ("blue", "other", True),
    ],
)
def test_what_an_undo_makes_of_what_it_finds(
    directory: StackDirectory, tmp_path: Path, file: str, token: str, told: bool
) -> None:
    (tmp_path / "maps/colour.map").write_text(f"active {file}\n")
    marker = {"before": "blue", "after": "green", "release": "1.4", "until": time.time() - 1, "token": token}
    (tmp_path / "provisional.json").write_text(json.dumps(marker))
    memory.undo(str(tmp_path), "mine")
    assert not (tmp_path / "provisional.json").exists()
    assert bool(provisional.undone(directory)) is told


def test_an_undo_waits_for_a_later_switch_as_long_as_that_one_lasts(directory: StackDirectory, tmp_path: Path) -> None:
    marker = {"before": "blue", "after": "green", "release": "1.4", "until": time.time() + 0.4, "token": "later"}
    (tmp_path / "provisional.json").write_text(json.dumps(marker))
    memory.undo(str(tmp_path), "mine")
    assert time.time() >= marker["until"]
    assert not (tmp_path / "provisional.json").exists()


def test_an_undo_leaves_a_switch_that_came_while_it_waited_for_its_turn(
    directory: StackDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = {"before": "blue", "after": "green", "release": "1.4", "until": time.time() - 1, "token": "mine"}
    file = tmp_path / "provisional.json"
    file.write_text(json.dumps(marker))

    @contextlib.contextmanager
    def late(_directory: str) -> Iterator[None]:
        file.write_text(json.dumps({**marker, "until": time.time() + 60, "token": "later"}))
        yield

    monkeypatch.setattr(memory, "locked", late)
    memory.undo(str(tmp_path), "mine")
    assert json.loads(file.read_text())["token"] == "later"
    assert provisional.undone(directory) == ""


def test_a_step_that_cannot_be_armed_leaves_the_undo_of_the_one_before(
    directory: StackDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisional, "_start", lambda *_words: None)
    first = provisional.arm(directory, "blue", "green", "1.4", 60, 5)

    def refuse(*_words: Any) -> None:
        raise OSError("no timers")

    monkeypatch.setattr(provisional, "_start", refuse)
    with pytest.raises(PlatformError, match="no timers"):
        provisional.arm(directory, "blue", "green", "1.4", 60, 25)
    assert provisional.pending(directory) == first


@pytest.mark.parametrize(
    ("there", "wanted", "said"),
    [
        ({}, {"active": "blue"}, ["add active blue"]),
        ({"active": "blue"}, {"active": "blue"}, []),
        ({"active": "blue"}, {}, ["del active"]),
        ({"active": "blue"}, {"active": "blue", "canary": "green", "share": "5"}, ["add canary green", "add share 5"]),
        (
            {"active": "blue", "canary": "green", "share": "5"},
            {"active": "blue", "canary": "green", "share": "25"},
            ["set share 25"],
        ),
        # Everybody has it before nobody is a share any more.
        (
            {"active": "blue", "canary": "green", "share": "25"},
            {"active": "green"},
            ["set active green", "del share", "del canary"],
        ),
        ({"active": "blue", "canary": "green", "share": "25"}, {"active": "blue"}, ["del share", "del canary"]),
    ],
)
def test_what_brings_the_map_to_its_entries(there: dict[str, str], wanted: dict[str, str], said: list[str]) -> None:
    assert [command.replace(f"map {memory.MAP_NAME} ", "") for command in memory.commands(there, wanted)] == said
