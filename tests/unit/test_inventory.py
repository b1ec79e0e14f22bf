# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each problem an inventory can have, with the line an operator reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils import _inventory
from ansible_collections.lastro.platform.plugins.plugin_utils._inventory import Inventory

PASSWORD = "s3cret-in-a-url"
GOOD = Inventory(
    ansible_version="2.19.4",
    name="shop",
    environment="prod",
    private_address="10.0.0.5",
    subnet="172.30.77.0/24",
    release="1.4.2",
    groups={"postgres": ["db1"], "redis": [], "app": ["app1", "app2"], "proxy": ["lb1"]},
    needs=["postgres", "redis", "app", "proxy"],
    urls={"postgres": "", "redis": f"rediss://app:{PASSWORD}@redis.internal:6380/0"},
    secrets={"redis_password": PASSWORD},
    secret_names=["redis_password"],
    service_environments={
        "web": {
            "DATABASE_URL": f"postgresql+psycopg2://app:{PASSWORD}@10.0.0.9:5432/shop",
            "REDIS_URL": f"redis://:{PASSWORD}@10.0.0.9/0",
            "PORT": "8000",
        },
        "worker": {"REDIS_URL": f"redis://:{PASSWORD}@10.0.0.9:6379"},
    },
)
DEV = replace(GOOD, environment="dev", release="", secrets=None, private_address="172.30.77.1")

TWO_PROXIES: dict[str, Any] = {"virtual_address": "203.0.113.10/24", "groups": {**GOOD.groups, "proxy": ["lb1", "lb2"]}}


def environments(**worker: str) -> dict[str, Any]:
    return {"service_environments": {**GOOD.service_environments, "worker": worker}}


@pytest.mark.parametrize(
    "inventory",
    [
        GOOD,
        DEV,
        replace(GOOD, release="", release_needed=False),
        replace(GOOD, environment="stage", ansible_version="2.21.0.dev0"),
        replace(GOOD, canary_steps=[1, "5", 99], watch_seconds="60"),
        replace(GOOD, watch_seconds=60, undo_seconds="61"),
        replace(GOOD, watch_seconds="a minute", undo_seconds=0),
        replace(GOOD, **TWO_PROXIES),
        replace(GOOD, **TWO_PROXIES | {"virtual_address": "203.0.113.10/32", "virtual_router_id": "255"}),
        replace(GOOD, bind_address="203.0.113.9", virtual_router_id=0),
        replace(GOOD, known_names=["db"], service_environments={"web": {"DATABASE_URL": "postgresql://app@db/shop"}}),
    ],
)
def test_a_good_inventory_has_no_problem(inventory: Inventory) -> None:
    assert _inventory.problems(inventory) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"ansible_version": "2.17.14"},
            "ansible-core 2.17.14 is too old. Use 2.19 or later; `make deploy` prepares an environment that has it.",
        ),
        ({"name": ""}, "platform_name is not set. Set it in group_vars/all/main.yml."),
        *[
            (
                {"canary_steps": steps},
                f"proxy_canary_steps is {steps!r}, which are no rising percentages of the clients. "
                "Give numbers from 1 to 99, the smallest first, as [5, 25]; everybody comes last by itself.",
            )
            for steps in ([0], [101], [100], [25, 5], [5, 5], ["5%"], [-1])
        ],
        (
            {"canary_steps": [5], "watch_seconds": 0},
            "proxy_canary_steps is [5], and nobody watches them: proxy_watch_seconds is 0. "
            "Say how long each step is watched, as 60, or leave the steps out.",
        ),
        (
            {"watch_seconds": "60", "undo_seconds": 60},
            "proxy_undo_seconds is 60, and proxy_watch_seconds is 60: every release would be taken back before its watch is over. "
            "Leave proxy_undo_seconds out, or give it a minute more than the watch and the smoke tests take.",
        ),
        *[
            (
                {**TWO_PROXIES, "virtual_address": address},
                f"proxy_virtual_address {address!r} is not an IPv4 address with its prefix. "
                "Give it as 203.0.113.10/24: the address, and the network it is in.",
            )
            for address in (
                "203.0.113.10",
                "shop.example/24",
                "203.0.113.0/24",
                "203.0.113.255/24",
                "203.0.113.10/33",
                "203.0.113.10/255.255.255.0",
                "2001:db8::10/64",
            )
        ],
        (
            {**TWO_PROXIES, "virtual_address": "10.0.0.5/24"},
            "proxy_virtual_address 10.0.0.5/24 is this host's own platform_private_address. "
            "Take an address that no host has: it goes from one to another.",
        ),
        (
            {**TWO_PROXIES, "private_address": "fd00::5"},
            "platform_private_address fd00::5 is IPv6, and the hosts of the proxy tell each other over IPv4 "
            "who holds proxy_virtual_address. Give them IPv4 addresses in the private network.",
        ),
        (
            {"virtual_address": "203.0.113.10/24"},
            "proxy_virtual_address is set, and lb1 is alone in the group proxy: "
            "there is no other host to take the address over. Add one, or leave proxy_virtual_address out.",
        ),
        *[
            (
                {**TWO_PROXIES, "virtual_router_id": number},
                f"proxy_virtual_router_id is {number!r}. "
                "Give a number from 1 to 255 that nothing else in the network uses for VRRP.",
            )
            for number in (0, 256, "-1", "x", "")
        ],
        (
            {**TWO_PROXIES, "bind_address": "203.0.113.10"},
            "proxy_bind_address is 203.0.113.10, and proxy_virtual_address has to be served wherever it is: HAProxy cannot "
            'open an address that its host does not hold yet. Leave proxy_bind_address at "*".',
        ),
        *[
            (
                {"name": name},
                f"platform_name {name!r} is malformed. "
                "Use lower-case letters, digits and -, a letter first, 31 characters at most.",
            )
            for name in ("My Shop", "1shop", "shop_x", "a" * 32, "shop\n")
        ],
        (
            {"environment": "production"},
            "platform_environment is 'production'. Set it to dev, stage or prod in group_vars/all/main.yml.",
        ),
        (
            {"release": ""},
            "app_release is not set, and prod deploys only a release that is named. Pass -e app_release=NAME.",
        ),
        (
            {"private_address": ""},
            "platform_private_address is not set. Set it for each host to its address in the private network "
            "(dev: an address of platform_subnet, as 172.30.77.1).",
        ),
        (
            {"private_address": "0.0.0.0"},
            "platform_private_address '0.0.0.0' is not the IP address of a host. "
            "Set it to the host's address in the private network.",
        ),
        (
            {"private_address": "db1.internal"},
            "platform_private_address 'db1.internal' is not the IP address of a host. "
            "Set it to the host's address in the private network.",
        ),
        (
            {"subnet": "172.30.77.1/24"},
            "platform_subnet '172.30.77.1/24' is not a network. Give it as 172.30.77.0/24 in group_vars/all/main.yml.",
        ),
        (
            {"environment": "dev", "private_address": "10.0.0.5"},
            "platform_private_address 10.0.0.5 is not in platform_subnet 172.30.77.0/24. "
            "In dev it is the gateway of that network: set it to an address of it in group_vars/all/main.yml.",
        ),
        (
            {"urls": {"redis": ""}},
            "The inventory has no host in the group redis, and redis_url is not set. "
            "Add a host to the group, set redis_url, or take redis off platform_needs.",
        ),
        (
            {"groups": {**GOOD.groups, "app": []}},
            "The inventory has no host in the group app. Add one.",
        ),
        (
            {"secrets": {"redis_password": ""}},
            "The secret redis_password is missing. "
            "Set platform_secrets.redis_password in group_vars/all/vault.yml (`ansible-vault edit`).",
        ),
        (
            {"secrets": None},
            "platform_secrets is not set, and prod creates no secrets by itself. "
            "Set redis_password under platform_secrets in group_vars/all/vault.yml (`ansible-vault edit`).",
        ),
        (
            {"urls": {**GOOD.urls, "postgres": PASSWORD}},
            "postgres_url is not a URL with a host. Give it as scheme://user:password@host:port/name.",
        ),
        (
            environments(DATABASE_URL=PASSWORD),
            "DATABASE_URL of the service worker is not a URL with a host. Give it as postgresql://user:password@host/name.",
        ),
        *[
            (
                environments(DATABASE_URL=f"postgresql://app:{PASSWORD}@{host}:5432/shop"),
                f"DATABASE_URL of the service worker points at {name}, which inside a container is the container itself: "
                "the database is not on the application's network. Use the database host's private address.",
            )
            for host, name in (("localhost", "localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"))
        ],
        (
            environments(STAGE_DATABASE_URL=f"postgresql://app:{PASSWORD}@postgres/shop"),
            "STAGE_DATABASE_URL of the service worker points at postgres, a name that does not exist on the application's "
            "network. Name it in app_provided, or use the database host's private address.",
        ),
        (
            environments(REDIS_URL=f"redis://:{PASSWORD}@10.0.0.10/0"),
            "REDIS_URL is not the same for all services (web: 10.0.0.9:6379/0; worker: 10.0.0.10:6379/0), "
            "so jobs that one enqueues are never seen by another. Give them the same server and database.",
        ),
        (
            environments(REDIS_URL=f"redis://:{PASSWORD}@10.0.0.9/1"),
            "REDIS_URL is not the same for all services (web: 10.0.0.9:6379/0; worker: 10.0.0.9:6379/1), "
            "so jobs that one enqueues are never seen by another. Give them the same server and database.",
        ),
    ],
)
def test_each_problem_is_one_line_with_its_cure(changes: dict[str, Any], line: str) -> None:
    found = _inventory.problems(replace(GOOD, **changes))
    assert found == [line]
    assert PASSWORD not in line


def test_all_problems_are_told_at_once() -> None:
    assert len(_inventory.problems(replace(GOOD, ansible_version="2.9", name="", subnet="", groups={}))) == 6


def test_targets_leave_out_what_is_not_set_and_every_password() -> None:
    urls = {
        "postgres": f"postgresql+psycopg2://app:{PASSWORD}@db.example.com/shop",
        "redis": f"rediss://:{PASSWORD}@10.0.0.9:6380/0",
        "object_storage": "https://s3.example.com",
        "rabbitmq": "",
    }
    assert _inventory.targets(urls) == [
        {"name": "postgres", "host": "db.example.com", "port": 5432},
        {"name": "redis", "host": "10.0.0.9", "port": 6380},
        {"name": "object_storage", "host": "s3.example.com", "port": 443},
    ]


def test_ports_of_a_host_are_those_of_its_groups() -> None:
    ports = [{"group": "redis", "port": 6379}, {"group": "proxy", "port": 443}, {"port": 22}]
    assert _inventory.ports_of(ports, ["redis", "app"]) == [{"port": 6379}, {"port": 22}]
