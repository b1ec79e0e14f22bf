"""proxy_switch and the role proxy against a real HAProxy, with small web servers as slots."""

from __future__ import annotations

import collections
import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import Admin
from ansible_collections.lastro.platform.plugins.modules import proxy_switch

from tests.support import REPOSITORY, random_name, run_module

MAP = "/haproxy/maps/colour.map"


class Slot(http.server.ThreadingHTTPServer):
    """A web server that answers with its name and counts what is not a health check."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str, port: int) -> None:
        self.name, self.hits, self.headers = name, 0, {}
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    server: Slot

    def do_GET(self) -> None:
        if self.headers["Host"] != "lastro-proxy-check":
            self.server.hits += 1
            self.server.headers = dict(self.headers)
        body = self.server.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Stand:
    """A proxy of the role, and the slots behind it: two blue, two green."""

    def __init__(self, directory: Path) -> None:
        self.name = random_name()
        ports = free_ports(7)
        self.http, self.metrics, self.https = ports[4:]
        self.ports = {"blue": ports[:2], "green": ports[2:4]}
        self.directory = directory / "proxy"
        self.play = directory / "play.yml"
        self.play.write_text(
            "- hosts: all\n  connection: local\n  gather_facts: false\n  roles: [lastro.platform.proxy]\n"
        )
        self.variables: dict[str, Any] = {
            "ansible_python_interpreter": sys.executable,
            "platform_name": self.name,
            "platform_state_dir": str(directory),
            "platform_private_address": "127.0.0.1",
            "proxy_bind_address": "127.0.0.1",
            "proxy_http_port": self.http,
            "proxy_https_port": self.https,
            "proxy_metrics_port": self.metrics,
            "proxy_drain_seconds": 10,
            "proxy_check_interval_ms": 300,
            "proxy_app_hosts": [{"name": "here", "address": "127.0.0.1"}],
            "proxy_routes": [{"service": "web", "hosts": ["web.example"], "health": "/", "ports": self.ports}],
        }
        self.slots = {
            (colour, slot): Slot(f"{colour}{slot}", port)
            for colour, of in self.ports.items()
            for slot, port in enumerate(of)
        }
        self.admin = Admin(str(self.directory / "run" / "admin.sock"))

    def role(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        chosen = self.play.with_name("variables.json")
        chosen.write_text(json.dumps({**self.variables, **variables}))
        playbook = str(Path(sys.executable).parent / "ansible-playbook")
        return subprocess.run(
            [playbook, "-i", "localhost,", "-e", f"@{chosen}", str(self.play), *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def switch(self, colour: str | None = None, check: bool = False, **options: Any) -> dict[str, Any]:
        args = {"directory": str(self.directory), **({"colour": colour} if colour else {}), **options}
        return run_module("proxy_switch", args, check=check, diff=True)

    def get(self, path: str = "/", **headers: str) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": "web.example", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}

    def file(self) -> str:
        return (self.directory / "maps" / "colour.map").read_text()

    def states(self) -> dict[str, str]:
        found = self.switch()["servers"]
        return {
            f"{backend}/{server.split(':')[0]}": state for backend, of in found.items() for server, state in of.items()
        }

    def container(self) -> Any:
        return docker.from_env().containers.get(f"{self.name}-proxy-haproxy-1")

    def reload(self) -> None:
        before = self.pid()
        self.container().kill("USR2")
        wait_for(lambda: self.pid() not in ("", before))

    def restart(self) -> None:
        self.container().restart()
        wait_for(lambda: self.pid() != "")

    def pid(self) -> str:
        lines = (self.admin.ask("show info") or "").splitlines()
        return next((line for line in lines if line.startswith("Pid:")), "")

    def rest(self) -> None:
        """The state every test starts from: blue serves, everything is ready and up."""
        assert not self.switch("blue", slots={"blue": {"web": 2}, "green": {"web": 2}}).get("failed")
        wait_for(lambda: set(self.states().values()) == {"up"})


def wait_for(condition: Any, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    # Not pytest's own directory: the path of a Unix socket may have 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="lt-"))
    made = Stand(directory)
    done = made.role()
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        run_module("stack", {"project": f"{made.name}-proxy", "directory": str(made.directory), "state": "absent"})
        for slot in made.slots.values():
            slot.stop()
        shutil.rmtree(directory)


@pytest.fixture
def proxy(stand: Stand) -> Stand:
    stand.rest()
    return stand


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
        "initial": "blue",
        "slots": {"blue": {"web": 2}},
        "hosts": [],
        "wait_timeout": 10.0,
        "candidate": None,
        "engine": "/var/run/docker.sock",
    }
    real = proxy_switch.Proxy(options["directory"], time.monotonic, time.sleep)
    began = time.monotonic()
    assert not proxy_switch.run(options, False, real)["changed"]
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


def test_a_service_without_a_ready_server_is_refused(proxy: Stand) -> None:
    assert not proxy.switch(slots={"green": {"web": 0}}).get("failed")
    result = proxy.switch("green", wait_timeout=0.5)
    assert "web_green has no server that is ready" in result["msg"]
    # The same call that makes them ready waits for their first check and switches.
    assert proxy.switch("green", slots={"green": {"web": 2}, "blue": {"web": 0}})["active"]["after"] == "green"
    assert proxy.states() == {
        "web_blue/here-0": "maintenance",
        "web_blue/here-1": "maintenance",
        "web_green/here-0": "up",
        "web_green/here-1": "up",
    }


def test_a_value_without_backend_answers_503_of_its_own(proxy: Stand) -> None:
    proxy.admin.ask(f"set map {MAP} active purple")
    status, _, headers = proxy.get()
    assert (status, headers["x-lastro-proxy"]) == (503, "no-backend")
    assert headers["x-trace-id"]
    # What HAProxy has in memory is what serves: it goes to the file, not the other way round.
    result = proxy.switch()
    assert (result["changed"], proxy.file()) == (True, "active purple\n")
    result = proxy.switch("blue")
    assert result["active"] == {"before": "purple", "after": "blue"}
    assert proxy.get()[0] == 200


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
        done = proxy.role(proxy_routes=routes)
        assert done.returncode == 0, done.stdout
        assert {proxy.get()[1] for _ in range(8)} == {"green0", "green1"}
    finally:
        assert proxy.role().returncode == 0


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


def test_connections_of_before_a_reload_follow_the_switch(proxy: Stand) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": "web.example"})
        assert connection.getresponse().read().startswith(b"blue")
        ours = connection.sock
        proxy.reload()
        proxy.switch("green")
        connection.request("GET", "/", headers={"Host": "web.example"})
        answer = connection.getresponse()
        assert connection.sock is ours or connection.sock is None
        assert answer.read().startswith(b"green"), "the old worker still has the old colour"


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
        {"before": None, "after": "blue"},
    )
    assert not (tmp_path / "proxy").exists()
    assert run_module("proxy_switch", empty)["changed"]
    assert (tmp_path / "proxy" / "maps" / "colour.map").read_text() == "active blue\n"
    assert not run_module("proxy_switch", empty)["changed"]
    switched = run_module("proxy_switch", {**empty, "colour": "green"})
    assert "HAProxy does not run" in switched["msg"]
