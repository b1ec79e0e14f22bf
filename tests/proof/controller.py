# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of Ansible costs the machine it runs on: tasks, module executions, memory."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import REPOSITORY

INTERVAL_SECONDS = 0.2


@dataclass(frozen=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    command: str


@dataclass
class Peak:
    """The most memory that was seen at once."""

    megabytes: int = 0


@contextlib.contextmanager
def memory(marker: str) -> Iterator[Peak]:
    """Watch the processes that name `marker` in their command lines, and all they start."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL_SECONDS):
            peak.megabytes = max(peak.megabytes, sum(map(_kilobytes, family(_processes(), marker))) // 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


@contextlib.contextmanager
def counted_modules(file: Path) -> Iterator[None]:
    """Have each run of Ansible write a line for each module it executes on a host."""
    settings = {
        "COUNT_MODULES_FILE": str(file),
        "ANSIBLE_CALLBACKS_ENABLED": "count_modules",
        "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests/e2e/callback"),
    }
    file.touch()
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


def family(processes: Collection[Process], marker: str) -> set[int]:
    """Who names the marker, and their descendants.

    Neither a process group nor parents alone would do: Ansible's workers leave its group, and shared SSH connections outlive who opened them.
    """
    members = {process.pid for process in processes if marker in process.command}
    while more := {process.pid for process in processes if process.parent in members} - members:
        members |= more
    return members


def cpu_seconds() -> float:
    """What all processes that this one started and that have ended have used of the CPUs."""
    used = os.times()
    return used.children_user + used.children_system


def cpus_busy(seconds: float) -> float:
    """How many CPUs of the machine are at work, on average."""
    before = _idle_seconds()
    time.sleep(seconds)
    return round((os.cpu_count() or 1) - (_idle_seconds() - before) / seconds, 2)


def tasks(output: str) -> dict[str, int]:
    """How many tasks ran on a host at least, and how many that makes on all hosts together, from what a run prints."""
    recap = output.partition("PLAY RECAP")[2]
    return {
        "tasks": len(re.findall(r"^(?:TASK|RUNNING HANDLER) \[", output, re.MULTILINE)),
        "tasks_on_all_hosts": sum(map(int, re.findall(r"^\S+\s+: ok=(\d+)", recap, re.MULTILINE))),
    }


def _idle_seconds() -> float:
    """Of all CPUs together since the machine started, waiting for disks included."""
    idle, waiting = Path("/proc/stat").read_text().split("\n", 1)[0].split()[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")


def _processes() -> list[Process]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # It may end at any time.
        with contextlib.suppress(OSError):
            # The program's own name stands in brackets and may hold anything; the parent is the second word after it.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append(Process(int(folder.name), parent, command))
    return found


def _kilobytes(pid: int) -> int:
    """Its memory, with what it shares in equal parts; nothing when it has ended."""
    with contextlib.suppress(OSError):
        shares = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.findall(r"^Pss:\s+(\d+) kB", shares, re.MULTILINE)[0])
    return 0
