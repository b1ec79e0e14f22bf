# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role platform in the playbooks that deploy nothing, and the ports it asks to be free. This machine stands for every host."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.lastro.platform.plugins.module_utils._proxy import render_map

from tests.fleet import failures
from tests.integration.playbook import play
from tests.integration.registry_support import PASSWORD, closed_port
from tests.support import random_name

# Cannot be read without a release, as most users' files.
COMPOSE = """\
services:
  web:
    image: shop/web:${APP_RELEASE}
    healthcheck: {test: [CMD, "true"]}
    x-platform: {kind: worker, probe: [echo, "probe of ${APP_RELEASE}"], env_from_files: [TOKEN]}
"""
ALL = ("control", "registry", "postgres", "redis", "app", "proxy")


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    """What a prod inventory sets, a release excepted."""
    name = random_name()
    state = tmp_path / name
    (state / "proxy/maps").mkdir(parents=True)
    (state / "proxy/maps/colour.map").write_text(render_map("green"))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return {
        "platform_name": name,
        "platform_environment": "prod",
        "platform_id": name,
        "platform_state_dir": str(state),
        "platform_private_address": "127.0.0.1",
        "platform_disk_free_gb": 0.1,
        "platform_memory_mb": 100,
        "platform_secrets": {"registry_password": PASSWORD},
        "platform_secret_names": {},
        "platform_ports": [],
        "app_compose_file": str(tmp_path / "compose.yaml"),
        "app_secrets": {"TOKEN": "t"},
    }


@pytest.fixture
def serving(variables: dict[str, Any]) -> Iterator[None]:
    """A container of each colour, green with the newer release, and a volume."""
    client, name, made = docker.from_env(), variables["platform_name"], []
    volume = client.volumes.create(f"{name}_data")
    try:
        for colour, release in (("blue", "1.4"), ("green", "1.5")):
            labels = {"project": f"{name}-{colour}", "service": "web-1"}
            made.append(
                client.containers.run(
                    "lastro/base:trixie",
                    ["sleep", "300"],
                    name=f"{name}-{colour}-web-1-1",
                    labels={f"com.docker.compose.{key}": value for key, value in labels.items()}
                    | {"lastro.service": "web", "lastro.release": release},
                    detach=True,
                    init=True,
                )
            )
        yield
    finally:
        for container in made:
            container.remove(force=True)
        volume.remove()


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(("given", "probed"), [({}, "1.5"), ({"app_release": "1.6"}, "1.6")])
def test_status_asks_what_serves_where_no_release_is_named(
    tmp_path: Path, variables: dict[str, Any], given: dict[str, str], probed: str
) -> None:
    groups = {"app": {"hosts": {"app1": {}}}, "proxy": {"hosts": {"app1": {}}}}
    done = play(tmp_path, "status", groups, {"app1": {}}, {**variables, **given})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"web \(green\)\s+running\s+1\.5", done.stdout)
    assert re.search(rf"yes +web does its work +probe of {probed}\n", done.stdout), done.stdout
    assert re.search(r"yes +secrets referenced", done.stdout)
    # A host is asked once more only where nobody named the release; skipped tasks are not shown.
    assert ("Find the release that serves" in done.stdout) is not bool(given)


def test_status_of_a_platform_that_serves_nothing_says_so(tmp_path: Path, variables: dict[str, Any]) -> None:
    groups = {"app": {"hosts": {"app1": {}}}, "proxy": {"hosts": {"app1": {}}}}
    done = play(tmp_path, "status", groups, {"app1": {}}, variables)
    assert done.returncode
    assert "Not done: persistent volumes, every service well." in done.stdout
    assert "APP_RELEASE" not in done.stdout
    assert re.search(r"- +secrets referenced +no release runs that could be asked", done.stdout), done.stdout


def test_prune_needs_no_release_and_a_deploy_does(tmp_path: Path, variables: dict[str, Any]) -> None:
    groups = {group: {"hosts": {"one": {}}} for group in ALL}
    elsewhere = {
        "registry_prune_address": closed_port(),
        "registry_password": PASSWORD,
        "images_digests": {"a/b:1": "sha256:" + "0" * 64},
    }
    done = play(tmp_path, "prune", groups, {"one": {}}, {**variables, **elsewhere}, "--check")
    # All the way to the registry, of which there is none here.
    said = done.stdout.replace("\n    ", " ")
    assert f"The registry {elsewhere['registry_prune_address']} is down: nothing listens there." in said, done.stdout
    assert "app_release" not in done.stdout
    refused = play(tmp_path, "deploy", groups, {"one": {}}, variables, "--check")
    assert "app_release is not set, and prod deploys only a release that is named." in refused.stdout


@pytest.mark.parametrize(("group", "variable"), [("proxy", "proxy_metrics_port"), ("registry", "registry_port")])
def test_a_port_is_asked_for_on_the_hosts_of_its_group(
    tmp_path: Path, variables: dict[str, Any], group: str, variable: str
) -> None:
    del variables["platform_ports"]
    look = [{"hosts": "all", "gather_facts": False, "roles": ["lastro.platform.platform"]}]
    given = {**variables, "app_release": "1", "platform_needs": [], "proxy_http_port": 0, "proxy_https_port": 0}
    groups = {group: {"hosts": {"mine": {}}}, "monitoring": {"hosts": {"other": {}}}}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = play(tmp_path, look, groups, {}, {**given, variable: port}, "--check")
    said = done.stdout.replace("\n    ", " ")
    assert f"Port {port} on 127.0.0.1, which {variables['platform_name']}-{group} needs, is taken by" in said, (
        done.stdout
    )
    assert re.search(r"^mine .*failed=1 ", said, re.MULTILINE)
    assert re.search(r"^other .*failed=0 ", said, re.MULTILINE)


def test_what_is_not_well_before_is_said_and_stops_nothing(tmp_path: Path, variables: dict[str, Any]) -> None:
    roles = [{"role": "lastro.platform.platform", "vars": {"platform_leased": True}}]
    look = [{"hosts": "all", "gather_facts": False, "roles": roles}]
    checks = [{"name": name, "type": "command", "argv": [f"/bin/{name}"]} for name in ("true", "false")]
    given = {**variables, "app_release": "1", "platform_needs": [], "platform_warning_checks": checks}
    groups = {"proxy": {"hosts": {"one": {}}}, "app": {"hosts": {"one": {}}}}
    done = play(tmp_path, look, groups, {}, given, "--check")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "Not well before this run, which goes on, as it may be the cure: FAIL false" in said, said
    assert "FAIL true" not in said


def test_an_address_that_nobody_could_take_over_is_refused(tmp_path: Path, variables: dict[str, Any]) -> None:
    look = [{"hosts": "all", "gather_facts": False, "roles": ["lastro.platform.platform"]}]
    wrong = {
        "proxy_virtual_address": "203.0.113.10/24",
        "proxy_virtual_router_id": 0,
        "proxy_bind_address": "203.0.113.9",
    }
    groups = {"proxy": {"hosts": {"mine": {}}}, "monitoring": {"hosts": {"other": {}}}}
    done = play(tmp_path, look, groups, {}, {**variables, "app_release": "1", "platform_needs": [], **wrong}, "--check")
    said = failures(done.stdout)
    assert set(said) == {"mine"}, done.stdout
    for problem in (
        "mine is alone in the group proxy",
        "proxy_virtual_router_id is 0",
        "proxy_bind_address is 203.0.113.9",
    ):
        assert problem in said["mine"]
