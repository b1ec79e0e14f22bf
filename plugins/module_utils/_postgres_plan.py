# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to happen on a Postgres server so that each database has its roles and rights: pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_state import (
    PUBLIC,
    Database,
    Facts,
    Grant,
    Inside,
    Role,
)

OLDEST = 15  # before it, PUBLIC may create in schema public and only a superuser can end that
MARKER = "lastro.platform: initialised"
# The longest suffix is `_migrate`, and a longer name would be cut by the server.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,54}")
_RESERVED = ("postgres", "template0", "template1")


@dataclass(frozen=True)
class Wanted:
    """A database as the inventory asks for it."""

    name: str
    passwords: dict[str, str] = field(default_factory=dict)
    active: str = "a"
    extensions: tuple[str, ...] = ()
    init_sql: str = ""
    lock_timeout: str = "5s"
    statement_timeout: str = "15min"
    connection_limit: int = -1

    def role(self, kind: str) -> str:
        return f"{self.name}_{kind}"

    @property
    def open(self) -> str:
        """The application login that is to be open."""
        return self.role(f"app_{self.active}")

    @property
    def shut(self) -> str:
        """The application login that is to be shut, in the end: what serves may still use it."""
        return self.role("app_b" if self.active == "a" else "app_a")

    def roles(self) -> dict[str, Role]:
        """The roles it has, by kind, as they should be."""
        acting = {
            "role": self.role("owner"),
            "lock_timeout": self.lock_timeout,
            "statement_timeout": self.statement_timeout,
        }
        app = frozenset({self.role("rw")})
        return {
            "owner": Role(login=False),
            "rw": Role(login=False),
            "ro": Role(login=False),
            # It has to see whose transactions it would wait for.
            "migrate": Role(
                login=True, settings=acting, member_of=frozenset({self.role("owner"), "pg_read_all_stats"})
            ),
            "app_a": Role(self.active == "a", self.connection_limit, member_of=app),
            "app_b": Role(self.active == "b", self.connection_limit, member_of=app),
            "monitor": Role(login=True, member_of=frozenset({"pg_monitor"})),
        }


@dataclass(frozen=True)
class Step:
    """One statement: where it runs (`server`, `create` or `inside`), what it does in words, and its text."""

    where: str
    what: str
    sql: str


def wanted_from(entries: Iterable[Mapping[str, Any]]) -> list[Wanted]:
    """The option `databases`, checked."""
    found: dict[str, Wanted] = {}
    for entry in entries:
        name = entry["name"]
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise PlatformError(
                f"`{name}` cannot be the name of a database",
                "Use at most 55 lower-case letters, digits and underscores, not starting with a digit, and not "
                f"{', '.join(_RESERVED)}.",
            )
        if name in found:
            raise PlatformError(f"The database `{name}` is asked for twice", "Take one of the two entries out.")
        given = {key: value for key, value in entry.items() if value is not None}
        passwords = {kind: value for kind, value in (given.pop("passwords", None) or {}).items() if value}
        found[name] = Wanted(**{**given, "extensions": tuple(given.get("extensions", ())), "passwords": passwords})
    _check_collisions(list(found.values()))
    return list(found.values())


def _check_collisions(wanted: list[Wanted]) -> None:
    seen: dict[str, str] = {}
    for database in wanted:
        for kind in database.roles():
            other = seen.setdefault(database.role(kind), database.name)
            if other != database.name:
                raise PlatformError(
                    f"The databases `{other}` and `{database.name}` would both own the role {database.role(kind)}",
                    "Rename one of them.",
                )


def check_passwords(wanted: Iterable[Wanted], login: Iterable[str] = ("migrate", "app_a", "app_b", "monitor")) -> None:
    """Refuse a database for which a password is missing."""
    missing = [f"{database.name}.{kind}" for database in wanted for kind in login if not database.passwords.get(kind)]
    if missing:
        raise PlatformError(
            f"Passwords are missing: {', '.join(missing)}", "Give them in `passwords`; nothing was changed."
        )


def left_open(wanted: Wanted, found: Mapping[str, Role], closing: Collection[str]) -> bool:
    """Whether the login that is to be shut is open and stays so, as it is not among those that may be closed."""
    there = found.get(wanted.shut)
    return there is not None and there.login and wanted.shut not in closing


def plan_roles(
    wanted: Wanted,
    found: Mapping[str, Role],
    stale: Collection[str],
    facts: Facts,
    verifier: Callable[[str], str],
    closing: Collection[str] = (),
) -> list[Step]:
    """Roles, memberships, settings and passwords. `stale` names the roles whose password is another one, `closing`
    the open logins that may be closed.
    """
    steps: list[Step] = []
    for kind, planned in wanted.roles().items():
        name = wanted.role(kind)
        there = found.get(name)
        # What serves goes on with login and password as they are, until it was replaced.
        kept = name == wanted.shut and left_open(wanted, found, closing)
        role = replace(planned, login=planned.login or kept)
        if there is None:
            steps.append(Step("server", f"create role {name}", f"CREATE ROLE {ident(name)} {_attributes(role)}"))
        elif (there.login, there.connection_limit, there.powers) != (role.login, role.connection_limit, role.powers):
            what = f"alter role {name}: {_attributes(role)}"
            removed = " ".join(f"NO{power}" for power in sorted(there.powers))
            steps.append(Step("server", what, f"ALTER ROLE {ident(name)} {_attributes(role)} {removed}".rstrip()))
        # A login that opens gets its password again: whether it still holds could not be tried while it was shut.
        opens = there is not None and role.login and not there.login and not facts.superuser
        if kind in wanted.passwords and not kept and (there is None or name in stale or opens):
            secret = literal(verifier(wanted.passwords[kind]))
            steps.append(Step("server", f"set the password of {name}", f"ALTER ROLE {ident(name)} PASSWORD {secret}"))
        steps += _settings(name, role, there)
    for kind, role in wanted.roles().items():
        there = found.get(wanted.role(kind))
        steps += _memberships(wanted.role(kind), role, there, facts)
    owner = found.get(wanted.role("owner"))
    if not facts.superuser and not (owner and owner.usable):
        what = f"let {facts.user} act as {wanted.role('owner')}"
        steps.append(Step("server", what, f"GRANT {ident(wanted.role('owner'))} TO CURRENT_USER"))
    return steps


def _attributes(role: Role) -> str:
    return f"{'LOGIN' if role.login else 'NOLOGIN'} CONNECTION LIMIT {role.connection_limit}"


def _settings(name: str, role: Role, there: Role | None) -> list[Step]:
    have = there.settings if there else {}
    steps = []
    for key, value in role.settings.items():
        if have.get(key) != value:
            sql = f"ALTER ROLE {ident(name)} SET {ident(key)} = {literal(value)}"
            steps.append(Step("server", f"set {key} = {value} for {name}", sql))
    return steps


def _memberships(name: str, role: Role, there: Role | None, facts: Facts) -> list[Step]:
    steps = []
    for group in sorted(role.member_of - (there.member_of if there else frozenset())):
        if not group.startswith("pg_") or may_grant_monitor(facts):
            sql = f"GRANT {ident(group)} TO {ident(name)}"
            steps.append(Step("server", f"make {name} a member of {group}", sql))
    return steps


def may_grant_monitor(facts: Facts) -> bool:
    """Whether pg_monitor can be granted; before 16, CREATEROLE was enough."""
    return facts.superuser or facts.provider_admin or facts.monitor_admin or (facts.createrole and facts.major < 16)


def may_create_extension(facts: Facts, name: str) -> bool:
    """Whether an extension can be created: it has to be there, and trusted unless the user is an administrator."""
    return name in facts.trusted and (facts.superuser or facts.provider_admin or facts.trusted[name])


def plan_database(wanted: Wanted, found: Database | None, inside: Inside, facts: Facts) -> list[Step]:
    """The database itself, and what is inside it."""
    name, owner = ident(wanted.name), wanted.role("owner")
    steps = []
    if found is None:
        if not (facts.superuser or facts.createdb):
            raise PlatformError(
                f"The database `{wanted.name}` does not exist and user {facts.user} may not create it",
                f"Create it on the server, or give {facts.user} CREATEDB.",
            )
        sql = f"CREATE DATABASE {name} OWNER {ident(owner)} TEMPLATE template0"
        steps.append(Step("create", f"create database {wanted.name}", sql))
    elif found.owner != owner:
        sql = f"ALTER DATABASE {name} OWNER TO {ident(owner)}"
        steps.append(Step("server", f"make {owner} the owner of {wanted.name} (was {found.owner})", sql))
    steps += _extensions(wanted, inside, facts)
    steps += _rights(wanted, found, inside)
    if facts.superuser:
        # A migration begins with a point to restore to.
        migrate = wanted.role("migrate")
        execute = frozenset({(migrate, "EXECUTE")})
        steps += _differences(execute, inside.restore_point, {migrate}, "ON FUNCTION pg_create_restore_point(text)")
    return steps + _initialise(wanted, found)


def _extensions(wanted: Wanted, inside: Inside, facts: Facts) -> list[Step]:
    steps = []
    for extension in wanted.extensions:
        if extension not in inside.extensions and may_create_extension(facts, extension):
            # A trusted extension needs only the owner's rights; an administrator keeps the others.
            as_owner = not (facts.superuser or facts.provider_admin)
            sql = f"CREATE EXTENSION {ident(extension)} CASCADE"
            steps.append(Step("inside", f"create extension {extension}", _as(wanted.role("owner"), sql, as_owner)))
    return steps


def _rights(wanted: Wanted, found: Database | None, inside: Inside) -> list[Step]:
    owner, rw, ro, monitor = (wanted.role(kind) for kind in ("owner", "rw", "ro", "monitor"))
    grantees = {PUBLIC, rw, ro, monitor}
    database = frozenset({(rw, "CONNECT"), (rw, "TEMPORARY"), (ro, "CONNECT"), (monitor, "CONNECT")})
    given = found.grants if found else frozenset({(PUBLIC, "CONNECT"), (PUBLIC, "TEMPORARY")})
    steps = _differences(database, given, grantees, "ON DATABASE " + ident(wanted.name))
    if inside.public_schema is not None:
        usage = frozenset((grantee, "USAGE") for grantee in (rw, ro, monitor))
        steps += _differences(usage, inside.public_schema, grantees, "ON SCHEMA public")
    objects: tuple[tuple[str, str, dict[str, tuple[str, ...]]], ...] = (
        ("r", "TABLES", {rw: ("SELECT", "INSERT", "UPDATE", "DELETE"), ro: ("SELECT",)}),
        ("S", "SEQUENCES", {rw: ("SELECT", "USAGE", "UPDATE"), ro: ("SELECT",)}),
        ("n", "SCHEMAS", {rw: ("USAGE",), ro: ("USAGE",)}),
    )
    prefix = f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(owner)} "
    for kind, objects_name, rights in objects:
        right = frozenset((grantee, privilege) for grantee, privileges in rights.items() for privilege in privileges)
        have = frozenset((grantee, privilege) for what, grantee, privilege in inside.defaults if what == kind)
        steps += _differences(right, have, {rw, ro}, f"ON {objects_name}", prefix)
    return steps


def _differences(
    wanted: frozenset[Grant], found: frozenset[Grant], grantees: set[str], on: str, prefix: str = ""
) -> list[Step]:
    """Statements that bring the grants of these grantees, and of nobody else, to what is wanted."""
    ours = frozenset(grant for grant in found if grant[0] in grantees)
    steps = []
    for verb, word, difference in (("REVOKE", "FROM", ours - wanted), ("GRANT", "TO", wanted - ours)):
        for grantee in sorted({grant[0] for grant in difference}):
            privileges = ", ".join(sorted(privilege for who, privilege in difference if who == grantee))
            target = PUBLIC if grantee == PUBLIC else ident(grantee)
            what = f"{prefix and 'by default '}{verb.lower()} {privileges} {on.lower()} {word.lower()} {grantee}"
            steps.append(Step("inside", what, f"{prefix}{verb} {privileges} {on} {word} {target}"))
    return steps


def _initialise(wanted: Wanted, found: Database | None) -> list[Step]:
    """The init SQL, once, in one transaction with the mark that says so. A database somebody else made gets only
    the mark: its owner is another role.
    """
    comment = found.comment if found else ""
    if MARKER in comment:
        return []
    owner, mark = wanted.role("owner"), literal("\n".join(filter(None, [comment, MARKER])))
    steps = []
    if wanted.init_sql.strip() and (found is None or found.owner == owner):
        steps.append(Step("inside", f"run the init SQL of {wanted.name}", _as(owner, wanted.init_sql)))
    sql = f"COMMENT ON DATABASE {ident(wanted.name)} IS {mark}"
    return [*steps, Step("inside", f"mark {wanted.name} as initialised", _as(owner, sql))]


def _as(role: str, sql: str, needed: bool = True) -> str:
    """Statements that run as another role within their transaction."""
    return f"SET LOCAL ROLE {ident(role)};\n{sql.rstrip().rstrip(';')};\nRESET ROLE" if needed else sql


def check_cluster(facts: Facts, expected: Mapping[str, Any]) -> None:
    """Refuse a server that is not what the inventory asks for, where changing it means a new cluster."""
    found = {"version": str(facts.major), "encoding": facts.encoding, "locale": facts.locale}
    if facts.major < OLDEST:
        raise PlatformError(f"The server is PostgreSQL {facts.version}", f"Use PostgreSQL {OLDEST} or newer.")
    for name, value in found.items():
        if expected.get(name) and str(expected[name]) != value:
            raise refusal(name, value, str(expected[name]))


def refusal(name: str, found: str, asked: str) -> PlatformError:
    """Why a cluster cannot become another one in place, and the way out."""
    problem = f"The data was made with {name} {found}, and {name} {asked} is asked for; it cannot be changed in place"
    return PlatformError(
        problem,
        f"Keep the {name} {found} in the inventory. To move: dump all databases from the running server (pg_dumpall), stop the "
        "stack, keep its data volume under another name, deploy, and load the dump. The data was not touched.",
    )


def ident(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A quoted string; backslashes are plain with standard_conforming_strings, which is on since 9.1."""
    return "'" + value.replace("'", "''") + "'"
