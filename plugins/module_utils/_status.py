# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator wants to see of a platform, from the Engine's list of its containers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
# Of the platform `shop` are shop-postgres and shop-blue; shop-eu-postgres is of `shop-eu`.
_PART = re.compile(r"[^-_]+")
_ORDER = ("postgres", "redis", "proxy", "blue", "green", "singletons")


def part(project: str, platform: str) -> str | None:
    """Which part of the platform a Compose project is (`postgres`, `blue`); None when it belongs to something else."""
    rest = project.removeprefix(f"{platform}-")
    return rest if rest != project and _PART.fullmatch(rest) else None


def is_network_of(name: str, platform: str) -> bool:
    """Whether a network is the platform's own, or one of its Compose projects'."""
    return name == platform or ("_" in name and part(name.partition("_")[0], platform) is not None)


def rows(containers: Iterable[Mapping[str, Any]], platform: str, colour: str | None) -> list[dict[str, Any]]:
    """A row for each service; replicas of one are counted together. A colour that does not serve is left out when it is stopped."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for container in containers:
        labels = container["Labels"]
        group = part(labels[PROJECT], platform)
        if group in (None, "jobs", "migrations"):
            continue
        idle = group in ("blue", "green") and colour is not None and group != colour
        if idle and container["State"] != "running":
            continue
        service = labels.get("lastro.service") or labels[SERVICE]
        row = found.setdefault(
            (group, service),
            {"group": group, "service": service, "running": 0, "total": 0, "states": set(), "addresses": set()},
        )
        row["total"] += 1
        row["running"] += container["State"] == "running"
        row["states"].add(state(container))
        row["image"] = container["Image"]
        row["release"] = labels.get("lastro.release", "")
        row["idle"] = idle
        row["addresses"] |= {
            f"{port['IP']}:{port['PublicPort']}" for port in container.get("Ports", []) if port.get("PublicPort")
        }
    ordered = sorted(found.values(), key=lambda row: (_rank(row["group"]), row["service"]))
    return [{**row, "state": _worst(row.pop("states")), "addresses": sorted(row["addresses"])} for row in ordered]


def state(container: Mapping[str, Any]) -> str:
    """healthy, unhealthy, starting, running (without a health check), or what the Engine says."""
    health = re.search(r"\((?:health: )?(\w+)\)\s*$", str(container.get("Status", "")))
    if container["State"] == "running":
        return health[1] if health else "running"
    exited = re.match(r"Exited \((\d+)\)", str(container.get("Status", "")))
    return f"exited {exited[1]}" if exited else str(container["State"])


def jobs(
    containers: Iterable[Mapping[str, Any]], platform: str, records: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """How the last migrations and seeds ended: commands by their containers, those of `migrate_seed` by their records."""
    found = [
        {"service": c["Labels"][SERVICE], "state": state(c), "release": c["Labels"].get("lastro.release", "")}
        for c in containers
        if c["Labels"][PROJECT] == f"{platform}-jobs"
    ]
    found += [
        {
            "service": record["service"],
            "state": "exited 0" if record["ok"] else f"failed at {record['at']}",
            "release": record["release"],
        }
        for record in records
    ]
    return sorted(found, key=lambda job: str(job["service"]))


def _rank(group: str) -> int:
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _worst(states: set[str]) -> str:
    good = ("healthy", "running")
    bad = sorted(entry for entry in states if entry not in good)
    return bad[0] if bad else ("healthy" if "healthy" in states else "running")
