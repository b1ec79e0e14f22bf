# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One-shot services (migrations) that a run which was killed, or gave up, left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack_support import IMAGE, Lab, killed, settled

# Runs until the test says how it has to end, and then says enough for the log to be cut.
MIGRATE = (
    "until test -s /gate/end; do sleep 0.1; done; for row in $(seq 60); do echo row $row.; done; "
    "touch /gate/migrated; exit $(cat /gate/end)"
)
WAITED = {"action": "none", "why": "it still runs and is waited for", "cause": ""}
NOTHING = {"action": "none", "why": "", "cause": ""}


class Jobs(Lab):
    """A project with a migration."""

    def reset(self) -> None:
        super().reset()
        job = {"image": IMAGE, "restart": "no", "volumes": ["./gate:/gate"], "stop_grace_period": "0s"}
        migrate = {**job, "command": ["sh", "-c", MIGRATE], "x-platform": {"one_shot": True}}
        # An image's own health check is one of its server, and fails in a job.
        migrate["healthcheck"] = {"test": ["CMD", "false"], "interval": "300ms", "retries": 1}
        self.args |= {"compose": {"services": {"migrate": migrate}}, "files": []}
        self.args["directories"] = [{"path": "gate", "mode": "0777"}]

    def runs(self) -> bool:
        # From the list: for a moment it shows a container that the Engine cannot be asked about yet.
        return [entry["State"] for entry in self.listed()] == ["running"]

    def end(self, code: int) -> None:
        (self.directory / "gate/end").write_text(f"{code}\n")

    def end_soon(self, code: int) -> None:
        threading.Timer(1.5, self.end, [code]).start()


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """A project whose migration runs, and whose run was killed."""
    made = Jobs(tmp_path)
    try:
        killed(made.args, made.runs)
        yield made
    finally:
        made.remove()


def test_a_job_that_still_runs_is_waited_for_and_not_touched(jobs: Jobs) -> None:
    before = jobs.containers()
    told = jobs.run(check=True)
    assert (told["changed"], told["services"]) == (False, {"migrate": WAITED})
    jobs.end_soon(0)
    done = jobs.run()
    assert (done["changed"], done["services"]) == (False, {"migrate": WAITED})
    assert [(entry["service"], entry["state"]) for entry in done["containers"]] == [("migrate", "exited 0")]
    assert jobs.containers() == before
    assert jobs.run()["services"] == {"migrate": NOTHING}
    settled(jobs)


def test_how_it_ends_counts_and_a_failed_one_is_started_again(jobs: Jobs) -> None:
    before = jobs.containers()
    jobs.end_soon(3)
    failed = jobs.run()
    assert failed["failed"]
    assert "Service migrate" in failed["msg"]
    assert "exit code 3" in failed["msg"]
    shown = [line for line in failed["msg"].splitlines() if line.startswith("row ")]
    assert shown == [f"row {number}." for number in range(21, 61)], failed["msg"]
    jobs.end(0)
    again = jobs.run()
    assert again["services"]["migrate"]["action"] == "start", again
    assert jobs.containers() == before
    settled(jobs)


def test_what_depends_on_it_starts_after_it(jobs: Jobs) -> None:
    services = jobs.args["compose"]["services"]
    services["seed"] = {
        **{key: services["migrate"][key] for key in ("image", "restart", "volumes")},
        "command": ["test", "-e", "/gate/migrated"],
        "depends_on": {"migrate": {"condition": "service_completed_successfully"}},
        "x-platform": {"one_shot": True},
    }
    jobs.end_soon(0)
    done = jobs.run()
    assert done["services"]["migrate"] == WAITED, done
    assert done["services"]["seed"]["action"] == "create"
    settled(jobs)


def test_one_that_takes_too_long_runs_on_and_the_next_run_waits_again(jobs: Jobs) -> None:
    before = jobs.containers()
    for _ in range(2):
        failed = jobs.run(wait_timeout=1)
        assert "migrate" in failed["msg"]
        assert "still runs after 1 s, the next run waits on: state running" in failed["msg"]
        assert (jobs.containers(), jobs.runs()) == (before, True)
    jobs.end(0)
    assert jobs.run()["changed"] is False
