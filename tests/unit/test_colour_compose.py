# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the user's file to the Compose projects of a colour, its jobs and its singletons: real files, every rule a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.compose_tree import Tree, spec

LABELS = {"lastro.platform": "shop", "lastro.service": "app", "lastro.release": "r1", "lastro.colour": "blue"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "app").mkdir()
    return Tree(tmp_path / "app")


def test_a_worker_as_it_comes_out(tree: Tree) -> None:
    project = tree.app("build: .\ncontainer_name: x\nports: ['80:80']\nprofiles: [a]\nscale: 2", profiles=("a",))
    assert project.compose == {
        "services": {
            "app": {
                "image": "shop/app:1",
                "restart": "unless-stopped",
                "security_opt": ["no-new-privileges:true"],
                "pids_limit": 512,
                "labels": LABELS,
                "deploy": {"replicas": 2},
            }
        }
    }
    assert project.files == []


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        # What is not ours is passed on as it is.
        (
            "healthcheck: {test: [CMD-SHELL, 'test $$X = 1'], interval: 5s, retries: 3, disable: false}",
            "healthcheck",
            {"test": ["CMD-SHELL", "test $X = 1"], "interval": "5s", "retries": 3, "disable": False},
        ),
        ("command: []", "command", []),
        ("command: run it", "command", "run it"),
        ("entrypoint: ['']", "entrypoint", [""]),
        ("restart: no", "restart", "no"),
        ("security_opt: ['seccomp:x']", "security_opt", ["seccomp:x"]),
        ("stop_grace_period: 1m30s", "stop_grace_period", "1m30s"),
        ("cpus: 0.50", "cpus", 0.5),
        ("pids_limit: 64", "pids_limit", 64),
        ("pids_limit: -1", "pids_limit", -1),
        ("deploy: {resources: {limits: {cpus: '2'}}}", "pids_limit", 512),
        ("deploy: {resources: {limits: {cpus: '2'}}}", "deploy", {"resources": {"limits": {"cpus": "2"}}}),
        (
            "deploy: {replicas: 3, resources: {limits: {cpus: '2'}}}",
            "deploy",
            {"replicas": 3, "resources": {"limits": {"cpus": "2"}}},
        ),
        # Labels and environments in both forms.
        ("labels: {a: 1, b: true, c: , d: x=y}", "labels", {"a": "1", "b": "true", "c": "", "d": "x=y", **LABELS}),
        ("labels: [a=1, b, c=x=y]", "labels", {"a": "1", "b": "", "c": "x=y", **LABELS}),
        ("labels: {lastro.platform: mine}", "labels", LABELS),
        (
            "environment: {A: 1, B: true, C: no, D: '', E: 1.10, F: a=b, G: 1e3, 1: x}",
            "environment",
            {"A": "1", "B": "true", "C": "no", "D": "", "E": "1.1", "F": "a=b", "G": "1000", "1": "x"},
        ),
        ("environment: [A=1, B=a=b=, C=, 'D=x y']", "environment", {"A": "1", "B": "a=b=", "C": "", "D": "x y"}),
        ("environment: {GIVEN: }", "environment", {"GIVEN": "from app_env"}),
        ("environment: [GIVEN]", "environment", {"GIVEN": "from app_env"}),
        ("environment: {A: '5$$abc'}", "environment", {"A": "5$abc"}),
        # extra_hosts in every form.
        ("extra_hosts: ['a:1.2.3.4', 'b=::1']", "extra_hosts", ["a:1.2.3.4", "b=::1"]),
        ("extra_hosts: {a: 1.2.3.4, b: [1.1.1.1, '::1']}", "extra_hosts", ["a:1.2.3.4", "b:1.1.1.1", "b:::1"]),
        # Volumes in every form.
        ("volumes: ['/etc/ssl:/ssl:ro,z', '/tmp']", "volumes", ["/etc/ssl:/ssl:ro,z", "/tmp"]),
        ("volumes: [{type: tmpfs, target: /t}]", "volumes", [{"type": "tmpfs", "target": "/t"}]),
        (
            "volumes: [{type: bind, source: /etc/ssl, target: /ssl, read_only: true}]",
            "volumes",
            [{"type": "bind", "source": "/etc/ssl", "target": "/ssl", "read_only": True}],
        ),
    ],
)
def test_value(tree: Tree, lines: str, key: str, value: Any) -> None:
    assert spec(tree.app(lines, variables={"GIVEN": "from app_env"}))[key] == value


def test_a_limit_of_processes_that_the_file_sets_elsewhere_is_the_only_one(tree: Tree) -> None:
    given = spec(tree.app("deploy: {resources: {limits: {pids: 99}}}"))
    assert given["deploy"] == {"resources": {"limits": {"pids": 99}}}
    assert "pids_limit" not in given


def test_the_inventory_gives_the_limit_of_processes_to_all_kinds(tree: Tree) -> None:
    compiler = tree.compiler(KINDS, pids_limit=2048)
    for project in (compiler.colour("green"), compiler.jobs(), compiler.singletons()):
        assert {service["pids_limit"] for service in project.compose["services"].values()} == {2048}


def test_copies_are_services_with_fixed_ports_and_one_alias(tree: Tree) -> None:
    text = """\
    services:
      web: {image: a, x-platform: {route: {}, port: 8000, port_slot: 1, replicas: 2}}
      worker: {image: a, depends_on: [web]}
    """
    blue, green = (tree.compiler(text).colour(colour).compose["services"] for colour in ("blue", "green"))
    assert list(blue) == ["web-1", "web-2", "worker"]
    assert [blue[name]["ports"] for name in ("web-1", "web-2")] == [["10.0.0.5:18004:8000"], ["10.0.0.5:18005:8000"]]
    assert [green[name]["ports"] for name in ("web-1", "web-2")] == [["10.0.0.5:18260:8000"], ["10.0.0.5:18261:8000"]]
    assert blue["web-1"]["networks"] == blue["web-2"]["networks"] == {"default": {"aliases": ["web"]}}
    assert blue["web-2"]["labels"] == {**LABELS, "lastro.service": "web"}
    assert "deploy" not in blue["web-1"]
    assert blue["worker"]["depends_on"] == {
        "web-1": {"condition": "service_started"},
        "web-2": {"condition": "service_started"},
    }


def test_no_copies(tree: Tree) -> None:
    assert tree.app("x-platform: {route: {}, port: 80, replicas: 0}").compose == {"services": {}}


@pytest.mark.parametrize(
    ("networks", "wanted"),
    [
        ("[a, b]", {"a": {"aliases": ["app"]}, "b": {"aliases": ["app"]}}),
        ("{a: , b: {aliases: [x, app]}}", {"a": {"aliases": ["app"]}, "b": {"aliases": ["app", "x"]}}),
    ],
)
def test_alias_on_every_network(tree: Tree, networks: str, wanted: dict[str, Any]) -> None:
    tail = "networks: {a: {internal: true}, b: , unused: }\n"
    project = tree.app(f"networks: {networks}\nx-platform: {{route: {{}}, port: 80}}", tail)
    assert spec(project, "app-1")["networks"] == wanted
    assert project.compose["networks"] == {"a": {"internal": True}, "b": {}}


@pytest.mark.parametrize("kind", ["worker", "singleton", "web, port: 80"])
def test_options_of_the_default_network_are_kept_and_its_name_is_not(tree: Tree, kind: str) -> None:
    text = f"""\
    name: shop
    services: {{app: {{image: a, x-platform: {{kind: {kind}}}}}}}
    networks: {{default: {{name: shop_default, driver_opts: {{mtu: 1400}}}}}}
    """
    compiler = tree.compiler(text)
    project = compiler.singletons() if kind == "singleton" else compiler.colour("blue")
    assert project.compose["networks"] == {"default": {"driver_opts": {"mtu": 1400}}}


@pytest.mark.parametrize("entry", ["'data:/d'", "{type: volume, source: data, target: /d}", "'data:/d:ro'"])
def test_named_volumes_are_external_and_the_same_in_both_colours(tree: Tree, entry: str) -> None:
    tail = "volumes: {data: {name: old, x-platform: {shared: true}, labels: {a: b}}, unused: }\n"
    assert tree.app(f"volumes: [{entry}]", tail).compose["volumes"] == {
        "data": {"external": True, "name": "shop_data", "x-platform": {"create": True}}
    }


KINDS = """\
services:
  web:
    image: a
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy}
      cron: {condition: service_started}
      worker: {condition: service_healthy, restart: true}
    x-platform: {route: {}, port: 80}
  worker: {image: a, depends_on: [db]}
  seed: {image: a, restart: always, depends_on: [migrate], x-platform: {kind: seed}}
  other: {image: a, x-platform: {kind: job}}
  migrate: {image: a, depends_on: [db], x-platform: {kind: migrate}}
  cron: {image: a, restart: always, depends_on: [db, worker], x-platform: {kind: singleton}}
  db: {image: 'postgres:17', x-platform: {provided: postgres}}
"""


def test_who_is_in_which_project(tree: Tree) -> None:
    compiler = tree.compiler(KINDS)
    assert list(compiler.colour("blue").compose["services"]) == ["web-1", "worker"]
    assert list(compiler.jobs().compose["services"]) == ["seed", "migrate"]
    assert list(compiler.singletons().compose["services"]) == ["cron"]


def test_depends_on_names_only_the_same_project(tree: Tree) -> None:
    compiler = tree.compiler(KINDS)
    colour = compiler.colour("blue").compose["services"]
    assert colour["web-1"]["depends_on"] == {"worker": {"condition": "service_healthy", "restart": True}}
    assert "depends_on" not in colour["worker"]
    assert "depends_on" not in compiler.singletons().compose["services"]["cron"]


def test_jobs_run_once_and_seeds_after_migrations(tree: Tree) -> None:
    jobs = tree.compiler(KINDS).jobs().compose["services"]
    assert jobs["migrate"]["x-platform"] == jobs["seed"]["x-platform"] == {"one_shot": True}
    assert jobs["migrate"]["restart"] == jobs["seed"]["restart"] == "no"
    assert "depends_on" not in jobs["migrate"]
    assert jobs["seed"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert "lastro.colour" not in jobs["migrate"]["labels"]


def test_a_singleton_keeps_its_restart_policy(tree: Tree) -> None:
    cron = tree.compiler(KINDS).singletons().compose["services"]["cron"]
    assert (cron["restart"], "lastro.colour" in cron["labels"]) == ("always", False)


@pytest.mark.parametrize(
    ("provided", "hosts"), [({"db": "10.1.1.1"}, ["db:10.1.1.1"]), ({}, None), ({"x": "1.1.1.1"}, None)]
)
def test_what_is_provided_is_found_by_its_name(tree: Tree, provided: dict[str, str], hosts: list[str] | None) -> None:
    worker = tree.compiler(KINDS, provided=provided).colour("blue").compose["services"]["worker"]
    assert worker.get("extra_hosts") == hosts
