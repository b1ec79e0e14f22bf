# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the last migration of an application ended, and which revisions runs have reached: a file of JSON on its host.

It knows what an older image can't: that a revision it never heard of came from a later release of the same application.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._migration_guard import Leftovers
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import ManagedFile, StackDirectory


class Record:
    """Kept for one service; without a path there is none."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None

    def read(self) -> dict[str, Any]:
        """What was kept; empty where nothing was."""
        if not self.path or not self.path.is_file():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {**found, "reached": [str(revision) for revision in found["reached"]]}
        except (ValueError, KeyError, TypeError) as error:
            raise PlatformError(
                f"{self.path} is not a record of migrations", "Move it away, then run again."
            ) from error

    def reached(self) -> frozenset[str]:
        """The revisions at which runs found or left the database."""
        return frozenset(self.read().get("reached", ()))

    def unfinished(self) -> Leftovers | None:
        """What was invalid before the first of the runs that did not end well; None where the last one did."""
        found = self.read().get("unfinished")
        return Leftovers(*(tuple(found[part]) for part in ("invalid_indexes", "not_valid"))) if found else None

    def begin(self, release: str, before: Leftovers) -> None:
        """Note what is invalid already: a run that is killed could not say later what of it was there before."""
        self.keep(False, release, [], [], before)

    def keep(
        self,
        ok: bool,
        release: str,
        revisions: Iterable[str],
        current: Iterable[str],
        unfinished: Leftovers | None = None,
    ) -> None:
        """Note how a run ended. What went wrong is not in here: its words may hold what nobody should read."""
        before = self.read()
        entry = {
            "ok": ok,
            "release": release,
            # A run that failed before it looked knows nothing newer.
            "current": list(current) or before.get("current", []),
            "reached": sorted({*before.get("reached", []), *revisions}),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if unfinished:
            entry["unfinished"] = asdict(unfinished)
        self._write(entry)

    def _write(self, entry: Mapping[str, Any]) -> None:
        if not self.path:
            return
        entry = {"service": self.path.stem, **entry}
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(entry, indent=1) + "\n"
        StackDirectory(str(self.path.parent)).write(ManagedFile(self.path.name, text.encode(), 0o600, 0, 0))


def records(directory: Path) -> list[dict[str, Any]]:
    """All records of a platform, as `platform_status` shows them."""
    files = sorted(directory.glob("*.json")) if directory.is_dir() else []
    return [Record(str(path)).read() for path in files]
