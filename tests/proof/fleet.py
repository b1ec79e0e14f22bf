# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/prod on seven hosts: promoted, deployed, scanned from outside, each host rebooted and cut off."""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

from tests.fleet import PORTS, Fleet, changes
from tests.lab import labs
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import REPOSITORY, random_name

SCANNED = [*PORTS, *range(18000, 18512)]
NOOP_RUNS = 5


def prove() -> dict[str, Any]:
    name = random_name("")
    began = time.monotonic()
    lab = labs.up(name, Wanted(REPOSITORY / "inventories/prod", strangers=("scanner",), contents="images"))
    up = round(time.monotonic() - began, 1)
    fleet = Fleet(lab, proxy="proxy1", registry="control1")
    try:
        return _prove(lab, fleet, up)
    finally:
        fleet.forget()
        labs.down(name)


def _prove(lab: Lab, fleet: Fleet, up: float) -> dict[str, Any]:
    seconds = {"lab_up": up}
    for step, playbook, arguments in (
        ("promote", "promote", ()),
        ("check_first", "deploy", ("--check",)),
        ("first_deploy", "deploy", ()),
    ):
        began = time.monotonic()
        fleet.play(playbook, *arguments)
        seconds[step] = round(time.monotonic() - began, 1)
        print(f"  {step}: {seconds[step]} s", flush=True)
    noops, changed = [], 0
    for _ in range(NOOP_RUNS):
        began = time.monotonic()
        changed += sum(changes(fleet.play("deploy")).values())
        noops.append(round(time.monotonic() - began, 1))
    changed += sum(changes(fleet.play("deploy", "--check", "--diff")).values())
    print(f"  nothing to do: {noops} s, {changed} changes", flush=True)
    hosts = [host for host in lab.hosts if host != "scanner"]
    scan = {host: sorted(fleet.open_ports(host, SCANNED)) for host in hosts}
    scanned_well = all(set(ports) == ({22, 80, 443} if host == "proxy1" else {22}) for host, ports in scan.items())
    print(f"  open to strangers: {scan}", flush=True)
    back = {host: _rebooted(fleet, host) for host in hosts}
    print(f"  serves again after a reboot: {back} s", flush=True)
    off = {host: _off(fleet, host) for host in hosts}
    print(f"  stopped before any change, with its name: {off}", flush=True)
    return {
        "holds": changed == 0 and scanned_well and all(off.values()),
        "hosts": len(hosts),
        "seconds": seconds,
        "nothing_to_do_seconds": {"median": statistics.median(noops), "runs": noops},
        "changes_with_nothing_to_do": changed,
        "open_to_strangers": scan,
        "serves_again_after_reboot_seconds": back,
        "a_host_that_is_off_stops_the_run": off,
    }


def _rebooted(fleet: Fleet, host: str) -> float:
    began = time.monotonic()
    fleet.lab.reboot(host)
    fleet.serves()
    return round(time.monotonic() - began, 1)


def _off(fleet: Fleet, host: str) -> bool:
    """Whether a deploy with this host off ends without a change, naming it."""
    fleet.lab.power_off(host)
    try:
        output = fleet.play("deploy", check=False)
    finally:
        fleet.lab.power_on(host)
    fleet.serves()
    return bool(re.search(rf"{host}\s+: .*unreachable=1", output)) and not sum(changes(output).values())
