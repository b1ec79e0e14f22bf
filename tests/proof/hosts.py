# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy with nothing to do costs on 2, 4, 8 and 16 hosts: time, tasks, module executions, the controller's memory.

One host has everything but the application, all others have the application. A platform that grows keeps its lab.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from ansible import constants

from tests.fleet import Fleet, changes
from tests.lab import inventory, labs
from tests.lab.inventory import Listing
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.proof import controller, hosts_page
from tests.support import REPOSITORY, random_name

SIZES = (2, 4, 8, 16)
RUNS = 3
MEMORY_LIMIT_MB = 1024
CORE = "core1"
PROD = REPOSITORY / "inventories/prod"
REST_SECONDS = 10
Result = TypeVar("Result")


def prove() -> dict[str, Any]:
    name = random_name("")
    sizes: list[dict[str, Any]] = []
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    # As deep in the clone as inventories/prod, since variables name files by their place relative to the inventory.
    with tempfile.TemporaryDirectory(prefix="hosts-", dir=build) as folder:
        source = Path(folder)
        _write(source, max(SIZES))
        try:
            for size in SIZES:
                sizes.append(_measured(name, source, size))
                print(hosts_page.table(sizes), flush=True)
        finally:
            labs.down(name)
    result = {
        "holds": holds(sizes),
        "forks": constants.DEFAULT_FORKS,
        "memory_limit_mb": MEMORY_LIMIT_MB,
        "sizes": sizes,
        "time_of_twice_the_hosts": {step: round(ratio, 2) for step, ratio in growth(sizes).items()},
    }
    hosts_page.write(REPOSITORY / "docs/proof", result)
    return result


def spread(listing: Listing, size: int) -> Listing:
    """The groups of an inventory on so many hosts: all in `app` but one, which is in all other groups."""
    apps = app_hosts(size)
    groups = [group for group in listing["all"]["children"] if group != "ungrouped"]
    members = {group: apps if group == "app" else [CORE] for group in groups}
    return {
        "all": {
            "vars": listing["all"].get("vars", {}),
            "hosts": {host: {} for host in (CORE, *apps)},
            "children": {group: {"hosts": {host: {} for host in of}} for group, of in members.items()},
        }
    }


def app_hosts(size: int) -> list[str]:
    """The hosts of the application in a platform of so many hosts."""
    return [f"app{number}" for number in range(1, size)]


def growth(sizes: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as long the same run takes on twice the hosts; in proportion would be 2."""
    return {
        f"{small['hosts']} to {large['hosts']}": large["seconds"]["median"] / small["seconds"]["median"]
        for small, large in pairwise(sizes)
    }


def holds(sizes: list[dict[str, Any]]) -> bool:
    """Nothing changed, each doubling costs less than twice the time, and the controller stays below its limit."""
    within = all(size["changes"] == 0 and size["controller_memory_mb"] < MEMORY_LIMIT_MB for size in sizes)
    return within and all(ratio < 2 for ratio in growth(sizes).values())


def _write(folder: Path, size: int) -> None:
    (folder / "hosts.json").write_text(json.dumps(spread(inventory.read(PROD), size), indent=1))
    (folder / "group_vars").symlink_to(PROD / "group_vars")


def _measured(name: str, source: Path, size: int) -> dict[str, Any]:
    def timed(step: str, action: Callable[[], Result]) -> tuple[Result, float]:
        began = time.monotonic()
        result = action()
        seconds = round(time.monotonic() - began, 1)
        print(f"  {size} hosts, {step}: {seconds} s", flush=True)
        return result, seconds

    lab, up = timed("lab up", lambda: labs.up(name, Wanted(source, (CORE, *app_hosts(size)))))
    fleet = Fleet(lab, proxy=CORE, registry=CORE)
    try:
        _, promote = timed("promote", lambda: fleet.play("promote"))
        _, deploy = timed("deploy", lambda: fleet.play("deploy"))
        fleet.serves()
        at_rest = controller.cpus_busy(REST_SECONDS)
        worked = controller.cpu_seconds()
        runs = [timed(f"nothing to do, run {run}", lambda: fleet.play("deploy")) for run in range(1, RUNS + 1)]
        work = controller.cpu_seconds() - worked
        # A run of its own: looking at the controller takes time from it.
        (watched, cost), _ = timed("nothing to do, watched", lambda: _watched(lab, fleet))
    finally:
        fleet.forget()
    outputs = [output for output, _ in runs]
    return {
        "hosts": size,
        "seconds": {"median": statistics.median(seconds for _, seconds in runs), "runs": [run[1] for run in runs]},
        "controller_cpu_seconds": round(work / RUNS, 1),
        **cost,
        "changes": sum(sum(changes(output).values()) for output in (*outputs, watched)),
        # All hosts stand on this machine: what they do by themselves is taken from the controller.
        "cpus_busy_at_rest": at_rest,
        "first_seconds": {"lab_up": up, "promote": promote, "deploy": deploy},
    }


def _watched(lab: Lab, fleet: Fleet) -> tuple[str, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        count = Path(folder) / "modules"
        with controller.counted_modules(count), controller.memory(str(lab.access.folder)) as peak:
            output = fleet.play("deploy")
        modules = len(count.read_text().splitlines())
    return output, {**controller.tasks(output), "modules": modules, "controller_memory_mb": peak.megabytes}
