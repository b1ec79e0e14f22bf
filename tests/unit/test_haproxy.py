"""What the collection reads of HAProxy and writes for it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _haproxy as haproxy
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._proxy_memory import old_workers, ready_servers

HEADER = f"1\n# {haproxy.STATE_COLUMNS}\n"


def row(backend: str, name: str, op: int = 2, admin: int = 0, result: int = 3, health: int = 2) -> str:
    port = name.rpartition(":")[2]
    return f"4 {backend} 1 {name} 10.0.0.1 {op} {admin} 1 1 9 15 {result} {health} 6 0 0 0 - {port} - 0 0 - - 0\n"


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "up"),
        # After a start: counted as up by HAProxy, never checked.
        ({"result": 0, "health": 1}, "unchecked"),
        # Back from maintenance: the result of the last check before it still stands.
        ({"result": 3, "health": 1}, "unchecked"),
        ({"result": 2, "health": 1}, "unchecked"),
        ({"op": 0, "result": 2, "health": 0}, "down"),
        ({"op": 0, "admin": 1, "result": 0, "health": 0}, "maintenance"),
        ({"op": 0, "admin": 5, "result": 0, "health": 0}, "maintenance"),
        ({"admin": 8}, "drain"),
    ],
)
def test_states(facts: dict[str, int], state: str) -> None:
    (server,) = haproxy.parse_servers(HEADER + row("web_blue", "dev-0:18000", **facts))
    assert server.state == state


def test_servers_know_where_they_belong() -> None:
    text = HEADER + row("my_shop_green", "app-host-1-3:18103") + row("nowhere", "x:1") + row("web_blue", "by-hand")
    (server,) = haproxy.parse_servers(text)
    assert (server.service, server.colour, server.host, server.slot, server.port) == (
        "my_shop",
        "green",
        "app-host-1",
        3,
        "18103",
    )
    assert haproxy.table([server]) == {"my_shop_green": {"app-host-1-3:18103": "up"}}


@pytest.mark.parametrize("text", ["", "\n", "1\n", "Unknown command\n"])
def test_nothing_to_parse(text: str) -> None:
    assert haproxy.parse_servers(text) == []


def servers(*names: str, state: str = "up") -> list[haproxy.Server]:
    return [haproxy.Server(*name.split("/"), state=state) for name in names]


FLEET = servers(
    *(
        f"web_{colour}/{host}-{slot}:{port + slot}"
        for colour, port in (("blue", 18000), ("green", 18100))
        for host in ("a", "b")
        for slot in (0, 1, 2)
    ),
    "api_blue/a-0:18010",
)


@pytest.mark.parametrize(
    ("slots", "hosts", "ready", "rest"),
    [
        ({}, [], [], []),
        ({"blue": {"api": 1}}, [], ["a-0:18010"], []),
        ({"blue": {"api": 0}}, [], [], ["a-0:18010"]),
        (
            {"blue": {"web": 2}},
            [],
            ["a-0:18000", "a-1:18001", "b-0:18000", "b-1:18001"],
            ["a-2:18002", "b-2:18002"],
        ),
        ({"green": {"web": 1}}, ["b"], ["b-0:18100"], ["b-1:18101", "b-2:18102"]),
    ],
)
def test_want_slots(slots: dict[str, dict[str, int]], hosts: list[str], ready: list[str], rest: list[str]) -> None:
    wanted = haproxy.want_slots(FLEET, slots, hosts)
    assert [server.name for server, is_ready in wanted.items() if is_ready] == ready
    assert [server.name for server, is_ready in wanted.items() if not is_ready] == rest


def test_want_like() -> None:
    told = {
        "web_blue": {"a-0:28000": "up", "a-1:28001": "down", "a-2:28002": "maintenance", "b-0:28000": "drain"},
        "api_blue": {"a-0:18010": "unchecked"},
    }
    wanted = haproxy.want_like(FLEET, told)
    # Whatever the port is; what is down may come back. What the other does not name, green and the rest of b, is not there.
    assert [server.name for server, is_ready in wanted.items() if is_ready] == ["a-0:18000", "a-1:18001", "a-0:18010"]
    assert set(wanted) == set(FLEET)


def test_unknown_slots() -> None:
    assert haproxy.unknown_slots(FLEET, {"blue": {"web": 3, "api": 1}}) == []
    assert haproxy.unknown_slots(FLEET, {"blue": {"web": 4}, "green": {"api": 1}}) == [
        "web_blue has 3 slots, asked for are 4",
        "api_green has 0 slots, asked for are 1",
    ]


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ([], {}),
        (servers("web_blue/a-0:1", "web_blue/a-1:2"), {"blue": {"web": 2}}),
        (servers("web_blue/a-0:1") + servers("web_blue/a-1:2", state="maintenance"), {"blue": {"web": 1}}),
        # Down is not out: the slot takes part as soon as it is back.
        (servers("web_blue/a-0:1", state="down"), {"blue": {"web": 1}}),
        (servers("web_blue/a-0:1", state="drain"), {"blue": {"web": 0}}),
        # Not the first, or not as many on each host: no number says that.
        (servers("web_blue/a-0:1", state="maintenance") + servers("web_blue/a-1:2"), {"blue": {"web": None}}),
        (servers("web_blue/a-0:1") + servers("web_blue/b-0:1", state="maintenance"), {"blue": {"web": None}}),
        (
            servers("web_blue/a-0:1", "api_blue/a-0:2") + servers("web_green/a-0:3", state="maintenance"),
            {"blue": {"web": 1, "api": 1}, "green": {"web": 0}},
        ),
    ],
)
def test_ready_slots(fleet: list[haproxy.Server], expected: dict[str, dict[str, int | None]]) -> None:
    assert haproxy.ready_slots(fleet) == expected


@pytest.mark.parametrize(
    ("fleet", "problems"),
    [
        (servers("web_green/a-0:1", "web_green/a-1:2"), []),
        # The other colour does not matter.
        (servers("web_green/a-0:1") + servers("web_blue/a-0:1", state="down"), []),
        (servers("web_green/a-0:1") + servers("web_green/a-1:2", state="maintenance"), []),
        (servers("web_green/a-0:1") + servers("web_green/a-1:2", state="down"), ["web_green/a-1:2 is down"]),
        (servers("web_green/a-0:1", state="unchecked"), ["web_green/a-0:1 is unchecked"]),
        # Every service needs one.
        (
            servers("web_green/a-0:1") + servers("api_green/a-0:2", state="maintenance"),
            ["api_green has no server that is ready"],
        ),
        # An application without routes has nothing to wait for.
        ([], []),
    ],
)
def test_not_ready(fleet: list[haproxy.Server], problems: list[str]) -> None:
    assert haproxy.not_ready(fleet, "green") == problems


CONFIG = """
frontend application
  bind *:80
backend web_blue
  server a-0:1000 10.0.0.1:1000
  server a-1:1001 10.0.0.1:1001
backend web_green
  server a-0:1100 10.0.0.1:1100
frontend metrics
  server never-0:1 10.0.0.1:1
"""


@pytest.mark.parametrize(
    ("fleet", "colour", "lost"),
    [
        (servers("web_blue/a-0:1000"), "blue", []),
        (servers("web_blue/a-0:1000", "web_blue/gone-0:1000"), "blue", []),
        (servers("web_blue/a-0:2000"), "blue", ["web_blue/a-0:2000"]),
        (servers("shop_blue/a-0:1000"), "blue", ["shop_blue/a-0:1000"]),
        (servers("web_blue/a-0:2000"), "green", []),
        (servers("web_blue/a-0:2000"), None, []),
        (servers("web_blue/a-0:2000", state="maintenance"), "blue", []),
        (servers("web_blue/a-0:2000", state="down"), "blue", []),
        (servers("web_blue/never-0:1"), "blue", ["web_blue/never-0:1"]),
    ],
)
def test_left_without(fleet: list[haproxy.Server], colour: str | None, lost: list[str]) -> None:
    assert haproxy.left_without(fleet, colour, CONFIG) == lost


def test_state_file_holds_maintenance_and_no_addresses() -> None:
    text = haproxy.render_state({("web_blue", "a-0:18000"): False, ("web_blue", "a-1:18001"): True})
    assert [(s.name, s.state) for s in haproxy.parse_servers(text)] == [
        ("a-0:18000", "unchecked"),
        ("a-1:18001", "maintenance"),
    ]
    columns = haproxy.STATE_COLUMNS.split()
    rows = [dict(zip(columns, line.split(), strict=True)) for line in text.splitlines()[2:]]
    assert [(r["srv_addr"], r["srv_port"]) for r in rows] == [("-", "18000"), ("-", "18001")]


def test_old_workers() -> None:
    text = (
        "#<PID> <type>\n1 master 1\n# workers\n30 worker 0\n# old workers\n8 worker 1 0d\n9 worker 1 0d\n# programs\n\n"
    )
    assert old_workers(text) == [8, 9]
    assert old_workers("#<PID>\n1 master\n# workers\n30 worker 0\n# programs\n") == []
    assert old_workers("") == []


def test_ready_servers_are_those_out_of_maintenance() -> None:
    text = haproxy.render_state({("web_blue", "a-0:18000"): False, ("web_blue", "a-1:18001"): True})
    assert ready_servers(text) == {"web_blue/a-0:18000"}
    assert ready_servers("Can't find backend.\n") == set()


def test_what_a_worker_says_of_its_age_and_its_clients() -> None:
    assert haproxy.uptime_seconds("Uptime: 0d 0h01m04s\nUptime_sec: 64\n") == 64
    assert haproxy.uptime_seconds("") == 0
    assert (
        haproxy.connections("# pxname,svname,scur\napplication,FRONTEND,3\nweb_blue,a-0:18000,2\nmetrics,FRONTEND,1\n")
        == 4
    )
    assert haproxy.connections("") == 0


PORTS = {"blue": [18000, 18001], "green": [18100, 18101]}


def route(service: str, **keys: Any) -> dict[str, Any]:
    return {"service": service, "ports": PORTS, **keys}


def test_model_orders_host_before_any_host_then_longest_path() -> None:
    routes = [
        route("site"),
        route("api", path="/api/"),
        route("deep", path="/api/v2"),
        route("shop", hosts=["shop.example"]),
        route("cart", hosts=["shop.example"], path="/cart"),
        route("tenants", hosts=["*.example"]),
        route("special", hosts=["*.eu.example"]),
    ]
    rules = [(r["service"], r["host"], r["path"]) for r in haproxy.model(routes, [])["rules"]]
    assert rules == [
        ("cart", "shop.example", "/cart"),
        ("shop", "shop.example", "/"),
        ("special", "*.eu.example", "/"),
        ("tenants", "*.example", "/"),
        ("deep", "", "/api/v2"),
        ("api", "", "/api"),
        ("site", "", "/"),
    ]


def test_model_has_both_colours_and_all_slots_of_all_hosts() -> None:
    hosts = [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]
    routes = [
        route("web", health="/ready", timeout_seconds=5),
        route("web", health="/ready", timeout_seconds=5, path="/x"),
    ]
    backends = haproxy.model(routes, hosts)["backends"]
    assert [(b["name"], b["health"], b["timeout_seconds"]) for b in backends] == [
        ("web_blue", "/ready", 5),
        ("web_green", "/ready", 5),
    ]
    assert [(s["name"], s["address"]) for s in backends[1]["servers"]] == [
        ("a-0:18100", "10.0.0.1:18100"),
        ("a-1:18101", "10.0.0.1:18101"),
        ("b-0:18100", "10.0.0.2:18100"),
        ("b-1:18101", "10.0.0.2:18101"),
    ]


@pytest.mark.parametrize(
    ("routes", "word"),
    [
        ([route("web"), route("web", path="/x", health="/other")], "differ in health"),
        ([route("web"), route("web", path="/x", ports={"blue": [1], "green": [2]})], "differ in ports"),
        ([route("web"), route("api")], "Several services have the route"),
        ([route("web", hosts=["a.b"]), route("api", hosts=["c.d", "a.b"])], "a.b/"),
        ([route("web", path="/a b")], "path"),
        ([route("web", path="/a { x }")], "path"),
        ([route("web", health="/a\nserver evil")], "health"),
        ([route("web", hosts=["A.example"])], "host"),
        ([route("web", hosts=["a.example:80"])], "host"),
        ([route("we b")], "service"),
    ],
)
def test_model_refuses(routes: list[dict[str, Any]], word: str) -> None:
    with pytest.raises(PlatformError, match=word):
        haproxy.model(routes, [])


def test_newcomers_are_those_that_join_others() -> None:
    there = [haproxy.Server("web_blue", "a-0:1", "up"), haproxy.Server("api_blue", "a-0:7", "up")]
    config = (
        "backend web_blue\n server a-0:1 x\n server b-0:1 y\n"
        "backend api_blue\n server a-0:8 x\nbackend new_blue\n server a-0:9 x\n"
    )
    assert haproxy.newcomers(there, config) == {("web_blue", "b-0:1")}
    assert haproxy.newcomers(there, "") == set()


def test_model_where_services_differ_gives_each_colour_its_own() -> None:
    def route(service: str, path: str, first: int, **more: Any) -> dict[str, Any]:
        return {"service": service, "path": path, "ports": {"blue": [first], "green": [first + 9]}, **more}

    old = [route("web", "/", 1), route("files", "/f", 2, static=True)]
    new = [route("front", "/", 3), route("files", "/f", 2, static=True)]
    found = haproxy.model(new, [{"name": "a", "address": "h"}], {"colour": "green", "routes": old})
    assert [(r["colour"], r["service"], r["path"]) for r in found["rules"]] == [
        ("blue", "files", "/f"),
        ("blue", "front", "/"),
        ("green", "files", "/f"),
        ("green", "web", "/"),
    ]
    assert {b["name"] for b in found["backends"]} == {"front_blue", "web_green", "files_blue", "files_green"}
    assert (found["static"], found["routes"]) == ({"files": ["blue", "green"]}, {"blue": new, "green": old})
    # A file is looked for in the colours that have the service as such.
    other = haproxy.model([route("front", "/", 3), route("files", "/f", 2)], [], {"colour": "green", "routes": old})
    assert other["static"] == {"files": ["green"]}
    # Where only the routes of the same services change, the release that serves has them at once.
    same = haproxy.model([route("web", "/x", 1)], [], {"colour": "green", "routes": [route("web", "/", 1)]})
    assert same["rules"] == [{"service": "web", "host": "", "path": "/x"}]
    assert haproxy.model(new, [], {}) == haproxy.model(new, [])
