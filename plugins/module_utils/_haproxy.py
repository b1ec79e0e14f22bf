# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection knows of HAProxy: its servers, its state file, its sockets, and the routes its configuration needs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _proxy_memory as memory
from ansible_collections.lastro.platform.plugins.module_utils._colour import COLOURS
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

DRAIN = 0x08 | 0x10
RUNNING = "2"
CHECK_PASSED = "3"
# With `rise 1` and `fall 2`, as the configuration has it, a server starts at 1 without any check and a passed one makes it 2.
VERIFIED_HEALTH = 2
STATE_COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)


@dataclass(frozen=True)
class Server:
    """One slot of a colour as HAProxy sees it. Its name is `<host>-<slot>:<port>`."""

    backend: str
    name: str
    state: str  # up | unchecked | down | drain | maintenance

    @property
    def colour(self) -> str:
        return self.backend.rpartition("_")[2]

    @property
    def service(self) -> str:
        return self.backend.rpartition("_")[0]

    @property
    def host(self) -> str:
        return self.name.rpartition(":")[0].rpartition("-")[0]

    @property
    def slot(self) -> int:
        return int(self.name.rpartition(":")[0].rpartition("-")[2])

    @property
    def place(self) -> tuple[str, str, int]:
        """The same on every proxy, and whatever the port is."""
        return self.backend, self.host, self.slot

    @property
    def port(self) -> str:
        return self.name.rpartition(":")[2]


def server_name(host: str, slot: int, port: int) -> str:
    """The port is part of the name: so a state file from before a change of ports names servers that are no more,
    instead of bending the new ones to the old ports (HAProxy takes the port of the state file)."""
    return f"{host}-{slot}:{port}"


def parse_servers(text: str) -> list[Server]:
    """`show servers state`: the servers of coloured backends, in the order of the configuration."""
    servers = []
    columns: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            columns = {name: index for index, name in enumerate(words[1:])}
        elif len(words) >= len(columns) > 0:
            row = {name: words[index] for name, index in columns.items()}
            if row["be_name"].rpartition("_")[2] in COLOURS and re.fullmatch(r".+-\d+:\d+", row["srv_name"]):
                servers.append(Server(row["be_name"], row["srv_name"], _state(row)))
    return servers


def _state(row: Mapping[str, str]) -> str:
    admin = int(row["srv_admin_state"])
    if admin & memory.MAINTENANCE:
        return "maintenance"
    if admin & DRAIN:
        return "drain"
    if row["srv_op_state"] != RUNNING:
        return "down"
    # A server counts as up until its first check, also after maintenance, when the result of the last one still stands.
    verified = row["srv_check_result"] == CHECK_PASSED and int(row["srv_check_health"]) >= VERIFIED_HEALTH
    return "up" if verified else "unchecked"


def want_slots(
    servers: Iterable[Server], slots: Mapping[str, Mapping[str, int]], hosts: Sequence[str] = ()
) -> dict[Server, bool]:
    """Which servers have to be ready (True) or in maintenance (False); the others are left as they are."""
    return {
        server: server.slot < slots[server.colour][server.service]
        for server in servers
        if server.service in slots.get(server.colour, {}) and (not hosts or server.host in hosts)
    }


def want_like(servers: Iterable[Server], told: Mapping[str, Mapping[str, str]]) -> dict[Server, bool]:
    """Every server as another proxy has it, by the `table` of that one: what rests there or is not there has to rest."""
    ready = {
        Server(backend, name, state).place
        for backend, of in told.items()
        for name, state in of.items()
        if state not in ("maintenance", "drain")
    }
    return {server: server.place in ready for server in servers}


def unknown_slots(servers: Sequence[Server], slots: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What `slots` asks for and the configuration does not have."""
    problems = []
    for colour, services in slots.items():
        for service, count in services.items():
            there = {server.slot for server in servers if (server.service, server.colour) == (service, colour)}
            if count > len(there):
                problems.append(f"{service}_{colour} has {len(there)} slots, asked for are {count}")
    return problems


def not_ready(servers: Iterable[Server], colour: str) -> list[str]:
    """Why a colour can't serve yet: every ready server has to be up by a check, at least one a service."""
    of_colour = [server for server in servers if server.colour == colour]
    ready = [server for server in of_colour if server.state != "maintenance"]
    without = sorted({server.service for server in of_colour} - {server.service for server in ready})
    return [f"{service}_{colour} has no server that is ready" for service in without] + [
        f"{server.backend}/{server.name} is {server.state}" for server in ready if server.state != "up"
    ]


def parse_stat(text: str) -> list[dict[str, str]]:
    """`show stat`: a line each of frontends, backends and their servers."""
    return list(csv.DictReader(text.strip().removeprefix("# ").splitlines()))


def open_sessions(text: str, servers: Iterable[Server]) -> int:
    """`show stat`: requests, streams and WebSockets that these servers work on."""
    names = {(server.backend, server.name) for server in servers}
    return sum(int(row["scur"] or 0) for row in parse_stat(text) if (row["pxname"], row["svname"]) in names)


def connections(text: str) -> int:
    """`show stat`: what clients hold open, idle or not."""
    return sum(int(row["scur"] or 0) for row in parse_stat(text) if row["svname"] == "FRONTEND")


def uptime_seconds(text: str) -> int:
    """`show info`: since when this worker works, so since the last reload; 0 where nothing is answered."""
    found = re.search(r"^Uptime_sec: (\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def render_state(maintenance: Mapping[tuple[str, str], bool]) -> str:
    """The server-state file: who is in maintenance, and nothing else that HAProxy would believe.

    The address `-` leaves the configuration's; a ready server starts as up, as without a file, and is checked at once.
    """
    lines = ["1", f"# {STATE_COLUMNS}"]
    for (backend, name), down in maintenance.items():
        operation, admin, check = ("0", "1", "1 0 0 14") if down else (RUNNING, "0", "1 0 1 6")
        port = name.rpartition(":")[2]
        lines.append(f"0 {backend} 0 {name} - {operation} {admin} 1 1 0 {check} 0 0 0 - {port} - 0 0 - - 0")
    return "\n".join(lines) + "\n"


def servers_of(config: str) -> set[tuple[str, str]]:
    """Backend and name of each server in a configuration's text."""
    found = set()
    backend = ""
    for line in config.splitlines():
        words = line.split()
        if words[:1] in (["backend"], ["frontend"], ["listen"]) and len(words) > 1:
            backend = words[1] if words[0] == "backend" else ""
        elif words[:1] == ["server"] and backend and len(words) > 1:
            found.add((backend, words[1]))
    return found


def left_without(servers: Iterable[Server], colour: str | None, config: str) -> list[str]:
    """Backends of the colour that serves that would keep none of the servers they serve with now."""
    serving = [s for s in servers if s.colour == colour and s.state in ("up", "unchecked")]
    kept = {backend for backend, name in servers_of(config) & {(s.backend, s.name) for s in serving}}
    return [f"{s.backend}/{s.name}" for s in serving if s.backend not in kept]


def newcomers(servers: Iterable[Server], config: str) -> set[tuple[str, str]]:
    """Servers that a configuration adds to those of a backend."""
    there = {(s.backend, s.name) for s in servers}
    wanted = servers_of(config)
    joined = {backend for backend, _name in wanted & there}
    return {(backend, name) for backend, name in wanted - there if backend in joined}


def table(servers: Iterable[Server]) -> dict[str, dict[str, str]]:
    """The servers as the module returns them: backend → server → state."""
    found: dict[str, dict[str, str]] = {}
    for server in servers:
        found.setdefault(server.backend, {})[server.name] = server.state
    return found


def ready_slots(servers: Iterable[Server]) -> dict[str, dict[str, int | None]]:
    """Colour → service → how many slots are ready; None where they are not the first ones, or not as many on each host."""
    hosts: dict[tuple[str, str], dict[str, set[int]]] = {}
    for server in servers:
        ready = hosts.setdefault((server.colour, server.service), {}).setdefault(server.host, set())
        if server.state not in ("maintenance", "drain"):
            ready.add(server.slot)
    found: dict[str, dict[str, int | None]] = {}
    for (colour, service), slots in hosts.items():
        one, *others = slots.values()
        even = one == set(range(len(one))) and all(other == one for other in others)
        found.setdefault(colour, {})[service] = len(one) if even else None
    return found


class Admin:
    """HAProxy's admin socket, or its master's."""

    def __init__(self, path: str, timeout: float = 5.0) -> None:
        self.path = path
        self.timeout = timeout

    def ask(self, *commands: str) -> str | None:
        """Send commands on one connection and return all that is answered; None when HAProxy does not run."""
        try:
            return memory.ask(self.path, commands, self.timeout)
        except OSError as error:
            raise PlatformError(
                f"HAProxy does not answer on {self.path}: {error}", "Look at the log of the proxy's container."
            ) from error


def model(
    routes: Sequence[Mapping[str, Any]], app_hosts: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Routes and hosts → the rules in the order they are tried, and the backends, for the configuration's template.

    `before` is the `colour` that serves and the `routes` of its release. Where a release brings, drops or renames services, each colour
    has its own routes until the next deploy, so users of the release that serves find all of it while the new one starts.
    """
    of = {colour: list(routes) for colour in COLOURS}
    if before and _services(before["routes"]).keys() != _services(routes).keys():
        of[before["colour"]] = list(before["routes"])
    rules = {colour: _rules(of[colour]) for colour in COLOURS}
    one, other = rules.values()
    services = {colour: _services(of[colour]) for colour in COLOURS}
    names = list(dict.fromkeys(name for colour in COLOURS for name in services[colour]))
    return {
        "routes": of,
        "rules": one if one == other else [{**rule, "colour": colour} for colour in COLOURS for rule in rules[colour]],
        "static": {
            name: colours
            for name in names
            if (colours := [colour for colour in COLOURS if services[colour].get(name, {}).get("static")])
        },
        "backends": [
            {
                "name": f"{service}_{colour}",
                "health": route.get("health") or "/health",
                "timeout_seconds": route.get("timeout_seconds") or 30,
                "servers": [
                    {
                        "name": server_name(host["name"], slot, port),
                        "address": f"{host['address']}:{port}",
                    }
                    for host in app_hosts
                    for slot, port in enumerate(route["ports"][colour])
                ],
            }
            for service in names
            for colour in COLOURS
            if (route := services[colour].get(service))
        ],
    }


def _services(routes: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The first route of each."""
    found: dict[str, Mapping[str, Any]] = {}
    for route in routes:
        found.setdefault(route["service"], route)
    return found


def _rules(routes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    services = _services(routes)
    rules: list[dict[str, Any]] = []
    for route in routes:
        first = services[route["service"]]
        for key in ("ports", "health", "timeout_seconds"):
            if first.get(key) != route.get(key):
                raise PlatformError(
                    f"Two routes of the service {route['service']} differ in {key}",
                    "A service has one set of ports, one health path and one timeout: give the same in all its routes.",
                )
        _words(route)
        path = "/" + str(route.get("path") or "/").strip("/")
        rules += [{"service": route["service"], "host": host, "path": path} for host in route.get("hosts") or [""]]
    double = sorted({f"{r['host'] or '*'}{r['path']}" for r in rules if sum(_same(r, other) for other in rules) > 1})
    if double:
        raise PlatformError(f"Several services have the route {', '.join(double)}", "Give each its own host or path.")
    return sorted(rules, key=_precedence)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["host"], one["path"]) == (other["host"], other["path"])


def _precedence(rule: Mapping[str, Any]) -> tuple[int, int, str, str]:
    """A host before a pattern of hosts before any host, then the longest path."""
    host = rule["host"]
    rank = 2 if not host else 1 if host.startswith("*.") else 0
    # Of two patterns the longer one is the more special.
    return (rank * 1000 - (len(host) if rank == 1 else 0), -len(rule["path"]), host, rule["path"])


def _words(route: Mapping[str, Any]) -> None:
    """What goes into the configuration must not be able to break out of its place there."""
    wrong = [f"service {route['service']!r}"] if not re.fullmatch(r"[A-Za-z0-9._-]+", route["service"]) else []
    wrong += [f"host {h!r}" for h in route.get("hosts") or [] if not re.fullmatch(r"(\*\.)?[a-z0-9.-]+", h)]
    for key in ("path", "health"):
        if not re.fullmatch(r"/[A-Za-z0-9._~!$&()*+,;=:@%/-]*", str(route.get(key) or "/")):
            wrong.append(f"{key} {route[key]!r}")
    if wrong:
        raise PlatformError(
            f"A route cannot have {', '.join(wrong)}",
            "Hosts are lower case without a port, paths begin with / and hold no spaces or quotes.",
        )
