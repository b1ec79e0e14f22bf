# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/prod on seven hosts: promoted, deployed, scanned from outside, released in batches, each host rebooted and cut off."""

from __future__ import annotations

import statistics
import time
from typing import Any

from tests.fleet import PORTS, Fleet, Watch, changes, failures
from tests.lab import labs
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import REPOSITORY, random_name

SCANNED = [*PORTS, *range(18000, 18512)]
NOOP_RUNS = 5
NOOP_MEDIAN_SECONDS = 25
LAB_UP_SECONDS = 60
# A copy of this release never gets well.
SICK = {"app_env": {"PYTHON_IMAGE": "lastro/python:3.13", "APP_FAULT": "never_healthy"}, "app_start_seconds": 20}


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
    print(f"  open to strangers: {scan}", flush=True)
    released = batches(fleet, "app1", "app2")
    print(f"  released in batches of one host: {released}", flush=True)
    back = {host: _rebooted(fleet, host) for host in hosts}
    print(f"  serves again after a reboot: {back} s", flush=True)
    off = {host: _off(fleet, host) for host in hosts}
    print(f"  stopped before any change, with its name: {off}", flush=True)
    proved = {
        "hosts": len(hosts),
        "seconds": seconds,
        "nothing_to_do_seconds": {"median": statistics.median(noops), "runs": noops},
        "changes_with_nothing_to_do": changed,
        "open_to_strangers": scan,
        "batches_of_one_host": released,
        "serves_again_after_reboot_seconds": back,
        "a_host_that_is_off_stops_the_run": off,
    }
    return {"holds": holds(proved), **proved}


def holds(proved: dict[str, Any]) -> bool:
    """Nothing changed, open is what has to be, each release and each host that is off went as it should, and both times are kept."""
    scan = proved["open_to_strangers"]
    return (
        proved["changes_with_nothing_to_do"] == 0
        and all(set(ports) == ({22, 80, 443} if host == "proxy1" else {22}) for host, ports in scan.items())
        and proved["batches_of_one_host"]["holds"]
        and all(proved["a_host_that_is_off_stops_the_run"].values())
        and proved["nothing_to_do_seconds"]["median"] <= NOOP_MEDIAN_SECONDS
        and proved["seconds"]["lab_up"] <= LAB_UP_SECONDS
    )


def batches(fleet: Fleet, first: str, second: str, *arguments: str) -> dict[str, Any]:
    """A release that reaches one host after the other, and one that fails on the first host."""
    fleet.play("promote", *arguments, app_release="two")
    with Watch(fleet) as good:
        fleet.play("deploy", *arguments, app_release="two", app_batch=1)
    started = {host: _containers(fleet, host) for host in (first, second)}
    in_turn = max(_created(started[first])) < min(_created(started[second]))

    fleet.play("promote", *arguments, app_release="three")
    with Watch(fleet) as bad:
        sick = fleet.told({first: SICK})
        output = fleet.play("deploy", *arguments, *sick, check=False, app_release="three", app_batch=1)
    stopped = failures(output)
    untouched = _containers(fleet, second) == started[second]
    left = changes(fleet.play("deploy", *arguments, app_release="two", app_batch=1))
    holds = (
        in_turn
        and not good.failures
        and good.releases == ["one", "two"]
        and set(stopped) == {first}
        and f"Release three did not pass on {first}" in stopped[first]
        and untouched
        and not bad.failures
        and bad.releases == ["two"]
        and not sum(left.values())
    )
    return {
        "holds": holds,
        "one_host_after_the_other": in_turn,
        "requests": good.requests,
        "failed": good.failures[:5],
        "releases_seen": good.releases,
        "failing_on_the_first_host": {
            "says": stopped,
            "second_host_untouched": untouched,
            "requests": bad.requests,
            "failed": bad.failures[:5],
            "releases_seen": bad.releases,
            "changes_to_go_on_with_the_release_before": sum(left.values()),
        },
    }


def _containers(fleet: Fleet, host: str) -> dict[str, dict[str, Any]]:
    """What runs of the application on a host: by name, when it was created and when it was last started."""
    form = '{{.Name}} {{.Created}} {{.State.StartedAt}} {{index .Config.Labels "com.docker.compose.project"}}'
    command = f"docker inspect --format '{form}' $(docker ps --quiet)"
    rows = [line.split() for line in fleet.lab.host(host).run("sh", "-c", command).stdout.splitlines()]
    colours = ("-blue", "-green")
    return {name: {"created": at, "started": up} for name, at, up, project in rows if project.endswith(colours)}


def _created(containers: dict[str, dict[str, Any]]) -> list[str]:
    return [container["created"] for container in containers.values()]


def _rebooted(fleet: Fleet, host: str) -> float:
    began = time.monotonic()
    fleet.lab.reboot(host)
    fleet.serves()
    return round(time.monotonic() - began, 1)


def _off(fleet: Fleet, host: str) -> bool:
    """Whether a deploy with this host off ends without a change, naming it."""
    fleet.lab.power_off(host)
    try:
        output = fleet.play("deploy", check=False, app_release="two")
    finally:
        fleet.lab.power_on(host)
    fleet.serves()
    return "See that the host is on" in failures(output).get(host, "") and not sum(changes(output).values())
