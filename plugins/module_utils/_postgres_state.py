# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a Postgres server, read in few queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import Query

Grant = tuple[str, str]  # (grantee, privilege)
PUBLIC = "PUBLIC"
# Roles by which providers stand in for a superuser: they create extensions and grant pg_monitor.
_PROVIDERS = ["rds_superuser", "cloudsqlsuperuser", "azure_pg_admin", "alloydbsuperuser", "neon_superuser"]


@dataclass(frozen=True)
class Facts:
    """The server, and what the user who asks may do on it."""

    version: str
    major: int
    user: str
    database: str
    encoding: str
    locale: str
    checksums: bool
    tls: bool
    superuser: bool
    createdb: bool
    createrole: bool
    restore_point: bool
    monitor_admin: bool
    provider_admin: bool
    trusted: dict[str, bool]  # extensions the server could create, and whether an owner may

    @property
    def manages(self) -> bool:
        """Whether roles can be created, without which there is nothing to manage."""
        return self.superuser or self.createrole


@dataclass(frozen=True)
class Role:
    """A role as it is."""

    login: bool
    connection_limit: int = -1
    powers: frozenset[str] = frozenset()
    settings: dict[str, str] = field(default_factory=dict)
    member_of: frozenset[str] = frozenset()
    usable: bool = False  # whether the user who asks may act as this role


@dataclass(frozen=True)
class Database:
    """A database as it is, from outside."""

    owner: str
    comment: str
    grants: frozenset[Grant]


@dataclass(frozen=True)
class Inside:
    """A database as it is, from inside. The defaults are those of one just created."""

    extensions: frozenset[str] = frozenset()
    public_schema: frozenset[Grant] | None = frozenset({(PUBLIC, "USAGE")})
    defaults: frozenset[tuple[str, str, str]] = frozenset()  # (object type, grantee, privilege)
    restore_point: frozenset[Grant] = frozenset()


_FACTS = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int / 10000 AS major,
       current_user::text AS "user",
       current_database()::text AS database,
       pg_encoding_to_char(t.encoding) AS encoding,
       to_jsonb(t) AS template,
       current_setting('data_checksums') = 'on' AS checksums,
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
       r.rolsuper AS superuser, r.rolcreatedb AS createdb, r.rolcreaterole AS createrole,
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,
       pg_has_role('pg_monitor', 'MEMBER WITH ADMIN OPTION') AS monitor_admin,
       EXISTS (SELECT FROM pg_roles p WHERE p.rolname = ANY(%s) AND pg_has_role(p.oid, 'MEMBER')) AS provider_admin
  FROM pg_roles r, pg_database t
 WHERE r.rolname = current_user AND t.datname = 'template0'
"""

_TRUSTED = """
SELECT name::text AS name, bool_or(trusted) AS trusted
  FROM pg_available_extension_versions WHERE name = ANY(%s) GROUP BY name
"""

_ROLES = """
SELECT r.rolname::text AS name, r.rolcanlogin AS login, r.rolconnlimit AS connection_limit,
       array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                          CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                          CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                          CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS powers,
       COALESCE((SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0),
                ARRAY[]::text[]) AS settings,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
              WHERE m.member = r.oid) AS member_of,
       pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int >= 160000
                               THEN 'SET' ELSE 'MEMBER' END) AS usable
  FROM pg_roles r WHERE r.rolname = ANY(%s)
"""

_VERIFIERS = "SELECT rolname::text AS name, rolpassword AS verifier FROM pg_authid WHERE rolname = ANY(%s)"

_DATABASES = """
SELECT d.datname::text AS name, pg_get_userbyid(d.datdba)::text AS owner,
       COALESCE(shobj_description(d.oid, 'pg_database'), '') AS comment,
       ARRAY(SELECT ARRAY[CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
                          a.privilege_type]
               FROM aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a) AS grants
  FROM pg_database d WHERE d.datname = ANY(%s)
"""

_INSIDE = """
SELECT ARRAY(SELECT extname::text FROM pg_extension) AS extensions,
       (SELECT ARRAY(SELECT ARRAY[CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
                                  a.privilege_type]
                       FROM aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) a)
          FROM pg_namespace n WHERE n.nspname = 'public') AS public_schema,
       ARRAY(SELECT ARRAY[d.defaclobjtype::text, pg_get_userbyid(a.grantee)::text, a.privilege_type]
               FROM pg_default_acl d, aclexplode(d.defaclacl) a
              WHERE d.defaclnamespace = 0 AND a.grantee <> 0
                AND d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %s)) AS defaults,
       ARRAY(SELECT ARRAY[pg_get_userbyid(a.grantee)::text, a.privilege_type]
               FROM pg_proc p, aclexplode(p.proacl) a
              WHERE p.oid = 'pg_create_restore_point(text)'::regprocedure AND a.grantee <> 0) AS restore_point
"""

_PENDING = "SELECT name::text AS name, setting AS value FROM pg_settings WHERE pending_restart ORDER BY name"

_CONNECTED = "SELECT DISTINCT usename::text AS name FROM pg_stat_activity WHERE usename = ANY(%s)"

# Reading the files like this also makes `pending_restart` of this session that of the files as they are now,
# whether or not the server has come to reload them.
_FILE_ERRORS = """
SELECT name::text AS name, COALESCE(name, 'postgresql.conf, line ' || sourceline) || ': ' || error AS problem
  FROM pg_file_settings WHERE error IS NOT NULL
"""

_HBA_ERRORS = "SELECT 'pg_hba.conf, line ' || line_number || ': ' || error AS problem FROM pg_hba_file_rules WHERE error IS NOT NULL"


def read_facts(query: Query, extensions: Iterable[str]) -> Facts:
    """The server and the rights of the user."""
    row = query(_FACTS, _PROVIDERS)[0]
    row["locale"] = locale_of(row.pop("template"))
    available = query(_TRUSTED, sorted(set(extensions)))
    return Facts(**row, trusted={entry["name"]: entry["trusted"] for entry in available})


def locale_of(template: dict[str, Any]) -> str:
    """A database's locale as `provider:name`; the columns differ between 15, 16 and 17."""
    provider = {"b": "builtin", "i": "icu"}.get(template["datlocprovider"], "libc")
    name = template["datcollate"]
    if provider != "libc":
        name = template.get("datlocale") or template.get("daticulocale")
    return f"{provider}:{name}"


def read_roles(query: Query, names: Iterable[str]) -> dict[str, Role]:
    """The roles of these names that exist."""
    return {row["name"]: _role(row) for row in query(_ROLES, sorted(names))}


def _role(row: dict[str, Any]) -> Role:
    return Role(
        login=row["login"],
        connection_limit=row["connection_limit"],
        powers=frozenset(row["powers"]),
        settings=dict(setting.split("=", 1) for setting in row["settings"]),
        member_of=frozenset(row["member_of"]),
        usable=row["usable"],
    )


def read_connected(query: Query, names: Iterable[str]) -> set[str]:
    """Those of the roles with which somebody is connected."""
    return {row["name"] for row in query(_CONNECTED, sorted(names))}


def read_verifiers(query: Query, names: Iterable[str]) -> dict[str, str | None]:
    """What the server stores for the roles' passwords; for superusers only."""
    return {row["name"]: row["verifier"] for row in query(_VERIFIERS, sorted(names))}


def read_databases(query: Query, names: Iterable[str]) -> dict[str, Database]:
    """The databases of these names that exist."""
    return {
        row["name"]: Database(row["owner"], row["comment"], frozenset(map(_pair, row["grants"])))
        for row in query(_DATABASES, sorted(names))
    }


def read_inside(query: Query, owner: str) -> Inside:
    """A database from inside, with the default privileges its owner has set."""
    row = query(_INSIDE, owner)[0]
    schema = row["public_schema"]
    return Inside(
        extensions=frozenset(row["extensions"]),
        public_schema=None if schema is None else frozenset(map(_pair, schema)),
        defaults=frozenset((kind, grantee, privilege) for kind, grantee, privilege in row["defaults"]),
        restore_point=frozenset(map(_pair, row["restore_point"])),
    )


def read_pending(query: Query) -> list[dict[str, str]]:
    """Settings that wait for a restart, with the value still in force."""
    return query(_PENDING)


def read_refused(query: Query) -> list[str]:
    """Lines of the configuration files that the server did not take; for superusers only."""
    errors = query(_FILE_ERRORS)
    pending = {row["name"] for row in read_pending(query)}
    return [row["problem"] for row in errors if row["name"] not in pending] + [
        row["problem"] for row in query(_HBA_ERRORS)
    ]


def _pair(grant: list[str]) -> Grant:
    return grant[0], grant[1]
