# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load tool itself: it counts all that fails, and through a release as it should be it counts nothing."""

from __future__ import annotations

import base64
import hashlib
import http.server
import itertools
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from tests.integration import proxy_stand
from tests.integration.proxy_stand import Stand, wait_for
from tests.integration.reference_app import APP, HARDENED, PYTHON_IMAGE, Container, docker
from tests.support import eventually, random_name
from tests.traffic import SHARES, Traffic

EVENLY = dict.fromkeys(SHARES, 1 / len(SHARES))
SETTINGS = {
    "APP_TRAFFIC": "on",
    "APP_STOP_SECONDS": "0.5",
    # Never asked: nothing here needs a database.
    "DATABASE_URL": "postgresql+psycopg2://app:app@127.0.0.1:1/app",
    "API_KEY_SALT": "00",
    "USE_REDIS": "false",
}


class Faulty(http.server.BaseHTTPRequestHandler):
    """Fails each kind of request in its own ways, and keeps account of it. New connections for /version are served well."""

    protocol_version = "HTTP/1.1"
    numbers: defaultdict[str, Iterator[int]]
    failed: list[str]

    def do_GET(self) -> None:
        kinds = {"/version": self.version, "/traffic/slow": self.slow}
        kinds |= {"/traffic/events": self.events, "/traffic/socket": self.sockets}
        # Whatever else is asked is none of the traffic.
        path = self.path.split("?")[0]
        kinds.get(path, self.answer)(next(self.numbers[path]))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]) // 2)
        self.cut("upload")

    def answer(self, number: int, status: int = 404) -> None:
        body = b'{"release": "faulty"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self, kind: str) -> None:
        self.failed.append(kind)
        self.connection.shutdown(2)
        self.close_connection = True

    def version(self, number: int) -> None:
        # Counted by themselves: those of new connections come as often, and could be every second one.
        bad = self.headers["Connection"] != "close" and next(self.numbers["kept"]) % 2 == 0
        self.failed.extend(["short"] * bad)
        self.answer(number, 500 if bad else 200)

    def slow(self, _: int) -> None:
        self.cut("slow")

    def events(self, number: int) -> None:
        """Cut, or ended as HTTP wants it yet without a last event."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        event = b"event: tick\ndata: faulty\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        if number % 2:
            self.wfile.write(b"0\r\n\r\n")
        self.cut("events")

    def sockets(self, number: int) -> None:
        """Refused, cut (which is 1006), or closed with 1001, which asks nobody to come back."""
        if number % 3 == 0:
            self.failed.append("sockets")
            self.answer(number, 500)
            return
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.wfile.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        if number % 3 == 1:
            self.wfile.write(b"\x88\x02" + (1001).to_bytes(2, "big"))
        self.rfile.read(1)
        self.cut("sockets")

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def faulty() -> Iterator[str]:
    Faulty.failed, Faulty.numbers = [], defaultdict(itertools.count)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_failure_is_counted(faulty: str) -> None:
    # More of those that fail in several ways: the first twenty failures are to show all of them.
    shares = {"short": 0.1, "fresh": 0.1, "slow": 0.05, "upload": 0.05, "events": 0.3, "sockets": 0.4}
    with Traffic([faulty], 30, 4, scale=0.1, shares=shares) as traffic:
        summary = traffic.join()
    failed = {kind: figures["failed"] for kind, figures in summary["kinds"].items() if figures["failed"]}
    assert failed == Counter(Faulty.failed)
    assert summary["failed"] == len(Faulty.failed)
    assert set(failed) == set(SHARES) - {"fresh"}
    assert 0 < failed["short"] < summary["kinds"]["short"]["requests"]
    assert summary["kinds"]["fresh"]["releases"] == {"faulty": summary["kinds"]["fresh"]["requests"]}
    assert summary["dropped"] == 0
    texts = str(summary["failures"])
    for text in ("500", "EOF", "cut after event: tick", "1006", "1001"):
        assert text in texts


def test_what_is_under_way_when_it_is_stopped_is_unfinished() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    with silent, Traffic([url], 12, 60, shares={"short": 0.5, "upload": 0.5}) as traffic:
        time.sleep(2)
        summary = traffic.stop()
    assert (summary["requests"], summary["failed"], summary["failures"]) == (0, 0, [])
    assert all(figures["unfinished"] for figures in summary["kinds"].values())


def test_a_tool_that_cannot_run_says_why() -> None:
    with Traffic(["http://127.0.0.1:1"], 10, 0) as traffic, pytest.raises(AssertionError, match="duration must be"):
        traffic.join()


@pytest.fixture
def stand() -> Iterator[Stand]:
    with proxy_stand.running(health="/health") as running:
        yield running


@pytest.fixture
def releases(stand: Stand) -> Iterator[dict[str, Container]]:
    """The application as `blue` and `green` behind the proxy, one copy each, instead of the small web servers."""
    for slot in stand.slots.values():
        slot.stop()
    image = random_name("lt-traffic-")
    containers = {colour: Container(f"{image}-{colour}", stand.ports[colour][0]) for colour in stand.ports}
    docker("build", "--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}", "--tag", image, str(APP))
    try:
        for colour, container in containers.items():
            settings = {**SETTINGS, "APP_RELEASE": colour}
            variables = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
            published = ("--publish", f"127.0.0.1:{container.port}:8000")
            docker("run", "--detach", "--name", container.name, *HARDENED, *published, *variables, image)
        for container in containers.values():
            eventually(container.answers, "healthy", evidence=container.logs)
        yield containers
    finally:
        docker("rm", "--force", *[container.name for container in containers.values()], check=False)
        docker("rmi", image, check=False)


def test_a_release_fails_nothing(stand: Stand, releases: dict[str, Container]) -> None:
    """Reloaded, switched, the old one stopped: all within answers, uploads, streams and WebSockets."""
    slots = {colour: {"web": 1} for colour in releases}
    switched = stand.switch("blue", slots=slots)
    assert not switched.get("failed"), switched
    wait_for(lambda: [stand.states()[f"web_{colour}/here-0"] for colour in slots] == ["up", "up"])
    url = f"http://127.0.0.1:{stand.http}"
    with Traffic([url], 40, 7, host="web.example", scale=0.5, shares={**EVENLY, "upload": 0.02}) as traffic:
        time.sleep(2)
        stand.reload()
        assert not stand.switch("green", slots=slots).get("failed")
        docker("stop", "--time", "20", releases["blue"].name)
        summary = traffic.join()
    assert (summary["failed"], summary["dropped"]) == (0, 0), summary
    for kind, figures in summary["kinds"].items():
        assert list(figures["releases"]) == ["blue", "green"], kind
    told = {kind for kind, figures in summary["kinds"].items() if figures["told_to_reconnect"]}
    assert told == {"events", "sockets"}
