# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs Ansible and from where, and which run of this machine is dead."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils import _controller

GITHUB = {"GITHUB_SERVER_URL": "https://git.example.com", "GITHUB_REPOSITORY": "shop/app", "GITHUB_RUN_ID": "77"}


@pytest.mark.parametrize(
    ("environment", "who", "job"),
    [
        ({}, getpass.getuser(), ""),
        ({"SUDO_USER": "ana"}, "ana", ""),
        (
            {**GITHUB, "GITHUB_ACTOR": "bo", "SUDO_USER": "root"},
            "bo",
            ", https://git.example.com/shop/app/actions/runs/77",
        ),
        ({"GITLAB_USER_LOGIN": "cy", "CI_JOB_URL": "https://ci/7"}, "cy", ", https://ci/7"),
    ],
)
def test_who_and_where(environment: dict[str, str], who: str, job: str) -> None:
    found = _controller.holder(environment, 42)
    assert found["who"] == who
    assert found["where"] == f"{socket.gethostname()} (pid 42{job})"


def test_a_process_is_dead_when_it_was_of_this_machine_and_is_no_more() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = _controller.process(process.pid)
    try:
        assert not _controller.is_dead(known)
    finally:
        process.kill()
    # Not collected yet, it is a zombie.
    while _controller.process(process.pid):
        pass
    assert _controller.is_dead(known)
    process.communicate()
    assert _controller.is_dead(known)
    # Another process by now.
    assert _controller.is_dead({**_controller.process(os.getpid()), "started": 1})


@pytest.mark.parametrize("elsewhere", [{"boot": "another"}, {"namespace": "pid:[1]"}])
def test_of_a_process_elsewhere_nothing_is_known(elsewhere: dict[str, str]) -> None:
    assert not _controller.is_dead({**_controller.process(os.getpid()), "started": 1, **elsewhere})
    assert not _controller.is_dead({})
    assert not _controller.is_dead(None)


def test_a_process_that_proc_hides_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    known = _controller.process(os.getppid())
    real = _controller._text
    monkeypatch.setattr(_controller, "_text", lambda path: "" if path.endswith("/stat") else real(path))
    assert not _controller.is_dead(known)
