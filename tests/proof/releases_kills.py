# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy that is killed at task after task: what serves is one release that passed its gate, and the next deploy repairs all else.

The run is killed as a task begins that does something on a host. Where the tasks before it are skipped, or the controller does them by itself, no host
is any different at their boundaries, so these are all the states that a kill between two tasks can leave. Nothing of all these runs stays on the hosts' disks.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fleet import Fleet, Watch
from tests.support import REPOSITORY

UNDO_SECONDS = 15
# The undo, and a little for the host to do it.
SETTLED_SECONDS = UNDO_SECONDS + 10
VARIABLES = {"proxy_watch_seconds": 2, "proxy_undo_seconds": UNDO_SECONDS, "app_drain_timeout": 5}
RELEASES = ("one", "two")
EDGES = ("edge1", "edge2")
MARKER = "/var/lib/lastro/lastro/proxy/provisional.json"
HOSTS = ("app1", "app2", *EDGES)
# What must not become more and more by runs that are killed.
COUNTS = {
    "containers": "docker ps --all --quiet",
    "images": "docker images --all --quiet",
    "networks": "docker network ls --quiet",
    "volumes": "docker volume ls --quiet",
    "files": "find /var/lib/lastro",
    "temporary files": "find /tmp /var/tmp /root/.ansible -mindepth 1 -maxdepth 3",
}


def prove(fleet: Fleet) -> dict[str, Any]:
    """KILLS_FROM and KILLS_EVERY choose among those tasks while working; a proof that holds has killed at all of them."""
    first, every = int(os.environ.get("KILLS_FROM", "1")), int(os.environ.get("KILLS_EVERY", "1"))
    for release in reversed(RELEASES):
        fleet.play("deploy", app_release=release, **VARIABLES)
    counted = _run(fleet, 0, RELEASES[1])
    before = _counts(fleet)
    kills = [_kill(fleet, number) for number in counted.acting[first - 1 :: every]]
    bad = [kill for kill in kills if not kill["holds"]]
    after = _counts(fleet)
    more = grown(before, after)
    return {
        "holds": counted.code == 0 and bool(kills) and not bad and not more and (first, every) == (1, 1),
        "tasks": counted.tasks,
        "tasks_that_do_something_on_a_host": len(counted.acting),
        "from": first,
        "every": every,
        "kills": len(kills),
        "requests": sum(kill["requests"] for kill in kills),
        "longest_until_one_release_served_seconds": max((kill["settled_seconds"] or 0 for kill in kills), default=0),
        "bad": bad,
        "left_on_hosts": after,
        "more_than_before": more,
    }


def _counts(fleet: Fleet) -> dict[str, dict[str, int]]:
    """How much of everything each host holds. What cannot be counted ends the proof: nothing would be no more than before."""
    return {
        host: {
            what: len(fleet.lab.host(host).run(*words.split()).stdout.splitlines()) for what, words in COUNTS.items()
        }
        for host in HOSTS
    }


def grown(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> dict[str, list[int]]:
    """What a host holds more of than before, as "host: what" → both numbers."""
    return {
        f"{host}: {what}": [before[host][what], number]
        for host, counts in after.items()
        for what, number in counts.items()
        if number > before[host][what]
    }


def _kill(fleet: Fleet, number: int) -> dict[str, Any]:
    """A deploy of the other release, killed as a task begins; what users get meanwhile, and what the next deploy makes of it."""
    serving = min(fleet.served(*EDGES))
    wanted = next(release for release in RELEASES if release != serving)
    with Watch(fleet) as seen:
        run = _run(fleet, number, wanted)
        settled = _settled(fleet)
    left = sorted(fleet.served(*EDGES))
    repaired = fleet.attempt("deploy", app_release=wanted, **VARIABLES).returncode == 0 and fleet.served(*EDGES) == {
        wanted
    }
    passed = (
        run.code == -signal.SIGKILL,
        settled is not None,
        len(left) == 1,
        seen.releases and set(seen.releases) <= set(RELEASES),
        not seen.failures,
        repaired,
    )
    found = {
        "task": f"{number} {run.task}",
        "holds": all(passed),
        "served_then": left,
        "settled_seconds": settled,
        "requests": seen.requests,
        "failed": seen.failures[:3],
        "next_deploy_succeeded": repaired,
    }
    print(f"    {found}", flush=True)
    return found


@dataclass(frozen=True)
class Run:
    """A deploy: how it ended, the task that it began last, how many it began, and the numbers of those that did something on a host."""

    code: int
    task: str
    tasks: int
    acting: list[int]


def _run(fleet: Fleet, number: int, release: str) -> Run:
    """A deploy that is killed as its task of that number begins; 0 lets it end."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "ANSIBLE_CALLBACKS_ENABLED": "kill_at_task",
            "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests/proof/callback"),
            "KILL_AT_TASK": str(number),
            "KILL_FOLDER": folder,
        }
        os.environ.update(settings)
        try:
            done = fleet.attempt("deploy", app_release=release, **VARIABLES)
        finally:
            for name in settings:
                del os.environ[name]
        names = Path(folder, "tasks").read_text().splitlines()
        acting = Path(folder, "acting").read_text().split() if Path(folder, "acting").exists() else []
    return Run(done.returncode, names[-1], len(names), sorted({int(task) for task in acting}))


def _settled(fleet: Fleet) -> float | None:
    """Seconds until both proxies serve one release and none of them is provisional; None where that takes too long."""
    began = time.monotonic()
    while time.monotonic() < began + SETTLED_SECONDS:
        tried = [fleet.lab.host(host).run("test", "-e", MARKER, check=False).returncode == 0 for host in EDGES]
        if not any(tried) and len(fleet.served(*EDGES)) == 1:
            return round(time.monotonic() - began, 1)
        time.sleep(0.5)
    return None
