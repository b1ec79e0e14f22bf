# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a proxy lets people in: a map of its own beside that of the colours (docs/decisions/proxy-mode.md).

Maintenance is in the map file and in HAProxy's memory, so it holds across a restart. A hold is in memory alone and ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.lastro.platform.plugins.module_utils import _proxy_memory as memory
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
)

MAP_FILE = "maps/mode.map"
MAP_NAME = "/haproxy/maps/mode.map"
OPEN, MAINTENANCE, HELD = "open", "maintenance", "held"
HOLD_SECONDS_MAX = 60


@dataclass(frozen=True)
class Modes:
    """What a restart would bring, and what is now; the latter is empty where HAProxy does not run."""

    file: str
    now: str


def text_of(mode: str) -> bytes:
    """The map file of a mode."""
    return f"mode {mode}\n".encode()


def ensure(directory: StackDirectory) -> None:
    """Have the map file there: HAProxy does not start without it."""
    if directory.read(MAP_FILE) is None:
        directory.ensure(ManagedDirectory("maps", 0o755, 0, 0))
        directory.write(ManagedFile(MAP_FILE, text_of(OPEN), 0o644, 0, 0))


def read(directory: StackDirectory) -> Modes:
    """A look at both."""
    lines = (directory.read(MAP_FILE) or b"").decode().splitlines()
    file = next((words[1] for line in lines if (words := line.split())[:1] == ["mode"] and len(words) > 1), OPEN)
    with _answering():
        answer = memory.ask(os.path.join(directory.path, "run", "admin.sock"), (f"show map {MAP_NAME}",))
    if answer is None:
        return Modes(file, "")
    entries = memory.entries_in(answer)
    now = entries.get("mode", OPEN)
    if now == HELD and float(entries.get("until", 0)) <= time.time():
        now = OPEN
    return Modes(file, now)


def become(directory: StackDirectory, mode: str, seconds: int) -> None:
    """Let people in, show them the page, or have their requests wait for so many seconds."""
    if mode != HELD:
        ensure(directory)
        directory.write(ManagedFile(MAP_FILE, text_of(mode), 0o644, 0, 0))
    wanted = {"mode": mode, "until": str(int(time.time()) + seconds) if mode == HELD else "0"}
    with _answering():
        memory.tell(directory.path, MAP_NAME, lambda there: _commands(there, wanted))
    after = read(directory)
    if after.now not in ("", mode):
        raise PlatformError(
            f"HAProxy is {after.now} after it was told to be {mode}",
            "Run the role lastro.platform.proxy, which brings the configuration that knows of it; then again.",
        )


def _commands(there: dict[str, str], wanted: dict[str, str]) -> tuple[str, ...]:
    """The time first, so that a hold never begins without an end."""
    return tuple(f"{'set' if key in there else 'add'} map {MAP_NAME} {key} {wanted[key]}" for key in ("until", "mode"))


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlatformError(f"HAProxy does not answer: {error}", "Look at the log of the proxy's container.") from error
