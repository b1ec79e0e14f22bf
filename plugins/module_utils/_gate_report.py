# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gate tells people: why it did not open, one line a check, and the receipt in a file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._checks import cure, target
from ansible_collections.lastro.platform.plugins.module_utils._checks_base import Spec, one_line
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Streak

MASK = "********"
_NEW = ".lastro-new"


def report(specs: Sequence[Spec], streaks: Sequence[Streak], seconds: float) -> str:
    """Which checks do not hold, why, and where to look first."""
    failed = [(spec, streak) for spec, streak in zip(specs, streaks, strict=True) if not streak.holds]
    reasons = "; ".join(f"{spec['name']} ({target(spec)}): {_reason(streak)}" for spec, streak in failed)
    cures = "; ".join(dict.fromkeys(cure(spec) for spec, _streak in failed))
    return f"{len(failed)} of {len(specs)} checks do not hold after {seconds:g} s: {reasons}. Cure: {cures}."


def _reason(streak: Streak) -> str:
    error = streak.last.error if streak.last and streak.last.error else ""
    if streak.broke_after_seconds is not None:
        return f"{error} ({_broke(streak)})"
    return error or f"held only {streak.length} times in a row"


def _broke(streak: Streak) -> str:
    return (
        f"broke {streak.broke_after_seconds:.1f} s after the gate opened, "
        f"{streak.breach} bad in a row, forgiven are {streak.tolerance}"
    )


def summary(specs: Sequence[Spec], streaks: Sequence[Streak]) -> list[str]:
    """One line a check: verdict, name, what was asked, how it went; in columns."""
    rows = [
        ("ok" if streak.holds else "FAIL", one_line(spec["name"]), _asked(spec), _went(streak))
        for spec, streak in zip(specs, streaks, strict=True)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return ["  ".join((*map(str.ljust, row, widths), row[3])).rstrip() for row in rows]


def _asked(spec: Spec) -> str:
    """The type first, also where an address begins with its scheme."""
    return one_line(target(spec).replace("://", " ", 1) if spec["type"] == "http" else target(spec))


def _went(streak: Streak) -> str:
    if not streak.holds or streak.last is None:
        return one_line(_reason(streak))
    held = f"{streak.length} in a row, {streak.last.latency_ms:.0f} ms"
    if not streak.rounds:
        return held
    return f"{held}; then {streak.rounds} rounds, {streak.breaches} bad" + (
        f", {streak.longest_breach} in a row" if streak.breaches else ""
    )


def require_place(path: str) -> None:
    """Refuse a receipt that could not be written in the end, before an hour is spent on the checks."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK) or os.path.isdir(path):
        raise PlatformError(
            f"The result_file {path} cannot be written",
            f"See whether {directory} is a directory that may be written to.",
        )


def masked(value: Any, secrets: Iterable[str]) -> Any:
    """The same without secrets, as Ansible itself does it to what a module returns."""
    # The longest first: another one may be a part of it.
    ordered = sorted((secret for secret in secrets if secret), key=len, reverse=True)
    return _masked(value, ordered)


def _masked(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
    return value


def write_receipt(path: str, result: Mapping[str, Any], started: datetime) -> None:
    """Put a whole new file in the place of the one before; for its owner alone."""
    times = {"started": started, "ended": datetime.now(UTC)}
    stamps = {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in times.items()}
    content = {"host": socket.gethostname(), **stamps, **result}
    new = f"{path}{_NEW}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
