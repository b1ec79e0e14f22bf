# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of `migrate_seed` tells of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._migrate_tool import Moved, Plan


@dataclass
class Report:
    """What a run did, as the module returns it."""

    applied: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    restore_point: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    seeds: dict[str, dict[str, int]] = field(default_factory=dict)
    seed_command: str = ""
    drift: dict[str, Any] = field(default_factory=dict)
    verified: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    changed: bool = False


def ahead_of(plan: Plan) -> str:
    """Why a release that came back does nothing."""
    return (
        f"The database is at {', '.join(plan.current)}, to which a later release migrated it; this one ends at {', '.join(plan.heads)}. "
        "Nothing was migrated, seeded or verified."
    )


def applied(plan: Plan, moved: Moved) -> list[str]:
    """The pending revisions up to where the database stands now."""
    ids = [str(entry["id"]) for entry in plan.pending]
    if not plan.known:
        return [] if moved.error else ids
    if moved.after == moved.before:
        return []
    reached = [ids.index(revision) for revision in moved.after if revision in ids]
    return ids[: max(reached) + 1] if reached else []


def undone(plan: Plan, moved: Moved) -> list[str]:
    """The steps back, down to where the database stands now."""
    ids = [str(entry["id"]) for entry in plan.pending]
    return ids[: next((ids.index(revision) for revision in moved.after if revision in ids), len(ids))]


def says_changed(line: str) -> bool:
    """Whether the last line of a command is JSON that says `changed`."""
    try:
        answer = json.loads(line)
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("changed"))
