# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports, routes, checks and images of an application: what other roles read of it."""

from __future__ import annotations

import textwrap
import zlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import load, outline
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

from tests.support import REPOSITORY

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
        f"  {name}: {{image: a, x-platform: {{route: {{}}, port: 80{slot}}}}}\n" for name, slot in services.items()
    )
    assert application(f"services:\n{text}").slots[second] == 1


def test_more_routed_services_than_port_ranges() -> None:
    names = [f"s{n}" for n in range(65)]
    taken = "".join(
        f"  {name}: {{image: a, x-platform: {{route: {{}}, port: 80, port_slot: {min(n, 63)}}}}}\n"
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
            "ports": {"blue": [18000, 18001], "green": [18128, 18129]},
        },
        {
            "service": "files",
            "hosts": [],
            "path": "/files",
            "health": "/up",
            "ports": {"blue": [18002, 18003], "green": [18130, 18131]},
        },
        {
            "service": "admin",
            "hosts": [],
            "path": "/",
            "health": "/",
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


def arguments(path: Path, **more: Any) -> dict[str, Any]:
    return {"compose_file": str(path), "platform": "shop", "address": "10.0.0.5", **more}


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(
        "services:\n  app:\n    image: shop/app:${APP_RELEASE}\n    hostname: ${A}-${B}-${C}-${APP_ENVIRONMENT}\n    scale: 3\n"
    )
    given = arguments(
        path, release="7", environment="stage", env={"A": True, "B": None, "C": 1.0}, replicas={"app": "2"}
    )
    found, directory = load(given)
    assert directory == str(tmp_path)
    assert found.services["app"].image == "shop/app:7"
    assert found.services["app"].spec["hostname"] == "true--1-stage"
    assert outline(found, directory)["services"] == {"app": {"kind": "worker", "image": "shop/app:7", "replicas": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "The Compose file {path} can't be read: No such file or directory. Correct app_compose_file."),
        (b"services: \xff\n", "The Compose file {path} is not text in UTF-8. Save it as UTF-8."),
        (
            b"services:\n  app: {image: 'a:$APP_RELEASE'}\n",
            "shop.yaml:2: variable APP_RELEASE is not set. Give it in `app_env`: {{APP_RELEASE: …}}; "
            "a secret is named in x-platform.env_from_files instead.",
        ),
    ],
)
def test_load_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "shop.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlatformError) as caught:
        load(arguments(path))
    assert str(caught.value) == message.format(path=path)


NAMES = """\
services:
  web: {image: a, secrets: [salt], x-platform: {route: {}, port: 80, env_from_files: [DATABASE_URL]}}
  worker: {image: a, profiles: [workers, all]}
  plain: {image: a}
  db: {image: 'postgres:17', profiles: [local], x-platform: {provided: postgres}}
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"replicas": {"web": 2, "wbe": 2}},
            "app_replicas names the service wbe, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"replicas": {"db": 1}},
            "app_replicas names the service db, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"allow_privileged": ["web", "agent"]},
            "app_allow_privileged names the service agent, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"secrets_for": {"wbe": {"salt": "geheim"}}},
            "app_secrets_for names the service wbe, which the application does not have. Its services: plain, web, worker.",
        ),
        (
            {"secrets_for": {"web": {"DATABSE_URL": "geheim"}}},
            "app_secrets_for.web names the secret DATABSE_URL, which the service does not read. Its secrets: DATABASE_URL, salt.",
        ),
        (
            {"secrets_for": {"plain": {"salt": "geheim"}}},
            "app_secrets_for.plain names the secret salt, which the service does not read. Its secrets: none.",
        ),
        (
            {"secrets_for": {"web": "geheim"}},
            "app_secrets_for.web is not a mapping. Give the secrets of the service by name.",
        ),
        (
            {"profiles": ["workers", "wrokers"]},
            "app_profiles names the profile wrokers, which the application does not have. Its profiles: all, local, workers.",
        ),
        *(
            (
                {"replicas": {"web": count}},
                f"app_replicas.web is {count!r}, which is no number of copies. Give a number, 0 or more.",
            )
            for count in ("many", -1, 1.5, None, True, "")
        ),
    ],
)
def test_what_the_inventory_names_has_to_be_there(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(NAMES)
    with pytest.raises(PlatformError) as caught:
        load(arguments(path, **given))
    assert str(caught.value) == message


def test_what_the_inventory_may_name(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(NAMES)
    # A service whose profile is not chosen is there all the same: one inventory serves several environments.
    found, _directory = load(
        arguments(
            path,
            replicas={"web": "2", "worker": 3},
            allow_privileged=["worker"],
            secrets_for={"web": {"DATABASE_URL": "x"}, "worker": {"later": "x"}},
            profiles=["local"],
        )
    )
    assert found.replicas() == {"web": 2}


def test_the_reference_application() -> None:
    found, _directory = load(arguments(REPOSITORY / "examples" / "reference_app" / "compose.yaml", release="r1"))
    assert {name: service.kind for name, service in found.services.items()} == {
        "web": "web",
        "worker": "worker",
        "migrate": "migrate",
    }
    assert found.provided == {"postgres": "postgres", "redis": "redis"}
