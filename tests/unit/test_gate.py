"""The gate's state machine, with a clock that only moves when the gate sleeps or measures."""

from __future__ import annotations

import math

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Patience, Reading, watch

GOOD = Reading(ok=True, evaluated=True, latency_ms=1.26, answer="fine")
BAD = Reading(ok=False, evaluated=True, latency_ms=1, answer="503", error="status 503")
NOBODY = Reading(ok=False, evaluated=False, latency_ms=1, error="refused")


class Time:
    """A clock; `rounds` gives each check's readings as a string: + good, - bad."""

    def __init__(self, *rounds: str, cost: float = 0.0) -> None:
        self.now, self.cost, self.round, self.rounds = 100.0, cost, 0, rounds
        self.slept: list[float] = []
        self.left: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def measure(self, left: float) -> list[Reading]:
        self.left.append(left)
        self.now += self.cost
        signs = [checks[min(self.round, len(checks) - 1)] for checks in self.rounds]
        self.round += 1
        return [{"+": GOOD, "-": BAD, "0": NOBODY}[sign] for sign in signs]


@pytest.mark.parametrize(
    ("checks", "consecutive", "timeout", "holds", "rounds"),
    [
        (["+"], 1, 10, [True], 1),
        (["--+"], 1, 10, [True], 3),
        (["+++"], 3, 10, [True], 3),
        # A bad reading starts the count again.
        (["++-+++"], 3, 10, [True], 6),
        # All have to hold at the same moment: the first check's early streak is worth nothing once it breaks.
        (["++---++", "---++++"], 2, 10, [True, True], 7),
        (["+", "-"], 1, 3, [True, False], 4),
        # Never long enough in a row.
        (["+-" * 10], 2, 5, [False], 6),
        # One round when there is no time at all.
        (["-+"], 1, 0, [False], 1),
        (["+"], 1, 0, [True], 1),
        ([], 1, 10, [], 1),
    ],
)
def test_watch(checks: list[str], consecutive: int, timeout: float, holds: list[bool], rounds: int) -> None:
    time = Time(*checks)
    names = [f"check{index}" for index, _ in enumerate(checks)]
    streaks = watch(names, Patience(consecutive, 1, timeout), time.measure, time.clock, time.sleep)
    assert [streak.holds for streak in streaks] == holds
    assert time.round == rounds
    assert time.slept == [1] * (rounds - 1)
    assert all(streak.attempts == rounds for streak in streaks)


def test_sleeps_never_past_the_deadline() -> None:
    time = Time("-", cost=2)
    watch(["a"], Patience(1, 1, 10), time.measure, time.clock, time.sleep)
    # Rounds at 0, 3, 6 and 9 s; the one at 9 gets the second that is left, and nothing is slept after it.
    assert time.left == [10, 7, 4, 1]
    assert time.now == 111


def test_the_last_round_is_not_starved_and_an_only_round_is_not_hurried() -> None:
    time = Time("-", cost=0.75)
    watch(["a"], Patience(1, 1, 2), time.measure, time.clock, time.sleep)
    assert time.left == [2, 1]
    time = Time("-")
    watch(["a"], Patience(1, 1, 0), time.measure, time.clock, time.sleep)
    assert time.left == [math.inf]


def test_result_tells_the_last_reading() -> None:
    time = Time("+-", "+0")
    found = [s.result() for s in watch(["a", "b"], Patience(2, 1, 1), time.measure, time.clock, time.sleep)]
    assert found == [
        {
            "name": "a",
            "ok": False,
            "evaluated": True,
            "attempts": 2,
            "latency_ms": 1,
            "last_answer": "503",
            "last_error": "status 503",
        },
        {
            "name": "b",
            "ok": False,
            "evaluated": False,
            "attempts": 2,
            "latency_ms": 1,
            "last_answer": "",
            "last_error": "refused",
        },
    ]


@pytest.mark.parametrize(
    ("consecutive", "interval", "timeout"), [(0, 1, 1), (1, 0, 1), (1, 1, -1), (4, 1, 2.5), (2, 10, 9)]
)
def test_impossible_patience_is_refused(consecutive: int, interval: float, timeout: float) -> None:
    with pytest.raises(PlatformError):
        Patience(consecutive, interval, timeout)
    Patience(4, 1, 3)
