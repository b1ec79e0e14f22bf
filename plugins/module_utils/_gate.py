# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a gate opens: every check has to hold a number of times in a row, all of them at the same moment.

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
    """The readings of one check: how many in a row were good, and the last one."""

    name: str
    wanted: int
    length: int = 0
    attempts: int = 0
    last: Reading | None = None

    def feed(self, reading: Reading) -> None:
        self.attempts += 1
        self.length = self.length + 1 if reading.ok else 0
        self.last = reading

    @property
    def holds(self) -> bool:
        return self.length >= self.wanted

    def result(self) -> dict[str, Any]:
        """The check as the module returns it."""
        last = self.last or Reading(ok=False, evaluated=False, latency_ms=0)
        return {
            "name": self.name,
            "ok": self.holds,
            "evaluated": last.evaluated,
            "attempts": self.attempts,
            "latency_ms": round(last.latency_ms, 1),
            "last_answer": last.answer,
            "last_error": last.error,
        }


@dataclass(frozen=True)
class Patience:
    """How often and how long a gate asks."""

    consecutive: int
    interval_seconds: float
    timeout_seconds: float

    def __post_init__(self) -> None:
        if self.consecutive < 1 or self.interval_seconds <= 0 or self.timeout_seconds < 0:
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


def watch(
    names: Sequence[str],
    patience: Patience,
    measure: Callable[[float], Sequence[Reading]],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[Streak]:
    """Measure all checks round by round until all streaks are long enough, or no further round fits into the time.

    `measure` gets the seconds it may take and returns one reading a name. There is always one round; it is not
    hurried when it is the only one, and a last one gets a second.
    """
    streaks = [Streak(name, patience.consecutive) for name in names]
    deadline = clock() + patience.timeout_seconds
    while True:
        left = max(deadline - clock(), 1.0) if patience.timeout_seconds else math.inf
        for streak, reading in zip(streaks, measure(left), strict=True):
            streak.feed(reading)
        if all(streak.holds for streak in streaks) or clock() + patience.interval_seconds > deadline:
            return streaks
        sleep(patience.interval_seconds)
