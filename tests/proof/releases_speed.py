# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release and a rollback take with the images present and nothing watched, and of how many tasks a host has to do."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fleet import Fleet
from tests.proof.controller import counted_modules

RUNS = 5
UNWATCHED = {"proxy_watch_seconds": 0}
DEPLOY_SECONDS, TASKS, COLD_SECONDS = 20, 25, 20


def prove(fleet: Fleet) -> dict[str, Any]:
    for release in ("three", "two", "one"):
        fleet.play("deploy", app_release=release, **UNWATCHED)
    whole, alone = _releases(fleet, "deploy"), _releases(fleet, "release")
    # Back to the one before, whose containers are there, and to one that is made anew from its image.
    last = [_timed(fleet, "rollback", app_release=None)[0] for _ in range(RUNS)]
    cold = []
    for number in range(RUNS):
        cold.append(_timed(fleet, "rollback", app_release=None, release=("three", "two", "one")[number % 3])[0])
    found = {
        "bars": {"release_seconds": DEPLOY_SECONDS, "tasks_a_host": TASKS, "cold_rollback_seconds": COLD_SECONDS},
        "deploy": whole,
        "release_of_the_application_alone": alone,
        "rollback_to_the_last_seconds": {"median": statistics.median(last), "runs": last},
        "cold_rollback_seconds": {"median": statistics.median(cold), "runs": cold},
    }
    fleet.play("deploy", app_release="one", **UNWATCHED)
    return {
        "holds": alone["seconds"]["median"] <= DEPLOY_SECONDS
        and statistics.median(cold) <= COLD_SECONDS
        and max(alone["tasks_by_host"].values()) <= TASKS,
        **found,
    }


def _releases(fleet: Fleet, playbook: str) -> dict[str, Any]:
    """New versions, one after the other, by one of the two playbooks."""
    runs, tasks, modules = [], {}, 0
    for number in range(RUNS):
        with tempfile.TemporaryDirectory() as folder, counted_modules(Path(folder, "modules")):
            seconds, output = _timed(fleet, playbook, app_release=("two", "one")[number % 2], **UNWATCHED)
            modules = len(Path(folder, "modules").read_text().splitlines())
        runs.append(seconds)
        tasks = on_each_host(output)
    found = {"seconds": {"median": statistics.median(runs), "runs": runs}}
    return {**found, "tasks_by_host": tasks, "module_executions_on_all_hosts": modules}


def on_each_host(output: str) -> dict[str, int]:
    """Tasks that ran on each host, those that only read another file of tasks among them, from what a run prints."""
    recap = output.partition("PLAY RECAP")[2]
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=(\d+)", recap, re.MULTILINE)}


def _timed(fleet: Fleet, playbook: str, **variables: Any) -> tuple[float, str]:
    began = time.monotonic()
    output = fleet.play(playbook, **variables)
    return round(time.monotonic() - began, 1), output
