# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which colour serves: one key for the whole release, in a map file and in the proxy's memory (docs/decisions/colour-map.md)."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.lastro.platform.plugins.module_utils._proxy_memory import KEY

COLOURS = ("blue", "green")


def render_map(colour: str | None) -> str:
    """The map file for a colour, or for none: HAProxy does not start without the file."""
    return f"{KEY} {colour}\n" if colour else "# No release was switched to yet.\n"


@dataclass(frozen=True)
class Decision:
    """What serves, what should, and what has to be written for it."""

    before: str | None
    after: str | None
    # The file says something else than what serves: to be written before anything can make HAProxy read it.
    repair: bool

    @property
    def switches(self) -> bool:
        return self.before != self.after


def decide(file: str | None, runtime: str | None, wanted: str | None) -> Decision:
    """What serves is what HAProxy has in memory; the file counts only while HAProxy does not run."""
    before = file if runtime is None else runtime
    return Decision(before=before, after=wanted or before, repair=runtime is not None and file != runtime)
