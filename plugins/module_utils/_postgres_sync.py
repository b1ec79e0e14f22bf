# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a server's databases to what is wanted: read, plan, (check mode ends), act, read back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.lastro.platform.plugins.module_utils import _postgres_plan as planning
from ansible_collections.lastro.platform.plugins.module_utils import _postgres_scram as scram
from ansible_collections.lastro.platform.plugins.module_utils import _postgres_state as state
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import (
    Server,
    Session,
    WrongPassword,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import Step, Wanted

# A superuser keeps its statements out of the log, and of what members of pg_monitor read: the statistics of statements
# (without that library the setting has no meaning, and does no harm) and the list of sessions. A verifier is no
# password, but it is nobody's business either.
_QUIET = (
    "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic'; "
    "SET pg_stat_statements.track = 'none'; SET track_activities = off"
)


@dataclass
class Picture:
    """One reading of the server."""

    facts: state.Facts
    roles: dict[str, state.Role] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    databases: dict[str, state.Database] = field(default_factory=dict)
    inside: dict[str, state.Inside] = field(default_factory=dict)
    closing: frozenset[str] = frozenset()  # application logins that may be closed

    def plan(self, wanted: Iterable[Wanted]) -> dict[str, list[Step]]:
        """What has to happen, by database."""
        return {item.name: self._plan(item) for item in wanted}

    def _plan(self, item: Wanted) -> list[Step]:
        steps = planning.plan_roles(item, self.roles, self.stale, self.facts, _verifier, self.closing)
        inside = self.inside.get(item.name, state.Inside())
        return steps + planning.plan_database(item, self.databases.get(item.name), inside, self.facts)

    def open_logins(self, wanted: Iterable[Wanted]) -> list[str]:
        """Application logins that are not active, and stay open."""
        if not self.facts.manages:
            return []
        return [item.shut for item in wanted if planning.left_open(item, self.roles, self.closing)]


def assumed(wanted: Iterable[Wanted]) -> Picture:
    """A server as it will be when it has been created: the picture check mode has on an empty host."""
    extensions = {name: True for item in wanted for name in item.extensions}
    facts = state.Facts(
        version="", major=0, user="", database="", encoding="", locale="", checksums=True, tls=True, superuser=True,
        createdb=True, createrole=True, restore_point=True, monitor_admin=True, provider_admin=False, trusted=extensions,
    )  # fmt: skip
    return Picture(facts)


def closable(admin: Session, wanted: list[Wanted]) -> frozenset[str]:
    """The application logins to be shut with which nobody is connected."""
    names = {item.shut for item in wanted}
    return frozenset(names - state.read_connected(admin.query, names))


def look(
    server: Server, admin: Session, facts: state.Facts, wanted: list[Wanted], closing: frozenset[str] = frozenset()
) -> Picture:
    """Read everything the plan needs: three queries, and one in each database that exists."""
    names = [item.role(kind) for item in wanted for kind in item.roles()]
    picture = Picture(
        facts,
        roles=state.read_roles(admin.query, names),
        databases=state.read_databases(admin.query, [item.name for item in wanted]),
        closing=closing,
    )
    for item in wanted:
        if item.name in picture.databases and (facts.manages or item.name == facts.database):
            with server.connect(item.name) as session:
                picture.inside[item.name] = state.read_inside(session.query, item.role("owner"))
    if facts.manages:
        picture.stale = _stale(server, admin, picture, wanted)
    return picture


def _stale(server: Server, admin: Session, picture: Picture, wanted: list[Wanted]) -> set[str]:
    """Roles that exist and have another password than the one wanted."""
    given = {item.role(kind): (item, password) for item in wanted for kind, password in item.passwords.items()}
    there = {name: entry for name, entry in given.items() if name in picture.roles}
    if picture.facts.superuser:
        verifiers = state.read_verifiers(admin.query, there)
        return {name for name, (_item, password) in there.items() if not scram.matches(password, verifiers.get(name))}
    found = set()
    for name, (item, password) in there.items():
        if not picture.roles[name].login:
            continue
        try:
            with server.connect(item.name if item.name in picture.databases else None, user=name, password=password):
                pass
        except WrongPassword:
            found.add(name)
        except PlatformError:
            continue  # the password was taken, the login was turned away for another reason
    return found


def act(server: Server, admin: Session, plans: dict[str, list[Step]], superuser: bool) -> None:
    """Roles of all databases in one transaction, then each database, then what is inside it in one transaction."""
    if superuser:
        admin.execute(_QUIET)
    with admin.transaction():
        for step in _of(plans.values(), "server"):
            admin.execute(step.sql)
    for step in _of(plans.values(), "create"):
        admin.execute(step.sql)
    for name, steps in plans.items():
        inside = _of([steps], "inside")
        if inside:
            with server.connect(name) as session:
                if superuser:
                    session.execute(_QUIET)
                with session.transaction():
                    for step in inside:
                        session.execute(step.sql)


def _of(plans: Iterable[list[Step]], where: str) -> list[Step]:
    return [step for steps in plans for step in steps if step.where == where]


def _verifier(password: str) -> str:
    return scram.verifier(password, secrets.token_bytes(16))


def check_volume(engine: Engine, volume: str | None, asked: str | None) -> None:
    """Refuse data of another major version, read from the volume itself."""
    if not asked or not volume:
        return
    try:
        there = engine.find(f"/volumes/{volume}")
    except EngineError as error:
        if error.status:
            raise
        return  # no Engine, so no server and no volume of its either
    found = data_version(there["Mountpoint"]) if there else ""
    if found and found != asked:
        raise planning.refusal("version", found, asked)


def data_version(mountpoint: str) -> str:
    """The major version that made a data directory, empty when there is none."""
    try:
        with open(os.path.join(mountpoint, "PG_VERSION"), encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        raise PlatformError(f"The data in {mountpoint} cannot be read", "Run as root (`become: true`).") from error
