# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `stack` where something goes wrong: what it says, and what the next run makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack_support import LOOP, Lab, settled


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A stack of one test, which has yet to be started."""
    made = Lab(tmp_path)
    yield made
    made.remove()


def test_check_mode_needs_no_engine(lab: Lab) -> None:
    told = lab.run(check=True, engine="/nonexistent/docker.sock")
    assert told["services"]["web"]["action"] == "create"


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_without_an_engine_nothing_is_left_to_stop(lab: Lab, state: str) -> None:
    assert lab.run(engine="/nonexistent/docker.sock", state=state)["changed"] is False


def test_a_missing_engine_is_named_with_the_cure(lab: Lab) -> None:
    failed = lab.run(engine="/nonexistent/docker.sock")
    assert failed["failed"]
    assert "lastro.platform.docker" in failed["msg"]


def test_a_service_that_never_gets_healthy_is_explained(lab: Lab) -> None:
    web = lab.args["compose"]["services"]["web"]
    web["command"] = ["sh", "-c", "echo the reason; sleep 60"]
    web["healthcheck"] = {"test": ["CMD-SHELL", "echo not today; exit 3"], "interval": "500ms", "retries": 2}
    failed = lab.run()
    assert failed["failed"]
    for part in ("Service web", "unhealthy", "exit 3", "not today", "the reason"):
        assert part in failed["msg"], failed["msg"]


def test_a_service_that_ends_at_once_is_explained(lab: Lab) -> None:
    web = lab.args["compose"]["services"]["web"]
    web.update(command=["sh", "-c", "echo broken config; exit 7"], restart="no")
    failed = lab.run()
    for part in ("Service web", "exit code 7", "broken config"):
        assert part in failed["msg"], failed["msg"]


def test_a_service_that_ends_again_and_again_is_not_waited_for_to_the_end(lab: Lab) -> None:
    web = lab.args["compose"]["services"]["web"]
    web.update(command=["sh", "-c", "echo broken config; exit 7"])
    failed = lab.run(wait_timeout=120)
    for part in ("Service web", "ends again and again", "exit code 7", "broken config"):
        assert part in failed["msg"], failed["msg"]


def test_a_service_that_waits_for_its_neighbour_by_ending_is_given_its_time(lab: Lab) -> None:
    web, data = (lab.args["compose"]["services"][name] for name in ("web", "data"))
    del web["depends_on"]
    web.update(
        command=["sh", "-c", f"test -e /data/ready || exit 7; {LOOP}"],
        volumes=[*web["volumes"], "data:/data"],
        healthcheck={"test": ["CMD", "test", "-e", "/data/ready"], "interval": "1s"},
    )
    data["command"] = ["sh", "-c", f"sleep 12; touch /data/ready; {LOOP}"]
    data["healthcheck"] = {"test": ["CMD", "test", "-e", "/data/ready"], "interval": "1s", "retries": 30}
    done = lab.run(wait_timeout=60)
    assert done.get("changed"), done
    assert lab.inspect("web")["RestartCount"] >= 6


def test_a_service_without_a_health_check_has_to_stay(lab: Lab) -> None:
    web = lab.args["compose"]["services"]["web"]
    del web["healthcheck"]
    web["command"] = ["sh", "-c", "sleep 0.3; echo broken config; exit 7"]
    failed = lab.run(wait_timeout=30)
    for part in ("Service web", "ends again and again", "exit code 7", "broken config"):
        assert part in failed["msg"], failed["msg"]
    web["command"] = ["sh", "-c", LOOP]
    done = lab.run()
    assert done.get("changed"), done


def test_a_single_managed_file_is_never_mounted(lab: Lab) -> None:
    lab.args["compose"]["services"]["web"]["volumes"].append("./config/live:/etc/live:ro")
    failed = lab.run(check=True)
    assert "single file config/live" in failed["msg"]


def test_a_run_that_is_killed_is_repaired_by_the_next(lab: Lab) -> None:
    root = Path(__file__).resolve().parents[2]
    for delay in (0.15, 0.4, 0.9):
        process = subprocess.Popen(
            [sys.executable, "-P", str(root / "plugins/modules/stack.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(root / "collections")},
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": lab.args}).encode())
        process.stdin.close()
        time.sleep(delay)
        process.kill()
        process.wait()
        lab.args["files"][0]["content"] += "more\n"
    done = lab.run()
    assert not done.get("failed"), done
    settled(lab)
