# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""health_gate against a real Prometheus that reads pages whose figures the tests set: prometheus, event_bus, compare."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.gate_support import TOKEN, gate, only
from tests.integration.servers import Page, page, prometheus
from tests.support import eventually

BUCKETS = ("0.1", "0.2", "0.4", "0.8", "+Inf")
Traffic = tuple[int, int, int]
# What the old and the new release served: so many requests that took about 0.15 s, so many that took about 0.6 s,
# so many of them failed. Then what is wrong with the new one.
SERVED: dict[str, tuple[Traffic, Traffic, list[str]]] = {
    "as well": ((2000, 20, 20), (1000, 10, 12), []),
    "more errors": ((2000, 0, 20), (1000, 0, 40), ["4.00% errors against 1.00%, allowed are 1.70%"]),
    # An old one without errors allows the slack, and no more.
    "within the slack": ((2000, 0, 0), (1000, 0, 1), []),
    "beyond the slack": ((2000, 0, 0), (1000, 0, 10), ["1.00% errors against 0.00%, allowed are 0.20%"]),
    "slow": ((2000, 0, 0), (900, 100, 0), ["p95 0.6 s against 0.195 s, allowed are 0.342 s"]),
    "slow and failing": ((2000, 0, 0), (900, 100, 90), ["errors against 0.00%", "; p95 0.6 s against"]),
    "better": ((1800, 200, 200), (1000, 0, 0), []),
    "too few new": ((2000, 0, 0), (20, 0, 0), ["too few requests to compare: 2", "wanted 100 (new: "]),
    "too few old": ((20, 0, 0), (2000, 0, 0), ["too few requests to compare: 2", "wanted 100 (old: "]),
}
QUERIES = [
    ("depth", "<=", 40, 'colour="green"', ""),
    ("depth", "<", 40, "is 40, the worst of 2 series", "is 40, wanted < 40, 1 of 2 series do not hold"),
    ('depth{colour="blue"}', ">=", 4, 'depth{colour="blue"', ""),
    ("depth", ">", 40, 'colour="blue"', "is 4, wanted > 40, 2 of 2 series"),
    ("sum(depth)", "==", 44, "44", ""),
    ("sum(depth)", "!=", 44, "44", "44, wanted != 44"),
    ("vector(1)", ">", 0.5, "1", ""),
    ("scalar(sum(depth))", "==", 44, "44", ""),
    # NaN is no number, so it is not even different from one.
    ("odd", "!=", 3, "is nan", "is nan, wanted != 3"),
    ("odd", ">", 3, "is nan", "is nan, wanted > 3"),
    ("nowhere", ">", 0, "", "no data: the query gives no series"),
    ("depth > 1000", ">", 0, "", "no data"),
    ("sum(", ">", 0, "", "Prometheus refuses the query"),
    # What one cannot see from the text: the server says which type it has.
    ("(depth[5m])", ">", 0, "", "gives a matrix"),
]


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, Page]]:
    """The pages of an old release (blue), of a new one (green), and of what makes dead letters."""
    with page() as blue, page() as green, page() as bus:
        yield {"blue": blue, "green": green, "bus": bus}


@pytest.fixture(scope="module")
def url(pages: dict[str, Page], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has seen all traffic come."""
    releases = (pages["blue"], pages["green"])
    pages["bus"].show(event_bus_dlq=0, pipeline_retry_count=7)
    for each in releases:
        each.text = "".join(traffic(case, (0, 0, 0)) for case in SERVED)
    with prometheus(tmp_path_factory.mktemp("prometheus"), pages) as made:
        eventually(lambda: min(each.scrapes for each in pages.values()) > 1, "two scrapes")
        seen = [each.scrapes for each in releases]
        pages["blue"].text = "depth 4\nodd NaN\n" + "".join(traffic(case, sides[0]) for case, sides in SERVED.items())
        pages["green"].text = "depth 40\n" + "".join(traffic(case, sides[1]) for case, sides in SERVED.items())
        eventually(lambda: all(e.scrapes > n + 2 for e, n in zip(releases, seen, strict=True)), "three more scrapes")
        yield made


def traffic(case: str, served: Traffic) -> str:
    fast, slow, failed = served
    counts = dict(zip(BUCKETS, (0, fast, fast, fast + slow, fast + slow), strict=True))
    by_status = {"200": fast + slow - failed, "500": failed}
    lines = [
        *(f'hits_total{{case="{case}",status="{status}"}} {count}' for status, count in by_status.items()),
        *(f'answer_seconds_bucket{{case="{case}",le="{le}"}} {count}' for le, count in counts.items()),
    ]
    return "\n".join(lines) + "\n"


def query(url: str, text: str, sign: str, threshold: float, **keys: Any) -> dict[str, Any]:
    return {
        "name": "asked",
        "type": "prometheus",
        "url": url,
        "query": text,
        "operator": sign,
        "threshold": threshold,
        **keys,
    }


@pytest.fixture(scope="module")
def answers(url: str) -> dict[str, dict[str, Any]]:
    """All queries and all comparisons in one gate."""
    asked = [{**query(url, *case[:3]), "name": f"{case[:3]}"} for case in QUERIES]
    compared = [{**comparison(url, case), "name": case} for case in SERVED]
    return {check["name"]: check for check in gate(*asked, *compared)["checks"]}


@pytest.mark.parametrize(("text", "sign", "threshold", "answer", "error"), QUERIES)
def test_a_query_against_a_threshold(
    answers: dict[str, dict[str, Any]], text: str, sign: str, threshold: float, answer: str, error: str
) -> None:
    found = answers[f"{(text, sign, threshold)}"]
    assert (found["ok"], found["evaluated"]) == (not error, True), found
    assert answer in found["last_answer"]
    assert error in found["last_error"]


def test_no_data_passes_only_where_it_is_said(url: str) -> None:
    assert only(gate(query(url, "nowhere", ">", 0, no_data="pass")))["last_answer"] == "no data, which is good here"
    assert gate(query(url, "nowhere", ">", 0, no_data="fail"))["failed_checks"] == ["asked"]


def test_what_is_no_prometheus_is_named(url: str, pages: dict[str, Page]) -> None:
    found = only(gate(query(pages["bus"].url, "up", ">", 0)))
    assert (found["ok"], found["evaluated"]) == (False, True)
    assert "not the answer of a Prometheus" in found["last_error"]


def test_a_gate_waits_for_a_figure(url: str, pages: dict[str, Page]) -> None:
    pages["bus"].show(event_bus_dlq=0, pipeline_retry_count=7, ready=0)
    timer = threading.Timer(1.5, pages["bus"].show, (), {"event_bus_dlq": 0, "pipeline_retry_count": 7, "ready": 1})
    timer.start()
    result = gate(query(url, "ready", "==", 1), timeout_seconds=20, interval_seconds=0.2)
    timer.join()
    assert result["ok"], result
    assert only(result)["attempts"] > 3


def bus(address: str, **keys: Any) -> dict[str, Any]:
    return {"name": "bus", "type": "event_bus", "url": address, **keys}


@pytest.mark.parametrize("by_server", [False, True], ids=["the page itself", "a Prometheus server"])
def test_dead_letters_by_their_number(url: str, pages: dict[str, Page], by_server: bool) -> None:
    address = f"{url}/federate?match[]=event_bus_dlq&match[]=pipeline_retry_count" if by_server else pages["bus"].url
    for dead, limit, good in ((0, 0, True), (3, 0, False), (3, 3, True)):
        pages["bus"].show(event_bus_dlq=dead, pipeline_retry_count=7)
        if by_server:
            wanted = query(url, "event_bus_dlq", "==", dead)
            assert gate(wanted, timeout_seconds=10, interval_seconds=0.1)["ok"]
        found = only(gate(bus(address, dlq_max=limit)))
        assert (found["ok"], found["evaluated"]) == (good, True), found
        assert found["last_answer"] == f"event_bus_dlq is {dead}, pipeline_retry_count grew by 0"
        assert found["last_error"] == ("" if good else "event_bus_dlq is 3, allowed are 0")
    pages["bus"].show(event_bus_dlq=0, pipeline_retry_count=7)


def test_retries_by_their_growth_since_the_gate_began(pages: dict[str, Page]) -> None:
    """7 at the beginning is the past; one more is a retry of now. It lasts, so it is found whenever it comes."""
    pages["bus"].show(event_bus_dlq=0, pipeline_retry_count=7)
    quiet = gate(bus(pages["bus"].url), interval_seconds=0.2, hold_for_seconds=1)
    assert quiet["ok"], quiet
    timer = threading.Timer(1.5, pages["bus"].show, (), {"event_bus_dlq": 0, "pipeline_retry_count": 9})
    timer.start()
    began = time.monotonic()
    result = gate(bus(pages["bus"].url), interval_seconds=0.2, hold_for_seconds=20, tolerance=1)
    timer.join()
    assert time.monotonic() - began < 10
    assert "pipeline_retry_count grew by 2 since the gate began, allowed are 0" in result["msg"]
    assert gate(bus(pages["bus"].url))["ok"], "a new gate counts from where it begins"


def test_a_counter_that_was_reset_counts_from_zero(pages: dict[str, Page]) -> None:
    pages["bus"].show(event_bus_dlq=0, pipeline_retry_count=7)
    timer = threading.Timer(1.2, pages["bus"].show, (), {"event_bus_dlq": 0, "pipeline_retry_count": 2})
    timer.start()
    result = gate(bus(pages["bus"].url, retries_growth_max=2), interval_seconds=0.2, hold_for_seconds=3)
    timer.join()
    assert result["ok"], result
    assert only(result)["last_answer"] == "event_bus_dlq is 0, pipeline_retry_count grew by 2"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("event_bus_dlq 0\n", "no data: there is no metric pipeline_retry_count"),
        ("pipeline_retry_count 0\nevent_bus_dlq_size 0\n", "no data: there is no metric event_bus_dlq"),
        ("event_bus_dlq NaN\npipeline_retry_count 0\n", "no data"),
        ("", "no data"),
    ],
)
def test_a_metric_that_is_not_there_is_no_pass(pages: dict[str, Page], text: str, error: str) -> None:
    pages["bus"].text = text
    found = only(gate(bus(pages["bus"].url, secret_headers={"Authorization": f"Bearer {TOKEN}"})))
    assert (found["ok"], found["evaluated"]) == (False, True)
    assert error in found["last_error"]


def comparison(url: str, case: str, **keys: Any) -> dict[str, Any]:
    return {
        "name": case,
        "type": "compare",
        "url": url,
        "new": f'colour="green", case="{case}"',
        "old": f'colour="blue", case="{case}"',
        "requests": "hits_total",
        "window": "10m",
        "samples_min": 100,
        "errors": 'hits_total{status="500"}',
        "error_rate_max_ratio": 1.5,
        "error_rate_slack": 0.002,
        "latency": "answer_seconds",
        "quantiles": [{"quantile": 0.95, "max_ratio": 1.5, "slack_seconds": 0.05}],
        **keys,
    }


@pytest.mark.parametrize("case", SERVED)
def test_a_new_release_against_the_old_one(answers: dict[str, dict[str, Any]], case: str) -> None:
    errors, found = SERVED[case][2], answers[case]
    assert (found["ok"], found["evaluated"]) == (not errors, True), found
    assert all(error in found["last_error"] for error in errors), found
    if not case.startswith("too few"):
        new, old = found["last_answer"].split("; ")
        assert re.fullmatch(r"new: 1\d{3} requests, \d\.\d\d% errors, p95 0\.\d+ s", new), found
        assert re.fullmatch(r"old: 2\d{3} requests, \d+\.\d\d% errors, p95 0\.\d+ s", old), found


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"new": 'colour="red"'}, 'no data: Prometheus knows no hits_total of new (colour="red")'),
        ({"requests": "nowhere_total"}, "no data: Prometheus knows no metric nowhere_total"),
        # A misspelt counter of errors would never count any.
        ({"errors": 'hitz_total{status="500"}'}, 'no data: Prometheus knows no metric hitz_total{status="500"}'),
        ({"latency": "nowhere_seconds"}, "no data: Prometheus knows no nowhere_seconds of new"),
    ],
)
def test_what_cannot_be_compared_is_a_stated_outcome(url: str, keys: dict[str, Any], error: str) -> None:
    found = only(gate(comparison(url, "as well", **keys)))
    assert (found["ok"], found["evaluated"]) == (False, True)
    assert error in found["last_error"]


def test_errors_without_a_series_yet_are_none(url: str) -> None:
    found = only(gate(comparison(url, "more errors", errors='hits_total{status="503"}')))
    assert found["ok"], found
    assert "0.00% errors" in found["last_answer"]
