# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that speak to a Redis: one command, and jobs that wait in a queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    TLS,
    Spec,
    Wrong,
    as_expected,
    connected,
    reach,
    refused,
    require_not_negative,
    short,
    tls_context,
)

# Where a Redis is, and who asks it.
REDIS: dict[str, Any] = {"port": 6379, "user": None, "password": None, "tls": False, **TLS}  # nosec B105
# So many jobs at the head of a queue are looked at: the oldest stand there.
HEAD = 1000


def probe_redis(spec: Spec, seconds: float) -> str:
    """AUTH where there is a password, then one command."""
    with _session(spec, seconds) as stream:
        answer = _flat(_command(stream, *spec["command"]))
    expected = "PONG" if spec["expected"] is None and spec["command"] == ["PING"] else spec["expected"]
    return as_expected(answer, expected)


def require_queue(spec: Spec) -> None:
    """Either a queue of RQ or a list, and something that it is held against."""
    require_not_negative(spec, "late_seconds", "length_max")
    if (spec["queue"] is None) == (spec["list"] is None):
        raise refused(
            spec, "it needs a queue or a list, one of them", "Give queue for one of RQ, list for a plain list."
        )
    if spec["list"] is not None and spec["late_seconds"] is not None:
        raise refused(spec, "what stands in a plain list has no age", "Give length_max, or the queue of RQ.")
    if spec["late_seconds"] is None and spec["length_max"] is None:
        raise refused(spec, "nothing could be wrong with it", "Give late_seconds, length_max or both.")


def probe_queue(spec: Spec, seconds: float) -> str:
    """How many wait, and how many of them for too long."""
    with _session(spec, seconds) as stream:
        if spec["database"] is not None:
            _command(stream, "SELECT", spec["database"])
        if spec["list"] is not None:
            length = int(_command(stream, "LLEN", spec["list"]))
            answer, late, oldest = f"{length} entries", 0, 0.0
        else:
            length, ages = _jobs_of_rq(stream, spec["queue"])
            if spec["late_seconds"] is not None and length and not ages:
                raise Wrong(f"no data: none of the first of {length} jobs says since when it waits")
            late = sum(age > spec["late_seconds"] for age in ages) if spec["late_seconds"] is not None else 0
            oldest = max(ages, default=0.0)
            answer = f"{length} jobs wait" + (f", the oldest for {oldest:.0f} s" if ages else "")
    if late:
        many = f"at least {late}" if late == HEAD else f"{late}"
        limit = f"{spec['late_seconds']:g} s"
        raise Wrong(f"{many} of {length} jobs wait for more than {limit}, the oldest for {oldest:.0f} s", answer)
    if spec["length_max"] is not None and length > spec["length_max"]:
        raise Wrong(f"{length} wait, allowed are {spec['length_max']}", answer)
    return answer


def _jobs_of_rq(stream: Any, queue: str) -> tuple[int, list[float]]:
    """How many jobs wait, and for how many seconds those at the head do.

    Redis has no empty lists: whether there is such a queue at all is known by who puts jobs into it and who works them.
    """
    key = f"rq:queue:{queue}"
    length, known, workers, (seconds, micros) = _commands(
        stream, ("LLEN", key), ("SISMEMBER", "rq:queues", key), ("SCARD", f"rq:workers:{queue}"), ("TIME",)
    )
    if not (length or known or workers):
        raise Wrong(f"there is no queue {queue}: no job was ever put into it and no worker listens to it")
    now = int(seconds) + int(micros) / 1e6
    jobs = _command(stream, "LRANGE", key, "0", str(HEAD - 1))
    times = _commands(stream, *(("HMGET", f"rq:job:{job}", "enqueued_at", "created_at") for job in jobs))
    # A job without times is one that was deleted: a worker passes over it.
    since = [enqueued or created for enqueued, created in times if enqueued or created]
    return int(length), [now - datetime.fromisoformat(moment).timestamp() for moment in since]


@contextmanager
def _session(spec: Spec, seconds: float) -> Iterator[Any]:
    """A connection to a Redis, logged in where there is a password."""
    plain = connected(spec, seconds)
    with closing(plain):
        connection = plain
        if spec["tls"]:
            context = tls_context(spec["validate_certs"], spec["ca"])
            where = f"redis {spec['host']}:{spec['port']}"
            connection = reach(lambda: context.wrap_socket(plain, server_hostname=spec["host"]), where)
        with closing(connection), connection.makefile("rwb") as stream:
            if spec["password"] is not None:
                _command(stream, "AUTH", *([spec["user"]] if spec["user"] else []), spec["password"])
            yield stream


def _command(stream: Any, *words: str) -> Any:
    """One command in RESP2."""
    return _commands(stream, words)[0]


def _commands(stream: Any, *commands: tuple[str, ...]) -> list[Any]:
    """Several commands in one go."""
    for words in commands:
        encoded = [str(word).encode() for word in words]
        stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
    stream.flush()
    return [_answer(stream) for _command in commands]


def _answer(stream: Any) -> Any:
    """Text, None for what is not there, or a list of answers."""
    line: bytes = stream.readline()
    if not line.endswith(b"\r\n"):
        raise Wrong("the connection was closed in the middle of an answer")
    kind, rest = line[:1], line[1:-2].decode(errors="replace")
    if kind == b"-":
        raise Wrong(rest)
    if kind in (b"$", b"*") and rest == "-1":
        return None
    if kind == b"$":
        value: bytes = stream.read(int(rest) + 2)[:-2]
        return value.decode(errors="replace")
    if kind == b"*":
        return [_answer(stream) for _item in range(int(rest))]
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest
    raise Wrong("this does not speak Redis's protocol", short(line.decode(errors="replace")))


def _flat(answer: Any) -> str:
    """An answer as text; nested ones become one line."""
    if isinstance(answer, list):
        return " ".join(_flat(item) for item in answer)
    return "" if answer is None else str(answer)
