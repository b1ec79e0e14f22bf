# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports, routes, checks and images of an application: what other roles read of it."""

from __future__ import annotations

import textwrap
import zlib
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

WEB = "  web:\n    image: shop/web:1\n    x-platform: {route: {path: /}, port: 8000}\n"


def application(text: str, **settings: Any) -> Application:
    source = Source(textwrap.dedent(text), "compose.yaml", {})
    return Application(source, Settings(platform="shop", address="10.0.0.5", **settings))


def one(lines: str, tail: str = "", **settings: Any) -> Application:
    """One service `app`; the lines given begin in line 4."""
    body = textwrap.indent(textwrap.dedent(lines), "    ")
    return application(f"services:\n  app:\n    image: shop/app:1\n{body}\n{tail}", **settings)


# Ports -------------------------------------------------------------------------------------------------------------------


def routed(*names: str, **settings: Any) -> Application:
    services = "".join(
        f"  {name}: {{image: a, x-platform: {{route: {{path: /{name}}}, port: 80}}}}\n" for name in names
    )
    return application(f"services:\n{services}", **settings)


def test_ports_of_the_two_colours_do_not_overlap() -> None:
    names = ("web", "api", "admin", "docs")
    found = routed(*names, port_base=20000, replicas_max=3)
    ports = [port for name in names for colour in ("blue", "green") for port in found.ports(name, colour)]
    assert len(set(ports)) == len(ports) == len(names) * 2 * 3
    assert min(ports) >= 20000
    assert max(ports) < 20000 + 2 * 64 * 3


@pytest.mark.parametrize(
    ("slot", "colour", "ports"),
    [
        (0, "blue", [18000, 18001, 18002, 18003]),
        (63, "blue", [18252, 18253, 18254, 18255]),
        (0, "green", [18256, 18257, 18258, 18259]),
        (63, "green", [18508, 18509, 18510, 18511]),
    ],
)
def test_the_edges_of_the_port_ranges(slot: int, colour: str, ports: list[int]) -> None:
    found = one(f"x-platform: {{route: {{}}, port: 80, port_slot: {slot}}}")
    assert found.ports("app", colour) == ports


@pytest.mark.parametrize(
    ("one", "other", "route"),
    [
        ("{}", "{}", "/ of every host"),
        ("{path: /api}", "{path: /api/, hosts: []}", "/api of every host"),
        ("{hosts: [a.example.com, b.example.com]}", "{hosts: [B.example.com]}", "/ of b.example.com"),
    ],
)
def test_one_route_for_two_services_is_refused(one: str, other: str, route: str) -> None:
    text = f"""\
    services:
      web: {{image: a, x-platform: {{route: {one}, port: 80}}}}
      api:
        image: a
        x-platform:
          port: 80
          route: {other}
    """
    with pytest.raises(SourceError) as caught:
        application(text)
    assert str(caught.value) == (
        f"compose.yaml:7: services web and api have the same route, {route}. "
        "Give one of them another x-platform.route.path or other hosts."
    )


def test_two_services_without_a_route_of_their_own_have_the_same() -> None:
    kinds = "\n".join(f"  {name}: {{image: a, x-platform: {{kind: web, port: 80}}}}" for name in ("web", "api"))
    with pytest.raises(
        SourceError, match=r"^compose\.yaml:3: services web and api have the same route, / of every host"
    ):
        application(f"services:\n{kinds}\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{path: /}", "{path: /api}"),
        ("{hosts: [a.example.com]}", "{}"),
        ("{hosts: [a.example.com]}", "{hosts: [b.example.com]}"),
        ("{hosts: [a.example.com], path: /x}", "{hosts: [a.example.com], path: /y}"),
    ],
)
def test_routes_that_differ(one: str, other: str) -> None:
    services = {"web": one, "api": other}
    text = "".join(f"  {name}: {{image: a, x-platform: {{route: {r}, port: 80}}}}\n" for name, r in services.items())
    assert len(application(f"services:\n{text}").routes()) == 2


def test_ports_stay_when_other_services_come_and_go() -> None:
    alone = routed("web").ports("web", "green")
    assert routed("api", "web", "shop").ports("web", "green") == alone
    assert routed("web", "admin").ports("web", "green") == alone


def _colliding() -> tuple[str, str, str]:
    """Two names on one port slot, and a third on the lowest free one."""
    slots: dict[int, str] = {}
    for number in range(1000):
        name = f"s{number}"
        slot = zlib.crc32(name.encode()) % 64
        if slot in slots and slot != 0:
            lowest = next(f"t{n}" for n in range(1000) if zlib.crc32(f"t{n}".encode()) % 64 == 0)
            return slots[slot], name, lowest
        slots[slot] = name
    raise AssertionError("no two names collide")


def test_a_collision_names_a_cure_that_works() -> None:
    first, second, third = _colliding()
    with pytest.raises(SourceError) as caught:
        routed(first, second, third)
    # Slot 0 is taken by the third service: the cure must not run into it.
    assert str(caught.value) == (
        f"compose.yaml:3: services {first} and {second} have the same port range. Give one of them x-platform.port_slot: 1."
    )
    services = {first: "", second: ", port_slot: 1", third: ""}
    text = "".join(
        f"  {name}: {{image: a, x-platform: {{route: {{path: /{name}}}, port: 80{slot}}}}}\n"
        for name, slot in services.items()
    )
    assert application(f"services:\n{text}").slots[second] == 1


def test_more_routed_services_than_port_ranges() -> None:
    names = [f"s{n}" for n in range(65)]
    taken = "".join(
        f"  {name}: {{image: a, x-platform: {{route: {{path: /{name}}}, port: 80, port_slot: {min(n, 63)}}}}}\n"
        for n, name in enumerate(names)
    )
    with pytest.raises(SourceError) as caught:
        application(f"services:\n{taken}")
    assert str(caught.value) == "compose.yaml:66: services s63 and s64 have the same port range. Merge some of them."


def test_a_service_with_the_name_of_a_copy_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        application(f"services:\n{WEB}  web-2: {{image: a}}\n")
    assert str(caught.value) == "compose.yaml:5: service web-2 has the name of copy 2 of web. Give it another name."


# What other roles read -----------------------------------------------------------------------------------------------

FULL = """\
services:
  web:
    image: shop/web:1
    x-platform:
      route: {hosts: [shop.example.com], path: /}
      port: 8000
      port_slot: 0
      replicas: 2
      health: /health
      ready: /ready
      version: {path: /version, json: release}
      env_from_files: [DATABASE_URL, SALT]
  files: {image: shop/files:1, x-platform: {kind: static, port: 80, port_slot: 1, health: /up, route: {path: /files}}}
  admin: {image: shop/web:1, x-platform: {kind: web, port: 81, port_slot: 2}}
  worker:
    image: shop/web:1
    secrets: [salt, {source: key, target: api.key}]
    x-platform: {secrets: [DATABASE_URL], probe: [python, -m, probe]}
"""


def test_routes() -> None:
    found = application(FULL, replicas_max=2).routes()
    assert found == [
        {
            "service": "web",
            "hosts": ["shop.example.com"],
            "path": "/",
            "health": "/health",
            "static": False,
            "ports": {"blue": [18000, 18001], "green": [18128, 18129]},
        },
        {
            "service": "files",
            "hosts": [],
            "path": "/files",
            "health": "/up",
            "static": True,
            "ports": {"blue": [18002, 18003], "green": [18130, 18131]},
        },
        {
            "service": "admin",
            "hosts": [],
            "path": "/",
            "health": "/",
            "static": False,
            "ports": {"blue": [18004, 18005], "green": [18132, 18133]},
        },
    ]


def test_checks_ask_every_copy_that_runs() -> None:
    version = [{"path": "release", "equals": "1.4"}]
    assert application(FULL, replicas_max=2, release="1.4").checks("green") == [
        {"name": "web-1 /ready", "type": "http", "url": "http://10.0.0.5:18128/ready"},
        {"name": "web-1 /version", "type": "http", "url": "http://10.0.0.5:18128/version", "json": version},
        {"name": "web-2 /ready", "type": "http", "url": "http://10.0.0.5:18129/ready"},
        {"name": "web-2 /version", "type": "http", "url": "http://10.0.0.5:18129/version", "json": version},
        {"name": "files-1 /up", "type": "http", "url": "http://10.0.0.5:18130/up"},
        {"name": "admin-1 /", "type": "http", "url": "http://10.0.0.5:18132/"},
    ]


def test_what_else_the_outline_says() -> None:
    found = application(FULL)
    assert found.replicas() == {"web": 2, "files": 1, "admin": 1}
    assert found.probes() == [{"service": "worker", "command": ["python", "-m", "probe"]}]
    assert found.secret_names() == ["DATABASE_URL", "SALT", "key", "salt"]


def test_a_service_without_copies_is_not_probed() -> None:
    assert application(FULL, replicas={"worker": 0}).probes() == []


@pytest.mark.parametrize(
    ("services", "images"),
    [
        ("app: {image: shop/app:1}", [{"name": "shop/app:1", "inspect": True, "upstream": "shop/app:1"}]),
        (
            "app: {image: shop/app:1, build: ./app}",
            [{"name": "shop/app:1", "inspect": True, "context_local": "/src/app", "build_args": {}, "from": []}],
        ),
        (
            "app: {image: shop/app:1, build: {context: ../x, args: [BASE=lastro/python:3.13, N=1=2]}}",
            [
                {
                    "name": "shop/app:1",
                    "inspect": True,
                    "context_local": "/x",
                    "build_args": {"BASE": "lastro/python:3.13", "N": "1=2"},
                    "from": ["lastro/python:3.13"],
                }
            ],
        ),
        (
            "app: {image: shop/app:1, build: {context: ., args: {GIVEN: , ABSENT: , FLAG: true}}}",
            [
                {
                    "name": "shop/app:1",
                    "inspect": True,
                    "context_local": "/src",
                    "build_args": {"GIVEN": "from app_env", "FLAG": "true"},
                    "from": [],
                }
            ],
        ),
        # One service builds what another only names, in whatever order they stand.
        *(
            (
                text,
                [
                    {
                        "name": "shop/app:1",
                        "inspect": True,
                        "context_local": "/src",
                        "build_args": {"N": "1"},
                        "from": [],
                    }
                ],
            )
            for text in (
                "app: {image: shop/app:1, build: {context: ., args: {N: 1}}}\n  cron: {image: shop/app:1}",
                "cron: {image: shop/app:1}\n  app: {image: shop/app:1, build: {context: ., args: {N: 1}}}",
            )
        ),
    ],
)
def test_images(services: str, images: list[dict[str, Any]]) -> None:
    source = Source(f"services:\n  {services}\n", "compose.yaml", {"GIVEN": "from app_env"})
    assert Application(source, Settings(platform="shop", address="10.0.0.5")).images("/src") == images
