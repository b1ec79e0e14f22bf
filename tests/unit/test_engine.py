# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Engine API client against a real HTTP server on a real Unix socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError, demultiplex


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text


class Handler(BaseHTTPRequestHandler):
    """Enough of the Engine API to see what the client sends, and to answer in every way that Docker does."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = url.path.removeprefix("/v1.41")
        if path == "/echo":
            seen = {"method": self.command, "path": url.path, "query": parse_qs(url.query), "body": body.decode()}
            self.send(200, json.dumps({**seen, "type": self.headers.get("Content-Type")}).encode())
        elif path == "/containers/json":
            self.send(200, json.dumps([{"Id": "c1", "asked": parse_qs(url.query)}]).encode())
        elif path == "/containers/web 1/logs" or path == "/containers/web%201/logs":
            self.send(
                200, frame(1, b"out 1\n") + frame(2, b"err\n") + frame(1, b"out \xff\n"), "application/octet-stream"
            )
        elif path == "/containers/c1/exec":
            self.send(201, b'{"Id": "e1"}')
        elif path == "/exec/e1/start":
            self.send(200, frame(1, b"did it\n"), "application/vnd.docker.raw-stream")
        elif path == "/exec/e1/json":
            self.send(200, b'{"ExitCode": 3}')
        elif path == "/version":
            self.send(200, b'{"Version": "20.10.24"}')
        elif path == "/build":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # Docker's chunks do not end where its JSON objects do.
            for part in (b'{"stream":"one"}\r\n{"str', b'eam":"two"}\r\n', b"\r\n", b'{"error":"broken"}\r\n'):
                self.chunk(part)
            self.chunk(b"")
        elif path == "/empty":
            self.send(204)
        elif path == "/broken":
            self.send(500, b"not json")
        elif path == "/silent":
            self.send(500)
        elif path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b'{"half":')
            self.close_connection = True
        elif path == "/hangs":
            threading.Event().wait(1)
        else:
            self.send(404, b'{"message": "No such container: gone"}')

    do_GET = do_POST = do_DELETE = do_HEAD = answer


class Server(ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def get_request(self) -> tuple[Any, Any]:
        peer, _address = self.socket.accept()
        return peer, ("unix", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what some tests are about."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = str(tmp_path_factory.mktemp("engine") / "docker.sock")
    with Server(path, Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield Engine(path, timeout=5)
        server.shutdown()


def test_get_sends_the_version_and_dicts_as_json(engine: Engine) -> None:
    seen = engine.get("/echo", all="true", filters={"label": ["a=b"]})
    assert seen["method"] == "GET"
    assert seen["path"] == "/v1.41/echo"
    assert seen["query"] == {"all": ["true"], "filters": ['{"label": ["a=b"]}']}
    assert seen["body"] == ""
    assert seen["type"] is None


def test_post_sends_json(engine: Engine) -> None:
    seen = engine.post("/echo", {"a": 1}, signal="USR2")
    assert (seen["method"], seen["body"], seen["type"]) == ("POST", '{"a": 1}', "application/json")
    assert seen["query"] == {"signal": ["USR2"]}


def test_post_without_answer_is_none(engine: Engine) -> None:
    assert engine.post("/empty") is None


def test_containers_asks_for_labels_with_dots(engine: Engine) -> None:
    (found,) = engine.containers(lastro__platform="shop", lastro__colour="blue")
    assert found["asked"] == {
        "all": ["true"],
        "filters": ['{"label": ["lastro.platform=shop", "lastro.colour=blue"]}'],
    }


def test_logs_joins_frames_and_quotes_names(engine: Engine) -> None:
    assert engine.logs("web 1", tail=3) == "out 1\nerr\nout �\n"


def test_run_returns_exit_code_and_output(engine: Engine) -> None:
    assert engine.run("c1", ["true"]) == (3, "did it\n")


def test_stream_yields_objects_across_chunks(engine: Engine) -> None:
    assert list(engine.stream("/build")) == [{"stream": "one"}, {"stream": "two"}, {"error": "broken"}]


def test_version(engine: Engine) -> None:
    assert engine.version() == "20.10.24"


def test_what_is_gone(engine: Engine) -> None:
    assert engine.find("/containers/gone/json") is None
    assert engine.exists("/containers/gone/archive") is False
    assert engine.exists("/echo") is True
    engine.delete("/containers/gone")
    with pytest.raises(EngineError) as caught:
        engine.get("/containers/gone/json")
    assert caught.value.status == 404
    assert str(caught.value) == "Docker Engine, GET /containers/gone/json: No such container: gone"


@pytest.mark.parametrize("ask", ["find", "exists", "delete"])
def test_only_404_means_gone(engine: Engine, ask: str) -> None:
    with pytest.raises(EngineError) as caught:
        getattr(engine, ask)("/broken")
    assert caught.value.status == 500


@pytest.mark.parametrize(("path", "said"), [("/broken", "not json"), ("/silent", "HTTP 500")])
def test_an_error_without_json(engine: Engine, path: str, said: str) -> None:
    with pytest.raises(EngineError) as caught:
        engine.get(path)
    assert str(caught.value) == f"Docker Engine, GET {path}: {said}"


def test_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with pytest.raises(EngineError) as caught:
        Engine(str(path)).get("/version")
    assert caught.value.status == 0
    assert str(caught.value) == (
        f"The Docker Engine does not answer on {path}: [Errno 2] No such file or directory. "
        "Start it (`service docker start`), or let the role lastro.platform.docker install it."
    )


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(EngineError) as caught:
        Engine(str(path)).get("/version")
    assert caught.value.status == 0
    assert str(caught.value) == (
        f"The Docker Engine does not answer on {path}: [Errno 111] Connection refused. "
        "Start it (`service docker start`), or let the role lastro.platform.docker install it."
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [("/hangs", "timed out"), ("/half", "IncompleteRead(8 bytes read, 92 more expected)")],
)
def test_an_engine_that_hangs_or_breaks_off_is_not_one_that_is_missing(engine: Engine, path: str, said: str) -> None:
    with pytest.raises(EngineError) as caught:
        Engine(engine.path, timeout=0.3).get(path)
    assert caught.value.status == 504
    assert str(caught.value) == (
        f"The Docker Engine does not answer on {engine.path}: {said}. Look at its journal, and run this as root."
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", b""),
        (frame(1, b"a") + frame(2, b"b") + frame(0, b"c"), b"abc"),
        (frame(1, b""), b""),
        (frame(1, b"abc")[:-1], b"ab"),
        (b"plain text of a terminal\n", b"plain text of a terminal\n"),
        (b"short", b"short"),
        (frame(1, b"a") + b"tail", b"atail"),
    ],
)
def test_demultiplex(raw: bytes, text: bytes) -> None:
    assert demultiplex(raw) == text
