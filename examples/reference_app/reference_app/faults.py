# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Misbehaviour on request, so that gates, watches and rollbacks can be tested on a release that is really bad."""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
from dataclasses import dataclass

# Kind → whether it takes a number.
KINDS = {
    "never_healthy": False,
    "crash_after": True,
    "error_percent": True,
    "slow": True,
    "timeout": False,
    "leak": False,
}
# An image tag holds no colon, so a release's fault is written with dots: `r7-fault.error_percent.50`.
_IN_RELEASE = re.compile(r"(?:^|-)fault\.([a-z_]+)(?:\.(\d+))?$")
_LEAK_STEP_BYTES = 16 * 1024 * 1024
# Without a memory limit on the container the leak would take the whole host with it.
_LEAK_LIMIT_BYTES = 4 * 1024 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    kind: str
    amount: int = 0


def parse_fault(value: str, release: str) -> Fault | None:
    """The fault APP_FAULT asks for; without it, the one the release's name carries."""
    if value:
        kind, _, amount = value.partition(":")
    elif match := _IN_RELEASE.search(release):
        kind, amount = match.group(1), match.group(2) or ""
    else:
        return None
    if kind not in KINDS:
        raise ValueError(f"unknown fault '{kind}', known are {', '.join(KINDS)}")
    if KINDS[kind] != bool(amount) or (amount and not amount.isdecimal()):
        raise ValueError(f"'{kind}' takes {'a whole number, as in ' + kind + ':10' if KINDS[kind] else 'no number'}")
    if kind == "error_percent" and int(amount) > 100:
        raise ValueError("'error_percent' takes 0 to 100")
    return Fault(kind, int(amount or 0))


class ErrorShare:
    """Says for each request whether it fails: evenly spread and exact, so tests can count on the share."""

    def __init__(self, percent: int) -> None:
        self._percent = percent
        self._requests = itertools.count(1)

    def next_fails(self) -> bool:
        number = next(self._requests)
        return number * self._percent // 100 > (number - 1) * self._percent // 100


def start_background(fault: Fault | None) -> None:
    """Start the faults that need no request: crash and leak."""
    if fault and fault.kind == "crash_after":
        threading.Thread(target=_crash, args=(fault.amount,), daemon=True).start()
    elif fault and fault.kind == "leak":
        threading.Thread(target=_leak, daemon=True).start()


def _crash(seconds: int) -> None:
    time.sleep(seconds)
    _log.error("crashing as told by the fault crash_after")
    os._exit(70)


def _leak() -> None:
    kept: list[bytearray] = []
    while len(kept) * _LEAK_STEP_BYTES < _LEAK_LIMIT_BYTES:
        # Written to, not only reserved: an untouched page is not charged to the container.
        kept.append(bytearray(b"x") * _LEAK_STEP_BYTES)
        time.sleep(0.1)
    threading.Event().wait()
