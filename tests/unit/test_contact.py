# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which no module runs: what Ansible says, and the cure that an operator reads."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils import _contact

SSH = "Failed to connect to the host via ssh: "
LOW_DISK = (
    "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/root']"
)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("root@10.0.0.1: Permission denied (publickey).", "ansible_ssh_private_key_file"),
        ("Received disconnect from 10.0.0.1: 2: Too many authentication failures", "ansible_ssh_private_key_file"),
        ("No ED25519 host key is known for 10.0.0.1.\r\nHost key verification failed.", "known_hosts"),
        ("ssh: Could not resolve hostname app1.internal: Name or service not known", "Correct `ansible_host`"),
        ("ssh: connect to host 10.0.0.1 port 22: Connection timed out", "See that the host is on"),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", "See that the host is on"),
        ("ssh: connect to host 10.0.0.1 port 22: Connection refused", "See that the host is on"),
    ],
)
def test_a_host_that_lets_nobody_in(said: str, cure: str) -> None:
    error = _contact.no_connection(SSH + said)
    assert str(error).startswith(SSH + said.rstrip("."))
    assert cure in error.cure


@pytest.mark.parametrize(
    ("stderr", "problem"),
    [
        ("/bin/sh: 1: /usr/bin/python3: not found", "There is no Python at /usr/bin/python3"),
        ("/bin/sh: 1: exec: /usr/bin/python3: not found", "There is no Python at /usr/bin/python3"),
        ("bash: line 1: /opt/python3.12: No such file or directory", "There is no Python at /opt/python3.12"),
        ("sudo: /usr/bin/python3: command not found", "There is no Python at /usr/bin/python3"),
        (LOW_DISK, "The disk is full"),
        ("OSError: [Errno 28] No space left on device: '/tmp/ansible_preflight_payload_1'", "The disk is full"),
    ],
)
@pytest.mark.parametrize("stream", ["module_stderr", "module_stdout"])
def test_a_host_that_runs_no_module(stream: str, stderr: str, problem: str) -> None:
    # A connection with a terminal has one stream for both.
    error = _contact.not_run({"failed": True, stream: stderr})
    assert error is not None
    assert error.problem.startswith(problem)
    assert error.cure


@pytest.mark.parametrize(
    "result",
    [
        {"failed": True, "msg": "Port 5432 is taken by python3: not found", "problems": [{}]},
        {"failed": True, "msg": "MODULE FAILURE", "module_stderr": "Segmentation fault"},
    ],
)
def test_whatever_else_fails_speaks_for_itself(result: dict[str, Any]) -> None:
    assert _contact.not_run(result) is None
