# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether pending migrations may run beside the release that serves: classes, findings of the linter, waivers."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_classes import (
    CLASSES,
    CONTRACT,
    DATA,
    EXPAND,
    UNKNOWN,
    Statement,
)

ANY, EXPAND_CONTRACT, EXPAND_ONLY = "any", "expand_contract", "expand_only"
POLICIES = (ANY, EXPAND_CONTRACT, EXPAND_ONLY)
# The policies' own rules, which a waiver may name like those of the linter.
MIXED = "mixed-classes"
_KEYS = {"revision", "rule", "reason", "expires"}


@dataclass(frozen=True)
class Revision:
    """A pending revision. `statements` is None where its SQL can't be had without running it; `annotated` is what it says of itself."""

    id: str
    message: str = ""
    statements: Sequence[Statement] | None = ()
    annotated: str = ""

    @property
    def kinds(self) -> set[str]:
        """The classes of its statements. What it says of itself stands for those that cannot be told."""
        found = {UNKNOWN} if self.statements is None else {statement.kind for statement in self.statements}
        return (found - {UNKNOWN}) | {self.annotated} if UNKNOWN in found and self.annotated else found


@dataclass(frozen=True)
class Finding:
    """Something that is not allowed; a waiver names revision and rule."""

    revision: str
    rule: str
    problem: str
    cure: str = ""

    def __str__(self) -> str:
        return f"Revision {self.revision}: {self.problem} ({self.rule})" + (f". {self.cure}" if self.cure else "")


@dataclass(frozen=True)
class Waiver:
    """Leave for one rule of one revision, for a reason, until the end of a day."""

    revision: str
    rule: str
    reason: str
    expires: datetime.date


@dataclass
class Judgement:
    """What stops the run, and what is only told."""

    refused: list[Finding] = field(default_factory=list)
    waived: list[tuple[Finding, Waiver]] = field(default_factory=list)
    # Waivers that nothing needed.
    idle: list[Waiver] = field(default_factory=list)


def judge(
    revisions: Sequence[Revision],
    policy: str,
    lint: Iterable[Finding] = (),
    waivers: Sequence[Waiver] = (),
    today: datetime.date | None = None,
) -> Judgement:
    """What of the pending revisions is refused under a policy. An expired waiver is an error, whether it is needed or not."""
    today = today or datetime.datetime.now(datetime.UTC).date()
    for waiver in waivers:
        if waiver.expires < today:
            raise PlatformError(
                f"The waiver of {waiver.rule} for revision {waiver.revision} ended on {waiver.expires}",
                "Take it out; where it is still needed, give it a new date with a reason that still holds.",
            )
    _check_annotations(revisions)
    judgement = Judgement()
    used = set()
    for finding in [*_of_policy(revisions, policy), *lint]:
        leave = next((one for one in waivers if (one.revision, one.rule) == (finding.revision, finding.rule)), None)
        if leave is None:
            judgement.refused.append(finding)
        else:
            judgement.waived.append((finding, leave))
            used.add(leave)
    judgement.idle = [waiver for waiver in waivers if waiver not in used]
    return judgement


def waivers_from(given: Iterable[Mapping[str, Any]]) -> list[Waiver]:
    """The waivers as an inventory has them; each says why and until when."""
    found = []
    for number, entry in enumerate(given, start=1):
        missing, foreign = (
            sorted(_KEYS - {k for k, v in entry.items() if str(v or "").strip()}),
            sorted(set(entry) - _KEYS),
        )
        if missing or foreign:
            raise PlatformError(
                f"Waiver {number} " + (f"has no {missing[0]}" if missing else f"has an unknown key {foreign[0]}"),
                "Each has revision, rule, reason and expires (a date as 2027-01-31).",
            )
        found.append(
            Waiver(str(entry["revision"]), str(entry["rule"]), str(entry["reason"]), _date(entry["expires"], number))
        )
    twice = {
        (w.revision, w.rule) for w in found if [(o.revision, o.rule) for o in found].count((w.revision, w.rule)) > 1
    }
    for revision, rule in sorted(twice):
        raise PlatformError(f"Two waivers are for {rule} of revision {revision}", "Keep one of them.")
    return found


def _date(value: Any, number: int) -> datetime.date:
    # YAML makes a date of it by itself; one with a time of day would leave open in which zone it ends.
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        raise PlatformError(
            f"Waiver {number} expires on {value}, which is no date", "Write it as 2027-01-31."
        ) from None


def _check_annotations(revisions: Iterable[Revision]) -> None:
    for revision in revisions:
        if revision.annotated and revision.annotated not in CLASSES:
            raise PlatformError(
                f"Revision {revision.id} calls itself {revision.annotated}", f"It can be {', '.join(CLASSES)}."
            )


def _of_policy(revisions: Sequence[Revision], policy: str) -> list[Finding]:
    if policy == ANY:
        return []
    found = [finding for revision in revisions for finding in _told_or_not(revision)]
    if policy == EXPAND_ONLY:
        return found + [finding for revision in revisions for finding in _contracting(revision)]
    return found + _mixed(revisions)


def _told_or_not(revision: Revision) -> list[Finding]:
    if UNKNOWN not in revision.kinds:
        return []
    statement = next((one for one in revision.statements or () if one.kind == UNKNOWN), None)
    why = f"`{_short(statement.sql)}`: {statement.why}" if statement else "its SQL can't be had without running it"
    cure = 'Look at it, then have it say what it is: `platform_class = "expand"` (or contract, data) in the revision\'s file.'
    return [Finding(revision.id, UNKNOWN, why, cure)]


def _contracting(revision: Revision) -> list[Finding]:
    if CONTRACT not in revision.kinds:
        return []
    return [
        Finding(
            revision.id,
            CONTRACT,
            _why(revision),
            "Deploy the release that no longer needs it first; then allow it with the policy expand_contract, or by a waiver.",
        )
    ]


def _mixed(revisions: Sequence[Revision]) -> list[Finding]:
    """The release that serves lives through what is added, and what is taken away has to wait until it no longer serves."""
    adding = [revision for revision in revisions if revision.kinds & {EXPAND, DATA} and CONTRACT not in revision.kinds]
    found = []
    for revision in revisions:
        if CONTRACT not in revision.kinds:
            continue
        if EXPAND in revision.kinds:
            found.append(
                Finding(
                    revision.id,
                    MIXED,
                    f"adds and takes away: {_why(revision)}",
                    "Make two revisions of it, for two releases.",
                )
            )
        elif adding:
            problem = f"takes away in the run in which {adding[0].id} adds: {_why(revision)}"
            found.append(
                Finding(revision.id, MIXED, problem, "Leave it for the release after the one that needs what is added.")
            )
    return found


def _why(revision: Revision) -> str:
    statement = next((one for one in revision.statements or () if one.kind == CONTRACT), None)
    return (
        f"`{_short(statement.sql)}` {statement.why}" if statement else "it says of itself that it takes something away"
    )


def _short(sql: str) -> str:
    line = " ".join(sql.split())
    return line if len(line) <= 120 else line[:119] + "…"
