# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about a Postgres server and its databases: pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import (
    Step,
    Wanted,
    may_create_extension,
    may_grant_monitor,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_state import Facts, Inside, Role


def describe(address: str, wanted: list[Wanted], plans: dict[str, list[Step]]) -> dict[str, Any]:
    """The result of the module, as far as the plan says it."""

    def outcome(steps: list[Step]) -> dict[str, Any]:
        action = "create" if any(step.where == "create" for step in steps) else "update" if steps else "none"
        return {"action": action, "changes": [step.what for step in steps]}

    def urls(item: Wanted) -> dict[str, str]:
        roles = {"app": item.open, "migrate": item.role("migrate"), "monitor": item.role("monitor")}
        return {key: f"postgresql://{role}@{address}/{item.name}" for key, role in roles.items()}

    changes = in_words(plans)
    return {
        "changed": bool(changes),
        "reachable": False,
        "managed": True,
        "server_version": "",
        "databases": {name: outcome(steps) for name, steps in plans.items()},
        "open_logins": [],
        "pending_restart": [],
        "urls": {item.name: urls(item) for item in wanted},
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in changes)},
        "notices": [],
    }


def in_words(plans: dict[str, list[Step]]) -> list[str]:
    """All that is planned, in words."""
    return [f"{name}: {step.what}" for name, steps in plans.items() for step in steps]


def capabilities(facts: Facts, wanted: Iterable[Wanted], installed: Mapping[str, Inside]) -> dict[str, Any]:
    """What the user may do and the server can do."""
    extensions: dict[str, str] = {}
    for database in wanted:
        inside = installed.get(database.name, Inside())
        for name in database.extensions:
            state = "available" if may_create_extension(facts, name) else "forbidden"
            state = "installed" if name in inside.extensions else state if name in facts.trusted else "missing"
            worse = extensions.get(name, "installed")
            order = ("installed", "available", "forbidden", "missing")
            extensions[name] = max(state, worse, key=order.index)
    return {
        "superuser": facts.superuser,
        "create_database": facts.superuser or facts.createdb,
        "create_role": facts.manages,
        "restore_point": facts.restore_point,
        "grant_monitor": may_grant_monitor(facts),
        "read_verifiers": facts.superuser,
        "tls": facts.tls,
        "checksums": facts.checksums,
        "extensions": extensions,
    }


_COSTS = {
    "create_role": "no roles of its own are created and no password is rotated: the application uses the login it was given",
    "create_database": "databases have to be created on the server by hand",
    "restore_point": "no named restore point before a migration; go back by time instead",
    "grant_monitor": "the monitor sees only its own sessions and statements",
    "read_verifiers": "passwords are compared by logging in, which a login that is shut cannot show",
    "tls": "passwords and data cross the network in the clear",
    "checksums": "silent damage on disk is found late",
}


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Each capability that is missing, with what it costs."""
    lines = [f"The database server lacks `{name}`: {cost}." for name, cost in _COSTS.items() if not found[name]]
    for name, state in sorted(found["extensions"].items()):
        if state == "missing":
            lines.append(f"The database server has no extension {name}: migrations that need it will fail.")
        elif state == "forbidden":
            lines.append(f"Extension {name} needs an administrator: have CREATE EXTENSION {name} run once by one.")
    return lines


def login_warnings(
    wanted: Iterable[Wanted], found: Mapping[str, Role], stale: Collection[str], left: Collection[str], told: bool
) -> list[str]:
    """What an operator has to know about application logins: `left` names those that are not active and stay open,
    `told` says that they were to be closed.
    """
    lines = []
    for item in wanted:
        if item.open in stale and found[item.open].login:
            lines.append(
                f"The password of {item.open} changes while it is open: what uses it cannot connect again until it was "
                f"started with the new one. Without a gap: give {item.shut} the new password, and make it active."
            )
        if item.shut in left and told:
            lines.append(f"{item.shut} is not closed while somebody is connected with it; {item.open} is active.")
        elif item.shut in left:
            lines.append(f"{item.shut} stays open beside {item.open}, which is active: what serves may still use it.")
    return lines


def missing(facts: Facts, wanted: Iterable[Wanted], found: Collection[str]) -> list[str]:
    """Databases that a server which is only checked does not have."""
    if facts.manages:
        return []
    names = [item.name for item in wanted if item.name not in found]
    return [f"The database {name} does not exist, and user {facts.user} may not create it." for name in names]
