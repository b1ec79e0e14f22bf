# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/stage on three hosts over SSH: promoted, deployed, scanned, rebooted. The tests follow one another."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fleet import PORTS, VAULT, Fleet, Watch, changes, failures
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import REPOSITORY

pytest_plugins = ["tests.lab.fixtures"]

STRANGERS = ("scanner", "app2")
# What app2 is later on.
JOINED = ("app", "proxy")
APPLICATION_PORTS = range(18000, 18512)
# All hosts of a lab share one clock. On one of them Ansible is given a Python whose clock is ten minutes late.
LATE = "/opt/late"
LATE_CLOCK = "import time\ntrue = time.time\ntime.time = lambda: true() - 600\n"


@pytest.fixture(scope="module")
def wanted() -> Wanted:
    return Wanted(REPOSITORY / "inventories/stage", strangers=STRANGERS, contents="images")


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


def test_what_deploys_nothing_needs_no_release(fleet: Fleet) -> None:
    assert "yes   checks through the proxy green" in fleet.play("status", app_release=None)
    assert "Would go: no image" in fleet.play("prune", "--check", app_release=None)


def test_the_key_of_the_ca_is_on_one_host(fleet: Fleet) -> None:
    find = ("find", "/var/lib/lastro", "/etc", "/root", "/home", "-name", "ca.key")
    keys = {host: fleet.lab.host(host).run(*find).stdout.split() for host in ("app1", "data1", "edge1")}
    assert keys == {"app1": [], "data1": [], "edge1": ["/var/lib/lastro/lastro/secrets/tls/ca.key"]}


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
        if host not in STRANGERS:
            shown += (
                fleet.lab.host(host).run("sh", "-c", "docker inspect $(docker ps -aq); journalctl --no-pager").stdout
            )
    assert len(values) > 8
    assert [name for name, value in values.items() if value in shown] == []


def refused(fleet: Fleet, *arguments: str, **variables: Any) -> dict[str, str]:
    return fleet.refused(*arguments, **{"app_release": "two", **variables})


def test_another_release_reaches_the_fleet(fleet: Fleet) -> None:
    said = refused(fleet)
    assert set(said) == {"app1"}
    assert "no digest for lastro/reference_app:two" in said["app1"]
    assert "Promote them: playbooks/promote.yml" in said["app1"]
    fleet.play("promote", app_release="two")
    fleet.play("deploy", app_release="two")
    assert fleet.get("/version") == {"release": "two"}


def test_a_part_of_the_inventory_is_refused(fleet: Fleet) -> None:
    said = refused(fleet, "--limit", "app1")
    assert set(said) == {"app1"}
    assert "--limit leaves out data1, edge1. Leave --limit off" in said["app1"]


def test_a_host_without_python_is_refused(fleet: Fleet) -> None:
    app = fleet.lab.host("app1")
    python = app.run("readlink", "-f", "/usr/bin/python3").stdout.strip()
    app.run("mv", python, "/root/python")
    try:
        said = refused(fleet)
    finally:
        app.run("mv", "/root/python", python)
    assert set(said) == {"app1"}
    assert "There is no Python at /usr/bin/python3. Install one (`apt-get install python3`)" in said["app1"]


def test_a_wrong_key_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    # A connection that the right key opened stays open for a minute.
    fleet.lab.access.control_socket("app1").unlink(missing_ok=True)
    said = refused(fleet, *fleet.told({"app1": {"ansible_ssh_private_key_file": str(key)}}))
    assert set(said) == {"app1"}
    assert f"root@{fleet.lab.addresses['app1']}: Permission denied (publickey). The host takes none of" in said["app1"]
    assert "Give the right one in `ansible_ssh_private_key_file`" in said["app1"]


def test_full_disks_and_a_wrong_clock_are_told_in_one_run(fleet: Fleet) -> None:
    late = {"python": f'#!/bin/sh\nPYTHONPATH={LATE} exec python3 "$@"\n', "sitecustomize.py": LATE_CLOCK}
    edge = fleet.lab.host("edge1")
    edge.run("mkdir", LATE)
    fleet.lab.fill("data1", leave_mb=200)
    try:
        for name, text in late.items():
            edge.run("sh", "-c", f"cat >{LATE}/{name} && chmod 755 {LATE}/{name}", stdin=text)
        said = refused(fleet, *fleet.told({"edge1": {"ansible_python_interpreter": f"{LATE}/python"}}))
    finally:
        fleet.lab.free("data1")
        edge.run("rm", "-r", LATE)
    assert set(said) == {"data1", "edge1"}
    assert "0.2 GiB are free for /var/lib/lastro/lastro, 6 are needed. Free some" in said["data1"]
    assert re.search(r"The clock of this host is (59|60)\d s behind the controller's, 60 are allowed", said["edge1"])
    assert "Synchronise both (`timedatectl set-ntp true`, or chrony)" in said["edge1"]


def test_a_deploy_beside_another_is_refused(fleet: Fleet) -> None:
    # A run of another machine, of which nobody knows here whether it is alive.
    edge, until = fleet.lab.host("edge1"), time.time() + 300
    holder = {
        "who": "ana",
        "where": "ci-7 (pid 4242)",
        "doing": "release of two",
        "process": {"boot": "another", "pid": 4242},
    }
    lease = {"number": 41, "run": "elsewhere", "until": until, "since": until - 600, "seconds": 600, "holder": holder}
    path = "/var/lib/lastro/lastro/lease.json"
    before = json.loads(edge.run("cat", path).stdout)
    edge.run("sh", "-c", f"cat >{path}", stdin=json.dumps(lease))
    said = refused(fleet)
    assert set(said) == {"edge1"}
    assert "being changed by run 41 (release of two, by ana from ci-7 (pid 4242), since " in said["edge1"]
    assert "being changed by run 41" in " ".join(fleet.play("destroy", check=False).split())
    fleet.serves()
    fleet.play("deploy", app_release="two", platform_lease_take_over=41)
    after = json.loads(edge.run("cat", path).stdout)
    assert (before["until"], after["until"], after["number"]) == (0, 0, 42)
    # Whoever knows that it is over, as the CI that ran it does, gives it back by its name.
    edge.run("sh", "-c", f"cat >{path}", stdin=json.dumps({**lease, "number": 43}))
    fleet.play("return", platform_run="another")
    assert json.loads(edge.run("cat", path).stdout)["until"] == until
    fleet.play("return", platform_run="elsewhere")
    assert json.loads(edge.run("cat", path).stdout)["until"] == 0


def test_another_platform_with_the_same_ports_is_refused(fleet: Fleet) -> None:
    # Its proxy and registry would have ports of their own: nothing stands in the way on edge1, which stays as it is, too.
    ports = {"proxy_http_port": 9080, "proxy_https_port": 9443, "proxy_metrics_port": 9404, "registry_port": 9000}
    said = refused(fleet, platform_name="other", platform_id="other", **ports)
    assert set(said) == {"app1", "data1"}
    for host, port, project, container in (
        ("app1", r"18\d\d\d", "(blue|green)", r"web-\d-1"),
        ("data1", "5432", "postgres", "postgres-1"),
        ("data1", "6379", "redis", "redis-1"),
    ):
        taken = rf"Port {port} on \S+, which other-{project} needs, is taken by the container lastro-{project}-{container} of"
        assert re.search(taken, said[host]), said[host]
        assert "Stop that, or choose another port." in said[host]
    for host in ("app1", "data1", "edge1"):
        assert fleet.lab.host(host).run("test", "-e", "/var/lib/lastro/other", check=False).returncode == 1


@pytest.mark.parametrize("name", ["lastro", "other"])
def test_the_directory_of_another_platform_is_refused(fleet: Fleet, name: str) -> None:
    said = refused(fleet, platform_name=name, platform_id="another", platform_state_dir="/var/lib/lastro/lastro")
    assert set(said) == {"app1", "data1", "edge1"}
    for problems in said.values():
        assert (
            "/var/lib/lastro/lastro belongs to the platform lastro-stage-6a0c, and this inventory is another. Give"
            in problems
        )


def test_the_same_name_with_another_directory_is_refused(fleet: Fleet) -> None:
    said = refused(fleet, platform_id="another", platform_state_dir="/srv/lastro")
    assert set(said) == {"app1", "data1", "edge1"}
    for host, problems in said.items():
        assert (
            "/var/lib/lastro/lastro belongs to the platform lastro-stage-6a0c, and this inventory is another. Give"
            in problems
        )
        assert fleet.lab.host(host).run("test", "-e", "/srv/lastro", check=False).returncode == 1


def test_a_digest_that_does_not_exist_and_a_sick_registry_are_refused(fleet: Fleet) -> None:
    digests = yaml.safe_load(fleet.digests.read_text())["images_digests"]
    unknown = {**digests, "lastro/reference_app:two": f"sha256:{'0' * 64}"}
    said = refused(fleet, images_digests=unknown)
    assert set(said) == {"app1"}
    assert (
        f"The registry {fleet.registry}:5000 does not hold what images_digests names: lastro/reference_app:two"
        in said["app1"]
    )
    assert "Promote it (playbooks/promote.yml with this inventory), or correct the digest." in said["app1"]
    edge = fleet.lab.host("edge1")
    volume = ("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", "lastro_registry_data")
    repositories = edge.run(*volume).stdout.strip() + "/docker/registry/v2/repositories"
    edge.run("chmod", "000", repositories)
    try:
        said = refused(fleet, images_digests=unknown)
    finally:
        edge.run("chmod", "755", repositories)
    assert set(said) == {"app1"}
    assert f"The registry {fleet.registry}:5000 answers 500 to /v2/lastro/reference_app/manifests" in said["app1"]
    assert "Read its log on that host (`docker logs`)" in said["app1"]


def test_a_lost_ca_is_not_replaced(fleet: Fleet) -> None:
    edge, kept = fleet.lab.host("edge1"), "/var/lib/lastro/lastro/secrets/tls"
    edge.run("mv", kept, "/root/tls")
    try:
        said = refused(fleet)
    finally:
        edge.run("mv", "/root/tls", kept)
    assert set(said) == {"edge1"}
    assert "lastro-postgres on data1" in said["edge1"]


@pytest.mark.parametrize("host", ["app1", "data1", "edge1"])
def test_a_rebooted_host_serves_again(fleet: Fleet, host: str) -> None:
    fleet.lab.reboot(host)
    fleet.serves()
    assert fleet.open_ports(host, PORTS) <= {22, 80, 443}


def test_a_host_that_is_off_stops_the_run_before_any_change(fleet: Fleet) -> None:
    fleet.lab.power_off("data1")
    try:
        said = refused(fleet)
    finally:
        fleet.lab.power_on("data1")
    assert set(said) == {"data1"}
    assert "See that the host is on" in said["data1"]
    fleet.serves()


def test_after_all_that_there_is_nothing_to_do(fleet: Fleet) -> None:
    assert set(changes(fleet.play("deploy", app_release="two")).values()) == {0}


def test_a_host_that_joins_starts_a_new_release_with_the_others(fleet: Fleet) -> None:
    """It serves the application, and is a second proxy besides."""
    joining = fleet.joining("app2", *JOINED)
    fleet.play("promote", *joining, app_release="three")
    with Watch(fleet) as seen:
        output = fleet.play("deploy", *joining, app_release="three")
    # Not a request reached the new release before the proxy was switched to it, on whichever host.
    assert (seen.failures, seen.releases) == ([], ["two", "three"])
    assert fleet.get("/version", "app2") == {"release": "three"}
    colours = {re.search(rf"{host}\s+web \((\w+)\)\s+healthy", output)[1] for host in ("app1", "app2")}
    assert len(colours) == 1, output[-3000:]
    assert set(changes(fleet.play("deploy", *joining, app_release="three")).values()) == {0}


def test_a_release_that_fails_on_one_host_is_stopped_on_all(fleet: Fleet) -> None:
    joining = fleet.joining("app2", *JOINED, app_env={"APP_FAULT": "never_healthy"}, app_start_seconds=20)
    fleet.play("promote", *joining, app_release="four")
    with Watch(fleet, "edge1", "app2") as seen:
        done = fleet.play("deploy", *joining, check=False, app_release="four")
    assert (seen.failures, seen.releases) == ([], ["three"])
    said = failures(done)
    assert set(said) == {"app2"}
    assert re.match(r"Release four did not pass on app2: Service web-\d \(container", said["app2"])
    assert "It was stopped on every host." in said["app2"]
    for host in ("app1", "app2"):
        running = fleet.lab.host(host).run("docker", "ps", "--format", "{{.Image}}").stdout
        assert "reference_app" in running
        assert ":four" not in running
    joining = fleet.joining("app2", *JOINED)
    assert set(changes(fleet.play("deploy", *joining, app_release="three")).values()) == {0}


def test_destroy_refuses_another_platforms_hosts(fleet: Fleet) -> None:
    done = fleet.play("destroy", check=False, platform_id="another")
    assert "belongs to the platform lastro-stage-6a0c" in " ".join(done.split())
    assert set(changes(done).values()) == {0}
    fleet.serves()


def test_destroy_takes_the_platform_and_its_firewall_and_keeps_the_data(fleet: Fleet) -> None:
    joining = fleet.joining("app2", *JOINED)
    fleet.play("destroy", *joining)
    for host in ("app1", "app2", "data1", "edge1"):
        assert fleet.lab.host(host).run("docker", "ps", "--all", "--quiet").stdout == ""
        assert "inet lastro" not in fleet.lab.host(host).run("nft", "list", "tables").stdout
        assert fleet.open_ports(host, PORTS) == {22}
    assert "lastro_postgres_data" in fleet.lab.host("data1").run("docker", "volume", "ls", "--quiet").stdout.split()
    # It came by SSH, and so it does again.
    assert set(changes(fleet.play("destroy", *joining)).values()) == {0}
