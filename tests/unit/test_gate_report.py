# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gate tells: the message, the lines of the summary, and what of it goes into a file."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._checks import prepare
from ansible_collections.lastro.platform.plugins.module_utils._gate import Reading, Streak
from ansible_collections.lastro.platform.plugins.module_utils._gate_report import masked, report, summary

SPECS = prepare(
    [
        {"name": "web on prod, slot 0", "type": "http", "url": "http://172.30.77.1:18100/ready?token=hush"},
        {"name": "redis", "type": "redis", "host": "172.30.77.1"},
    ]
)
GOOD = Reading(ok=True, evaluated=True, latency_ms=3.6, answer="fine")
BAD = Reading(ok=False, evaluated=True, latency_ms=2, error="NOAUTH Authentication required.")


def streak(name: str, wanted: int, *readings: Reading, after: tuple[Reading, ...] = (), tolerance: int = 0) -> Streak:
    made = Streak(name, wanted, tolerance)
    for reading in readings:
        made.feed(reading)
    for place, reading in enumerate(after):
        made.endure(reading, place + 1.0)
    return made


def test_columns() -> None:
    assert summary(SPECS, [streak("a", 3, GOOD, GOOD, GOOD), streak("b", 3, BAD)]) == [
        "ok    web on prod, slot 0  http 172.30.77.1:18100/ready  3 in a row, 4 ms",
        "FAIL  redis                redis 172.30.77.1:6379        NOAUTH Authentication required.",
    ]
    assert summary([], []) == []


def test_columns_after_a_soak() -> None:
    lines = summary(
        SPECS,
        [
            streak("a", 1, GOOD, after=(GOOD, BAD, GOOD), tolerance=1),
            streak("b", 1, GOOD, after=(GOOD, BAD, BAD), tolerance=1),
        ],
    )
    assert lines[0].endswith("1 in a row, 4 ms; then 3 rounds, 1 bad, 1 in a row")
    assert lines[1].startswith("FAIL")
    assert lines[1].endswith(
        "NOAUTH Authentication required. (broke 3.0 s after the gate opened, 2 bad in a row, forgiven are 1)"
    )


def test_what_never_held_for_long_enough() -> None:
    text = report(SPECS, [streak("a", 3, BAD, GOOD), streak("b", 1, GOOD)], 12.5)
    assert text.startswith(
        "1 of 2 checks do not hold after 12.5 s: web on prod, slot 0 (http://172.30.77.1:18100/ready): "
        "held only 1 times in a row. Cure: see from this host"
    )


@pytest.mark.parametrize(
    ("value", "secrets", "shown"),
    [
        (
            {"a": ["x hush y"], "n": 4.5, "b": True, "c": None},
            {"hush"},
            {"a": ["x ******** y"], "n": 4.5, "b": True, "c": None},
        ),
        # One secret may be a part of another.
        ("hushhush", {"hush", "hushhush"}, "********"),
        ("text", {"", "x"}, "te********t"),
        ("text", set(), "text"),
    ],
)
def test_masked(value: Any, secrets: set[str], shown: Any) -> None:
    assert masked(value, secrets) == shown
