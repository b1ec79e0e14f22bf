# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that loses its power in the middle of a release: the release before serves on all that is left, and the next deploy brings all back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

from tests.fleet import Fleet
from tests.proof.releases_kills import EDGES, MARKER

# Longer than the watch and all that comes before a release is kept: else every release is taken back.
UNDO_SECONDS = 40
VARIABLES = {"proxy_watch_seconds": 10, "proxy_undo_seconds": UNDO_SECONDS, "app_drain_timeout": 5}
BEFORE, WANTED = "one", "two"
DEADLINE_SECONDS = 120


@dataclass(frozen=True)
class Loss:
    """Which host, when, which proxies are left, and what has to be said of it."""

    host: str
    moment: Callable[[Fleet], bool]
    left: tuple[str, ...]
    said: str


def _starts(fleet: Fleet) -> bool:
    """A container of the release is there on the second host, and nothing serves it yet."""
    names = fleet.lab.host("app2").run("docker", "ps", "--format", '{{.Label "lastro.release"}}', check=False).stdout
    return WANTED in names.split()


def _is_tried(fleet: Fleet) -> bool:
    return fleet.lab.host("edge2").run("test", "-e", MARKER, check=False).returncode == 0


LOSSES = {
    "host of the application, while the release starts": Loss("app2", _starts, EDGES, "app2:"),
    "host of the application, during the watch": Loss("app2", _is_tried, EDGES, "app2"),
    "proxy, during the watch": Loss("edge2", _is_tried, ("edge1",), "edge2"),
}


def prove(fleet: Fleet) -> dict[str, Any]:
    fleet.play("deploy", app_release=BEFORE, **VARIABLES)
    found = {}
    for name, loss in LOSSES.items():
        found[name] = _one(fleet, loss)
        print(f"    {name}: {found[name]}", flush=True)
    return {"holds": all(one["holds"] for one in found.values()), "losses": found}


def _one(fleet: Fleet, loss: Loss) -> dict[str, Any]:
    runs: list[CompletedProcess[str]] = []
    run = threading.Thread(
        target=lambda: runs.append(fleet.attempt("deploy", app_release=WANTED, **VARIABLES)), daemon=True
    )
    run.start()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not loss.moment(fleet) and time.monotonic() < deadline:
        time.sleep(0.1)
    fleet.lab.power_off(loss.host)
    lost = time.monotonic()
    try:
        run.join()
        ended = round(time.monotonic() - lost, 1)
        served = sorted(fleet.served(*loss.left))
    finally:
        fleet.lab.power_on(loss.host)
    # A proxy that comes back serves what was kept, too.
    fleet.serves()
    time.sleep(UNDO_SECONDS)
    after = sorted(fleet.served(*EDGES))
    output = runs[0].stdout
    said = output[output.rfind("did not pass on") :][:300]
    repaired = fleet.attempt("deploy", app_release=BEFORE, **VARIABLES).returncode == 0
    holds = runs[0].returncode != 0 and served == after == [BEFORE] and loss.said in said and repaired
    return {
        "holds": holds,
        "run_ended_after_seconds": ended,
        "served": served,
        "served_when_it_was_back": after,
        "next_deploy_succeeded": repaired,
        "says": said if loss.said in said else output[-2000:],
    }
