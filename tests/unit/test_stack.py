# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack should be, what it is, and what is planned: every kind of drift as one row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _stack as stack
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack import Action, Container, Reality, Reload, Service

USR2 = Reload(files=("config/*.map",), signals=("USR2",))
WEB = Service(
    name="web",
    image="shop/web:1",
    replicas=2,
    definition="d1",
    files="f1",
    reloads=(USR2,),
    reloadable={"config/a.map": "m1"},
    networks=("default",),
    volumes=("data",),
)
LOADED = {"web": {"config/a.map": "m1"}}
IMAGES = {"shop/web:1": "sha256:one"}


def container(number: int = 1, **changes: Any) -> Container:
    made = Container(
        f"id{number}", f"p-web-{number}", "web", number, "sha256:one", "running", "healthy", definition="d1", files="f1"
    )
    return replace(made, **changes)


def reality(*containers: Container, **changes: Any) -> Reality:
    return replace(Reality(containers, IMAGES), **changes)


ONE, TWO = container(1), container(2)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param(reality(ONE, TWO), Action("web", "none"), id="nothing to do"),
        pytest.param(reality(), Action("web", "create", "not there yet", "damage"), id="missing"),
        pytest.param(reality(TWO), Action("web", "create", "1 of 2 containers are there", "damage"), id="one missing"),
        pytest.param(
            reality(ONE, TWO, container(3)),
            Action("web", "remove", "more than 2 containers", "version", ("id3",)),
            id="extra",
        ),
        pytest.param(
            reality(container(10), container(9), ONE),
            Action("web", "remove", "more than 2 containers", "version", ("id10",)),
            id="the highest numbers are the extra ones",
        ),
        pytest.param(
            reality(container(1, state="exited 137", health=""), TWO),
            Action("web", "start", "container p-web-1 is exited 137", "damage"),
            id="stopped",
        ),
        pytest.param(
            reality(ONE, container(2, state="created", health="")),
            Action("web", "start", "container p-web-2 is created", "damage"),
            id="created and never started",
        ),
        pytest.param(
            reality(ONE, container(2, state="exited 0", health="")),
            Action("web", "start", "container p-web-2 is exited 0", "damage"),
            id="ended well, but should run",
        ),
        pytest.param(
            reality(ONE, container(2, health="unhealthy")),
            Action("web", "recreate", "it is unhealthy", "damage"),
            id="unhealthy",
        ),
        pytest.param(reality(ONE, container(2, health="starting")), Action("web", "none"), id="not healthy yet"),
        *(
            pytest.param(
                reality(ONE, container(2, state=state, health="")),
                Action("web", "recreate", f"it is {state}", "damage"),
                id=state,
            )
            for state in ("paused", "dead", "restarting", "removing")
        ),
        pytest.param(
            reality(ONE, container(2, managed=False, definition="", files="")),
            Action("web", "recreate", "its container was created by hand", "damage", ("id2",)),
            id="one made by hand",
        ),
        pytest.param(
            reality(container(1, managed=False), container(2, managed=False)),
            Action("web", "create", "its container was created by hand", "damage", ("id1", "id2")),
            id="all made by hand",
        ),
        pytest.param(
            reality(ONE, container(2, image_id="sha256:two")),
            Action("web", "recreate", "image shop/web:1 is another one now", "version"),
            id="other image",
        ),
        pytest.param(reality(ONE, TWO, images={}), Action("web", "none"), id="image gone from the host"),
        pytest.param(
            reality(ONE, container(2, definition="d0")),
            Action("web", "recreate", "its definition changed", "version"),
            id="other definition",
        ),
        pytest.param(
            reality(ONE, container(2, files="f0")),
            Action("web", "recreate", "files that it reads at start changed", "version"),
            id="other files",
        ),
        pytest.param(
            reality(ONE, TWO, missing_networks=frozenset({"default"})),
            Action("web", "recreate", "network or volume missing: default", "damage"),
            id="network missing",
        ),
        pytest.param(
            reality(ONE, TWO, missing_volumes=frozenset({"data"}), missing_networks=frozenset({"default"})),
            Action("web", "recreate", "network or volume missing: data, default", "damage"),
            id="both missing",
        ),
        pytest.param(
            reality(ONE, TWO, missing_volumes=frozenset({"other"}), missing_networks=frozenset({"other"})),
            Action("web", "none"),
            id="what another service misses",
        ),
        pytest.param(
            reality(container(1, definition="d0"), TWO, container(3)),
            Action("web", "recreate", "its definition changed", "version", ("id3",)),
            id="changed, and one too many",
        ),
        pytest.param(
            reality(ONE, container(2, definition="d0"), container(3, managed=False)),
            Action("web", "recreate", "its container was created by hand", "damage", ("id3",)),
            id="by hand is named first",
        ),
    ],
)
def test_drift(found: Reality, wanted: Action) -> None:
    assert stack.plan([WEB], found, LOADED) == [wanted]


@pytest.mark.parametrize(
    ("loaded", "found", "wanted"),
    [
        pytest.param(
            {"web": {"config/a.map": "m0"}},
            reality(ONE, TWO),
            Action("web", "reload", "changed: config/a.map", "version", (), (USR2,)),
            id="content changed",
        ),
        pytest.param(
            {},
            reality(ONE, TWO),
            Action("web", "reload", "changed: config/a.map", "version", (), (USR2,)),
            id="no record, as after a kill between write and signal",
        ),
        pytest.param(
            {}, reality(), Action("web", "create", "not there yet", "damage"), id="a new container reads it by itself"
        ),
        pytest.param(
            {},
            reality(container(1, state="exited 1"), container(2, state="exited 1")),
            Action("web", "start", "container p-web-1 is exited 1", "damage"),
            id="a start reads it by itself",
        ),
        pytest.param(
            {},
            reality(ONE, container(2, state="exited 1")),
            Action("web", "start", "container p-web-2 is exited 1", "damage", (), (USR2,)),
            id="the copy that runs on is reloaded when the other is started",
        ),
        pytest.param(
            {},
            reality(ONE),
            Action("web", "create", "1 of 2 containers are there", "damage", (), (USR2,)),
            id="the copy that runs on is reloaded when the other is created",
        ),
        pytest.param(
            {},
            reality(container(1, definition="d0"), TWO),
            Action("web", "recreate", "its definition changed", "version"),
            id="a recreation reads it by itself",
        ),
        pytest.param(
            {},
            reality(ONE, TWO, container(3)),
            Action("web", "reload", "changed: config/a.map", "version", ("id3",), (USR2,)),
            id="reload, and the extra one goes",
        ),
    ],
)
def test_reload(loaded: dict[str, dict[str, str]], found: Reality, wanted: Action) -> None:
    assert stack.plan([WEB], found, loaded) == [wanted]


def test_only_the_rules_that_cover_a_change_are_due() -> None:
    other = Reload(files=("config/users.acl",), command=("redis-cli", "ACL", "LOAD"))
    service = replace(WEB, reloads=(other, USR2), reloadable={"config/a.map": "m2", "config/users.acl": "u1"})
    (action,) = stack.plan([service], reality(ONE, TWO), {"web": {"config/a.map": "m1", "config/users.acl": "u1"}})
    assert action.reloads == (USR2,)


@pytest.mark.parametrize(
    ("found", "loaded", "wanted"),
    [
        pytest.param(
            reality(container(1, definition="d0"), TWO),
            LOADED,
            Action("web", "pending", "its definition changed", "version"),
            id="running: never recreated",
        ),
        pytest.param(
            reality(container(1, definition="d0"), TWO),
            {},
            Action("web", "pending", "its definition changed", "version", (), (USR2,)),
            id="what needs no restart is reloaded all the same",
        ),
        pytest.param(
            reality(container(1, health="unhealthy"), TWO),
            LOADED,
            Action("web", "pending", "it is unhealthy", "damage"),
            id="unhealthy but running",
        ),
        pytest.param(
            reality(container(1, managed=False), container(2, managed=False)),
            LOADED,
            Action("web", "pending", "its container was created by hand", "damage"),
            id="made by hand and running",
        ),
        pytest.param(
            reality(container(1, state="exited 1", definition="d0"), container(2, state="exited 1")),
            LOADED,
            Action("web", "recreate", "its definition changed", "version"),
            id="nothing runs: nothing to protect",
        ),
        pytest.param(reality(), LOADED, Action("web", "create", "not there yet", "damage"), id="not there"),
        pytest.param(
            reality(ONE, container(2, state="exited 1")),
            LOADED,
            Action("web", "start", "container p-web-2 is exited 1", "damage"),
            id="a stopped one is started",
        ),
        pytest.param(reality(ONE, TWO), LOADED, Action("web", "none"), id="as it should be"),
    ],
)
def test_hold(found: Reality, loaded: dict[str, dict[str, str]], wanted: Action) -> None:
    assert stack.plan([replace(WEB, hold=True)], found, loaded) == [wanted]


@pytest.mark.parametrize(
    ("action", "acts"),
    [
        (Action("web", "none"), False),
        (Action("web", "none", awaited=True), False),
        (Action("web", "pending"), False),
        (Action("web", "pending", reloads=(USR2,)), True),
        (Action("web", "start"), True),
        (Action("web", "remove", remove=("a",)), True),
    ],
)
def test_acts(action: Action, acts: bool) -> None:
    assert action.acts is acts


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param(container(state="exited 0", health=""), Action("web", "none"), id="ended well"),
        pytest.param(
            container(health=""),
            Action("web", "none", "it still runs and is waited for", awaited=True),
            id="still runs",
        ),
        pytest.param(
            container(health="unhealthy"),
            Action("web", "none", "it still runs and is waited for", awaited=True),
            id="a job answers no health check of a server",
        ),
        pytest.param(
            container(state="exited 1", health=""),
            Action("web", "start", "container p-web-1 is exited 1", "damage"),
            id="failed",
        ),
        pytest.param(
            container(state="created", health=""),
            Action("web", "start", "container p-web-1 is created", "damage"),
            id="never started",
        ),
        pytest.param(
            container(definition="d0"),
            Action("web", "recreate", "its definition changed", "version"),
            id="runs as something else",
        ),
    ],
)
def test_one_shot(found: Container, wanted: Action) -> None:
    assert stack.plan([replace(WEB, replicas=1, one_shot=True)], reality(found), LOADED) == [wanted]


def test_a_one_shot_with_a_copy_too_many_is_waited_for() -> None:
    found = reality(container(1, health=""), container(2, health=""))
    (action,) = stack.plan([replace(WEB, replicas=1, one_shot=True)], found, LOADED)
    assert (action.kind, action.remove, action.awaited) == ("remove", ("id2",), True)


def test_orphans_go_after_the_services() -> None:
    old = [container(n, id=f"old{n}", service="old") for n in (1, 2)]
    assert stack.plan([WEB], reality(*old, ONE, TWO), LOADED) == [
        Action("web", "none"),
        Action("old", "remove", "not in the compose file", "version", ("old1", "old2")),
    ]


def chain(**parents: str) -> list[Service]:
    return [
        replace(WEB, name=name, depends_on=dict.fromkeys(wanted.split(), "service_healthy"))
        for name, wanted in parents.items()
    ]


@pytest.mark.parametrize(
    ("services", "touched", "groups"),
    [
        (chain(web="db cache", db="", cache="", cron="web"), "web db cache cron", [["db", "cache"], ["web"], ["cron"]]),
        (chain(web="db", db=""), "web", [["web"]]),
        (chain(web="", db="", cache=""), "cache web", [["web", "cache"]]),
        # Through one that stays as it is.
        (chain(cron="web", web="db", db=""), "cron db", [["db"], ["cron"]]),
        (chain(web=""), "", []),
        (chain(web=""), "orphan", []),
    ],
)
def test_layers(services: list[Service], touched: str, groups: list[list[str]]) -> None:
    assert stack.layers(services, set(touched.split())) == groups


@pytest.mark.parametrize(
    ("services", "names"),
    [(chain(a="b", b="c", c="a"), "a, b, c"), (chain(a="a", b=""), "a"), (chain(a="b", b="a", c="a"), "a, b, c")],
)
def test_a_circle_is_refused(services: list[Service], names: str) -> None:
    with pytest.raises(PlatformError) as caught:
        stack.layers(services, {service.name for service in services})
    assert str(caught.value) == f"Services depend on each other in a circle: {names}. Break it in depends_on."


DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("reference", "local"),
    [
        ("redis", "redis:latest"),
        ("redis:8", "redis:8"),
        ("library/redis:8", "redis:8"),
        ("docker.io/redis:8", "redis:8"),
        ("docker.io/library/redis", "redis:latest"),
        ("docker.io/library/redis:8", "redis:8"),
        ("index.docker.io/library/redis:8", "redis:8"),
        ("docker.io/grafana/loki:3", "grafana/loki:3"),
        ("grafana/loki", "grafana/loki:latest"),
        ("library/a/b:1", "library/a/b:1"),
        ("registry:5000/shop/web", "registry:5000/shop/web:latest"),
        ("registry:5000/library/web:1", "registry:5000/library/web:1"),
        ("localhost/web:1", "localhost/web:1"),
        ("index.example.com/web:1", "index.example.com/web:1"),
        (f"docker.io/library/redis@{DIGEST}", f"redis@{DIGEST}"),
        (f"redis:8@{DIGEST}", f"redis@{DIGEST}"),
        (f"registry:5000/web@{DIGEST}", f"registry:5000/web@{DIGEST}"),
        (DIGEST, DIGEST),
    ],
)
def test_the_name_that_the_engine_has_for_an_image(reference: str, local: str) -> None:
    assert stack.local_reference(reference) == local


@pytest.mark.parametrize("image", ["docker.io/shop/web:1", "index.docker.io/shop/web:1"])
def test_another_image_is_seen_whatever_way_it_is_named(image: str) -> None:
    found = reality(ONE, container(2, image_id="sha256:two"))
    (action,) = stack.plan([replace(WEB, image=image)], found, LOADED)
    assert (action.kind, action.why) == ("recreate", f"image {image} is another one now")
