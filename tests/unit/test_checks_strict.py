# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks like an answer and is none must not open a gate; what no check can mean is refused before one is asked."""

from __future__ import annotations

import http.server
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._checks import evaluate, prepare, probe_of
from ansible_collections.lastro.platform.plugins.module_utils._checks_base import Wrong
from ansible_collections.lastro.platform.plugins.module_utils._checks_event_bus import values_of
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils import _key_notices as notices

HTTP = {"name": "a", "type": "http", "url": "http://127.0.0.1:1/"}
COMPARE = {
    **{"name": "a", "type": "compare", "url": "http://127.0.0.1:1", "requests": "requests_total"},
    **{"errors": "errors_total", "error_rate_max_ratio": 1.0},
}


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({**HTTP, "url": None}, "url is empty"),
        ({**HTTP, "timeout_seconds": 0}, "cannot take 0"),
        ({**HTTP, "timeout_seconds": math.nan}, "cannot take nan"),
        ({**HTTP, "url": "http://127.0.0.1:1/#/overview"}, "the url is not one"),
        ({**HTTP, "url": "http://127.0.0.1:1/a b?token=x"}, "the url is not one"),
        ({**HTTP, "json": [{"path": "status", "matches": "("}]}, "no regular expression"),
        ({"name": "a", "type": "command", "argv": []}, "argv is empty"),
        ({"name": "a", "type": "command", "argv": ["true"], "stdout_matches": "("}, "no regular expression"),
        ({"name": "a", "type": "rabbitmq", "url": "http://127.0.0.1:1/?x=y"}, "has a query"),
        ({**COMPARE, "new": 'colour="green"', "old": 'colour="green"'}, "are the same"),
    ],
)
def test_what_cannot_be_asked_is_refused(check: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        prepare([check])


@contextmanager
def answering(body: bytes, length: int | None = None) -> Iterator[str]:
    """A server that answers 200 and this to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'{"status": "failed"}', b"[]"])
def test_any_page_is_not_a_rabbitmq_without_alarms(body: bytes) -> None:
    with answering(body) as url:
        (spec,) = prepare([{"name": "a", "type": "rabbitmq", "url": url}])
        assert not evaluate(probe_of(spec), 5).ok
    with answering(b'{"status": "ok"}') as url:
        (spec,) = prepare([{"name": "a", "type": "rabbitmq", "url": url}])
        assert evaluate(probe_of(spec), 5).ok


def test_a_page_that_was_cut_off_is_not_taken_for_whole() -> None:
    page = b"event_bus_dlq 0\npipeline_retry_count 0\n"
    for length, good in ((None, True), (len(page) + 20, False)):
        with answering(page, length) as url:
            (spec,) = prepare([{"name": "a", "type": "event_bus", "url": url}])
            reading = evaluate(probe_of(spec), 5)
        assert reading.ok is good, reading


def test_a_ca_that_is_not_there_is_named() -> None:
    with answering(b"x") as url:
        (spec,) = prepare([{**HTTP, "url": url.replace("http:", "https:"), "ca": "/nowhere/ca.pem"}])
        assert "the CA /nowhere/ca.pem cannot be read" in evaluate(probe_of(spec), 5).error


@pytest.mark.parametrize(
    "line",
    [
        'event_bus_dlq{queue="b"} 900 1795414441.735',
        ' event_bus_dlq{queue="b"} 900',
        'event_bus_dlq{queue="b"} 900 # {trace="1"} 1',
        'event_bus_dlq{queue="b\x85"} 900',
        'event_bus_dlq{queue="b"} 900\r',
    ],
)
def test_no_series_is_passed_over(line: str) -> None:
    assert max(values_of(f'event_bus_dlq{{queue="a"}} 0\n{line}\n', "event_bus_dlq").values()) == 900


@pytest.mark.parametrize("line", ['event_bus_dlq{queue="b"} many', 'event_bus_dlq{queue="b" 900'])
def test_a_series_that_cannot_be_read_is_no_data(line: str) -> None:
    with pytest.raises(Wrong, match="no data"):
        values_of(f'event_bus_dlq{{queue="a"}} 0\n{line}\n', "event_bus_dlq")


def test_a_listener_that_speaks_no_http_is_a_failure_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise http.client.BadStatusLine("220 mail.example.org")

    monkeypatch.setattr(notices, "open_url", refuse)
    (told,) = notices.tell({"webhooks": ["http://127.0.0.1:1/hook"]}, {"event": "x", "keys": []}, lambda _seconds: None)
    assert "BadStatusLine" in told
