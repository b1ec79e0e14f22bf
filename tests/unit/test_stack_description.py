# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Compose dict says its services are made from, and the document that Compose gets of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _stack as stack
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack import Reload, Service
from ansible_collections.lastro.platform.plugins.module_utils._stack_document import labelled

DIRECTORY = "/var/lib/lastro/shop/proxy"
USR2 = Reload(files=("config/*.map",), signals=("USR2",))

COMPOSE: dict[str, Any] = {
    "services": {
        "haproxy": {
            "image": "lastro/haproxy:3.0",
            "volumes": ["./config:/config:ro", "data:/data", "/etc/ssl:/ssl:ro"],
            "networks": {"front": {"aliases": ["proxy"]}},
            "x-platform": {"reload": [{"files": ["config/*.map"], "signal": "USR2"}]},
        },
        "worker": {"image": "shop/worker:1", "depends_on": ["haproxy"], "env_file": "worker.env"},
    },
    "networks": {"front": {"internal": True}, "back": {}},
    "volumes": {"data": {"name": "shop_data"}},
}
FILES = {"config/haproxy.cfg": "c1", "config/colour.map": "m1", "worker.env": "e1", "secrets/key": "s1"}


def described(change: Any = None, files: dict[str, str] | None = None, **options: Any) -> dict[str, Service]:
    compose = copy.deepcopy(COMPOSE)
    if change:
        change(compose)
    found = stack.desired_services(
        compose, DIRECTORY, FILES if files is None else files, options.pop("hold", ()), **options
    )
    return {service.name: service for service in found}


def test_description() -> None:
    services = described(hold=["haproxy"])
    haproxy, worker = services["haproxy"], services["worker"]
    assert haproxy == Service(
        name="haproxy",
        image="lastro/haproxy:3.0",
        replicas=1,
        definition=haproxy.definition,
        files=stack.digest({"config/haproxy.cfg": "c1"}),
        reloads=(USR2,),
        reloadable={"config/colour.map": "m1"},
        networks=("front",),
        volumes=("data",),
        hold=True,
    )
    assert worker.files == stack.digest({"worker.env": "e1"})
    assert (worker.depends_on, worker.networks, worker.hold) == ({"haproxy": "service_started"}, ("default",), False)


def _set(service: str, key: str, value: Any) -> Any:
    return lambda compose: compose["services"][service].update({key: value})


def _top(section: str, value: Any) -> Any:
    return lambda compose: compose.update({section: value})


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        pytest.param(_set("haproxy", "image", "lastro/haproxy:3.1"), ["haproxy"], id="image"),
        pytest.param(_set("worker", "environment", {"A": "1"}), ["worker"], id="environment"),
        pytest.param(_top("networks", {"front": {"internal": False}}), ["haproxy"], id="a network it is on"),
        pytest.param(
            _top("networks", {"front": {"internal": True}, "back": {"internal": True}}), [], id="another network"
        ),
        pytest.param(
            _top("networks", {"front": {"internal": True}, "default": {"internal": True}}),
            ["worker"],
            id="default network",
        ),
        pytest.param(_top("volumes", {"data": {"name": "shop_other"}}), ["haproxy"], id="its volume"),
        pytest.param(
            _set("worker", "depends_on", {"haproxy": {"condition": "service_healthy"}}), [], id="order of starting"
        ),
        pytest.param(_set("worker", "scale", 3), [], id="scale"),
        pytest.param(_set("worker", "deploy", {"replicas": 3}), [], id="replicas"),
        pytest.param(_set("worker", "deploy", {"resources": {"limits": {"cpus": "1"}}}), ["worker"], id="limits"),
        pytest.param(_set("haproxy", "x-platform", {}), [], id="the extension"),
    ],
)
def test_definition_is_what_a_container_is_made_from(change: Any, touched: list[str]) -> None:
    before, after = described(), described(change)
    assert [name for name in before if before[name].definition != after[name].definition] == touched


def test_definition_does_not_depend_on_the_order_of_keys() -> None:
    def turned(value: Any) -> Any:
        return {key: turned(item) for key, item in reversed(value.items())} if isinstance(value, dict) else value

    other = stack.desired_services(turned(COMPOSE), DIRECTORY, FILES, ())
    assert {s.name: (s.definition, s.files) for s in other} == {
        name: (s.definition, s.files) for name, s in described().items()
    }


@pytest.mark.parametrize(
    ("path", "digests", "reloads"),
    [
        ("config/haproxy.cfg", ["haproxy"], []),
        ("config/colour.map", [], ["haproxy"]),
        ("worker.env", ["worker"], []),
        ("secrets/key", [], []),
    ],
)
def test_a_changed_file_touches_who_sees_it(path: str, digests: list[str], reloads: list[str]) -> None:
    before, after = described(), described(files={**FILES, path: "new"})
    assert [name for name in before if before[name].files != after[name].files] == digests
    assert [name for name in before if before[name].reloadable != after[name].reloadable] == reloads


def test_frozen_files_say_what_they_are_in_their_path() -> None:
    mount = _set("worker", "volumes", ["./files/abc/run.sh:/run.sh:ro"])
    files = {"files/abc/run.sh": "r1"}
    assert described(mount, files, frozen=list(files))["worker"].files == stack.digest({})


@pytest.mark.parametrize("source", ["./config", "config/../config", f"{DIRECTORY}/config", "./config/", "."])
def test_ways_to_mount_a_directory(source: str) -> None:
    def change(compose: dict[str, Any]) -> None:
        compose["services"]["worker"].pop("env_file")
        compose["services"]["worker"]["volumes"] = [
            {"type": "bind", "source": f"./{source}" if source[0] == "c" else source, "target": "/c"}
        ]

    files = {"config/a": "1"}
    assert described(change, files)["worker"].files == stack.digest(files)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"files": ["a", "b/*"], "signal": "HUP"}, Reload(("a", "b/*"), ("HUP",))),
        ({"files": "a", "signal": ["USR1", "USR2"]}, Reload(("a",), ("USR1", "USR2"))),
        ({"files": ["a"], "signal": 12}, Reload(("a",), ("12",))),
        ({"files": ["a"], "command": ["psql", "-c", "x y"]}, Reload(("a",), (), ("psql", "-c", "x y"))),
        ({"files": ["a"], "command": "psql -c 'x y'"}, Reload(("a",), (), ("psql", "-c", "x y"))),
    ],
)
def test_reload_rules(rule: dict[str, Any], wanted: Reload) -> None:
    assert described(_set("worker", "x-platform", {"reload": [rule]}))["worker"].reloads == (wanted,)


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({}, 1),
        ({"scale": 3}, 3),
        ({"deploy": {"replicas": 0}, "scale": 3}, 0),
        ({"deploy": None}, 1),
        ({"deploy": {}}, 1),
    ],
)
def test_replicas(spec: dict[str, Any], replicas: int) -> None:
    assert described(lambda compose: compose["services"]["worker"].update(spec))["worker"].replicas == replicas


@pytest.mark.parametrize(
    "change",
    [
        _set("worker", "depends_on", {"haproxy": {"condition": "service_completed_successfully"}}),
        _set("haproxy", "x-platform", {"one_shot": True}),
    ],
)
def test_who_is_waited_for_to_end_is_a_one_shot(change: Any) -> None:
    services = described(change)
    assert (services["haproxy"].one_shot, services["worker"].one_shot) == (True, False)


def test_no_network_of_its_own_with_network_mode() -> None:
    assert described(_set("worker", "network_mode", "host"))["worker"].networks == ()


RELOAD = (
    "Service worker: x-platform.reload wants a list of entries with `files` and `signal` or `command`. "
    "Example: [{files: [config/haproxy.cfg], signal: USR2}]."
)
EITHER = "Service worker: x-platform.reload names either `signal` or `command`. Give one of them."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_top("services", {}), "`compose` has no services. Give the Compose Specification as a dict with `services`."),
        (_top("services", []), "`compose` has no services. Give the Compose Specification as a dict with `services`."),
        (
            _set("worker", "image", ""),
            "Service worker names no image. Give `image`; images are built by the module `images`, not by a stack.",
        ),
        (
            _set("worker", "build", "."),
            "Service worker has `build`. Build the image first (module `images`) and name it in `image`.",
        ),
        (
            _set("worker", "depends_on", ["db", "cache", "haproxy"]),
            "Service worker depends on cache, db, which is not in `compose`. "
            "Take the entry out of depends_on or add the service.",
        ),
        (
            _set("haproxy", "depends_on", ["worker"]),
            "Services depend on each other in a circle: haproxy, worker. Break it in depends_on.",
        ),
        (
            _set("worker", "volumes", ["./config/haproxy.cfg:/x:ro"]),
            "Service worker mounts the single file config/haproxy.cfg, and would go on seeing the old content after a change. "
            "Mount its directory instead (config).",
        ),
        (
            _set("worker", "volumes", [{"type": "bind", "source": "./worker.env", "target": "/x"}]),
            "Service worker mounts the single file worker.env, and would go on seeing the old content after a change. "
            "Mount its directory instead (a directory of its own).",
        ),
        (_set("worker", "x-platform", {"reload": [{"signal": "HUP"}]}), RELOAD),
        (_set("worker", "x-platform", {"reload": ["HUP"]}), RELOAD),
        (_set("worker", "x-platform", {"reload": {"files": ["a"]}}), RELOAD),
        (_set("worker", "x-platform", {"reload": [{"files": ["a"]}]}), EITHER),
        (_set("worker", "x-platform", {"reload": [{"files": ["a"], "signal": "HUP", "command": ["x"]}]}), EITHER),
    ],
)
def test_refused(change: Any, message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        described(change)
    assert str(caught.value) == message


def test_hold_of_an_unknown_service_refused() -> None:
    with pytest.raises(PlatformError) as caught:
        described(hold=["reds", "haproxy", "pg"])
    assert str(caught.value) == "`hold` names services that are not in `compose`: pg, reds. Correct the name."


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (None, {}),
        ({"a": 1, "b": True, "c": None, "d": "x"}, {"a": "1", "b": "true", "c": "", "d": "x"}),
        (["a=b=c", "d"], {"a": "b=c", "d": ""}),
        ({"lastro.definition": "mine"}, {}),
    ],
)
def test_labels_of_the_document(labels: Any, wanted: dict[str, str]) -> None:
    compose = copy.deepcopy(COMPOSE)
    compose["services"]["worker"]["labels"] = labels
    services = stack.desired_services(compose, DIRECTORY, FILES, ())
    made = labelled(compose, services)["services"]["worker"]["labels"]
    worker = next(service for service in services if service.name == "worker")
    assert made == {**wanted, "lastro.definition": worker.definition, "lastro.files": worker.files}


def test_dollars_stay_dollars_and_the_given_dict_stays_as_it_is() -> None:
    compose = copy.deepcopy(COMPOSE)
    compose["services"]["worker"].update({"command": ["echo", "$HOME ${X} $$"], "environment": {"$K": "5$abc", "N": 1}})
    given = copy.deepcopy(compose)
    made = labelled(compose, stack.desired_services(compose, DIRECTORY, FILES, ()))
    assert made["services"]["worker"]["command"] == ["echo", "$$HOME $${X} $$$$"]
    assert made["services"]["worker"]["environment"] == {"$K": "5$$abc", "N": 1}
    assert compose == given
