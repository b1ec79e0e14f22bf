# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs Ansible, and from where: for people, and to tell a run of this machine that is alive from one that is dead."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What CI systems say of whoever started a job, and where the job is to be seen.
_WHO = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID", "SUDO_USER")
_JOB = ("CI_JOB_URL", "BUILD_URL")


def holder(environment: Mapping[str, str], pid: int) -> dict[str, Any]:
    """`who`, `where` and `process` of the run whose process has this ID."""
    who = next((environment[name] for name in _WHO if environment.get(name)), None) or _user()
    job = next((environment[name] for name in _JOB if environment.get(name)), "") or _github(environment)
    where = ", ".join(filter(None, [f"pid {pid}", job]))
    return {"who": who, "where": f"{socket.gethostname()} ({where})", "process": process(pid)}


def process(pid: int) -> dict[str, Any]:
    """What tells a process from every other one of this machine, also from those of other containers on it; empty where it can't be known."""
    started = _started(pid)
    boot, namespace = _text("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")
    if not (started and boot and namespace):
        return {}
    return {"boot": boot, "namespace": namespace, "pid": pid, "started": started}


def is_dead(found: Mapping[str, Any] | None) -> bool:
    """Whether that process was one of this machine, and is no more. Of others nothing is known."""
    if not found or "pid" not in found:
        return False
    here = {"boot": _text("/proc/sys/kernel/random/boot_id"), "namespace": _link("/proc/self/ns/pid")}
    if any(found.get(name) != value for name, value in here.items()):
        return False
    pid = int(found["pid"])
    if _gone(pid):
        return True
    # Where /proc hides the processes of others, nothing is known of them.
    return bool(_stat(pid)) and _started(pid) != found.get("started")


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _github(environment: Mapping[str, str]) -> str:
    server, repository, run = (environment.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _started(pid: int) -> int | None:
    """When the process began, in ticks since the boot; None for one that is no more or only waits to be collected."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def _stat(pid: int) -> list[str]:
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
