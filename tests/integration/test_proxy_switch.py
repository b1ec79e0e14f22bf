"""proxy_switch and the role proxy against a real HAProxy, with small web servers as slots."""

from __future__ import annotations

import collections
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._colour import render_map
from ansible_collections.lastro.platform.plugins.module_utils._proxy import Proxy, run
from ansible_collections.lastro.platform.plugins.module_utils._proxy_memory import parse_map

from tests.integration.proxy_stand import Slot, Stand, wait_for
from tests.load import Load
from tests.support import REPOSITORY, run_module

MAP = "/haproxy/maps/colour.map"


def test_switches_under_keep_alive_load_lose_no_request(proxy: Stand) -> None:
    answers: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    stop = threading.Event()

    def load() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=10)
        while not stop.is_set():
            try:
                connection.request("GET", "/", headers={"Host": "web.example"})
                answer = connection.getresponse()
                body = answer.read().decode()
                answers[body] += 1
                if answer.status != 200:
                    failures.append(f"{answer.status} {body}")
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()
            # Enough to have requests under way at every flip, not enough to fill the machine.
            time.sleep(0.002)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for colour in ("green", "blue", "green", "blue", "green"):
        result = proxy.switch(colour)
        assert (result["changed"], result["active"]["after"], result["map"]) == (
            True,
            colour,
            {"file": colour, "runtime": colour},
        )
    blue = answers["blue0"] + answers["blue1"]
    time.sleep(0.3)
    assert answers["blue0"] + answers["blue1"] - blue <= len(threads), "blue was served after the switch"
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(answers[name] for name in ("blue0", "blue1", "green0", "green1")) > 20


def test_a_switch_back_and_no_change(proxy: Stand) -> None:
    assert proxy.switch("green", check=True)["changed"]
    assert proxy.get()[1].startswith("blue")
    result = proxy.switch("green")
    assert result["diff"] == {"before": "active blue\n", "after": "active green\n"}
    assert proxy.file() == "active green\n"
    assert {proxy.get()[1] for _ in range(6)} == {"green0", "green1"}
    assert not proxy.switch("green")["changed"]
    assert not proxy.switch("green", check=True)["changed"]
    assert not proxy.switch()["changed"]


def test_doing_nothing_is_cheap(proxy: Stand) -> None:
    options = {
        "directory": str(proxy.directory),
        "colour": "blue",
        "slots": {"blue": {"web": 2}},
        "hosts": [],
        "servers": None,
        "wait_timeout": 10.0,
        "candidate": None,
        "state": "served",
        "share": 100,
        "drain_seconds": 0,
        "engine": "/var/run/docker.sock",
    }
    real = Proxy(options["directory"], time.monotonic, time.sleep)
    began = time.monotonic()
    assert not run(options, False, real)["changed"]
    assert time.monotonic() - began < 0.2


def test_a_colour_that_is_not_up_is_refused(proxy: Stand) -> None:
    slot = proxy.slots["green", 1]
    slot.stop()
    try:
        result = proxy.switch("green", wait_timeout=1.5)
    finally:
        proxy.slots["green", 1] = Slot(slot.name, proxy.ports["green"][1])
    assert result["failed"]
    assert f"web_green/here-1:{proxy.ports['green'][1]} is down" in result["msg"]
    assert "blue goes on serving" in result["msg"]
    assert proxy.file() == "active blue\n"
    assert proxy.get()[1].startswith("blue")


def test_nothing_is_served_before_a_first_switch(proxy: Stand) -> None:
    proxy.admin.ask(f"del map {MAP} active")
    (proxy.directory / "maps" / "colour.map").write_text(render_map(None))
    assert not proxy.switch()["changed"]
    slot = proxy.slots["green", 1]
    slot.stop()
    try:
        refused = proxy.switch("green", wait_timeout=1.5)
        assert "green was not switched to, nothing serves: after 1.5 s web_green/here-1" in refused["msg"]
        assert (proxy.get()[0], proxy.get()[2]["x-lastro-proxy"]) == (503, "no-backend")
    finally:
        proxy.slots["green", 1] = Slot(slot.name, proxy.ports["green"][1])
    switched = proxy.switch("blue")
    assert switched["active"] == {"before": None, "after": "blue"}
    assert (proxy.get()[0], proxy.file()) == (200, "active blue\n")


def test_a_slot_that_stays_empty_is_not_waited_for(proxy: Stand) -> None:
    slot = proxy.slots["green", 1]
    slot.stop()
    try:
        # As after a first configuration: all slots are ready, the second has no container.
        wait_for(lambda: proxy.switch()["servers"]["web_green"][f"here-1:{proxy.ports['green'][1]}"] == "down")
        switched = proxy.switch("green", slots={"green": {"web": 1}, "blue": {"web": 0}}, wait_timeout=3)
        assert switched.get("active", {}).get("after") == "green", switched
        assert switched["servers"]["web_green"][f"here-1:{proxy.ports['green'][1]}"] == "maintenance"
        assert switched["slots"]["green"] == {"web": 1}
    finally:
        proxy.slots["green", 1] = Slot(slot.name, proxy.ports["green"][1])


def test_a_service_without_a_ready_server_is_refused(proxy: Stand) -> None:
    assert not proxy.switch(slots={"green": {"web": 0}}).get("failed")
    result = proxy.switch("green", wait_timeout=0.5)
    assert "web_green has no server that is ready" in result["msg"]
    # The same call that makes them ready waits for their first check and switches.
    assert proxy.switch("green", slots={"green": {"web": 2}, "blue": {"web": 0}})["active"]["after"] == "green"
    wanted = {
        "web_blue/here-0": "maintenance",
        "web_blue/here-1": "maintenance",
        "web_green/here-0": "up",
        "web_green/here-1": "up",
    }
    wait_for(lambda: proxy.states() == wanted)


def test_a_value_without_backend_answers_503_of_its_own(proxy: Stand) -> None:
    proxy.admin.ask(f"set map {MAP} active purple")
    status, _, headers = proxy.get()
    assert (status, headers["x-lastro-proxy"]) == (503, "no-backend")
    assert headers["x-trace-id"]
    result = proxy.switch("blue")
    assert result["active"] == {"before": "purple", "after": "blue"}
    assert proxy.get()[0] == 200


def test_a_colour_that_nobody_knows_is_refused(proxy: Stand) -> None:
    assert proxy.switch("blue")["active"]["after"] == "blue"
    # In the file alone it is nothing: what serves is what HAProxy has in memory.
    (proxy.directory / "maps" / "colour.map").write_text("active purple\n")
    assert (proxy.switch()["map"], proxy.get()[0]) == ({"file": "blue", "runtime": "blue"}, 200)
    proxy.admin.ask(f"set map {MAP} active purple")
    for check in (True, False):
        said = proxy.switch(check=check)
        assert "The proxy is told to serve purple, which is no colour, so it serves nothing" in said["msg"]
        assert f"directory={proxy.directory} colour=blue'" in said["msg"]
    assert proxy.switch("blue")["active"] == {"before": "purple", "after": "blue"}
    assert proxy.get()[0] == 200


def test_a_slot_that_dies_costs_no_request(proxy: Stand) -> None:
    """Before any health check has noticed: what never arrived is sent to another slot, also when it is a POST."""
    slot = proxy.slots["blue", 1]
    slot.stop()
    try:
        answers = [proxy.get(method=method, body="x")[:2] for _ in range(10) for method in ("GET", "POST")]
    finally:
        proxy.slots["blue", 1] = Slot(slot.name, proxy.ports["blue"][1])
    assert set(answers) == {(200, "blue0")}


def test_the_proxy_says_who_answered(proxy: Stand) -> None:
    assert (proxy.get(Host="other.example")[0], proxy.get(Host="other.example")[2]["x-lastro-proxy"]) == (
        404,
        "no-route",
    )
    proxy.switch(slots={"blue": {"web": 0}})
    status, _, headers = proxy.get()
    assert (status, headers["x-lastro-proxy"]) == (503, "no-server")


def test_reload_and_restart_keep_colour_and_maintenance(proxy: Stand) -> None:
    proxy.switch("green", slots={"green": {"web": 1}, "blue": {"web": 0}})
    wanted = {"web_blue/here-0", "web_blue/here-1", "web_green/here-1"}
    idle = proxy.slots["green", 1]
    for event in (proxy.reload, proxy.restart):
        before = idle.hits
        event()
        # At once: no wait for health checks.
        assert {proxy.get()[:2] for _ in range(20)} == {(200, "green0")}
        assert {server for server, state in proxy.states().items() if state == "maintenance"} == wanted
        assert idle.hits == before
        assert not proxy.switch("green", slots={"green": {"web": 1}, "blue": {"web": 0}})["changed"]


def test_other_ports_are_not_bent_to_the_old_ones(proxy: Stand) -> None:
    """HAProxy takes the port of its state file, so a change of ports must not find the old servers there."""
    proxy.switch(slots={"blue": {"web": 1}})
    swapped = {"blue": proxy.ports["green"], "green": proxy.ports["blue"]}
    routes = [{**proxy.variables["proxy_routes"][0], "ports": swapped}]
    try:
        done = proxy.role(proxy_routes=routes, proxy_allow_outage=True)
        assert done.returncode == 0, done.stdout
        assert {proxy.get()[1] for _ in range(8)} == {"green0", "green1"}
    finally:
        assert proxy.role(proxy_allow_outage=True).returncode == 0


def test_a_kill_between_file_and_memory_is_repaired(proxy: Stand) -> None:
    killed = (
        "import os; from ansible_collections.lastro.platform.plugins.modules import proxy_switch as m; "
        "m.Proxy.set_map = lambda *a, **k: os.kill(os.getpid(), 9); m.main()"
    )
    args = {"directory": str(proxy.directory), "colour": "green"}
    done = subprocess.run(
        [sys.executable, "-c", killed],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": args}),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")},
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert proxy.file() == "active green\n"
    assert proxy.get()[1].startswith("blue")
    repaired = proxy.switch()
    assert (repaired["changed"], repaired["active"]["after"], proxy.file()) == (True, "blue", "active blue\n")
    proxy.reload()
    assert proxy.get()[1].startswith("blue")


def test_a_broken_configuration_never_replaces_a_working_one(proxy: Stand) -> None:
    config = (proxy.directory / "config" / "haproxy.cfg").read_bytes()
    worker = proxy.pid()
    key = "hush-4713-key"
    done = proxy.role("-vvv", proxy_tls_certificate="no certificate", proxy_tls_key=key)
    assert done.returncode != 0
    assert "HAProxy refuses the new configuration" in done.stdout
    assert "proxy.pem" in done.stdout
    assert key not in done.stdout + done.stderr
    assert (proxy.directory / "config" / "haproxy.cfg").read_bytes() == config
    assert sorted(path.name for path in proxy.directory.iterdir() if path.name == ".candidate") == []
    assert proxy.pid() == worker
    assert proxy.get()[0] == 200


def test_the_colour_that_serves_keeps_its_servers(proxy: Stand) -> None:
    config = (proxy.directory / "config" / "haproxy.cfg").read_bytes()
    moved = [{**proxy.variables["proxy_routes"][0], "ports": {**proxy.ports, "blue": [1, 2]}}]
    for mode in ("--check", "--diff"):
        done = proxy.role(mode, proxy_routes=moved)
        assert done.returncode != 0
        for part in ("leaves blue, which serves", f"web_blue/here-0:{proxy.ports['blue'][0]}", "proxy_allow_outage"):
            assert part in " ".join(done.stdout.split()), done.stdout
    assert (proxy.directory / "config" / "haproxy.cfg").read_bytes() == config
    assert proxy.get()[0] == 200
    assert proxy.role("--check", proxy_routes=moved, proxy_allow_outage=True).returncode == 0
    more = [{**proxy.variables["proxy_routes"][0], "ports": {**proxy.ports, "green": [1, 2]}}]
    assert proxy.role("--check", proxy_routes=more).returncode == 0


def test_a_service_that_is_renamed_is_served_through_the_release(proxy: Stand) -> None:
    """Whoever asks for what the release that serves has, gets it until the switch; then what the new one has."""
    assert proxy.switch("blue", slots={"green": {"web": 0}})["active"]["after"] == "blue"
    (route,) = proxy.variables["proxy_routes"]
    renamed = {**route, "service": "front"}
    refused = proxy.role(proxy_routes=[renamed])
    assert "leaves blue, which serves, without the servers it has" in " ".join(refused.stdout.split())
    # A connection that is idle through all of it stays with the worker of before, which does not have the new name.
    patient = {"proxy_drain_seconds": 60}
    assert proxy.role(**patient).returncode == 0
    idle = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=10)
    idle.request("GET", "/", headers={"Host": "web.example"})
    assert idle.getresponse().read().startswith(b"blue")
    stored = json.loads((proxy.directory / "config/routes.json").read_text())
    known = {"platform_host": {"proxy": {"colour": "blue", "routes": stored["blue"]}}, **patient}
    try:
        with Load(f"http://127.0.0.1:{proxy.http}/", 50, host="web.example") as load:
            done = proxy.role(proxy_routes=[renamed], **known)
            assert done.returncode == 0, done.stdout
            assert set(proxy.switch()["servers"]) == {"web_blue", "front_green"}
            assert proxy.get()[1].startswith("blue")
            proxy.switch("green", slots={"green": {"front": 2}, "blue": {"web": 0}})
            assert proxy.get()[1].startswith("green")
        assert load.summary()["failed"] == 0, load.summary()
        of_before = idle.sock
        idle.request("GET", "/", headers={"Host": "web.example"})
        assert idle.sock is of_before, "it was closed before it could show anything"
        assert idle.getresponse().read().startswith(b"blue")
        # The next deploy lets go of the old name.
        after = {"platform_host": {"proxy": {"colour": "green", "routes": [renamed]}}, **patient}
        assert proxy.role(proxy_routes=[renamed], **after).returncode == 0
        assert set(proxy.switch()["servers"]) == {"front_blue", "front_green"}
    finally:
        assert proxy.role(proxy_allow_outage=True).returncode == 0
        proxy.switch("blue", slots={"blue": {"web": 2}})


def test_a_host_that_joins_is_sent_nothing_before_it_is_ready(proxy: Stand) -> None:
    """Nothing listens on the new host's slots: HAProxy would try them until its first check failed."""
    hosts = [*proxy.variables["proxy_app_hosts"], {"name": "new", "address": "127.0.0.9"}]
    try:
        done = proxy.role(proxy_app_hosts=hosts)
        assert done.returncode == 0, done.stdout
        assert {proxy.get()[:2] for _ in range(40)} == {(200, "blue0"), (200, "blue1")}
        assert {server for server, state in proxy.states().items() if state == "maintenance"} == {
            f"web_{colour}/new-{slot}" for colour in ("blue", "green") for slot in (0, 1)
        }
        assert not proxy.switch()["changed"]
        ready = proxy.switch(slots={"blue": {"web": 2}}, check=True)
        assert f"web_blue/new-0:{proxy.ports['blue'][0]} maintenance" in ready["diff"]["before"]
        assert "web_blue/new" not in ready["diff"]["after"]
    finally:
        assert proxy.role().returncode == 0


def test_trace_ids_are_kept_or_made(proxy: Stand) -> None:
    kept = proxy.get(**{"x-trace-id": "0af7651916cd43dd8448eb211c80319c"})[2]["x-trace-id"]
    assert kept == "0af7651916cd43dd8448eb211c80319c"
    seen = [slot.headers.get("x-trace-id") for slot in proxy.slots.values()]
    assert kept in seen
    for bad in ("short", "x" * 129, 'a"b;c d-0000'):
        made = proxy.get(**{"x-trace-id": bad})[2]["x-trace-id"]
        assert made != bad
        assert len(made) == 36
    proxy.get("/shop?token=hush-4714", **{"x-trace-id": "trace-for-the-log", "x-forwarded-for": "6.6.6.6"})
    assert [
        slot.headers["x-forwarded-for"]
        for slot in proxy.slots.values()
        if slot.headers.get("x-trace-id") == "trace-for-the-log"
    ] == ["127.0.0.1"]
    wait_for(lambda: b"trace-for-the-log" in proxy.container().logs(tail=20))
    log = proxy.container().logs(tail=20).decode()
    (entry,) = [json.loads(line) for line in log.splitlines() if "trace-for-the-log" in line]
    assert (entry["status"], entry["service"], entry["colour"], entry["path"]) == (200, "web", "blue", "/shop")
    assert "hush" not in log


def test_admin_sockets_are_roots_alone(proxy: Stand) -> None:
    run = proxy.directory / "run"
    assert run.stat().st_mode & 0o777 == 0o700
    assert [(run / name).stat().st_mode & 0o077 for name in ("admin.sock", "master.sock")] == [0, 0]


def test_more_slots_than_there_are(proxy: Stand) -> None:
    result = proxy.switch(slots={"green": {"web": 3}})
    assert "web_green has 2 slots, asked for are 3" in result["msg"]
    assert "not colour" in proxy.switch(slots={"green": 3})["msg"]


def test_without_haproxy_only_the_file_is_written(tmp_path: Path) -> None:
    empty = {"directory": str(tmp_path / "proxy"), "slots": {"green": {"web": 2}}}
    checked = run_module("proxy_switch", empty, check=True)
    assert (checked["changed"], checked["running"], checked["active"]) == (
        True,
        False,
        {"before": None, "after": None},
    )
    assert not (tmp_path / "proxy").exists()
    assert run_module("proxy_switch", empty)["changed"]
    assert parse_map((tmp_path / "proxy" / "maps" / "colour.map").read_text()) is None
    assert not run_module("proxy_switch", empty)["changed"]
    switched = run_module("proxy_switch", {**empty, "colour": "green"})
    assert "HAProxy does not run" in switched["msg"]


@pytest.mark.parametrize("reloaded", [False, True])
def test_what_is_open_on_resting_servers_is_waited_for(proxy: Stand, reloaded: bool) -> None:
    """Also what an old worker finishes after a reload."""
    answers: list[int] = []
    proxy.slots["blue", 0].takes_seconds = proxy.slots["blue", 1].takes_seconds = 6
    for server in proxy.slots.values():
        server.hits = 0
    asking = threading.Thread(target=lambda: answers.append(proxy.get()[0]))
    rest = {"slots": {"blue": {"web": 0}, "green": {"web": 2}}}
    try:
        asking.start()
        wait_for(lambda: any(proxy.slots["blue", slot].hits for slot in (0, 1)))
        if reloaded:
            proxy.reload()
        given_up = proxy.switch("green", **rest, drain_seconds=0.5)
        assert (given_up["open_sessions"], answers) == (1, []), given_up
        waited = proxy.switch("green", **rest, drain_seconds=10)
    finally:
        asking.join()
        proxy.slots["blue", 0].takes_seconds = proxy.slots["blue", 1].takes_seconds = 0
    assert (waited["open_sessions"], waited["changed"], answers) == (0, False, [200])
    assert 1 < waited["elapsed_seconds"] < 7
    assert proxy.switch("green", **rest)["open_sessions"] == 0
