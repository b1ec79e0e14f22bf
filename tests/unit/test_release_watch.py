# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a release that has just begun to serve takes it back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Reading
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import parse_stat
from ansible_collections.lastro.platform.plugins.module_utils._release_watch import (
    Backend,
    Checks,
    Figures,
    Look,
    Probes,
    Rules,
    latency_between,
    look_of,
    problem,
    refuse,
    since,
    watch,
)
from hypothesis import given, settings
from hypothesis import strategies as st

RULES = Rules(requests_min=100, failed_max=0.01, latency_factor_max=2, latency_floor_ms=50)
FEW = Probes(sent=2, lost=2, why="refused")
STAT = """# pxname,svname,stot,status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,rtime,
application,FRONTEND,9,OPEN,0,9,0,0,0,0,,
web_green,app1-0:18100,9,UP,0,90,1,2,3,0,11,
web_green,app2-0:18100,9,DOWN 1/2,0,0,0,0,0,0,0,
web_green,app2-1:18101,9,MAINT,0,0,0,0,0,0,0,
web_green,BACKEND,9,UP,0,90,1,2,3,0,11,
api_green,BACKEND,9,UP,0,4,0,0,0,0,30,
web_blue,BACKEND,9,UP,0,7,0,0,0,0,8,
"""


def test_the_figures_of_a_colour_are_those_of_all_its_services() -> None:
    rows = parse_stat(STAT)
    seen = look_of(rows, "green")
    assert seen.backends == {"web_green": Backend(96, 3, 11), "api_green": Backend(4, 0, 30)}
    assert since(Look(), seen, 4) == Figures(100, 3, {"web": 10.0, "api": 29.0}, ("web_green/app2-0:18100",))
    assert since(Look(), seen, 5).latency_ms == {"web": 10.0}
    assert since(Look(), look_of(rows, "blue"), 7) == Figures(7, 0, {"web": 7.0})
    assert since(Look(), look_of(parse_stat(""), "blue"), 1) == Figures()


def took(requests: int, failed: int = 0, **latency: float) -> Figures:
    return Figures(requests, failed, latency)


OLD = took(1000, web=40)


@pytest.mark.parametrize(
    ("new", "old", "says"),
    [
        (took(100, 1), OLD, ""),
        (took(100, 2), OLD, "2 of 100 requests failed (2.0%; allowed are 1.0%)"),
        (took(99, 99), OLD, ""),
        (Figures(down=("web_green/a",)), OLD, "web_green/a is down"),
        (Figures(down=("a", "b")), OLD, "a, b are down"),
        (took(1000, 15), took(1000, 5), ""),
        (took(1000, 16), took(1000, 5), "16 of 1000 requests failed (1.6%; allowed are 1.0%, and 0.5% failed before)"),
        # What failed some day does not excuse everything.
        (took(100, 3), took(1000, 300), "3 of 100 requests failed (3.0%; allowed are 1.0%, and 30.0% failed before)"),
        (took(100, web=80), OLD, ""),
        (took(100, web=81), OLD, "web answers in 81 ms, and the release before did in 40 ms (allowed are 80 ms)"),
        (took(100, web=50), took(1000, web=3), ""),
        (
            took(100, web=3000),
            took(1000, web=0),
            "web answers in 3000 ms, and the release before did in 0 ms (allowed are 50 ms)",
        ),
        # One service is not as slow as another may be.
        (took(100, web=300, api=300), took(1000, web=40, api=300), "web answers in 300 ms"),
        (took(100, web=900), took(5), ""),
    ],
)
def test_what_is_wrong(new: Figures, old: Figures, says: str) -> None:
    found = problem(new, old, FEW, RULES)
    assert found == says or (says and found.startswith(says))


def test_requests_of_its_own_that_get_no_answer() -> None:
    assert problem(Figures(), OLD, Probes(300, 3, "refused"), RULES) == ""
    assert problem(Figures(), OLD, Probes(299, 3, "timed out"), RULES) == (
        "3 of 299 requests that the watch sent got no answer of the application: timed out"
    )


def seen(requests: int, failed: int = 0, mean: int = 1) -> Look:
    return Look({"web_green": Backend(requests, failed, mean)})


def test_only_what_came_since_the_watch_began_counts() -> None:
    assert since(seen(50, 9), seen(150, 9), 101) == Figures(100, 0)
    # HAProxy began anew, and so did its counters.
    assert since(seen(50, 9), seen(20, 1, 10), 1) == Figures(20, 1, {"web": 9.0})


@given(
    st.lists(st.integers(0, 2000), max_size=1500),
    st.lists(st.integers(0, 2000), min_size=50, max_size=400),
)
@settings(max_examples=50, deadline=None)
def test_the_latency_in_between_is_known_from_the_mean_at_both_ends(before: list[int], between: list[int]) -> None:
    """As HAProxy does it: a sliding mean of the last 512, rounded up."""

    def mean(values: list[int]) -> int:
        found = 0.0
        for number, value in enumerate(values, 1):
            window = min(number, 512)
            found += (value - found) / window
        return math.ceil(found)

    first = Backend(len(before), 0, mean(before))
    last = Backend(len(before) + len(between), 0, mean(before + between))
    share = 1 - math.prod(1 - 1 / min(number, 512) for number in range(first.requests + 1, last.requests + 1))
    # Later requests weigh a little more, and each end is rounded.
    weights, true = 1.0, 0.0
    for number, value in zip(range(last.requests, first.requests, -1), reversed(between), strict=True):
        true += value * weights / min(number, 512)
        weights *= 1 - 1 / min(number, 512)
    true /= share
    found = latency_between(first, last)
    assert max(true - 2 / share, 0) - 0.01 <= found <= true + 0.01


def test_the_latency_in_between_is_told_from_a_long_history() -> None:
    """2,000 requests of 20 ms, then 200 of 100 ms, in HAProxy's window of 512 (`TIME_STATS_SAMPLES`)."""
    mean = 20.0
    for _request in range(200):
        mean += (100 - mean) / 512
    found = latency_between(Backend(2000, 0, 20), Backend(2200, 0, math.ceil(mean)))
    assert 95 < found < 105


def watched(*looks: Look, seconds: float = 3, ended_at: float = math.inf) -> dict[str, Any]:
    series: Iterator[Look] = iter(looks)
    now = [0.0]

    def sleep(time: float) -> None:
        now[0] += time

    return watch(
        lambda: (next(series), Look({"web_blue": Backend(1000, 0, 41)})),
        Probes,
        RULES,
        seconds,
        1,
        lambda: now[0],
        sleep,
        lambda: now[0] >= ended_at,
    )


def test_it_ends_at_the_first_moment_at_which_something_is_wrong() -> None:
    found = watched(seen(50, 50), seen(100, 50), seen(150, 60))
    assert (found["verdict"], found["watched_seconds"]) == ("bad", 2)
    assert found["problem"].startswith("10 of 100 requests failed")
    assert found["new"] == {"requests": 100, "failed": 10, "failed_share": 0.1, "latency_ms": {"web": 0.0}, "down": []}


@pytest.mark.parametrize(("before", "verdict"), [(3, "good"), (0, "bad")])
def test_in_a_canary_both_are_held_against_what_both_got_meanwhile(before: int, verdict: str) -> None:
    """A database that stumbles for a moment fails requests of both; for a year nothing else did."""
    looks = iter(
        (seen(200 * number, 3 * number), Look({"web_blue": Backend(10**6 + 200 * number, before * number, 41)}))
        for number in range(5)
    )
    now = [0.0]

    def sleep(time: float) -> None:
        now[0] += time

    found = watch(lambda: next(looks), Probes, RULES, 3, 1, lambda: now[0], sleep)
    assert found["verdict"] == verdict


def test_it_ends_when_the_time_is_over() -> None:
    assert watched(*(seen(50 * number) for number in range(9)))["verdict"] == "good"
    assert watched(*(seen(number) for number in range(9)))["verdict"] == "too_few_requests"


def test_it_ends_when_enough_was_seen_elsewhere() -> None:
    found = watched(*(seen(50 * number) for number in range(9)), ended_at=2)
    assert (found["verdict"], found["watched_seconds"]) == ("ended", 2)
    assert watched(*(seen(50 * number, 5 * number) for number in range(9)), ended_at=2)["verdict"] == "bad"
    assert watched(*(seen(50 * number) for number in range(9)), ended_at=3)["verdict"] == "good"


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_seconds": 0},
        {"seconds": -1},
        {"failed_max": 1.1},
        {"requests_min": 0},
        {"seconds": float("nan")},
        {"probe_rate": float("inf")},
    ],
)
def test_numbers_with_which_nothing_can_be_watched(wrong: dict[str, float]) -> None:
    good = {"interval_seconds": 1, "requests_min": 1, "latency_factor_max": 2, "seconds": 0, "probe_rate": 0}
    given = {**good, "latency_floor_ms": 0, "failed_max": 0}
    refuse(given)
    with pytest.raises(PlatformError, match=f"With this {next(iter(wrong))} nothing can be watched"):
        refuse({**given, **wrong})


WELL, ILL = Reading(True, True, 1), Reading(False, True, 1, error="it restarted 1 times")
WORKER = {"name": "worker", "type": "container", "container": "shop-green-worker-1"}
LETTERS = {"name": "letters", "type": "event_bus", "url": "http://10.0.0.9/metrics"}


@pytest.mark.parametrize(
    ("spec", "readings", "wrong"),
    [
        # The gate saw it well.
        (WORKER, [ILL, ILL], [False, True]),
        (WORKER, [ILL, WELL, ILL, WELL], [False] * 4),
        (WORKER, [WELL, ILL, ILL], [False, False, True]),
        # Nobody has seen it yet.
        (LETTERS, [ILL, ILL, ILL], [False] * 3),
        (LETTERS, [ILL, WELL, ILL, ILL], [False, False, False, True]),
    ],
)
def test_a_check_that_held_may_not_break(spec: dict[str, Any], readings: list[Reading], wrong: list[bool]) -> None:
    asked = iter(readings)
    checks = Checks([spec], lambda _seconds: [next(asked)])
    assert [bool(checks.problem(last=False)) for _ in readings] == wrong


@pytest.mark.parametrize("spec", [WORKER, LETTERS])
def test_at_the_end_every_check_holds(spec: dict[str, Any]) -> None:
    checks = Checks([spec, {**WORKER, "name": "web"}], lambda _seconds: [ILL, WELL])
    assert checks.problem(last=False) == ""
    assert checks.problem(last=True).startswith(f"{spec['name']} ({spec['type']} ")
    assert "it restarted 1 times. Cure: " in checks.problem(last=True)


def test_what_checks_see_ends_the_watch() -> None:
    now, last = [0.0], []

    def sleep(time: float) -> None:
        now[0] += time

    def checked(at_last: bool) -> str:
        last.append(at_last)
        return "worker: it restarted 1 times" if now[0] >= 2 else ""

    few = Rules(requests_min=0, failed_max=0.01, latency_factor_max=2, latency_floor_ms=50)
    found = watch(lambda: (Look(), Look()), Probes, few, 3, 1, lambda: now[0], sleep, checked=checked)
    assert (found["verdict"], found["watched_seconds"]) == ("bad", 2)
    assert found["problem"] == "worker: it restarted 1 times"
    now, last = [0.0], []
    found = watch(
        lambda: (Look(), Look()), Probes, few, 2, 1, lambda: now[0], sleep, checked=lambda at: last.append(at) or ""
    )
    assert (found["verdict"], last) == ("good", [False, True]), "where no proxy looks, no requests are needed"
