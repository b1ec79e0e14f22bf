# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks a gate can ask: one function a type, each returns the answer or raises Absent or Wrong."""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.lastro.platform.plugins.module_utils._engine import SOCKET, Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Reading

Spec = Mapping[str, Any]
Probe = Callable[[float], str]

REQUIRED = object()
# What each type takes, and what it assumes when a key is not given. A key of another type is refused.
KEYS: dict[str, dict[str, Any]] = {
    "http": {
        "url": REQUIRED,
        "method": "GET",
        "status": [200],
        "headers": {},
        "secret_headers": {},
        "expected_headers": {},
        "json": [],
        "validate_certs": True,
        "ca": None,
    },
    "tcp": {"host": REQUIRED, "port": REQUIRED},
    "postgres": {
        "host": REQUIRED,
        "port": 5432,
        "user": REQUIRED,
        "password": None,  # none given  # nosec B105
        "database": "postgres",
        "sslmode": "prefer",
        "sslrootcert": None,
        "query": "SELECT 1",
        "expected": None,
    },
    "redis": {
        "host": REQUIRED,
        "port": 6379,
        "user": None,
        "password": None,  # none given  # nosec B105
        "tls": False,
        "validate_certs": True,
        "ca": None,
        "command": ["PING"],
        "expected": None,
    },
    "container": {"container": REQUIRED, "restarts_max": None},
    "command": {"argv": REQUIRED, "rc": 0, "stdout_matches": None},
}
COMMON = {"name": REQUIRED, "type": REQUIRED, "timeout_seconds": 5.0}
ANSWER_LENGTH = 200
BODY_BYTES = 1024 * 1024


class Absent(Exception):
    """There is nothing to ask: nobody listens, no such container, no such program."""


class Wrong(Exception):
    """There was an answer, and it is not the one that was wanted."""

    def __init__(self, error: str, answer: str = "") -> None:
        super().__init__(error)
        self.answer = answer


def prepare(checks: Sequence[Spec]) -> list[dict[str, Any]]:
    """The checks as given → the same with the defaults of their types. Two of one name are refused."""
    names = [check["name"] for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlatformError(f"Several checks have the name {', '.join(twice)}", "Give each a name of its own.")
    return [_prepare(check) for check in checks]


def _prepare(given: Spec) -> dict[str, Any]:
    keys = {**COMMON, **KEYS[given["type"]]}
    foreign = sorted(key for key, value in given.items() if value is not None and key not in keys)
    if foreign:
        raise PlatformError(
            f"Check {given['name']}: a check of type {given['type']} takes no {', '.join(foreign)}",
            f"It takes {', '.join(sorted(keys))}.",
        )
    spec = {key: default if given.get(key) is None else given[key] for key, default in keys.items()}
    if spec["type"] == "http":
        url = urlsplit(spec["url"])
        if url.scheme not in ("http", "https") or not url.hostname or url.password:
            raise PlatformError(
                f"Check {spec['name']}: the url is not one this gate can ask",
                "Give http://host[:port]/path or https://…; credentials go into secret_headers.",
            )
    return spec


def probe_of(spec: Spec, engine_socket: str = SOCKET) -> Probe:
    """A prepared check → a function of the seconds it may take."""
    probes: dict[str, Callable[[Spec, float], str]] = {
        "http": probe_http,
        "tcp": probe_tcp,
        "postgres": probe_postgres,
        "redis": probe_redis,
        "container": lambda spec, seconds: probe_container(spec, Engine(engine_socket, timeout=seconds)),
        "command": probe_command,
    }
    return lambda seconds: probes[spec["type"]](spec, seconds)


def evaluate(probe: Probe, seconds: float, clock: Callable[[], float] = time.monotonic) -> Reading:
    """Run one probe once; whatever happens is a reading."""
    began = clock()
    try:
        answer = probe(seconds)
    except Absent as error:
        return Reading(ok=False, evaluated=False, latency_ms=_since(began, clock), error=short(error))
    except Wrong as error:
        return Reading(
            ok=False, evaluated=True, latency_ms=_since(began, clock), answer=short(error.answer), error=short(error)
        )
    except Exception as error:
        # Anything else is an answer too: a reset connection, a half reply, a bad certificate.
        text = f"{type(error).__name__}: {error}"
        return Reading(ok=False, evaluated=True, latency_ms=_since(began, clock), error=short(text))
    return Reading(ok=True, evaluated=True, latency_ms=_since(began, clock), answer=short(answer))


def psycopg2_missing() -> bool:
    """Whether this Python lacks what checks of type postgres need."""
    return importlib.util.find_spec("psycopg2") is None


def target(spec: Spec) -> str:
    """What a check asks, for people."""
    return {
        "http": lambda: str(spec["url"]).partition("?")[0],
        "container": lambda: f"container {spec['container']}",
        "command": lambda: f"command {spec['argv'][0]}",
    }.get(spec["type"], lambda: f"{spec['type']} {spec['host']}:{spec['port']}")()


def cure(spec: Spec) -> str:
    """Where to look when this check does not hold."""
    if spec["type"] == "container":
        return f"`docker logs {spec['container']}` on this host says why"
    if spec["type"] == "command":
        return f"run `{spec['argv'][0]}` by hand on this host"
    return f"see from this host whether {target(spec)} answers, then look at the log of what should answer there"


def probe_http(spec: Spec, seconds: float) -> str:
    """One request, redirects not followed, proxies of the environment not used."""
    url = urlsplit(spec["url"])
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        context = _tls(spec["validate_certs"], spec["ca"])
        connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=seconds)
    with closing(connection):
        _reach(connection.connect, f"{url.hostname}:{connection.port}")
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request(spec["method"], path, headers={**spec["headers"], **spec["secret_headers"]})
        reply = connection.getresponse()
        body = reply.read(BODY_BYTES).decode(errors="replace")
    answer = f"{reply.status} {body}"
    if reply.status not in spec["status"]:
        raise Wrong(f"status {reply.status}, wanted {' or '.join(map(str, spec['status']))}", answer)
    for header, wanted in spec["expected_headers"].items():
        if reply.getheader(header) != str(wanted):
            raise Wrong(f"header {header} is {reply.getheader(header)!r}, wanted {str(wanted)!r}", answer)
    if spec["json"]:
        _require_json(spec["json"], body, answer)
    return answer


def probe_tcp(spec: Spec, seconds: float) -> str:
    """Whether somebody accepts a connection."""
    with closing(_connect(spec, seconds)):
        return "connected"


def probe_postgres(spec: Spec, seconds: float) -> str:
    """One query on a connection of its own, in a transaction that is given up."""
    try:
        psycopg2 = importlib.import_module("psycopg2")
    except ImportError as error:
        raise Absent(f"psycopg2 is not installed for this Python: {error}") from error
    parts = {
        "host": spec["host"],
        "port": spec["port"],
        "user": spec["user"],
        "password": spec["password"],
        "dbname": spec["database"],
        "sslmode": spec["sslmode"],
        "sslrootcert": spec["sslrootcert"],
        # libpq knows whole seconds only, and takes 1 for 2.
        "connect_timeout": max(2, round(seconds)),
    }
    try:
        connection = psycopg2.connect(**{key: value for key, value in parts.items() if value is not None})
    except psycopg2.OperationalError as error:
        # libpq has no error code for "nobody there": asking the port tells it from a refused login.
        if not str(spec["host"]).startswith("/"):
            _connect(spec, seconds).close()
        raise Wrong(str(error)) from error
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = %s", (round(seconds * 1000),))
        cursor.execute(spec["query"])
        row = cursor.fetchone() if cursor.description else None
    value = "" if row is None else str(row[0])
    return _expect(value, spec["expected"])


def probe_redis(spec: Spec, seconds: float) -> str:
    """AUTH where there is a password, then one command."""
    plain = _connect(spec, seconds)
    with closing(plain):
        connection = plain
        if spec["tls"]:
            context = _tls(spec["validate_certs"], spec["ca"])
            connection = _reach(lambda: context.wrap_socket(plain, server_hostname=spec["host"]), target(spec))
        with closing(connection), connection.makefile("rwb") as stream:
            if spec["password"] is not None:
                _redis(stream, ["AUTH", *([spec["user"]] if spec["user"] else []), spec["password"]])
            answer = _redis(stream, spec["command"])
    expected = "PONG" if spec["expected"] is None and spec["command"] == ["PING"] else spec["expected"]
    return _expect(answer, expected)


def probe_container(spec: Spec, engine: Engine) -> str:
    """Running, healthy where it has a health check, and not restarted too often."""
    try:
        found = engine.find(f"/containers/{quote(spec['container'], safe='')}/json")
    except EngineError as error:
        raise (Wrong if error.status else Absent)(str(error)) from error
    if found is None:
        raise Absent(f"there is no container {spec['container']}")
    state, restarts = found["State"], found["RestartCount"]
    health = (state.get("Health") or {}).get("Status", "none")
    answer = f"{state['Status']}, health {health}, {restarts} restarts"
    if state["Status"] != "running":
        raise Wrong(f"the container is {state['Status']} (exit code {state['ExitCode']}), wanted running", answer)
    if health not in ("none", "healthy"):
        log = (state["Health"].get("Log") or [{}])[-1].get("Output", "").strip()
        raise Wrong(f"the container is {health}" + (f": {log}" if log else ""), answer)
    if spec["restarts_max"] is not None and restarts > spec["restarts_max"]:
        raise Wrong(f"the container restarted {restarts} times, allowed are {spec['restarts_max']}", answer)
    return answer


def probe_command(spec: Spec, seconds: float) -> str:
    """A program, without a shell and without standard input."""
    try:
        done = subprocess.run(
            spec["argv"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (FileNotFoundError, PermissionError) as error:
        raise Absent(f"{spec['argv'][0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"no end after {seconds:g} s") from error
    answer = f"rc {done.returncode} {done.stdout.strip()}"
    if done.returncode != spec["rc"]:
        raise Wrong(f"rc {done.returncode}, wanted {spec['rc']}: {done.stderr.strip()}", answer)
    if spec["stdout_matches"] is not None and not re.search(spec["stdout_matches"], done.stdout):
        raise Wrong(f"stdout does not match {spec['stdout_matches']!r}", answer)
    return answer


def dig(document: Any, path: str) -> Any:
    """The value at `a.b[0].c` of a decoded JSON document; KeyError where there is none."""
    if not re.fullmatch(r"[^.\[\]]*(\[\d+\]|\.[^.\[\]]+)*", path):
        raise KeyError(path)
    value = document
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            value = value[key] if key else value[int(index)]
        except (KeyError, IndexError, TypeError) as error:
            raise KeyError(path) from error
    return value


def short(text: object) -> str:
    """One line, cut where it gets long."""
    line = " ".join(str(text).split())
    return line if len(line) <= ANSWER_LENGTH else line[: ANSWER_LENGTH - 1] + "…"


def _since(began: float, clock: Callable[[], float]) -> float:
    return (clock() - began) * 1000


def _expect(value: str, expected: str | None) -> str:
    if expected is not None and value != expected:
        raise Wrong(f"the answer is not {expected!r}", value)
    return value


def _require_json(conditions: list[Spec], body: str, answer: str) -> None:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise Wrong("the body is not JSON", answer) from error
    for condition in conditions:
        try:
            value = dig(document, condition["path"])
        except KeyError as error:
            raise Wrong(f"there is nothing at {condition['path']}", answer) from error
        equals, matches = condition["equals"], condition["matches"]
        # In Python True == 1, in JSON it is not.
        if equals is not None and (value != equals or isinstance(value, bool) != isinstance(equals, bool)):
            raise Wrong(f"{condition['path']} is {json.dumps(value)}, wanted {json.dumps(equals)}", answer)
        text = value if isinstance(value, str) else json.dumps(value)
        if matches is not None and not re.search(matches, text):
            raise Wrong(f"{condition['path']} is {json.dumps(value)}, wanted a match of {matches!r}", answer)


def _tls(verify: bool, ca: str | None) -> ssl.SSLContext:
    pem = ca is not None and ca.lstrip().startswith("-----BEGIN")
    context = ssl.create_default_context(cafile=None if pem else ca, cadata=ca if pem else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reach(connect: Callable[[], Any], where: str) -> Any:
    """Connect; a failure of TLS is an answer, any other failure means that nobody is there."""
    try:
        return connect()
    except ssl.SSLCertVerificationError as error:
        raise Wrong(f"TLS with {where}: the certificate is refused: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Wrong(f"TLS with {where}: {error}") from error
    except OSError as error:
        raise Absent(f"{where}: {error.strerror or error}") from error


def _connect(spec: Spec, seconds: float) -> socket.socket:
    address = (spec["host"], spec["port"])
    connected: socket.socket = _reach(
        lambda: socket.create_connection(address, seconds), f"{spec['host']}:{spec['port']}"
    )
    return connected


def _redis(stream: Any, words: list[str]) -> str:
    """One command in RESP2; nested answers become one line."""
    encoded = [str(word).encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
    stream.flush()
    return _redis_answer(stream)


def _redis_answer(stream: Any) -> str:
    line: bytes = stream.readline()
    if not line.endswith(b"\r\n"):
        raise Wrong("the connection was closed in the middle of an answer")
    kind, rest = line[:1], line[1:-2].decode(errors="replace")
    if kind == b"-":
        raise Wrong(rest)
    if kind == b"$" and rest != "-1":
        value: bytes = stream.read(int(rest) + 2)[:-2]
        return value.decode(errors="replace")
    if kind == b"*" and rest != "-1":
        return " ".join(_redis_answer(stream) for _item in range(int(rest)))
    if kind in (b"$", b"*"):
        return ""
    if kind in (b"+", b":"):
        return rest
    raise Wrong("this does not speak Redis's protocol", short(line.decode(errors="replace")))
