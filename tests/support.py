# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests share: running a module for real, names and ports that cannot collide, waiting."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def random_name(prefix: str = "lt-") -> str:
    """A name for a container, project, network or volume that no other test run has."""
    return f"{prefix}{secrets.token_hex(4)}"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback where nothing listens, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def eventually(
    condition: Callable[[], bool], what: str, seconds: float = 30, evidence: Callable[[], str] = str
) -> None:
    """Wait for a condition; `evidence` is asked for when it did not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{evidence()}"
        time.sleep(0.05)


def run_module(name: str, args: dict[str, Any], check: bool = False, diff: bool = False) -> dict[str, Any]:
    """Run a module of the collection in a process of its own and return its result, failed ones too.

    The arguments travel on standard input, as no process list may show them.
    """
    with started_module(name, args, check, diff) as process:
        output, errors = process.communicate()
    try:
        result = json.loads(output)
    except ValueError as error:
        message = f"{name} ended with {process.returncode} and no JSON:\n{output}\n{errors}"
        raise AssertionError(message) from error
    assert isinstance(result, dict), output
    return result


def started_module(name: str, args: dict[str, Any], check: bool = False, diff: bool = False) -> subprocess.Popen[str]:
    """A module of the collection that runs by now."""
    internal = {"_ansible_check_mode": check, "_ansible_diff": diff}
    process = subprocess.Popen(
        # -P: a module named like one of the standard library must not stand in its way.
        [sys.executable, "-P", str(REPOSITORY / "plugins" / "modules" / f"{name}.py")],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **internal}}))
    process.stdin.close()
    process.stdin = None  # all is said, and `communicate` has nothing to add
    return process
