# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a gate opens: every check has to hold a number of times in a row, all of them at the same moment.

And whether it stays open: for a time after that no check may break for longer than is forgiven.

Nothing here knows what a check asks; clock, sleep and the measuring itself come in as parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError


@dataclass(frozen=True)
class Reading:
    """What one evaluation of one check saw. `evaluated` is false when there was nothing to ask."""

    ok: bool
    evaluated: bool
    latency_ms: float
    answer: str = ""
    error: str = ""


@dataclass
class Streak:
    """The readings of one check: how many in a row were good, how it went on once the gate was open, the last one."""

    name: str
    wanted: int
    tolerance: int = 0
    length: int = 0
    attempts: int = 0
    last: Reading | None = None
    # Once the gate is open.
    rounds: int = 0
    breaches: int = 0
    breach: int = 0
    longest_breach: int = 0
    broke_after_seconds: float | None = None

    def feed(self, reading: Reading) -> None:
        self.attempts += 1
        self.length = self.length + 1 if reading.ok else 0
        self.last = reading

    def endure(self, reading: Reading, seconds: float) -> None:
        """A reading taken so many seconds after the gate opened."""
        self.attempts += 1
        self.rounds += 1
        self.last = reading
        self.breach = 0 if reading.ok else self.breach + 1
        self.breaches += not reading.ok
        self.longest_breach = max(self.longest_breach, self.breach)
        if self.breach > self.tolerance:
            self.broke_after_seconds = seconds

    @property
    def holds(self) -> bool:
        return self.length >= self.wanted and self.broke_after_seconds is None

    def result(self) -> dict[str, Any]:
        """The check as the module returns it."""
        last = self.last or Reading(ok=False, evaluated=False, latency_ms=0)
        return {
            "name": self.name,
            "ok": self.holds,
            "evaluated": last.evaluated,
            "attempts": self.attempts,
            "rounds": self.rounds,
            "breaches": self.breaches,
            "longest_breach": self.longest_breach,
            "latency_ms": round(last.latency_ms, 1),
            "last_answer": last.answer,
            "last_error": last.error,
        }


@dataclass(frozen=True)
class Patience:
    """How often and how long a gate asks, and how long it has to stay open."""

    consecutive: int
    interval_seconds: float
    timeout_seconds: float
    hold_for_seconds: float = 0.0
    tolerance: int = 0

    def __post_init__(self) -> None:
        if self.consecutive < 1 or not (0 < self.interval_seconds < math.inf and 0 <= self.timeout_seconds < math.inf):
            raise PlatformError(
                "The gate cannot count like this",
                "consecutive is at least 1, interval_seconds more than 0, timeout_seconds at least 0.",
            )
        if (self.consecutive - 1) * self.interval_seconds > self.timeout_seconds:
            raise PlatformError(
                f"{self.consecutive} checks in a row, {self.interval_seconds:g} s apart, "
                f"do not fit into {self.timeout_seconds:g} s",
                "Raise timeout_seconds, or lower consecutive or interval_seconds.",
            )
        if not 0 <= self.hold_for_seconds < math.inf or self.tolerance < 0:
            raise PlatformError(
                "The gate cannot stay open like this", "Give 0 or more for hold_for_seconds and tolerance."
            )
        if self.hold_for_seconds and self.tolerance * self.interval_seconds >= self.hold_for_seconds:
            raise PlatformError(
                f"In {self.hold_for_seconds:g} s nothing can break more than {self.tolerance} times in a row, "
                f"{self.interval_seconds:g} s apart",
                "Raise hold_for_seconds, or lower tolerance or interval_seconds.",
            )


def watch(
    names: Sequence[str],
    patience: Patience,
    measure: Callable[[float], Sequence[Reading]],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[Streak]:
    """Measure all checks round by round until all streaks are long enough, or no further round fits into the time.

    Once they are, go on for as long as the gate has to stay open. `measure` gets the seconds it may take and returns
    one reading a name. There is always one round; it is not hurried when it is the only one, and a last one gets a
    second.
    """
    streaks = [Streak(name, patience.consecutive, patience.tolerance) for name in names]
    deadline = clock() + patience.timeout_seconds
    while True:
        left = max(deadline - clock(), 1.0) if patience.timeout_seconds else math.inf
        for streak, reading in zip(streaks, measure(left), strict=True):
            streak.feed(reading)
        if all(streak.holds for streak in streaks):
            _stay(streaks, patience, measure, clock, sleep)
            return streaks
        if clock() + patience.interval_seconds > deadline:
            return streaks
        sleep(patience.interval_seconds)


def _stay(
    streaks: Sequence[Streak],
    patience: Patience,
    measure: Callable[[float], Sequence[Reading]],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Go on measuring until the time is over, with a last round at its end; stop at the first check that breaks.

    What is bad when the time is over has to become good within the rounds that are forgiven.
    """
    opened = clock()
    more = patience.tolerance + 1
    while all(streak.holds for streak in streaks):
        if clock() >= opened + patience.hold_for_seconds:
            if not more or not any(streak.breach for streak in streaks):
                break
            more -= 1
        sleep(patience.interval_seconds)
        readings = measure(math.inf)
        for streak, reading in zip(streaks, readings, strict=True):
            streak.endure(reading, clock() - opened)
    for streak in streaks:
        if streak.breach and streak.holds:
            streak.broke_after_seconds = clock() - opened
