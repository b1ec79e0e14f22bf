# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two proxies of a lab share an address, behind the platform's firewall; this machine, on the same network, asks it all the time."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import changes
from tests.lab import network
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import eventually

pytest_plugins = ["tests.lab.fixtures"]

HOSTS = "all: {children: {proxy: {hosts: {edge1: {}, edge2: {}}}}}\n"
ROLES = ["lastro.platform.firewall", "lastro.platform.proxy"]
CONNECTIONS = 40
PLATFORM = {
    "platform_name": "shop",
    "platform_environment": "prod",
    "platform_state_dir": "/var/lib/lastro/shop",
    "proxy_connections_max": CONNECTIONS,
}
HAPROXY, KEEPALIVED = "shop-proxy-haproxy-1", "shop-proxy-keepalived-1"
# An advert a second; whoever hears none for three of them takes over.
SILENCE_SECONDS = 3


class Proxies:
    """Both hosts, and the address that is in neither's inventory."""

    def __init__(self, lab: Lab, playbook: Path) -> None:
        self.lab = lab
        self.address = str(network.subnet(lab.name)[100])
        self.playbook = playbook
        playbook.write_text(json.dumps([{"hosts": "proxy", "gather_facts": False, "vars": PLATFORM, "roles": ROLES}]))

    def play(self, address: str) -> set[int]:
        """Run the roles; how much changed on each host."""
        output = self.lab.run_playbook(str(self.playbook), "-e", json.dumps({"proxy_virtual_address": address})).stdout
        return set(changes(output).values())

    def holders(self) -> list[str]:
        listed = {
            name: host.run("ip", "-4", "-oneline", "address", check=False) for name, host in self.lab.hosts.items()
        }
        return [name for name, done in listed.items() if f" {self.address}/24 " in done.stdout]

    def holder(self) -> tuple[str, str]:
        """Who holds it, and the other one."""
        eventually(lambda: len(self.holders()) == 1, "one host holds the address")
        (name,) = self.holders()
        return name, next(other for other in self.lab.hosts if other != name)

    def said(self, host: str, what: str) -> int:
        """How often keepalived of a host has said something."""
        return self.lab.host(host).run("docker", "logs", KEEPALIVED, check=False).stderr.count(what)

    def kill_haproxy(self, host: str) -> None:
        self.lab.host(host).run("docker", "kill", HAPROXY)

    def start_haproxy(self, host: str) -> None:
        """Until the host could take the address again."""
        well = self.said(host, "VRRP_Script(haproxy) succeeded")
        self.lab.host(host).run("docker", "start", HAPROXY)
        eventually(lambda: self.said(host, "VRRP_Script(haproxy) succeeded") > well, "the check of HAProxy holds again")

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(self.address, 8080, timeout=0.5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().getheader("x-lastro-proxy") == "no-route"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Visitor:
    """Somebody who asks all the time, and notes how long nobody answered."""

    def __init__(self, proxies: Proxies) -> None:
        self.proxies = proxies
        self.outages: list[float] = []
        self.waits = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def outage(self) -> float:
        """The next one, when it is over: from the first request that failed to the first that was answered."""
        known = len(self.outages)
        eventually(lambda: len(self.outages) > known, "an outage that ends")
        return self.outages[known]

    def _ask(self) -> None:
        began = 0.0
        while not self._stop.wait(0.05):
            asked = time.monotonic()
            answered = self.proxies.answers()
            if answered and self.waits:
                self.outages.append(time.monotonic() - began)
            elif not answered and not self.waits:
                began = asked
            self.waits = not answered


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    source = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    source.write_text(HOSTS)
    return Wanted(source)


@pytest.fixture(scope="module")
def proxies(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Proxies:
    made = Proxies(lab, tmp_path_factory.mktemp("playbook") / "proxy.json")
    assert 0 not in made.play(f"{made.address}/24")
    return made


@pytest.fixture
def visitor(proxies: Proxies) -> Iterator[Visitor]:
    eventually(proxies.answers, "the address answers")
    with Visitor(proxies) as asking:
        yield asking


def test_one_host_holds_the_address_and_a_second_run_changes_nothing(proxies: Proxies, visitor: Visitor) -> None:
    before = proxies.holder()
    assert proxies.play(f"{proxies.address}/24") == {0}
    assert (proxies.holder(), visitor.outages, visitor.waits) == (before, [], False)


def test_where_haproxy_dies_the_other_host_answers_and_keeps_the_address(proxies: Proxies, visitor: Visitor) -> None:
    seconds = []
    for _ in range(3):
        holder, other = proxies.holder()
        proxies.kill_haproxy(holder)
        seconds.append(visitor.outage())
        assert proxies.holders() == [other]
        proxies.start_haproxy(holder)
    print(f"HAProxy killed: {seconds}")
    assert statistics.median(seconds) < SILENCE_SECONDS
    time.sleep(SILENCE_SECONDS + 1)
    assert (proxies.holders(), len(visitor.outages), visitor.waits) == ([other], 3, False)


def test_a_haproxy_that_has_all_the_connections_it_takes_keeps_the_address(proxies: Proxies) -> None:
    """Else the address would go round, and with it those who ask too much."""
    before, failed = proxies.holder(), [proxies.said(host, "Script(haproxy) failed") for host in proxies.lab.hosts]
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS + 5):
            stack.enter_context(socket.create_connection((proxies.address, 8080), timeout=5))
        assert not proxies.answers()
        time.sleep(SILENCE_SECONDS + 1)
    assert [proxies.said(host, "Script(haproxy) failed") for host in proxies.lab.hosts] == failed
    assert proxies.holder() == before


def test_a_keepalived_that_crashes_leaves_no_address_behind(proxies: Proxies) -> None:
    """The Engine starts it again, and until the other host takes over nobody has the address."""
    holder, other = proxies.holder()
    crash = "kill -KILL $(docker inspect --format '{{.State.Pid}}' " + KEEPALIVED + ")"
    proxies.lab.host(holder).run("sh", "-ec", crash)
    eventually(lambda: proxies.holders() == [other], "only the other host holds the address")


def test_a_host_without_power_loses_the_address_and_does_not_take_it_back(proxies: Proxies, visitor: Visitor) -> None:
    holder, other = proxies.holder()
    held = proxies.said(holder, "Entering MASTER STATE")
    waits = proxies.said(holder, "Entering BACKUP STATE")
    proxies.lab.power_off(holder)
    seconds = visitor.outage()
    print(f"holder without power: {seconds}")
    assert seconds < SILENCE_SECONDS + 2
    proxies.lab.power_on(holder)
    eventually(lambda: proxies.said(holder, "Entering BACKUP STATE") > waits, "it stands by")
    # Now it would take the address if the firewall kept the other's adverts from it: its kernel knows nobody yet.
    time.sleep(SILENCE_SECONDS + 1)
    assert proxies.said(holder, "Entering MASTER STATE") == held
    assert (proxies.holders(), len(visitor.outages), visitor.waits) == ([other], 1, False)


def test_hosts_that_do_not_hear_each_other_both_hold_it_until_they_do(proxies: Proxies) -> None:
    """What the tests above look for can be seen."""
    proxies.lab.cut("edge1", "edge2")
    try:
        eventually(lambda: proxies.holders() == ["edge1", "edge2"], "both hold the address")
    finally:
        proxies.lab.heal("edge1", "edge2")
    proxies.holder()


def test_without_the_option_there_is_no_address_and_haproxy_runs_on(proxies: Proxies) -> None:
    def haproxies() -> list[str]:
        look = ("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", HAPROXY)
        return [host.run(*look).stdout for host in proxies.lab.hosts.values()]

    before = haproxies()
    assert 0 not in proxies.play("")
    assert proxies.holders() == []
    assert haproxies() == before
    for host in proxies.lab.hosts.values():
        assert KEEPALIVED not in host.run("docker", "ps", "--all", "--format", "{{.Names}}").stdout
        assert "vrrp" not in host.run("nft", "list", "table", "inet", "lastro").stdout
