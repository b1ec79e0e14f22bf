# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release and a rollback take with the images present and nothing watched, and of how many tasks a host has to do."""

from __future__ import annotations

import json
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
LEDGER = "/var/lib/lastro/lastro/ledger.jsonl"
DEPLOY_SECONDS, TASKS, COLD_SECONDS, SWITCH_SECONDS = 20, 25, 20, 1


def prove(fleet: Fleet) -> dict[str, Any]:
    for release in ("three", "two", "one"):
        fleet.play("deploy", app_release=release, **UNWATCHED)
    whole, _back = _releases(fleet, "deploy")
    alone, back = _releases(fleet, "release")
    # One that is neither the last nor the one before starts anew from its image.
    cold, cold_kept = [], []
    for number in range(RUNS):
        cold.append(_timed(fleet, "rollback", app_release=None, release=("three", "two", "one")[number % 3])[0])
        cold_kept.append(_kept(fleet))
    found = {
        "bars": {
            "release_seconds": DEPLOY_SECONDS,
            "tasks_a_host": TASKS,
            "cold_rollback_seconds": COLD_SECONDS,
            "switch_confirmed_seconds": SWITCH_SECONDS,
        },
        "deploy": whole,
        "release_of_the_application_alone": alone,
        "rollback_to_the_last_seconds": {"median": statistics.median(back), "runs": back},
        "cold_rollback_seconds": {"median": statistics.median(cold), "runs": cold},
        "cold_rollback_seconds_until_it_was_kept": {"median": statistics.median(cold_kept), "runs": cold_kept},
    }
    fleet.play("deploy", app_release="one", **UNWATCHED)
    return {
        "holds": alone["seconds"]["median"] <= DEPLOY_SECONDS
        and statistics.median(cold) <= COLD_SECONDS
        and max(alone["tasks_by_host"].values()) <= TASKS
        and max(alone["seconds_until_a_proxy_confirmed_the_switch"]["runs"]) <= SWITCH_SECONDS,
        **found,
    }


def _releases(fleet: Fleet, playbook: str) -> tuple[dict[str, Any], list[float]]:
    """New versions by one of the two playbooks, and the seconds of the way back to the one before after each."""
    runs, kept, switches, back, tasks, modules = [], [], [], [], {}, 0
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder, counted_modules(Path(folder, "modules")):
            seconds, output = _timed(fleet, playbook, app_release="two", **UNWATCHED)
            modules = len(Path(folder, "modules").read_text().splitlines())
        runs.append(seconds)
        kept.append(_kept(fleet))
        switches += _switched(fleet)
        tasks = on_each_host(output)
        back.append(_timed(fleet, "rollback", app_release=None)[0])
    found = {
        "seconds": {"median": statistics.median(runs), "runs": runs},
        "seconds_until_it_was_kept": {"median": statistics.median(kept), "runs": kept},
        "seconds_until_a_proxy_confirmed_the_switch": {"median": statistics.median(switches), "runs": switches},
    }
    return {**found, "tasks_by_host": tasks, "module_executions_on_all_hosts": modules}, back


def _kept(fleet: Fleet) -> float:
    """Of the last release or rollback, from its begin until every proxy had it for good, as the ledger says."""
    return float(_last(fleet)["seconds"])


def _switched(fleet: Fleet) -> list[float]:
    """Of the last release, on each proxy: until it sent all new requests to the colour, as it said itself."""
    return [float(step["seconds"]) for step in _last(fleet)["steps"] if step["step"] == "switch 100 %"]


def _last(fleet: Fleet) -> dict[str, Any]:
    [line] = fleet.lab.host("data1").run("tail", "-n1", LEDGER).stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def on_each_host(output: str) -> dict[str, int]:
    """Tasks that ran on each host, those that only read another file of tasks among them, from what a run prints."""
    recap = output.partition("PLAY RECAP")[2]
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=(\d+)", recap, re.MULTILINE)}


def _timed(fleet: Fleet, playbook: str, **variables: Any) -> tuple[float, str]:
    began = time.monotonic()
    output = fleet.play(playbook, **variables)
    return round(time.monotonic() - began, 1), output
