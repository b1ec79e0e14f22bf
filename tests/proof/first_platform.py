# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""100,000 requests through releases that come one after another, and deploys that are killed at any moment."""

from __future__ import annotations

import random
import re
import time
from typing import Any

from tests.e2e.conftest import Machine, fresh_machine
from tests.load import Load

REQUESTS = 100_000
RATE = 150
KILLS = 20


def prove() -> dict[str, Any]:
    with fresh_machine() as machine:
        began = time.monotonic()
        machine.run("make deploy", timeout=1200)
        first = round(time.monotonic() - began, 1)
        load, releases = _releases_under_load(machine)
        kills = [_killed(machine, number) for number in range(KILLS)]
    good = all(kill["served"] and kill["repaired"] and kill["settled"] for kill in kills)
    return {
        "holds": load["failed"] == 0 and load["requests"] >= REQUESTS and releases >= 5 and good,
        "first_deploy_seconds": first,
        "load": {**load, "answers": len(load["answers"])},
        "releases_under_load": releases,
        "kills": kills,
    }


def _releases_under_load(machine: Machine) -> tuple[dict[str, Any], int]:
    """Release after release while the load runs, until all requests are out."""
    releases = 0
    with Load(f"http://{machine.host.address}:8080/version", RATE, seconds=REQUESTS / RATE + 5) as load:
        end = time.monotonic() + REQUESTS / RATE
        while time.monotonic() < end:
            done = machine.play(f"-e app_release=load-{releases}")
            assert done.returncode == 0, done.stdout[-4000:]
            releases += 1
            print(
                f"  release {releases}, {sum(load.answers.values())} requests, {len(load.failures)} failed", flush=True
            )
        load.join()
    return load.summary(), releases


def _killed(machine: Machine, number: int) -> dict[str, Any]:
    """Kill a deploy after a random time; the platform serves, the next run repairs, the one after finds nothing to do."""
    seconds = round(random.uniform(1, 25), 1)
    play = f".venv/bin/ansible-playbook playbooks/deploy.yml -i inventories/dev -e app_release=kill-{number}"
    machine.attempt(f"timeout --signal=KILL {seconds} {play}")
    served = machine.attempt("curl -fsS http://localhost:8080/health").returncode == 0
    repaired = machine.play(f"-e app_release=kill-{number}").returncode == 0
    again = machine.play(f"-e app_release=kill-{number}")
    settled = bool(re.search(r"changed=0 .*failed=0", again.stdout))
    print(f"  killed after {seconds} s: served {served}, repaired {repaired}, settled {settled}", flush=True)
    return {"after_seconds": seconds, "served": served, "repaired": repaired, "settled": settled}
