# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy that is killed at every task, one after the other: what serves is one release that passed its gate, and the next deploy repairs all else."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fleet import Fleet, Watch
from tests.support import REPOSITORY

UNDO_SECONDS = 15
# The undo, and a little for the host to do it.
SETTLED_SECONDS = UNDO_SECONDS + 10
VARIABLES = {"proxy_watch_seconds": 2, "proxy_undo_seconds": UNDO_SECONDS, "app_drain_timeout": 5}
RELEASES = ("one", "two")
MARKER = "/var/lib/lastro/lastro/proxy/provisional.json"


def prove(fleet: Fleet) -> dict[str, Any]:
    """KILLS_FROM and KILLS_EVERY choose among the tasks while working; a proof that holds has killed at all of them."""
    first, every = int(os.environ.get("KILLS_FROM", "1")), int(os.environ.get("KILLS_EVERY", "1"))
    fleet.play("deploy", app_release=RELEASES[0], **VARIABLES)
    serving, kills, number = RELEASES[0], [], first
    while True:
        wanted = next(release for release in RELEASES if release != serving)
        with Watch(fleet) as seen:
            code, task = _killed(fleet, number, wanted)
            if code != -signal.SIGKILL:
                break
            settled = _settled(fleet)
        left = sorted(_served(fleet))
        repaired = fleet.attempt("deploy", app_release=wanted, **VARIABLES).returncode == 0 and _served(fleet) == {
            wanted
        }
        good = (
            settled is not None
            and len(left) == 1
            and set(seen.releases) <= set(RELEASES)
            and not seen.failures
            and repaired
        )
        kills.append(
            {
                "task": f"{number} {task}",
                "holds": good,
                "served_then": left,
                "settled_seconds": settled,
                "requests": seen.requests,
                "failed": seen.failures[:3],
                "next_deploy_succeeded": repaired,
            }
        )
        print(f"    {kills[-1]}", flush=True)
        serving = next(iter(_served(fleet)))
        number += every
    ended_well = code == 0
    bad = [kill for kill in kills if not kill["holds"]]
    return {
        "holds": ended_well and bool(kills) and not bad and (first, every) == (1, 1),
        "from_task": first,
        "every": every,
        "kills": len(kills),
        "requests": sum(kill["requests"] for kill in kills),
        "longest_until_one_release_served_seconds": max((kill["settled_seconds"] or 0 for kill in kills), default=0),
        "bad": bad,
    }


def _killed(fleet: Fleet, number: int, release: str) -> tuple[int, str]:
    """How the run ended, and at which task."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "ANSIBLE_CALLBACKS_ENABLED": "kill_at_task",
            "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests/proof/callback"),
            "KILL_AT_TASK": str(number),
            "KILL_FILE": str(Path(folder, "task")),
        }
        os.environ.update(settings)
        try:
            done = fleet.attempt("deploy", app_release=release, **VARIABLES)
        finally:
            for name in settings:
                del os.environ[name]
        return done.returncode, Path(folder, "task").read_text()


def _settled(fleet: Fleet) -> float | None:
    """Seconds until both proxies serve one release and none of them is provisional; None where that takes too long."""
    began = time.monotonic()
    while time.monotonic() < began + SETTLED_SECONDS:
        tried = [
            fleet.lab.host(host).run("test", "-e", MARKER, check=False).returncode == 0 for host in ("edge1", "edge2")
        ]
        if not any(tried) and len(_served(fleet)) == 1:
            return round(time.monotonic() - began, 1)
        time.sleep(0.5)
    return None


def _served(fleet: Fleet) -> set[str]:
    return {fleet.get("/version", host)["release"] for host in ("edge1", "edge2") for _ in range(3)}
