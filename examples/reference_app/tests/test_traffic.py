# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import unittest

from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Event, RejectConnection, Request, TextMessage

from reference_app.settings import load_settings
from reference_app.web import build_app

# The database is never asked.
ENVIRONMENT = {
    "DATABASE_URL": "postgresql+psycopg2://app:app@127.0.0.1:1/app",
    "API_KEY_SALT": "00",
    "USE_REDIS": "false",
    "APP_RELEASE": "r1",
}


class Server:
    """The application under uvicorn, as a process that can be told to stop."""

    def __init__(self, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "reference_app.web:create_app", "--port", str(self.port)],
            env={**os.environ, **ENVIRONMENT, "APP_TRAFFIC": "on", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.ask("/health").read()
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def ask(self, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST" if body else "GET", path, body, {"connection": "close"})
        return connection.getresponse()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Client:
    """A WebSocket, event by event."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self._connection = WSConnection(ConnectionType.CLIENT)
        self.send(Request(host="localhost", target="/traffic/socket"))

    def send(self, event: Event) -> None:
        self._socket.sendall(self._connection.send(event))

    def next(self) -> Event:
        while True:
            for event in self._connection.events():
                return event
            self._connection.receive_data(self._socket.recv(4096) or None)

    def close(self) -> None:
        self._socket.close()


class Traffic(unittest.TestCase):
    def start(self, **environment: str) -> Server:
        server = Server(**environment)
        self.addCleanup(server.close)
        return server

    def connect(self, server: Server) -> Client:
        client = Client(server)
        self.addCleanup(client.close)
        return client

    def test_nothing_of_it_is_there_unless_asked_for(self) -> None:
        for value, there in (("", False), ("on", True)):
            app = build_app(load_settings({**ENVIRONMENT, "APP_TRAFFIC": value}))
            assert ("/traffic/slow" in app.openapi()["paths"]) is there

    def test_an_upload_is_read_and_every_answer_names_the_release(self) -> None:
        server = self.start()
        content = os.urandom(1_000_000)
        answer = server.ask("/traffic/upload", content)
        assert json.load(answer) == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, status in (("/traffic/slow?seconds=0", 200), ("/traffic/slow?seconds=31", 422), ("/version", 200)):
            answer = server.ask(path)
            answer.read()
            assert (answer.status, answer.headers["x-release"]) == (status, "r1")

    def test_told_to_stop_streams_end_by_themselves_or_say_reconnect_and_sockets_restart(self) -> None:
        server = self.start(APP_STOP_SECONDS="1")
        short, long = server.ask("/traffic/events?seconds=0.8"), server.ask("/traffic/events?seconds=60")
        client = self.connect(server)
        accepted = client.next()
        assert isinstance(accepted, AcceptConnection)
        assert (b"x-release", b"r1") in accepted.extra_headers
        client.send(TextMessage("back"))
        echo = client.next()
        assert isinstance(echo, TextMessage)
        assert echo.data == "back"
        server.process.terminate()
        closed = client.next()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1012
        # A stream that is cut raises IncompleteRead.
        assert short.read().endswith(b"event: end\ndata: r1\n\n")
        assert long.read().endswith(b"event: reconnect\ndata: r1\n\n")
        assert server.process.wait(timeout=10) in (0, -15)

    def test_faults_reach_sockets_too(self) -> None:
        server = self.start(APP_FAULT="error_percent:100")
        with server.ask("/traffic/slow?seconds=0") as answer:
            assert answer.status == 500
        rejected = self.connect(server).next()
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == 500


if __name__ == "__main__":
    unittest.main()
