# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks have in common: how they end, one line for people, connections, TLS and one HTTP request."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

Spec = Mapping[str, Any]

REQUIRED = object()
# What every check takes that asks by HTTP, and that can ask by TLS.
TLS: dict[str, Any] = {"validate_certs": True, "ca": None}
HTTP: dict[str, Any] = {"url": REQUIRED, "headers": {}, "secret_headers": {}, **TLS}

ANSWER_LENGTH = 200
BODY_BYTES = 1024 * 1024


class Absent(Exception):
    """There is nothing to ask: nobody listens, no such container, no such program."""


class Wrong(Exception):
    """There was an answer, and it is not the one that was wanted."""

    def __init__(self, error: str, answer: str = "") -> None:
        super().__init__(error)
        self.answer = answer


def one_line(text: object) -> str:
    """Without line breaks, and without what would move a terminal's cursor or change its colours."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)).split())


def short(text: object) -> str:
    """One line, cut where it gets long."""
    # What is shown is at the beginning: a long body is not walked to its end.
    line = one_line(str(text)[: 20 * ANSWER_LENGTH])
    return line if len(line) <= ANSWER_LENGTH else line[: ANSWER_LENGTH - 1] + "…"


def refused(spec: Spec, problem: str, cure: str) -> PlatformError:
    """A check that cannot be asked as it is written."""
    return PlatformError(f"Check {spec['name']}: {problem}", cure)


def require_url(spec: Spec) -> None:
    try:
        url = urlsplit(spec["url"])
        good = url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc and url.port != 0
        # What cannot stand in a request would be shown by the error of it, with a token in the query.
        good = good and not url.fragment and all(" " < sign != "\x7f" for sign in spec["url"])
    except ValueError:
        good = False
    if not good:
        raise refused(
            spec,
            "the url is not one this gate can ask",
            "Give http://host[:port]/path or https://…; credentials go into secret_headers.",
        )


def require_endpoint(spec: Spec) -> None:
    """A URL to which paths are added."""
    require_url(spec)
    if urlsplit(spec["url"]).query:
        raise refused(spec, "the url has a query", "Give the address alone, as https://host.example.org:8443.")


def require_not_negative(spec: Spec, *keys: str) -> None:
    wrong = [key for key in keys if spec[key] is not None and not 0 <= spec[key] < float("inf")]
    if wrong:
        raise refused(spec, f"{', '.join(wrong)} cannot be less than 0, or no number", "Give 0 or more.")


@dataclass(frozen=True)
class Reply:
    """An answer by HTTP; `cut` when there was more than was read."""

    status: int
    headers: Message
    body: str
    cut: bool

    def __str__(self) -> str:
        return f"{self.status} {self.body}"

    def decoded(self) -> Any:
        """The body as JSON."""
        if self.cut:
            raise Wrong("the answer is too long to be read", str(self))
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Wrong("the body is not JSON", str(self)) from error


def own_headers(spec: Spec) -> dict[str, Any]:
    """The request headers that the check gives."""
    return {**spec["headers"], **spec["secret_headers"]}


def ask(
    spec: Spec, url: str, seconds: float, headers: Mapping[str, Any], method: str = "GET", most: int = BODY_BYTES
) -> Reply:
    """One request, redirects not followed, proxies of the environment not used."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = tls_context(spec["validate_certs"], spec["ca"])
        connection = http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=seconds)
    ends = time.monotonic() + seconds
    with closing(connection):
        reach(connection.connect, f"{host}:{connection.port}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, headers=dict(headers))
        reply = connection.getresponse()
        body = _body(reply, most + 1, ends)
    return Reply(reply.status, reply.headers, body[:most].decode(errors="replace"), len(body) > most)


def _body(reply: http.client.HTTPResponse, most: int, ends: float) -> bytes:
    """What comes until then; each piece is waited for anew, so a stream of events would never end."""
    found = b""
    while len(found) < most and (piece := reply.read1(most - len(found))):
        found += piece
        if time.monotonic() > ends:
            raise Wrong("the answer did not end in time", f"{reply.status} {found.decode(errors='replace')}")
    if len(found) < most and reply.length:
        raise Wrong("the answer ended too early", f"{reply.status} {found.decode(errors='replace')}")
    return found


def left_of(seconds: float, began: float) -> float:
    """What is left of a check's time for its next question; a second one is not asked in no time at all."""
    return max(0.1, seconds - (time.monotonic() - began))


def tls_context(verify: bool, ca: str | None) -> ssl.SSLContext:
    pem = ca is not None and ca.lstrip().startswith("-----BEGIN")
    try:
        context = ssl.create_default_context(cafile=None if pem else ca, cadata=ca if pem else None)
    except OSError as error:
        raise Wrong(f"the CA {'in the check' if pem else ca} cannot be read: {error.strerror or error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def reach(connect: Callable[[], Any], where: str) -> Any:
    """Connect; a failure of TLS is an answer, any other failure means that nobody is there."""
    try:
        return connect()
    except ssl.SSLCertVerificationError as error:
        raise Wrong(f"TLS with {where}: the certificate is refused: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Wrong(f"TLS with {where}: {error}") from error
    except OSError as error:
        raise Absent(f"{where}: {error.strerror or error}") from error


def connected(spec: Spec, seconds: float) -> socket.socket:
    """A connection to host and port."""
    address = (spec["host"], spec["port"])
    made: socket.socket = reach(lambda: socket.create_connection(address, seconds), f"{spec['host']}:{spec['port']}")
    return made


def as_expected(value: str, expected: str | None) -> str:
    if expected is not None and value != expected:
        raise Wrong(f"the answer is not {expected!r}", value)
    return value
