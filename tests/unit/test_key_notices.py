# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling consumers of API keys, by HTTP and SMTP receivers of this machine."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._key_notices import lines_of, message_of, tell

KEYS = [
    {
        **{"id": "new1", "prefix": "shop_prod", "name": "billing", "tenant": "acme", "replaces": "old1"},
        **{"old_ends": "2027-01-31T00:00:00+00:00", "row": "2", "last4": "zzzz", "hash": "abab"},
    },
    {"id": "new2", "replaces": "old2", "old_ends": None, "retire_after_first_use_seconds": 60},
]


@contextmanager
def serving(server: Any) -> Iterator[int]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[Any]]]:
    """Its URL and what it got; it gives the answers one after the other, then 200."""
    left, got = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/services/T0KEN", got


@contextmanager
def post_office(refuse: str = "") -> Iterator[tuple[int, list[str]]]:
    """Its port and the letters; it refuses a recipient."""
    letters: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                if word == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                        lines.append(line)
                    letters.append("\n".join(lines))
                refused = word == "RCPT" and refuse and refuse in line
                self.say("550 no" if refused else "221 bye" if word == "QUIT" else "250 ok")
                if word == "QUIT":
                    return

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, letters


def test_what_is_told() -> None:
    message = message_of("rotated", KEYS)
    assert message["event"] == "api_keys_rotated"
    assert message["keys"][0] == {
        **{"id": "new1", "prefix": "shop_prod", "name": "billing", "tenant": "acme", "replaces": "old1"},
        "old_ends": "2027-01-31T00:00:00+00:00",
    }
    assert lines_of(message) == [
        "old1 was replaced by shop_prod_new1 (tenant acme name billing). The old key ends 2027-01-31T00:00:00+00:00.",
        "old2 was replaced by new2. The old key ends when it is revoked, or 60 s after the first use of the new one.",
    ]
    assert lines_of(message_of("rotated", [{"id": "new3", "replaces": "old3"}])) == [
        "old3 was replaced by new3. `state: listed` says when the old key ends."
    ]
    assert lines_of(message_of("revoked", [{"id": "a"}])) == ["a was revoked and does not work any more."]


def test_everybody_is_told_once() -> None:
    with receiver() as (hook, hooked), receiver() as (slack, slacked), post_office() as (port, letters):
        mail = {
            "host": "127.0.0.1",
            "port": port,
            "sender": "a@example.com",
            "to": ["b@example.com"],
            "starttls": False,
        }
        failures = tell({"webhooks": [hook], "slack": [slack], "mail": mail}, message_of("rotated", KEYS), pytest.fail)
    assert failures == []
    assert hooked == [message_of("rotated", KEYS)]
    assert [list(each) for each in slacked] == [["text"]]
    assert "old1 was replaced by shop_prod_new1" in slacked[0]["text"]
    assert len(letters) == 1
    assert "To: b@example.com" in letters[0]
    assert "Subject: API keys rotated" in letters[0]
    assert "old2 was replaced by new2" in letters[0]


def test_a_long_list_is_cut_for_slack_only() -> None:
    many = [{"id": f"n{number}", "replaces": "o"} for number in range(100)]
    with receiver() as (url, got):
        tell({"webhooks": [url], "slack": [url]}, message_of("rotated", many), pytest.fail)
    assert len(got[0]["keys"]) == 100
    assert got[1]["text"].splitlines()[-1] == "and 60 more"


def test_a_receiver_that_is_back_at_the_third_try() -> None:
    pauses: list[float] = []
    with receiver(500, 503) as (url, got):
        assert tell({"webhooks": [url]}, message_of("rotated", KEYS), pauses.append) == []
    assert len(got) == 3
    assert pauses == [1.0, 4.0]


def test_what_fails_three_times_is_reported_without_its_address() -> None:
    pauses: list[float] = []
    with receiver(500, 500, 500) as (url, got), post_office(refuse="b@example.com") as (port, _letters):
        mail = {
            "host": "127.0.0.1",
            "port": port,
            "sender": "a@example.com",
            "to": ["b@example.com"],
            "starttls": False,
        }
        notify = {"slack": [url], "webhooks": ["http://127.0.0.1:1/T0KEN", "file:///etc/passwd"], "mail": mail}
        failures = tell(notify, message_of("rotated", KEYS), pauses.append)
    assert len(got) == 3
    assert len(failures) == 4
    assert len(pauses) == 8
    assert "webhook at 127.0.0.1 (ConnectionRefusedError), after 3 tries" in failures[0]
    assert "webhook at ? (ValueError)" in failures[1]
    assert "Slack at 127.0.0.1 (HTTP 500)" in failures[2]
    assert "mail by 127.0.0.1 (SMTPRecipientsRefused)" in failures[3]
    assert "T0KEN" not in "".join(failures)


def test_a_password_of_mail_goes_over_tls_only() -> None:
    with post_office() as (port, letters):
        mail = {
            **{"host": "127.0.0.1", "port": port, "sender": "a@example.com", "to": ["b@example.com"]},
            **{"starttls": False, "user": "me", "password": "top-secret"},
        }
        [failure] = tell({"mail": mail}, message_of("rotated", KEYS), lambda _seconds: None)
        assert "ValueError" in failure
        # The server has no TLS: nothing is said to it in the clear instead.
        [failure] = tell({"mail": {**mail, "starttls": True}}, message_of("rotated", KEYS), lambda _seconds: None)
        assert "SMTPNotSupportedError" in failure
    assert letters == []
