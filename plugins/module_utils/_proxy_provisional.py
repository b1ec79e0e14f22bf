# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arm the undo of a provisional switch, and end one that an earlier run left (docs/decisions/provisional-switch.md)."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from ansible_collections.lastro.platform.plugins.module_utils import _proxy_memory as memory
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
)

PROGRAM = "bin/undo.py"
SYSTEMD = "/run/systemd/system"


@dataclass(frozen=True)
class Provisional:
    """A switch that somebody has to confirm: from which colour to which, of which release, until when on this host's clock."""

    before: str | None
    after: str
    release: str
    until: float
    token: str
    # Percent of the clients that get it.
    share: int = memory.ALL

    @property
    def marker(self) -> ManagedFile:
        return ManagedFile(memory.MARKER, json.dumps(asdict(self)).encode(), 0o600, 0, 0)

    def said(self) -> str:
        """What is tried, in words."""
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.until))
        release = f"{self.release} ({self.after})" if self.release else self.after
        return f"{release} to {self.share} % of the clients, until {until} unless it is kept; then {self.before or 'nothing'} again"


def pending(directory: StackDirectory) -> Provisional | None:
    """The switch that nobody has confirmed or taken back yet."""
    found = memory.read_json(directory.path, memory.MARKER)
    return Provisional(**found) if found else None


def arm(
    directory: StackDirectory, before: str | None, after: str, release: str, seconds: float, share: int = memory.ALL
) -> Provisional:
    """Have the switch taken back after so many seconds, whatever becomes of this run. Before anything is switched.

    The next step of a canary is a switch of its own; the undo of the step before finds another token and ends.
    """
    last = pending(directory)
    switch = Provisional(before, after, release, time.time() + seconds, secrets.token_hex(8), share)
    directory.ensure(ManagedDirectory(os.path.dirname(PROGRAM), 0o700, 0, 0))
    program = ManagedFile(PROGRAM, inspect.getsource(memory).encode(), 0o500, 0, 0)
    if directory.differs(program):
        directory.write(program)
    directory.remove(memory.UNDONE)
    directory.write(switch.marker)
    command = [sys.executable, "-I", os.path.join(directory.path, PROGRAM), directory.path, switch.token]
    try:
        _start(command, switch.token, seconds)
    except (OSError, subprocess.SubprocessError) as error:
        # The step before, where there was one, is taken back when its own time is over.
        directory.write(last.marker) if last else directory.remove(memory.MARKER)
        said = (getattr(error, "stderr", "") or str(error)).strip()
        raise PlatformError(
            f"The undo of a provisional switch can't be armed: {said}",
            "Nothing was switched. See why this host starts no timers (`systemctl status`), then run again.",
        ) from error
    if last:
        _disarm(last.token)
    return switch


def _start(command: list[str], token: str, seconds: float) -> None:
    """A timer of systemd outlives whatever session this is; elsewhere a process of its own does."""
    if os.path.isdir(SYSTEMD):
        timer = ["systemd-run", "--quiet", "--collect", f"--unit={_unit(token)}", f"--on-active={seconds:g}"]
        timer += ["--timer-property=AccuracySec=100ms", *command]
        subprocess.run(timer, check=True, capture_output=True, text=True, timeout=30)
        return
    null = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=null, stdout=null, stderr=null, cwd="/", close_fds=True)


def _unit(token: str) -> str:
    return f"lastro-undo-{token}"


def _disarm(token: str) -> None:
    """Without its marker the undo changes nothing, so this is for whoever looks at the host's timers. A process of its own ends by itself."""
    if os.path.isdir(SYSTEMD):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["systemctl", "stop", f"{_unit(token)}.timer"], check=False, capture_output=True, timeout=30)


def confirm(directory: StackDirectory, switch: Provisional) -> None:
    """After the map file names the new colour: there is nothing to take back any more."""
    directory.remove(memory.MARKER)
    _disarm(switch.token)


def settle(directory: StackDirectory, switch: Provisional) -> bool:
    """End what an earlier run left: its switch is taken back, unless it was confirmed in all but the marker. Whether it was."""
    try:
        taken_back = memory.take_back(directory.path, asdict(switch))
        _disarm(switch.token)
        return taken_back
    except OSError as error:
        raise PlatformError(
            f"{switch.after}, which nobody confirmed, can't be taken back to {switch.before or 'nothing'}: {error}",
            "Look at the log of the proxy's container.",
        ) from error


def give_up(path: str, colour: str) -> bool:
    """Take the provisional switch to this colour back now, where there is one. Whether it was.

    What fails here does not say so: whoever comes next tries again and does.
    """
    directory = StackDirectory(path)
    taken_back = False
    with directory.locked(), contextlib.suppress(PlatformError):
        switch = pending(directory)
        taken_back = switch is not None and switch.after == colour and settle(directory, switch)
    return taken_back


def undone(directory: StackDirectory) -> str:
    """What became of the last provisional switch, in words; empty where nothing is known."""
    found = memory.read_json(directory.path, memory.UNDONE)
    if not found:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found["undone_at"]))
    return f"it was taken back to {found['before'] or 'nothing'} at {when}, as {found['why']}"
