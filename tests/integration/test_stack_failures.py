# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `stack` where something goes wrong: what it says, and what the next run makes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack_support import ENGINE, ENVIRONMENT, LOOP, MODULE, Lab, killed, settled
from tests.support import random_name


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A stack of one test, which has yet to be started."""
    made = Lab(tmp_path)
    yield made
    made.remove()


def test_check_mode_needs_no_engine(lab: Lab) -> None:
    told = lab.run(check=True, engine="/nonexistent/docker.sock")
    assert told["services"]["web"]["action"] == "create"


def on_a_host_without_docker(args: dict[str, Any]) -> dict[str, Any]:
    """A run that sees neither Docker's program nor its data."""
    hide = 'mount -t tmpfs none /var/lib/docker && mount --bind /dev/null "$(command -v dockerd)" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-P", str(MODULE)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**args, "engine": "/nonexistent/docker.sock"}}),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(
    "wanted", [{"state": "stopped"}, {"state": "absent"}, {"state": "absent", "remove_volumes": True}]
)
def test_without_an_engine_nothing_is_left_to_stop(lab: Lab, wanted: dict[str, Any]) -> None:
    assert on_a_host_without_docker({**lab.args, **wanted})["changed"] is False


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_an_engine_that_is_down_is_no_reason_to_call_everything_stopped(lab: Lab, state: str) -> None:
    failed = lab.run(engine="/nonexistent/docker.sock", state=state)
    assert failed["failed"]
    for part in (f"containers of {lab.project} may run on", "dockerd", "Start the Engine first"):
        assert part in failed["msg"], failed["msg"]
    # As with `present`: the role docker would have started it.
    assert lab.run(check=True, engine="/nonexistent/docker.sock", state=state)["changed"] is False


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


def test_the_last_40_lines_of_the_log_are_shown(lab: Lab) -> None:
    web = lab.args["compose"]["services"]["web"]
    web.update(command=["sh", "-c", "for row in $(seq 60); do echo row $row.; done; exit 7"], restart="no")
    failed = lab.run()
    shown = [line for line in failed["msg"].splitlines() if line.startswith("row ")]
    assert shown == [f"row {number}." for number in range(21, 61)], failed["msg"]


def test_a_single_managed_file_is_never_mounted(lab: Lab) -> None:
    lab.args["compose"]["services"]["web"]["volumes"].append("./config/live:/etc/live:ro")
    failed = lab.run(check=True)
    assert "single file config/live" in failed["msg"]


@pytest.mark.parametrize("then", ["present", "absent"])
def test_what_a_failed_run_wrote_is_removed_later(lab: Lab, then: str) -> None:
    good = lab.changed()
    lab.args["files"].append({"path": "secrets/FAILED", "content": random_name(), "secret": True})
    lab.args["compose"]["services"]["data"]["healthcheck"] = {
        "test": ["CMD", "false"],
        "interval": "300ms",
        "retries": 1,
    }
    left = lab.directory / "secrets/FAILED"
    assert lab.run()["failed"]
    assert left.exists()
    lab.args = good
    done = lab.run(state=then)
    assert {"path": "secrets/FAILED", "why": "gone"} in done["files"]
    assert not left.exists()
    if then == "present":
        settled(lab)


def test_a_removal_that_was_killed_is_completed(lab: Lab) -> None:
    lab.run()
    ours = {"label": [f"com.docker.compose.project={lab.project}"]}
    for container in lab.containers().values():
        ENGINE.delete(f"/containers/{container}", force="true", v="true")
    for file in ("compose.yaml", ".stack.json", "config/fixed", "config/live"):
        (lab.directory / file).unlink()
    # Killed after the containers and the files: networks and volumes are all there is.
    assert ENGINE.get("/networks", filters=ours)
    assert lab.run(state="absent", check=True)["changed"] is True
    assert lab.run(state="absent")["changed"] is True
    assert ENGINE.get("/networks", filters=ours) == []
    assert lab.run(state="absent")["changed"] is False
    shutil.rmtree(lab.directory)
    assert lab.run(state="absent", remove_volumes=True)["changed"] is True
    assert not ENGINE.get("/volumes", filters=ours)["Volumes"]
    assert lab.run(state="absent", remove_volumes=True)["changed"] is False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for next to nothing."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named_with_the_cure(small_disk: Path) -> None:
    lab = Lab(small_disk)
    lab.args["files"][0]["content"] = "x" * 200_000
    failed = lab.run()
    for part in (f"{lab.directory}/config/fixed: No space left on device", "Free space there", "run again"):
        assert part in failed["msg"], failed["msg"]
    assert lab.containers() == {}
    lab.remove()


def test_a_disk_that_is_read_only_is_named_with_the_cure(small_disk: Path) -> None:
    lab = Lab(small_disk)
    lab.directory.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    failed = lab.run()
    for part in (f"{lab.directory}/.stack.json: Read-only file system", "Mount that disk writable"):
        assert part in failed["msg"], failed["msg"]
    assert lab.containers() == {}


def test_a_run_that_is_killed_is_repaired_by_the_next(lab: Lab) -> None:
    for delay in (0.15, 0.4, 0.9):
        only = {"path": f"config/only-{delay}", "content": "x"}
        end = time.monotonic() + delay
        killed({**lab.args, "files": [*lab.args["files"], only]}, lambda end=end: time.monotonic() >= end)
        lab.args["files"][0]["content"] += "more\n"
    done = lab.run()
    assert not done.get("failed"), done
    assert sorted(path.name for path in (lab.directory / "config").iterdir()) == ["fixed", "live"]
    settled(lab)
