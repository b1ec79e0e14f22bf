# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is open until all has been well for the closing window, on two hosts of one platform."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _ledger

from tests.integration.playbook import play
from tests.support import run_module

WELL = [{"name": "well", "type": "command", "argv": ["/bin/true"]}]
UNWELL = [{"name": "dead letters", "type": "command", "argv": ["/bin/false"]}]
HOSTS = ("edge1", "app1")


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    for host in HOSTS:
        entry = {"event": "release", "outcome": "kept", "run": "r1", "release": "1.4", "at": 1796000000.0}
        _ledger.append(str(tmp_path / host), entry)
    return tmp_path


def close(platform: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    hosts = {
        host: {"platform_state_dir": str(platform / host), "platform_private_address": "127.0.0.1"} for host in HOSTS
    }
    groups = {"proxy": {"hosts": {"edge1": {}}}, "app": {"hosts": {"app1": {}}}}
    return play(platform, "close", groups, hosts, {"platform_closing_seconds": 1, **variables})


def states(platform: Path) -> list[str]:
    return [_ledger.last(_ledger.read(str(platform / host)).entries)["state"] for host in HOSTS]


def test_when_all_was_well_for_the_window_it_is_closed_everywhere_and_once(platform: Path) -> None:
    done = close(platform, platform_closing_checks=WELL)
    assert done.returncode == 0, done.stdout
    assert "Release 1.4 is closed: 1 checks were well for 1 s." in " ".join(done.stdout.split())
    assert states(platform) == ["closed", "closed"]
    again = close(platform, platform_closing_checks=WELL)
    assert "1.4 is closed: nothing to close." in again.stdout
    assert [len(_ledger.read(str(platform / host)).entries) for host in HOSTS] == [2, 2]


def test_what_is_not_well_leaves_it_open_and_the_next_run_says_so(platform: Path) -> None:
    done = close(platform, platform_closing_checks=UNWELL)
    assert done.returncode != 0
    assert "dead letters" in done.stdout
    assert states(platform) == ["open", "open"]
    taken = run_module("release_lease", {"directory": str(platform / "edge1"), "run": "next"})
    assert "The last release, 1.4, is open still: nobody has seen yet that all is well with it" in str(
        taken["warnings"]
    )


def test_a_window_in_which_nobody_looks_is_refused(platform: Path) -> None:
    done = close(platform, platform_closing_checks=[])
    assert "platform_closing_checks is empty, so nothing can be said of the 1 s." in " ".join(done.stdout.split())
    assert states(platform) == ["open", "open"]
