# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/stage on three hosts over SSH: promoted, deployed, scanned, rebooted. The tests follow one another."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.fleet import PORTS, VAULT, Fleet, changes
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import REPOSITORY

pytest_plugins = ["tests.lab.fixtures"]

APPLICATION_PORTS = range(18000, 18512)


@pytest.fixture(scope="module")
def wanted() -> Wanted:
    return Wanted(REPOSITORY / "inventories/stage", strangers=("scanner",), contents="images")


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Iterator[Fleet]:
    made = Fleet(lab, proxy="edge1", registry="edge1")
    yield made
    made.forget()


def test_a_release_is_promoted_once(fleet: Fleet) -> None:
    fleet.play("promote")
    digests = yaml.safe_load(fleet.digests.read_text())["images_digests"]
    assert {"lastro/postgres:17", "lastro/redis:8", "lastro/haproxy:3.0", "lastro/reference_app:one"} <= set(digests)
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in digests.values())
    assert set(changes(fleet.play("promote")).values()) == {0}


def test_check_then_deploy_then_nothing_to_do(fleet: Fleet) -> None:
    fleet.play("deploy", "--check")
    output = fleet.play("deploy")
    assert fleet.get("/version") == {"release": "one"}
    for host, service in (("app1", "web (blue)"), ("data1", "postgres"), ("edge1", "haproxy (proxy)")):
        assert re.search(rf"{host}\s+{re.escape(service)}\s+healthy", output), output[-3000:]
    assert set(changes(fleet.play("deploy")).values()) == {0}
    assert set(changes(fleet.play("deploy", "--check", "--diff")).values()) == {0}
    assert "yes   checks through the proxy green" in fleet.play("status")


def test_no_host_built_an_image(fleet: Fleet) -> None:
    for host, image in (("app1", "lastro/reference_app"), ("data1", "lastro/postgres"), ("edge1", "lastro/haproxy")):
        found = fleet.lab.host(host).run("docker", "images", "--digests", "--format", "{{.Repository}} {{.Digest}}")
        assert any(image in line and "sha256:" in line for line in found.stdout.splitlines()), found.stdout


@pytest.mark.parametrize(("host", "expected"), [("app1", {22}), ("data1", {22}), ("edge1", {22, 80, 443})])
def test_a_stranger_finds_ssh_and_the_proxy(fleet: Fleet, host: str, expected: set[int]) -> None:
    ports = [*PORTS, *APPLICATION_PORTS]
    assert fleet.open_ports(host, ports) == expected
    # The scan can see: without the firewall there is more.
    if host == "data1":
        fleet.lab.host(host).run("nft", "delete", "table", "inet", "lastro")
        assert {5432, 6379} <= fleet.open_ports(host, PORTS)
        assert changes(fleet.play("deploy")) == {"app1": 0, "data1": 1, "edge1": 0}
        assert fleet.open_ports(host, PORTS) == expected


def test_no_secret_shows(fleet: Fleet) -> None:
    view = [str(REPOSITORY / ".venv/bin/ansible-vault"), "view", "--vault-password-file", str(VAULT)]
    vault = subprocess.run(
        [*view, "inventories/stage/group_vars/all/vault.yml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    values = yaml.safe_load(vault.stdout)["platform_secrets"]
    shown = fleet.play("deploy", "--diff", "-vvv", app_release="one")
    for host in fleet.lab.hosts:
        if host != "scanner":
            shown += (
                fleet.lab.host(host).run("sh", "-c", "docker inspect $(docker ps -aq); journalctl --no-pager").stdout
            )
    assert len(values) > 8
    assert [name for name, value in values.items() if value in shown] == []


def test_another_release_reaches_the_fleet(fleet: Fleet) -> None:
    refused = fleet.play("deploy", check=False, app_release="two")
    assert "lastro/reference_app:two" in refused
    assert "promote" in refused
    assert set(changes(refused).values()) == {0}
    fleet.play("promote", app_release="two")
    fleet.play("deploy", app_release="two")
    assert fleet.get("/version") == {"release": "two"}


def test_a_host_of_another_platform_is_refused(fleet: Fleet) -> None:
    refused = fleet.play("deploy", check=False, app_release="two", platform_id="somebody-else")
    assert "belongs to the platform lastro-stage-6a0c" in " ".join(refused.split())
    assert set(changes(refused).values()) == {0}


@pytest.mark.parametrize("host", ["app1", "data1", "edge1"])
def test_a_rebooted_host_serves_again(fleet: Fleet, host: str) -> None:
    fleet.lab.reboot(host)
    fleet.serves()
    assert fleet.open_ports(host, PORTS) <= {22, 80, 443}


def test_a_host_that_is_off_stops_the_run_before_any_change(fleet: Fleet) -> None:
    fleet.lab.power_off("data1")
    try:
        refused = fleet.play("deploy", check=False, app_release="two")
    finally:
        fleet.lab.power_on("data1")
    assert re.search(r"data1\s+: .*unreachable=1", refused), refused[-2000:]
    assert set(changes(refused).values()) == {0}
    fleet.serves()
    assert set(changes(fleet.play("deploy", app_release="two")).values()) == {0}
