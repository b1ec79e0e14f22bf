# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def release_decision(now: Mapping[str, Any], active: str, fleet: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What a deploy has to do on a host, from what M(lastro.platform.stack) in check mode says of the serving colour.

    `fleet` is the same of all hosts of the application: a colour is switched to for all of them, so it starts on all of them.
    """
    own = _alone(now, active)
    others = [_alone(one, active) for one in fleet]
    beside = next((one for one in others if one["kind"] == "release" and one["serving"]), None)
    if beside:
        return {**beside, "why": own["why"] if own["kind"] == "release" else "it is released on another host"}
    return own


def _alone(now: Mapping[str, Any], active: str) -> dict[str, Any]:
    other = "green" if active == "blue" else "blue"
    serving = bool(now.get("containers"))
    acting = {name: entry for name, entry in now["services"].items() if entry["action"] != "none"}
    why = "; ".join(f"{name}: {entry['why']}" for name, entry in sorted(acting.items()))
    if not serving:
        return {"kind": "release", "colour": active, "serving": False, "why": "nothing serves yet"}
    if any(entry["cause"] == "version" and entry["action"] != "remove" for entry in acting.values()):
        return {"kind": "release", "colour": other, "serving": True, "why": why}
    if acting or now.get("files"):
        return {"kind": "repair", "colour": active, "serving": True, "why": why or "its files were changed"}
    return {"kind": "none", "colour": active, "serving": True, "why": ""}


class FilterModule:
    """Decisions about releases."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_decision": release_decision}
