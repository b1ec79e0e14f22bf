# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a database, from what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import (
    Unreachable,
    WrongPassword,
    explain,
    settings_of,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import (
    MARKER,
    Step,
    Wanted,
    check_cluster,
    check_passwords,
    ident,
    literal,
    plan_database,
    plan_roles,
    wanted_from,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_report import (
    capabilities,
    login_warnings,
    warnings,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_state import (
    Database,
    Facts,
    Inside,
    Role,
    locale_of,
)

PASSWORDS = {"migrate": "m", "app_a": "a", "app_b": "b", "monitor": "o"}
APP = Wanted("app", PASSWORDS)
SUPERUSER = Facts(
    version="17.6", major=17, user="postgres", database="postgres", encoding="UTF8", locale="builtin:C.UTF-8",
    checksums=True, tls=True, superuser=True, createdb=True, createrole=True, restore_point=True, monitor_admin=True,
    provider_admin=False, trusted={"vector": False, "pg_trgm": True},
)  # fmt: skip
LIMITED = replace(SUPERUSER, user="admin", superuser=False, restore_point=False, monitor_admin=False)
ROLES = {APP.role(kind): replace(role, usable=True) for kind, role in APP.roles().items()}
DATABASE = Database(
    "app_owner",
    MARKER,
    frozenset({("app_rw", "CONNECT"), ("app_rw", "TEMPORARY"), ("app_ro", "CONNECT"), ("app_monitor", "CONNECT")}),
)
INSIDE = Inside(
    public_schema=frozenset({("app_rw", "USAGE"), ("app_ro", "USAGE"), ("app_monitor", "USAGE"), ("x", "CREATE")}),
    defaults=frozenset(
        {("r", "app_rw", privilege) for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")}
        | {("S", "app_rw", privilege) for privilege in ("SELECT", "USAGE", "UPDATE")}
        | {("r", "app_ro", "SELECT"), ("S", "app_ro", "SELECT"), ("n", "app_rw", "USAGE"), ("n", "app_ro", "USAGE")}
    ),
    restore_point=frozenset({("app_migrate", "EXECUTE"), ("x", "EXECUTE")}),
)


def roles(
    found: dict[str, Role],
    stale: frozenset[str] = frozenset(),
    facts: Facts = SUPERUSER,
    closing: frozenset[str] = frozenset(),
) -> list[Step]:
    return plan_roles(APP, found, stale, facts, lambda password: f"verifier of {password}", closing)


def sql(steps: list[Step]) -> list[str]:
    return [step.sql for step in steps]


def test_what_is_right_is_left_alone() -> None:
    assert roles(ROLES) == []
    assert plan_database(APP, DATABASE, INSIDE, SUPERUSER) == []


def test_from_nothing_every_role_is_made_before_it_is_used() -> None:
    steps = roles({})
    assert [step.what for step in steps if step.what.startswith("create role")] == [
        f"create role app_{kind}" for kind in ("owner", "rw", "ro", "migrate", "app_a", "app_b", "monitor")
    ]
    seen: set[str] = set()
    for step in steps:
        if step.what.startswith("make "):
            member, group = step.what.removeprefix("make ").split(" a member of ")
            assert {member, group} <= seen | {"pg_monitor", "pg_read_all_stats"}
        seen.add(step.what.removeprefix("create role "))


def test_no_password_is_part_of_a_statement_or_of_what_is_said() -> None:
    wanted = Wanted("app", {kind: f"secret-{kind}" for kind in PASSWORDS})
    steps = plan_roles(wanted, {}, set(), SUPERUSER, lambda password: "VERIFIER")
    assert [step.sql for step in steps if "PASSWORD" in step.sql] == [
        f"ALTER ROLE \"app_{kind}\" PASSWORD 'VERIFIER'" for kind in PASSWORDS
    ]
    assert "secret-" not in str(steps)


@pytest.mark.parametrize(
    ("name", "found", "statement"),
    [
        ("app_app_b", Role(login=True, member_of=frozenset({"app_rw"})), 'ALTER ROLE "app_app_b" NOLOGIN CONNECTION LIMIT -1'),
        ("app_rw", Role(login=False, powers=frozenset({"SUPERUSER", "CREATEDB"})),
         'ALTER ROLE "app_rw" NOLOGIN CONNECTION LIMIT -1 NOCREATEDB NOSUPERUSER'),
        ("app_app_a", Role(login=True), 'GRANT "app_rw" TO "app_app_a"'),
    ],
)  # fmt: skip
def test_a_role_that_differs_is_put_right(name: str, found: Role, statement: str) -> None:
    assert sql(roles({**ROLES, name: found}, closing=frozenset({"app_app_b"}))) == [statement]


@pytest.mark.parametrize(
    ("found", "stale", "closing", "statements"),
    [
        pytest.param(Role(True), False, False, [], id="serves, goes on"),
        pytest.param(Role(True), True, False, [], id="serves, with the password it has"),
        pytest.param(Role(True, 5), False, False, ["LOGIN CONNECTION LIMIT -1"], id="other drift is repaired"),
        pytest.param(Role(True), False, True, ["NOLOGIN CONNECTION LIMIT -1"], id="may be closed"),
        pytest.param(Role(True), True, True, ["NOLOGIN CONNECTION LIMIT -1", "PASSWORD 'verifier of b'"], id="closed, gets it"),
        pytest.param(Role(False), True, False, ["PASSWORD 'verifier of b'"], id="shut, gets it at once"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("facts", [SUPERUSER, LIMITED])
def test_the_login_that_is_not_active_is_left_to_what_serves_until_it_may_be_closed(
    facts: Facts, found: Role, stale: bool, closing: bool, statements: list[str]
) -> None:
    name = frozenset({"app_app_b"})
    there = {**ROLES, "app_app_b": replace(found, member_of=frozenset({"app_rw"}))}
    steps = roles(there, name if stale else frozenset(), facts, name if closing else frozenset())
    assert sql(steps) == [f'ALTER ROLE "app_app_b" {rest}' for rest in statements]


@pytest.mark.parametrize(
    ("stale", "login", "left", "told", "words"),
    [
        ((), True, (), False, []),
        (("app_app_a",), True, (), False, ["The password of app_app_a changes while it is open"]),
        (("app_app_a",), False, (), False, []),
        (("app_app_b",), True, (), False, []),
        ((), True, ("app_app_b",), False, ["app_app_b stays open beside app_app_a"]),
        ((), True, ("app_app_b",), True, ["app_app_b is not closed while somebody is connected with it"]),
    ],
)
def test_what_is_said_about_application_logins(
    stale: tuple[str, ...], login: bool, left: tuple[str, ...], told: bool, words: list[str]
) -> None:
    found = {**ROLES, "app_app_a": replace(ROLES["app_app_a"], login=login)}
    lines = login_warnings([APP], found, stale, left, told)
    assert len(lines) == len(words)
    assert all(line.startswith(start) for line, start in zip(lines, words, strict=True))


def test_a_stale_password_is_set() -> None:
    assert sql(roles(ROLES, frozenset({"app_app_b"}))) == ["ALTER ROLE \"app_app_b\" PASSWORD 'verifier of b'"]


def test_where_verifiers_cannot_be_read_an_opened_login_gets_its_password_again() -> None:
    shut = {**ROLES, "app_app_a": replace(ROLES["app_app_a"], login=False)}
    what = [step.what for step in roles(shut, facts=LIMITED)]
    assert what == ["alter role app_app_a: LOGIN CONNECTION LIMIT -1", "set the password of app_app_a"]
    assert len(roles(shut)) == 1, "a superuser would have seen that it is stale"


def test_without_superuser_the_user_first_gets_to_act_as_the_owner() -> None:
    unusable = {**ROLES, "app_owner": replace(ROLES["app_owner"], usable=False)}
    assert sql(roles(unusable, facts=LIMITED)) == ['GRANT "app_owner" TO CURRENT_USER']
    without = {**ROLES, "app_monitor": Role(login=True)}
    assert roles(without, facts=LIMITED) == [], "pg_monitor cannot be granted, and is not tried at every run"


@pytest.mark.parametrize(
    ("facts", "init_sql", "found", "ran"),
    [
        (SUPERUSER, "SELECT 1", None, True),
        (SUPERUSER, "  ", None, False),
        (SUPERUSER, "SELECT 1", replace(DATABASE, comment=""), True),
        (SUPERUSER, "SELECT 1", replace(DATABASE, comment="", owner="somebody"), False),
        (SUPERUSER, "SELECT 1", replace(DATABASE, comment=f"of the shop\n{MARKER}"), False),
    ],
)
def test_when_init_sql_runs(facts: Facts, init_sql: str, found: Database | None, ran: bool) -> None:
    steps = plan_database(replace(APP, init_sql=init_sql), found, INSIDE, facts)
    assert any("init SQL" in step.what for step in steps) is ran
    marked = [step for step in steps if step.what.startswith("mark")]
    assert len(marked) == (0 if found and MARKER in found.comment else 1)


@pytest.mark.parametrize(
    ("facts", "name", "statements"),
    [
        (SUPERUSER, "vector", ['CREATE EXTENSION "vector" CASCADE']),
        (LIMITED, "vector", []),
        (LIMITED, "pg_trgm", ['SET LOCAL ROLE "app_owner";\nCREATE EXTENSION "pg_trgm" CASCADE;\nRESET ROLE']),
        (replace(LIMITED, provider_admin=True), "vector", ['CREATE EXTENSION "vector" CASCADE']),
        (SUPERUSER, "nowhere", []),
    ],
)
def test_extensions(facts: Facts, name: str, statements: list[str]) -> None:
    assert sql(plan_database(replace(APP, extensions=(name,)), DATABASE, INSIDE, facts)) == statements


def test_grants_are_brought_to_what_is_wanted_and_those_of_others_stay() -> None:
    database = replace(
        DATABASE, grants=DATABASE.grants - {("app_ro", "CONNECT")} | {("PUBLIC", "CONNECT"), ("x", "CREATE")}
    )
    inside = replace(INSIDE, defaults=INSIDE.defaults | {("r", "app_rw", "TRUNCATE"), ("r", "x", "SELECT")})
    assert sql(plan_database(APP, database, inside, SUPERUSER)) == [
        'REVOKE CONNECT ON DATABASE "app" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "app" TO "app_ro"',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "app_owner" REVOKE TRUNCATE ON TABLES FROM "app_rw"',
    ]


def test_who_migrates_may_name_a_point_to_restore_to() -> None:
    inside = replace(INSIDE, restore_point=frozenset())
    statement = 'GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO "app_migrate"'
    assert sql(plan_database(APP, DATABASE, inside, SUPERUSER)) == [statement]
    assert plan_database(APP, DATABASE, inside, LIMITED) == [], "only a superuser can let it, so nobody else tries"


def test_a_database_that_may_not_be_created_is_refused() -> None:
    with pytest.raises(PlatformError, match="may not create it"):
        plan_database(APP, None, Inside(), replace(LIMITED, createdb=False))


def test_each_missing_capability_is_named_with_its_cost() -> None:
    nothing = replace(LIMITED, createdb=False, createrole=False, tls=False, checksums=False)
    found = capabilities(nothing, [replace(APP, extensions=("vector", "nowhere"))], {})
    said = warnings(found)
    for name in (
        "create_role",
        "create_database",
        "restore_point",
        "grant_monitor",
        "read_verifiers",
        "tls",
        "checksums",
    ):
        assert [line for line in said if f"`{name}`: " in line], name
    assert found["extensions"] == {"vector": "forbidden", "nowhere": "missing"}
    assert len(said) == 9
    assert warnings(capabilities(SUPERUSER, [APP], {})) == []


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ({}, ""),
        ({"version": "17", "encoding": "UTF8", "locale": "builtin:C.UTF-8"}, ""),
        ({"version": None}, ""),
        ({"version": "18"}, "version 17, and version 18"),
        ({"encoding": "LATIN1"}, "encoding UTF8, and encoding LATIN1"),
        ({"locale": "libc:C"}, "locale builtin:C.UTF-8, and locale libc:C"),
    ],
)
def test_another_cluster_is_refused(expected: dict[str, Any], problem: str) -> None:
    if not problem:
        check_cluster(SUPERUSER, expected)
        return
    with pytest.raises(PlatformError, match=problem) as error:
        check_cluster(SUPERUSER, expected)
    assert "pg_dumpall" in error.value.cure


def test_too_old_a_server_is_refused() -> None:
    with pytest.raises(PlatformError, match="PostgreSQL 15 or newer"):
        check_cluster(replace(SUPERUSER, major=14), {})


@pytest.mark.parametrize(
    ("template", "locale"),
    [
        ({"datlocprovider": "c", "datcollate": "en_US.utf8"}, "libc:en_US.utf8"),
        ({"datlocprovider": "b", "datcollate": "C", "datlocale": "C.UTF-8"}, "builtin:C.UTF-8"),
        ({"datlocprovider": "i", "datcollate": "C", "daticulocale": "und"}, "icu:und"),
    ],
)
def test_locales_of_all_versions(template: dict[str, Any], locale: str) -> None:
    assert locale_of(template) == locale


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([{"name": "App"}], "cannot be the name"),
        ([{"name": "a-b"}], "cannot be the name"),
        ([{"name": "postgres"}], "cannot be the name"),
        ([{"name": "x" * 56}], "cannot be the name"),
        ([{"name": "a"}, {"name": "a"}], "asked for twice"),
        ([{"name": "a"}, {"name": "a_app"}], ""),
        ([{"name": "a_app"}, {"name": "a"}], ""),
    ],
)
def test_names(entries: list[dict[str, Any]], problem: str) -> None:
    if problem:
        with pytest.raises(PlatformError, match=problem):
            wanted_from(entries)
    else:
        assert len(wanted_from(entries)) == len(entries)


def test_a_missing_password_is_named() -> None:
    with pytest.raises(PlatformError, match=r"app\.app_b, app\.monitor"):
        check_passwords([Wanted("app", {"migrate": "m", "app_a": "a", "app_b": ""})])


def test_quoting() -> None:
    assert ident('a"b') == '"a""b"'
    assert literal("it's \\ %s") == "'it''s \\ %s'"


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ('FATAL:  password authentication failed for user "u"', WrongPassword, "refuses the password of user u"),
        ("fe_sendauth: no password supplied", WrongPassword, "refuses the password"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", no encryption', PlatformError, "does not let user u in"),
        ("SSL error: certificate verify failed", PlatformError, "cannot be trusted"),
        ("server does not support SSL, but SSL was required", PlatformError, "speaks no TLS"),
        ("connection refused\n\tIs the server running?", Unreachable, "does not answer: connection refused"),
        ("FATAL:  the database system is starting up", Unreachable, "does not answer"),
        ("", Unreachable, "no reason given"),
    ],
)
def test_what_a_failed_connection_means(message: str, kind: type[PlatformError], words: str) -> None:
    error = explain(message, {"host": "h", "port": 1, "user": "u", "dbname": "d"})
    assert type(error) is kind
    assert words in error.problem
    assert error.cure


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("postgresql://u:p%40ss@h:5433/d?sslmode=require",
         {"host": "h", "port": 5433, "user": "u", "password": "p@ss", "dbname": "d", "sslmode": "require"}),
        ("postgres+psycopg2://u:p@h",
         {"host": "h", "port": 5432, "user": "u", "password": "p", "dbname": "postgres", "sslmode": "verify-full"}),
    ],
)  # fmt: skip
def test_urls(url: str, wanted: dict[str, Any]) -> None:
    found = settings_of({"url": url, "host": "x", "port": 1, "user": "x", "password": None, "sslmode": "verify-full",
                         "maintenance_database": "postgres", "connect_timeout": 5})  # fmt: skip
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    "url", ["mysql://u:hidden@h/d", "postgresql:///d", "postgresql://u:hidden@h:port/d", "postgresql://u:hidden@[h/d"]
)
def test_urls_that_cannot_be_read(url: str) -> None:
    with pytest.raises(PlatformError, match="cannot be read") as error:
        settings_of({"url": url, "host": "x", "port": 1, "user": "x", "password": None, "sslmode": "verify-full",
                     "maintenance_database": "postgres", "connect_timeout": 5})  # fmt: skip
    assert "hidden" not in str(error.value)
