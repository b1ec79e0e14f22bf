"""What the checks decide, and each probe against a real socket of the loopback."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _checks as checks
from ansible_collections.lastro.platform.plugins.module_utils._checks_base import ANSWER_LENGTH
from ansible_collections.lastro.platform.plugins.module_utils._checks_host import probe_container
from ansible_collections.lastro.platform.plugins.module_utils._checks_http import dig
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError


@contextmanager
def answering(reply: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one connection, reads once and sends `reply`."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                heard.append(peer.recv(65536))
                peer.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join(timeout=2)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(check: dict[str, Any], seconds: float = 2.0) -> checks.Reading:
    (spec,) = checks.prepare([{"name": "it", **check}])
    return checks.evaluate(checks.probe_of(spec), seconds)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status", "ok"),
        ("a.b[0]", 1),
        ("a.b[1].c", None),
        ("a", {"b": [1, {"c": None}]}),
        ("", {"status": "ok", "a": {"b": [1, {"c": None}]}}),
    ],
)
def test_dig(path: str, value: Any) -> None:
    assert dig({"status": "ok", "a": {"b": [1, {"c": None}]}}, path) == value


@pytest.mark.parametrize("path", ["x", "a.b[2]", "status.x", "a[0]", "a..b", "a.b[-1]", "a.b[", "a.b[x]"])
def test_dig_nothing_there(path: str) -> None:
    with pytest.raises(KeyError):
        dig({"status": "ok", "a": {"b": [1]}}, path)


def test_prepare_fills_in_the_defaults_of_the_type() -> None:
    assert checks.prepare([{"name": "r", "type": "redis", "host": "h", "port": None, "url": None}]) == [
        {
            "name": "r",
            "type": "redis",
            "timeout_seconds": 5.0,
            "host": "h",
            "port": 6379,
            "user": None,
            "password": None,
            "tls": False,
            "validate_certs": True,
            "ca": None,
            "command": ["PING"],
            "expected": None,
        }
    ]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ([{"name": "w", "type": "tcp", "host": "h", "port": 1, "url": "http://x"}], "no url"),
        ([{"name": "w", "type": "http", "url": "ftp://x"}], "url"),
        ([{"name": "w", "type": "http", "url": "http:///x"}], "url"),
        ([{"name": "w", "type": "http", "url": "http://user:hush@x/"}], "secret_headers"),
        ([{"name": "w", "type": "tcp"}, {"name": "w", "type": "tcp"}], "name w"),
    ],
)
def test_prepare_refuses(given: list[dict[str, Any]], word: str) -> None:
    with pytest.raises(PlatformError, match=word) as caught:
        checks.prepare(given)
    assert "hush" not in str(caught.value)


def reply(body: str, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\n{headers}\r\n{body}".encode()


def http_check(port: int, **keys: Any) -> dict[str, Any]:
    return {"type": "http", "url": f"http://127.0.0.1:{port}/health?x=1", **keys}


def condition(path: str, equals: Any = None, matches: str | None = None) -> dict[str, Any]:
    return {"path": path, "equals": equals, "matches": matches}


@pytest.mark.parametrize(
    ("answer", "keys", "error"),
    [
        (reply("fine"), {}, ""),
        (reply("down", "503 Service Unavailable"), {}, "status 503, wanted 200"),
        (reply("", "204 No Content"), {"status": [200, 204]}, ""),
        (reply("", "302 Found", "Location: /x\r\n"), {"status": [302]}, ""),
        (reply("x", headers="X-Release: a\r\n"), {"expected_headers": {"x-release": "a"}}, ""),
        (reply("x", headers="X-Release: b\r\n"), {"expected_headers": {"x-release": "a"}}, "is 'b', wanted 'a'"),
        (reply("x"), {"expected_headers": {"x-release": "a"}}, "is None"),
        (reply('{"s":"ok"}'), {"json": [condition("s", "ok")]}, ""),
        (reply('{"s":"no"}'), {"json": [condition("s", "ok")]}, 's is "no", wanted "ok"'),
        (reply('{"n":1}'), {"json": [condition("n", 1)]}, ""),
        (reply('{"n":true}'), {"json": [condition("n", 1)]}, "n is true, wanted 1"),
        (reply('{"n":0}'), {"json": [condition("n", False)]}, "n is 0, wanted false"),
        (reply('{"n":"v1.2"}'), {"json": [condition("n", matches=r"^v1\.")]}, ""),
        (reply('{"n":17}'), {"json": [condition("n", matches="^18$")]}, "wanted a match"),
        (reply("{}"), {"json": [condition("n", 1)]}, "nothing at n"),
        (reply("<html>"), {"json": [condition("n", 1)]}, "not JSON"),
        (b"", {}, "RemoteDisconnected"),
        (b"garbage\r\n\r\n", {}, "BadStatusLine"),
    ],
)
def test_http(answer: bytes, keys: dict[str, Any], error: str) -> None:
    with answering(answer) as (port, _):
        reading = run(http_check(port, **keys))
    assert reading.evaluated
    assert reading.ok == (not error)
    assert error in reading.error


def test_http_sends_method_path_and_headers() -> None:
    with answering(reply("")) as (port, heard):
        assert run(http_check(port, method="HEAD", headers={"Host": "a.example"}, secret_headers={"X-Key": "k"})).ok
    assert heard[0].startswith(b"HEAD /health?x=1 HTTP/1.1\r\n")
    assert b"Host: a.example\r\n" in heard[0]
    assert b"X-Key: k\r\n" in heard[0]


def test_http_answer_is_one_short_line() -> None:
    with answering(reply("a\nb" * 500)) as (port, _):
        answer = run(http_check(port)).answer
    assert answer.startswith("200 a ba b")
    assert len(answer) == ANSWER_LENGTH
    assert "\n" not in answer


def test_an_answer_without_an_end_is_not_waited_for() -> None:
    """A stream of events: each piece comes in time, and the answer never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                while True:
                    peer.sendall(b"data: x\n\n")
                    time.sleep(0.05)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        reading = run(http_check(server.getsockname()[1]), seconds=0.3)
        thread.join(timeout=2)
    assert (reading.ok, reading.evaluated) == (False, True)
    assert "did not end in time" in reading.error
    assert reading.answer.startswith("200 data: x")
    assert reading.latency_ms < 1500


def test_a_secret_is_hidden_before_the_answer_is_cut() -> None:
    """Half of a secret would pass whoever looks for the whole of it."""
    secret = "s3cr3t" * 5
    for before in range(ANSWER_LENGTH - 40, ANSWER_LENGTH + 5, 3):
        answer = "x" * before + secret
        reading = checks.evaluate(lambda _, text=answer: text, 1, hide=lambda text: text.replace(secret, "****"))
        assert "s3c" not in reading.answer


def test_slow_server_is_evaluated_and_not_ok() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reading = run(http_check(server.getsockname()[1]), seconds=0.2)
    assert (reading.ok, reading.evaluated) == (False, True)
    assert "TimeoutError" in reading.error
    assert 150 < reading.latency_ms < 1500


def test_tls_to_a_plain_server_is_evaluated() -> None:
    with answering(reply("x")) as (port, _):
        reading = run({"type": "http", "url": f"https://127.0.0.1:{port}/"})
    assert (reading.ok, reading.evaluated) == (False, True)
    assert "TLS" in reading.error


@pytest.mark.parametrize(
    "check",
    [
        {"type": "http", "url": "http://127.0.0.1:PORT/"},
        {"type": "tcp", "host": "127.0.0.1", "port": "PORT"},
        {"type": "redis", "host": "127.0.0.1", "port": "PORT"},
        {"type": "postgres", "host": "127.0.0.1", "port": "PORT", "user": "x"},
        {"type": "command", "argv": ["/nonexistent/program"]},
        {"type": "http", "url": "http://no-such-host.invalid/"},
        {"type": "tls", "host": "127.0.0.1", "port": "PORT"},
        {"type": "queue", "host": "127.0.0.1", "port": "PORT", "queue": "q", "late_seconds": 1},
        {"type": "rabbitmq", "url": "http://127.0.0.1:PORT"},
        {"type": "s3", "url": "http://127.0.0.1:PORT", "bucket": "b", "access_key": "k", "secret_key": "s"},
        {"type": "prometheus", "url": "http://127.0.0.1:PORT", "query": "up", "operator": ">", "threshold": 0},
        {"type": "event_bus", "url": "http://127.0.0.1:PORT/metrics"},
        {
            "type": "compare",
            "url": "http://127.0.0.1:PORT",
            **{"new": 'c="g"', "old": 'c="b"', "requests": "hits", "errors": "bad", "error_rate_max_ratio": 1.0},
        },
    ],
    ids=lambda check: str(check["type"]),
)
def test_nobody_there_is_not_evaluated(check: dict[str, Any], unused_port: int) -> None:
    filled = {
        key: (value.replace("PORT", str(unused_port)) if isinstance(value, str) else value)
        for key, value in check.items()
    }
    if "port" in filled:
        filled["port"] = int(filled["port"])
    reading = run(filled)
    assert (reading.ok, reading.evaluated) == (False, False)
    assert reading.error


def test_no_engine_is_not_evaluated() -> None:
    (spec,) = checks.prepare([{"name": "c", "type": "container", "container": "x"}])
    reading = checks.evaluate(checks.probe_of(spec, "/nonexistent.sock"), 1)
    assert (reading.ok, reading.evaluated) == (False, False)


class Answers:
    """An Engine that knows one container."""

    def __init__(self, state: dict[str, Any], restarts: int = 0) -> None:
        self.container = {"State": {"ExitCode": 0, **state}, "RestartCount": restarts}

    def find(self, path: str) -> dict[str, Any]:
        assert path == "/containers/x/json"
        return self.container


@pytest.mark.parametrize(
    ("state", "restarts", "limit", "error"),
    [
        ({"Status": "running"}, 0, None, ""),
        ({"Status": "running"}, 7, None, ""),
        ({"Status": "running"}, 1, 0, "restarted 1 times, allowed are 0"),
        (
            {"Status": "running", "OOMKilled": True},
            1,
            0,
            "restarted 1 times, the last time for want of memory, allowed are 0",
        ),
        ({"Status": "running"}, 2, 2, ""),
        ({"Status": "running", "Health": {"Status": "healthy"}}, 0, 0, ""),
        ({"Status": "running", "Health": {"Status": "starting"}}, 0, 0, "starting"),
        (
            {"Status": "running", "Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "no\n"}]}},
            0,
            0,
            "unhealthy: no",
        ),
        ({"Status": "exited", "ExitCode": 137}, 0, None, "exited (exit code 137)"),
        ({"Status": "restarting", "ExitCode": 1}, 3, None, "restarting"),
    ],
)
def test_container(state: dict[str, Any], restarts: int, limit: int | None, error: str) -> None:
    spec = {"container": "x", "restarts_max": limit, "command": None}
    reading = checks.evaluate(lambda _: probe_container(spec, Answers(state, restarts)), 1)  # type: ignore[arg-type]
    assert reading.evaluated
    assert reading.ok == (not error)
    assert error in reading.error


@pytest.mark.parametrize(
    ("code", "keys", "error"),
    [
        ("print('ready')", {}, ""),
        ("print('ready')", {"stdout_matches": "^read"}, ""),
        ("print('broken')", {"stdout_matches": "^read"}, "does not match"),
        ("import sys; sys.exit('why not')", {}, "rc 1, wanted 0: why not"),
        ("raise SystemExit(3)", {"rc": 3}, ""),
        ("input()", {"rc": 1}, ""),
        ("import time; time.sleep(9)", {}, "no end after 0.5 s"),
    ],
)
def test_command(code: str, keys: dict[str, Any], error: str) -> None:
    reading = run(
        {"type": "command", "argv": [sys.executable, "-c", code], **keys}, seconds=0.5 if "time" in code else 5
    )
    assert reading.evaluated
    assert reading.ok == (not error)
    assert error in reading.error


@pytest.mark.parametrize(
    ("answer", "keys", "found", "error"),
    [
        (b"+PONG\r\n", {}, "PONG", ""),
        (b"+NO\r\n", {}, "NO", "not 'PONG'"),
        (b"-NOAUTH Authentication required.\r\n", {}, "", "NOAUTH"),
        (b"$5\r\nhello\r\n", {"command": ["GET", "x"], "expected": "hello"}, "hello", ""),
        (b"$-1\r\n", {"command": ["GET", "x"]}, "", ""),
        (b":3\r\n", {"command": ["DBSIZE"], "expected": "3"}, "3", ""),
        (b"*2\r\n$1\r\na\r\n*1\r\n:2\r\n", {"command": ["X"]}, "a 2", ""),
        (b"+PO", {}, "", "middle of an answer"),
        (b"HTTP/1.1 400\r\n", {}, "HTTP/1.1 400", "protocol"),
    ],
)
def test_redis(answer: bytes, keys: dict[str, Any], found: str, error: str) -> None:
    with answering(answer) as (port, heard):
        reading = run({"type": "redis", "host": "127.0.0.1", "port": port, **keys})
    assert heard[0].startswith(b"*")
    assert reading.evaluated
    assert reading.ok == (not error)
    assert reading.answer == found
    assert error in reading.error


def test_targets_and_cures_hide_queries() -> None:
    (spec,) = checks.prepare([{"name": "w", "type": "http", "url": "http://h:1/p?token=hush"}])
    assert checks.target(spec) == "http://h:1/p"
    assert "hush" not in checks.cure(spec)
