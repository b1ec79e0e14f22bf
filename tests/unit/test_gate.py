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
            "rounds": 0,
            "breaches": 0,
            "longest_breach": 0,
            "latency_ms": 1,
            "last_answer": "503",
            "last_error": "status 503",
        },
        {
            "name": "b",
            "ok": False,
            "evaluated": False,
            "attempts": 2,
            "rounds": 0,
            "breaches": 0,
            "longest_breach": 0,
            "latency_ms": 1,
            "last_answer": "",
            "last_error": "refused",
        },
    ]


@pytest.mark.parametrize(
    ("consecutive", "interval", "timeout"),
    [(0, 1, 1), (1, 0, 1), (1, 1, -1), (4, 1, 2.5), (2, 10, 9), (1, 1, math.nan), (1, math.nan, 1)],
)
def test_impossible_patience_is_refused(consecutive: int, interval: float, timeout: float) -> None:
    with pytest.raises(PlatformError):
        Patience(consecutive, interval, timeout)
    Patience(4, 1, 3)


# The first sign of each check opens the gate; the signs after it are the rounds of the soak.
@pytest.mark.parametrize(
    ("checks", "hold_for", "tolerance", "holds", "counts", "broke"),
    [
        (["+"], 0, 0, [True], [(0, 0, 0)], None),
        (["+"], 5, 0, [True], [(5, 0, 0)], None),
        # As long as was asked for, and a last round when the time is over.
        (["+"], 4.5, 0, [True], [(5, 0, 0)], None),
        (["++++-"], 3, 0, [True], [(3, 0, 0)], None),
        (["++++-"], 4, 0, [False], [(4, 1, 1)], 4),
        # The first that breaks ends it at once.
        (["++-" + "+" * 9], 9, 0, [False], [(2, 1, 1)], 2),
        # A short breach is forgiven, a lasting one is not, short ones in different checks do not add up.
        (["++-" + "+" * 9], 5, 1, [True], [(5, 1, 1)], None),
        (["++--" + "+" * 9], 9, 1, [False], [(3, 2, 2)], 3),
        (["++-+--+" + "+" * 9], 9, 2, [True], [(9, 3, 2)], None),
        (["+-+-+-+-+"], 8, 1, [True], [(8, 4, 1)], None),
        (["+-+++", "++-++"], 4, 1, [True, True], [(4, 1, 1), (4, 1, 1)], None),
        (["+-+++", "++--+"], 4, 1, [True, False], [(3, 1, 1), (3, 2, 2)], 3),
        # A breach that is not over when the time is gets the rounds that are forgiven to end, and not one more.
        (["+++-+"], 3, 1, [True], [(4, 1, 1)], None),
        (["+++-"], 3, 1, [False], [(4, 2, 2)], 4),
        # Checks that take turns do not go on for ever.
        (["+++-+-+-+", "++++-+-+-"], 3, 1, [False, True], [(5, 2, 1), (5, 1, 1)], 5),
        # What is not there is no better than what is bad.
        (["++0"], 5, 0, [False], [(2, 1, 1)], 2),
    ],
)
def test_soak(
    checks: list[str],
    hold_for: float,
    tolerance: int,
    holds: list[bool],
    counts: list[tuple[int, int, int]],
    broke: float | None,
) -> None:
    time = Time(*checks)
    patience = Patience(1, 1, 0, hold_for, tolerance)
    streaks = watch([f"check{index}" for index, _ in enumerate(checks)], patience, time.measure, time.clock, time.sleep)
    assert [streak.holds for streak in streaks] == holds
    assert [(streak.rounds, streak.breaches, streak.longest_breach) for streak in streaks] == counts
    assert [streak.broke_after_seconds for streak in streaks if not streak.holds] == ([broke] if broke else [])
    assert all(streak.attempts == 1 + streak.rounds for streak in streaks)
    # No round is hurried by the time that was given to open the gate.
    assert time.left == [math.inf] * time.round


def test_a_gate_that_did_not_open_does_not_soak() -> None:
    time = Time("-")
    (streak,) = watch(["a"], Patience(1, 1, 3, 60), time.measure, time.clock, time.sleep)
    assert (streak.holds, streak.attempts, streak.rounds) == (False, 4, 0)


def test_the_soak_begins_when_the_gate_opened_and_counts_what_the_rounds_cost() -> None:
    time = Time("--+", cost=1)
    (streak,) = watch(["a"], Patience(1, 1, 10, 6), time.measure, time.clock, time.sleep)
    # Open at 105 s; rounds end 2, 4 and 6 s later.
    assert (streak.rounds, time.now) == (3, 111)
    assert (streak.result()["ok"], streak.result()["rounds"]) == (True, 3)


@pytest.mark.parametrize(
    ("interval", "hold_for", "tolerance", "word"),
    [
        (1, -1, 0, "hold_for_seconds"),
        (1, math.nan, 0, "hold_for_seconds"),
        (1, math.inf, 0, "hold_for_seconds"),
        (1, 5, -1, "tolerance"),
        (1, 5, 5, "nothing can break"),
        (5, 9, 2, "nothing can"),
    ],
)
def test_a_soak_that_cannot_fail_is_refused(interval: float, hold_for: float, tolerance: int, word: str) -> None:
    with pytest.raises(PlatformError, match=word):
        Patience(1, interval, 10, hold_for, tolerance)
    Patience(1, 1, 10, 5, 4)
    Patience(1, 1, 10, 0, 9)
