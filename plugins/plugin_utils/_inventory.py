# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an inventory, told before any host is asked. No message shows a password."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

OLDEST_ANSIBLE = (2, 19)
ENVIRONMENTS = ("dev", "stage", "prod")
VARIABLES = "group_vars/all/main.yml"
VAULT = "group_vars/all/vault.yml"
# What the platform can run itself, or be given by URL.
BY_URL = ("postgres", "redis", "rabbitmq", "object_storage")
DEFAULT_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}
DEFAULT_PORTS |= {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_DATABASE_URL = re.compile(r"(.*_)?DATABASE_URL")
_REDIS_URL = re.compile(r"(.*_)?REDIS_URL")


@dataclass(frozen=True)
class Inventory:
    """What the checks look at; the role platform fills it."""

    ansible_version: str = ""
    name: str = ""
    environment: str = ""
    private_address: str = ""
    subnet: str = ""
    release: str = ""
    release_needed: bool = True
    groups: Mapping[str, Collection[str]] = field(default_factory=dict)
    needs: Sequence[str] = ()
    urls: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] | None = None
    secret_names: Collection[str] = ()
    service_environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Names that resolve on the application's network besides its own services.
    known_names: Collection[str] = ()
    # Percentages of the clients that get a release before all do.
    canary_steps: Sequence[Any] = ()
    watch_seconds: Any = 0
    # None where the role's default stands, which goes with the watch.
    undo_seconds: Any = None
    # The address that the hosts of the proxy share; empty for none.
    virtual_address: str = ""
    virtual_router_id: Any = 51
    bind_address: str = "*"


def problems(inventory: Inventory) -> list[str]:
    """Every problem, a line each, with its cure."""
    return [
        *_versions(inventory),
        *_names(inventory),
        *_addresses(inventory),
        *_groups(inventory),
        *_secrets(inventory),
        *_databases(inventory),
        *_redis_servers(inventory),
        *_canary(inventory),
        *_undo(inventory),
        *_virtual_address(inventory),
    ]


def _versions(inventory: Inventory) -> Iterator[str]:
    if _numbers(inventory.ansible_version) < OLDEST_ANSIBLE:
        yield (
            f"ansible-core {inventory.ansible_version} is too old. "
            "Use 2.19 or later; `make deploy` prepares an environment that has it."
        )


def _names(inventory: Inventory) -> Iterator[str]:
    if not inventory.name:
        yield f"platform_name is not set. Set it in {VARIABLES}."
    elif not _NAME.fullmatch(inventory.name):
        yield (
            f"platform_name {inventory.name!r} is malformed. "
            "Use lower-case letters, digits and -, a letter first, 31 characters at most."
        )
    if inventory.environment not in ENVIRONMENTS:
        yield f"platform_environment is {inventory.environment!r}. Set it to dev, stage or prod in {VARIABLES}."
    elif inventory.environment != "dev" and inventory.release_needed and not inventory.release:
        yield (
            f"app_release is not set, and {inventory.environment} deploys only a release that is named. "
            "Pass -e app_release=NAME."
        )


def _addresses(inventory: Inventory) -> Iterator[str]:
    address, subnet = _address(inventory.private_address), _network(inventory.subnet)
    if not inventory.private_address:
        yield (
            "platform_private_address is not set. Set it for each host to its address in the private network "
            "(dev: an address of platform_subnet, as 172.30.77.1)."
        )
    elif address is None or address.is_unspecified:
        yield (
            f"platform_private_address {inventory.private_address!r} is not the IP address of a host. "
            "Set it to the host's address in the private network."
        )
    if subnet is None:
        yield f"platform_subnet {inventory.subnet!r} is not a network. Give it as 172.30.77.0/24 in {VARIABLES}."
    elif inventory.environment == "dev" and address is not None and address not in subnet:
        yield (
            f"platform_private_address {address} is not in platform_subnet {subnet}. "
            f"In dev it is the gateway of that network: set it to an address of it in {VARIABLES}."
        )


def _canary(inventory: Inventory) -> Iterator[str]:
    steps = [int(step) if str(step).isdecimal() else 0 for step in inventory.canary_steps]
    if any(not 0 < step < 100 for step in steps) or steps != sorted(set(steps)):
        yield (
            f"proxy_canary_steps is {list(inventory.canary_steps)}, which are no rising percentages of the clients. "
            "Give numbers from 1 to 99, the smallest first, as [5, 25]; everybody comes last by itself."
        )
    elif steps and _seconds(inventory.watch_seconds) == 0:
        yield (
            f"proxy_canary_steps is {list(inventory.canary_steps)}, and nobody watches them: proxy_watch_seconds is {inventory.watch_seconds}. "
            "Say how long each step is watched, as 60, or leave the steps out."
        )


def _undo(inventory: Inventory) -> Iterator[str]:
    watch, undo = _seconds(inventory.watch_seconds), _seconds(inventory.undo_seconds)
    if watch is not None and undo is not None and undo <= watch:
        yield (
            f"proxy_undo_seconds is {inventory.undo_seconds}, and proxy_watch_seconds is {inventory.watch_seconds}: every release would be "
            "taken back before its watch is over. Leave proxy_undo_seconds out, or give it a minute more than the watch and the smoke tests take."
        )


def _seconds(value: Any) -> float | None:
    """None for what is no number: the argument specs say so."""
    try:
        return max(float(value), 0.0)
    except (TypeError, ValueError):
        return None


def _virtual_address(inventory: Inventory) -> Iterator[str]:
    address, proxies = inventory.virtual_address, sorted(inventory.groups.get("proxy", ()))
    if not address:
        return
    if not _is_interface(address):
        yield (
            f"proxy_virtual_address {address!r} is not an IPv4 address with its prefix. "
            "Give it as 203.0.113.10/24: the address, and the network it is in."
        )
    elif address.partition("/")[0] == inventory.private_address:
        yield (
            f"proxy_virtual_address {address} is this host's own platform_private_address. "
            "Take an address that no host has: it goes from one to another."
        )
    if ":" in inventory.private_address:
        yield (
            f"platform_private_address {inventory.private_address} is IPv6, and the hosts of the proxy tell each other over IPv4 "
            "who holds proxy_virtual_address. Give them IPv4 addresses in the private network."
        )
    if len(proxies) < 2:
        yield (
            f"proxy_virtual_address is set, and {proxies[0] if proxies else 'nobody'} is alone in the group proxy: "
            "there is no other host to take the address over. Add one, or leave proxy_virtual_address out."
        )
    if not (str(inventory.virtual_router_id).isdecimal() and 1 <= int(inventory.virtual_router_id) <= 255):
        yield (
            f"proxy_virtual_router_id is {inventory.virtual_router_id!r}. "
            "Give a number from 1 to 255 that nothing else in the network uses for VRRP."
        )
    if inventory.bind_address != "*":
        yield (
            f"proxy_bind_address is {inventory.bind_address}, and proxy_virtual_address has to be served wherever it is: HAProxy cannot "
            'open an address that its host does not hold yet. Leave proxy_bind_address at "*".'
        )


def _groups(inventory: Inventory) -> Iterator[str]:
    for need in inventory.needs:
        if inventory.groups.get(need) or inventory.urls.get(need):
            continue
        if need in BY_URL:
            yield (
                f"The inventory has no host in the group {need}, and {need}_url is not set. "
                f"Add a host to the group, set {need}_url, or take {need} off platform_needs."
            )
        else:
            yield f"The inventory has no host in the group {need}. Add one."


def _secrets(inventory: Inventory) -> Iterator[str]:
    if inventory.secrets is None:
        if inventory.environment in ENVIRONMENTS[1:] and inventory.secret_names:
            yield (
                f"platform_secrets is not set, and {inventory.environment} creates no secrets by itself. "
                f"Set {', '.join(sorted(inventory.secret_names))} under platform_secrets in {VAULT} (`ansible-vault edit`)."
            )
        return
    for name in sorted(inventory.secret_names):
        if not inventory.secrets.get(name):
            yield f"The secret {name} is missing. Set platform_secrets.{name} in {VAULT} (`ansible-vault edit`)."


def _databases(inventory: Inventory) -> Iterator[str]:
    for name, text in inventory.urls.items():
        if text and _host(text) is None:
            yield f"{name}_url is not a URL with a host. Give it as scheme://user:password@host:port/name."
    for service, key, text in _settings(inventory, _DATABASE_URL):
        host = _host(text)
        if host is None:
            yield f"{key} of the service {service} is not a URL with a host. Give it as postgresql://user:password@host/name."
        elif _is_loopback(host):
            yield (
                f"{key} of the service {service} points at {host}, which inside a container is the container itself: "
                "the database is not on the application's network. Use the database host's private address."
            )
        elif _is_bare_name(host) and host not in {*inventory.service_environments, *inventory.known_names}:
            yield (
                f"{key} of the service {service} points at {host}, a name that does not exist on the application's network. "
                "Name it in app_provided, or use the database host's private address."
            )


def _redis_servers(inventory: Inventory) -> Iterator[str]:
    # A key set twice for a reason (a cache, a queue) differs by name: only the same key is compared.
    by_key: dict[str, dict[str, list[str]]] = {}
    for service, key, text in _settings(inventory, _REDIS_URL):
        by_key.setdefault(key, {}).setdefault(_server(text), []).append(service)
    for key, servers in by_key.items():
        if len(servers) > 1:
            found = "; ".join(sorted(f"{', '.join(sorted(names))}: {server}" for server, names in servers.items()))
            yield (
                f"{key} is not the same for all services ({found}), so jobs that one enqueues are never seen by another. "
                "Give them the same server and database."
            )


def targets(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Name, host and port of each URL given: what a host has to reach."""
    found = []
    for name, text in urls.items():
        url = _split(text)
        if text and url and url.hostname:
            port = url.port or DEFAULT_PORTS.get(url.scheme.partition("+")[0], 443)
            found.append({"name": name, "host": url.hostname, "port": port})
    return found


def ports_of(ports: Iterable[Mapping[str, Any]], groups: Collection[str]) -> list[dict[str, Any]]:
    """The ports that a host of these groups listens on."""
    return [
        {key: value for key, value in port.items() if key != "group"}
        for port in ports
        if port.get("group", "all") in {"all", *groups}
    ]


def _settings(inventory: Inventory, key: re.Pattern[str]) -> Iterator[tuple[str, str, str]]:
    for service, environment in sorted(inventory.service_environments.items()):
        yield from (
            (service, name, value) for name, value in sorted(environment.items()) if key.fullmatch(name) and value
        )


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
        _port = url.port
    except ValueError:
        return None
    return url


def _host(text: str) -> str | None:
    url = _split(text)
    return url.hostname if url and url.scheme else None


def _server(text: str) -> str:
    url = _split(text)
    if not url or not url.hostname:
        return "not a URL"
    return f"{url.hostname}:{url.port or DEFAULT_PORTS['redis']}/{url.path.strip('/') or 0}"


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_bare_name(host: str) -> bool:
    return "." not in host and _address(host) is None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _is_interface(text: str) -> bool:
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        return False
    # The first and the last address of a network are nobody's, but where it has no others.
    ends = (interface.network.network_address, interface.network.broadcast_address)
    return text == interface.with_prefixlen and (interface.network.prefixlen > 30 or interface.ip not in ends)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
