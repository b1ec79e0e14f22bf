# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""health_gate after it opened, with two hundred checks, and what it leaves behind: soak, time, receipt, summary, refusals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gate_support import TOKEN, gate, only
from tests.integration.servers import Page, page


@pytest.fixture
def web() -> Iterator[Page]:
    """An application that is well until a test says otherwise."""
    with page() as made:
        made.text = "fine"
        yield made


def asked(web: Page, name: str = "web", **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": "http", "url": web.url, **keys}


class Falls:
    """Lets a page answer 503 from one of its requests on, for so many requests."""

    def __init__(self, web: Page, after: int, length: int) -> None:
        self.web, self.after, self.length = web, after, length
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._wait(self.after)
        self.web.status = 503
        self._wait(self.after + self.length)
        self.web.status = 200

    def _wait(self, scrapes: int) -> None:
        end = time.monotonic() + 20
        while self.web.scrapes < scrapes and time.monotonic() < end:
            time.sleep(0.005)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_exception: object) -> None:
        self.thread.join()


def test_a_gate_that_stays_open(web: Page) -> None:
    result = gate(asked(web), consecutive=2, timeout_seconds=5, interval_seconds=0.25, hold_for_seconds=1.5)
    found = only(result)
    assert result["ok"], result
    assert 4 <= found["rounds"] <= 6
    assert found["attempts"] == 2 + found["rounds"]
    assert (found["breaches"], found["longest_breach"]) == (0, 0)
    assert result["elapsed_seconds"] >= 1.75
    assert re.search(r"2 in a row, \d+ ms; then \d rounds, 0 bad$", result["summary"][0])


def test_a_lasting_breach_ends_it_at_once(web: Page) -> None:
    began = time.monotonic()
    with Falls(web, after=4, length=3):
        result = gate(
            asked(web),
            {"name": "other", "type": "command", "argv": ["true"]},
            interval_seconds=0.25,
            hold_for_seconds=600,
            tolerance=2,
        )
    assert time.monotonic() - began < 10
    assert (result["failed"], result["failed_checks"]) == (True, ["web"])
    found = result["checks"][0]
    assert (found["ok"], found["breaches"], found["longest_breach"]) == (False, 3, 3)
    assert found["rounds"] == 6
    assert re.search(
        r"^1 of 2 checks do not hold after \d.* s: web \(http://127\.0\.0\.1:\d+/metrics\): status 503, wanted 200 "
        r"\(broke [12]\.\d s after the gate opened, 3 bad in a row, forgiven are 2\)\. Cure: see from this host",
        result["msg"],
    ), result["msg"]


def test_a_short_breach_is_forgiven(web: Page) -> None:
    with Falls(web, after=3, length=2):
        result = gate(asked(web), interval_seconds=0.25, hold_for_seconds=2.5, tolerance=2)
    found = only(result)
    assert result["ok"], result
    assert (found["breaches"], found["longest_breach"]) == (2, 2)
    assert found["rounds"] >= 7


def test_a_gate_that_does_not_open_has_no_soak(web: Page) -> None:
    web.status = 503
    result = gate(asked(web), hold_for_seconds=600)
    assert (result["failed"], only(result)["rounds"]) == (True, 0)


def test_check_mode_does_not_soak_and_leaves_nothing(web: Page, tmp_path: Path) -> None:
    receipt = tmp_path / "no directory yet" / "gate.json"
    result = gate(asked(web), check=True, hold_for_seconds=600, result_file=str(receipt))
    assert (result["ok"], only(result)["attempts"], only(result)["rounds"]) == (True, 1, 0)
    assert not receipt.parent.exists()


def two_hundred_checks() -> tuple[dict[str, Any], float]:
    """Half of them wait for a server that takes a second to answer, half for a program that does; the slowest one's seconds."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()

    ports: list[int] = []
    thread = threading.Thread(target=lambda: (loop.create_task(listen()), loop.run_forever()), daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        result = gate(
            *({"name": f"web {n}", "type": "http", "url": f"http://127.0.0.1:{ports[0]}/"} for n in range(100)),
            *({"name": f"program {n}", "type": "command", "argv": ["sleep", "1"]} for n in range(100)),
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert result["ok"], result["msg"]
    assert len(result["checks"]) == 200
    slowest = max(check["latency_ms"] for check in result["checks"]) / 1000
    assert slowest >= 1
    return result, slowest


def test_two_hundred_checks_take_no_longer_than_twice_the_slowest() -> None:
    result, slowest = two_hundred_checks()
    assert result["elapsed_seconds"] / slowest <= 2, (result["elapsed_seconds"], slowest)
    assert result["elapsed_seconds"] <= 2


def test_a_receipt(web: Page, tmp_path: Path) -> None:
    """The page sends back what came after `Bearer`, so that it would stand in the answer, or half of it at its end.

    It stands in the address, too, which summary and message show.
    """
    web.text = f"your token is {TOKEN}, {'x' * 165}{TOKEN}"
    receipt = tmp_path / "gate.json"
    receipt.write_text("of an older run")
    receipt.chmod(0o644)
    before = datetime.now(UTC).replace(microsecond=0)
    options = {"result_file": str(receipt), "hold_for_seconds": 0.4, "interval_seconds": 0.2}
    for status, good in ((200, True), (503, False)):
        web.status = status
        check = asked(web, url=f"{web.url}/{TOKEN}", secret_headers={"Authorization": f"Bearer {TOKEN}"})
        result = gate(check, **options)
        written = json.loads(receipt.read_text())
        assert stat.S_IMODE(receipt.stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["gate.json"]
        assert "hush" not in receipt.read_text()
        assert "your token is ********" in written["checks"][0]["last_answer"]
        assert "/metrics/******** " in written["summary"][0]
        times = [datetime.fromisoformat(written.pop(name)) for name in ("started", "ended")]
        assert before <= times[0] <= times[1] <= datetime.now(UTC)
        assert written.pop("host") == socket.gethostname()
        assert written == {key: value for key, value in result.items() if key in written}
        assert set(written) == {"ok", "elapsed_seconds", "failed_checks", "summary", "checks"} | (
            set() if good else {"msg"}
        )
        assert (written["ok"], not result.get("failed"), result.get("changed", False)) == (
            good,
            good,
            False,
        )


def test_a_receipt_that_cannot_be_written(web: Page, tmp_path: Path) -> None:
    """Seen before anything is asked where that is possible; else the gate's own verdict is still told."""
    early = gate(asked(web), result_file=str(tmp_path / "nowhere" / "gate.json"))
    assert "nowhere/gate.json cannot be written" in early["msg"]
    assert web.scrapes == 0
    for status in (200, 503):
        web.status = status
        (tmp_path / "soon gone").mkdir()
        thief = {"name": "thief", "type": "command", "argv": ["rmdir", str(tmp_path / "soon gone")]}
        late = gate(asked(web), thief, result_file=str(tmp_path / "soon gone" / "gate.json"))
        assert late["failed"]
        assert ("1 of 2 checks do not hold" in late["msg"]) == (status == 503)
        assert "The result_file could not be written: " in late["msg"]
        assert "No such file or directory" in late["msg"]
        assert late["ok"] == (status == 200)


def test_a_summary_in_columns(web: Page) -> None:
    result = gate(
        asked(web, "web on prod, slot 0"),
        {
            "name": "red\x1b[31m\ttwo\nlines",
            "type": "command",
            "argv": ["sh", "-c", "printf '\\033[2Jgone' >&2; exit 3"],
        },
    )
    one, two = result["summary"]
    assert re.fullmatch(r"ok    web on prod, slot 0  http 127\.0\.0\.1:\d+/metrics +1 in a row, \d+ ms", one), one
    assert two.startswith("FAIL  red [31m two lines   command sh")
    assert two.endswith("rc 3, wanted 0: [2Jgone")
    assert all(line.isprintable() for line in result["summary"])


@pytest.mark.parametrize(
    ("check", "word"),
    [
        # What AnsibleModule sees by itself, type by type; the rest is in the unit tests.
        ({"type": "prometheus", "query": "up", "operator": "=>", "threshold": 0}, "operator"),
        ({"type": "prometheus", "query": "up", "operator": ">"}, "threshold"),
        ({"type": "prometheus", "query": "up", "operator": ">", "threshold": "many"}, "threshold"),
        ({"type": "prometheus", "query": "up", "operator": ">", "threshold": 0, "no_data": "maybe"}, "no_data"),
        ({"type": "prometheus", "query": "up[5m]", "operator": ">", "threshold": 0}, "neither a vector nor a scalar"),
        ({"type": "event_bus", "query": "up"}, "takes no query"),
        ({"type": "compare", "new": 'a="1"', "requests": "r"}, "old"),
        (
            {"type": "compare", "new": 'a="1"', "old": 'a="2"', "requests": "r", "quantiles": [{"quantile": 0.5}]},
            "max_ratio",
        ),
        ({"type": "s3", "bucket": "b", "access_key": "k"}, "secret_key"),
        ({"type": "rabbitmq", "length_max": 1}, "those of a queue"),
        ({"type": "queue", "queue": "q", "late_seconds": 1}, "host"),
        ({"type": "tls", "host": "127.0.0.1"}, "port"),
    ],
)
def test_a_malformed_check_is_refused_before_anything_is_asked(web: Page, check: dict[str, Any], word: str) -> None:
    url = {} if check["type"] in ("queue", "tls") else {"url": web.url}
    result = gate(asked(web), {"name": "bad", **url, **check})
    assert result["failed"]
    assert word in result["msg"]
    assert web.scrapes == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"hold_for_seconds": -1}, "hold_for_seconds"),
        ({"hold_for_seconds": 10, "tolerance": -1}, "tolerance"),
        ({"hold_for_seconds": 10, "tolerance": 10}, "nothing can break more than 10 times in a row"),
    ],
)
def test_a_soak_that_cannot_be_is_refused(web: Page, options: dict[str, Any], word: str) -> None:
    result = gate(asked(web), **options)
    assert (result["failed"], web.scrapes) == (True, 0)
    assert word in result["msg"]
