# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real server with TLS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.postgres_images import image
from tests.integration.postgres_server import Server, docker, login, manager
from tests.support import random_name, run_module


def test_from_nothing_to_nothing_to_do(server: Server, wanted: dict[str, Any]) -> None:
    planned = server.run(wanted, check=True)
    assert planned["changed"]
    assert planned["databases"][wanted["name"]]["action"] == "create"
    assert server.sql(f"SELECT 1 FROM pg_roles WHERE rolname LIKE '{wanted['name']}%'") == []

    first = server.run(wanted)
    assert "failed" not in first, first["msg"]
    assert first["databases"] == planned["databases"]
    assert first["server_version"].startswith("17.")
    for check in (True, False):
        again = server.run(wanted, check=check)
        assert not again["changed"], again["databases"]
        assert again["databases"][wanted["name"]] == {"action": "none", "changes": []}


def test_init_sql_runs_once_as_the_owner_or_not_at_all(server: Server, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    broken = {**wanted, "init_sql": "CREATE TABLE first (id int); SELECT 1/0;"}
    failed = server.run(broken)
    assert "division by zero" in failed["msg"]
    good = {**wanted, "init_sql": "CREATE TABLE first (id int);\nINSERT INTO first VALUES (1); -- 100 %\n"}
    assert f"run the init SQL of {name}" in server.run(good)["databases"][name]["changes"]
    assert not server.run(good)["changed"]
    assert not server.run({**good, "init_sql": "DROP TABLE first"})["changed"]
    assert server.sql("SELECT count(*) FROM first", **login(wanted, "app_a")) == [(1,)]
    owner = server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'first'", **login(wanted, "app_a"))
    assert owner == [(f"{name}_owner",)]


def test_a_database_that_was_there_is_adopted_and_not_initialised(server: Server, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    server.sql(f"CREATE DATABASE {name}")
    server.sql(f"COMMENT ON DATABASE {name} IS 'of the shop'")
    changes = server.run({**wanted, "init_sql": "CREATE TABLE first (id int)"})["databases"][name]["changes"]
    assert f"make {name}_owner the owner of {name} (was postgres)" in changes
    assert not [change for change in changes if "init SQL" in change]
    assert not server.run({**wanted, "init_sql": "CREATE TABLE first (id int)"})["changed"]
    comment = server.sql(f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'")
    assert comment[0][0].startswith("of the shop\n")


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER ROLE {0}_app_a SUPERUSER",
        "ALTER ROLE {0}_rw LOGIN",
        "ALTER ROLE {0}_migrate RESET lock_timeout",
        "ALTER ROLE {0}_app_a PASSWORD NULL",
        "REVOKE {0}_rw FROM {0}_app_a",
        "REVOKE pg_monitor FROM {0}_monitor",
        "GRANT CONNECT ON DATABASE {0} TO PUBLIC",
        "GRANT CREATE ON DATABASE {0} TO {0}_rw",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {0}_owner REVOKE SELECT ON TABLES FROM {0}_ro",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {0}_owner GRANT TRUNCATE ON TABLES TO {0}_rw",
    ],
)
def test_drift_is_seen_and_repaired(server: Server, wanted: dict[str, Any], drift: str) -> None:
    server.run(wanted)
    server.sql(drift.format(wanted["name"]), database=wanted["name"])
    planned = server.run(wanted, check=True)
    repaired = server.run(wanted)
    assert planned["databases"] == repaired["databases"]
    assert len(repaired["databases"][wanted["name"]]["changes"]) == 1
    assert not server.run(wanted)["changed"]


def test_a_killed_run_is_repaired_by_the_next(server: Server, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    server.run(wanted)
    server.sql(f"DROP DATABASE {name}")
    server.sql(f"CREATE DATABASE {name} OWNER {name}_owner TEMPLATE template0")
    repaired = server.run({**wanted, "init_sql": "CREATE TABLE first (id int)"})["databases"][name]["changes"]
    assert f"run the init SQL of {name}" in repaired


def test_a_managed_server_is_used_as_far_as_the_user_may(server: Server, wanted: dict[str, Any]) -> None:
    url = manager(server, "CREATEDB CREATEROLE")
    full = {**wanted, "extensions": ["pg_trgm", "vector", "nowhere"]}
    first = server.run(full, **url)
    assert "failed" not in first, first["msg"]
    assert first["managed"]
    found = first["capabilities"]
    assert found["extensions"] == {"pg_trgm": "installed", "vector": "forbidden", "nowhere": "missing"}
    assert (found["create_database"], found["restore_point"], found["grant_monitor"]) == (True, False, False)
    said = json.dumps(first["warnings"])
    for words in (
        "`restore_point`: no named restore point",
        "`grant_monitor`",
        "vector needs an admin",
        "nowhere",
    ):
        assert words in said
    assert "managed-by-url" not in json.dumps(first)
    assert not server.run(full, **url)["changed"]
    server.sql("CREATE TABLE item (t text)", **login(wanted, "migrate"))
    server.sql("INSERT INTO item VALUES (similarity('a', 'b')::text)", **login(wanted, "app_a"))

    changed = {**full, "passwords": {**wanted["passwords"], "app_a": "new", "app_b": "new too"}, "active": "b"}
    server.run(changed, **url)
    server.sql("SELECT 1", **login(changed, "app_b"))
    assert not server.run(changed, **url)["changed"]
    with server.session(**login(wanted, "app_a")):
        assert server.run(changed, close_inactive=True, **url)["open_logins"] == [f"{wanted['name']}_app_a"]
    assert server.run(changed, close_inactive=True, **url)["open_logins"] == []
    assert not server.run(changed, close_inactive=True, **url)["changed"]
    server.sql(f"DROP DATABASE {wanted['name']} WITH (FORCE)")


def test_with_an_application_url_the_server_is_only_checked(server: Server, wanted: dict[str, Any]) -> None:
    url, before = manager(server, ""), server.sql("SELECT count(*) FROM pg_roles")
    result = server.run({"name": "postgres_app", "extensions": ["vector"]}, **url)
    assert "failed" not in result, result["msg"]
    assert (result["managed"], result["changed"]) == (False, False)
    assert "postgres_app does not exist" in json.dumps(result["warnings"])
    assert "`create_role`: no roles" in json.dumps(result["warnings"])
    assert server.sql("SELECT count(*) FROM pg_roles") == before


def test_a_database_that_may_not_be_created_is_named(server: Server, wanted: dict[str, Any]) -> None:
    refused = server.run(wanted, **manager(server, "CREATEROLE"))
    assert "may not create it" in refused["msg"]
    assert server.sql(f"SELECT 1 FROM pg_roles WHERE rolname LIKE '{wanted['name']}%'") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"password": "wrong"}, "refuses the password of user postgres"),
        ({"user": "nobody", "password": "wrong"}, "refuses the password of user nobody"),
        ({"maintenance_database": "nowhere"}, "has no database nowhere"),
        ({"sslmode": "disable"}, "it takes TLS only"),
        ({"host": "localhost"}, "certificate that cannot be trusted"),
        ({"port": 1}, "does not answer"),
        ({"url": "postgresql://u:hidden@127.0.0.1:1/x", "password": None}, "does not answer"),
        ({"url": "mysql://u:hidden@127.0.0.1/x", "password": None}, "cannot be read"),
        ({"expect": {"version": "16"}}, "made with version 17, and version 16 is asked for"),
        ({"expect": {"encoding": "LATIN1"}}, "made with encoding UTF8"),
        ({"expect": {"locale": "libc:C"}}, "made with locale builtin:C.UTF-8"),
    ],
)
def test_refusals_name_the_cause(server: Server, wanted: dict[str, Any], options: dict[str, Any], words: str) -> None:
    refused = server.run(wanted, **options)
    assert words in refused["msg"]
    assert "hidden" not in refused["msg"]
    assert server.sql(f"SELECT 1 FROM pg_roles WHERE rolname LIKE '{wanted['name']}%'") == []


def test_a_missing_password_is_refused_before_a_change(server: Server, wanted: dict[str, Any]) -> None:
    refused = server.run({**wanted, "passwords": {**wanted["passwords"], "monitor": ""}})
    assert f"Passwords are missing: {wanted['name']}.monitor" in refused["msg"]
    assert server.sql(f"SELECT 1 FROM pg_roles WHERE rolname LIKE '{wanted['name']}%'") == []


def test_check_mode_without_a_server_says_what_would_be(wanted: dict[str, Any]) -> None:
    options = {"host": "127.0.0.1", "port": 1, "password": "x", "databases": [wanted]}
    planned = run_module("postgres_databases", options, check=True)
    assert (planned["changed"], planned["reachable"]) == (True, False)
    assert planned["databases"][wanted["name"]]["action"] == "create"
    assert "failed" in run_module("postgres_databases", options)


def test_settings_that_wait_for_a_restart_are_reported_and_wrong_ones_refused(server: Server) -> None:
    # No reload, as one that was just asked for may not have happened yet.
    try:
        server.more.write_text("max_connections = 77\nwork_mem = '5MB'\n")
        assert server.run()["pending_restart"] == [{"name": "max_connections", "value": "100"}]
        server.more.write_text("work_mem = 'a lot'\n")
        assert "did not take its configuration: work_mem" in server.run()["msg"]
        server.more.write_text("max_connections = 'many'\n")
        assert "did not take its configuration: max_connections" in server.run()["msg"]
        server.more.write_text("no_such_thing = 1\n")
        assert "did not take its configuration: no_such_thing" in server.run()["msg"]
    finally:
        server.more.write_text("")


def test_only_checking_changes_nothing(server: Server, wanted: dict[str, Any]) -> None:
    fits = server.run(
        wanted, only_check=True, expect={"version": "17", "encoding": "UTF8", "locale": "builtin:C.UTF-8"}
    )
    assert fits["changed"] is False
    assert "locale libc:C is asked for" in server.run(wanted, only_check=True, expect={"locale": "libc:C"})["msg"]
    assert server.sql(f"SELECT 1 FROM pg_roles WHERE rolname LIKE '{wanted['name']}%'") == []


def test_data_of_another_major_version_is_refused_where_no_server_runs(server: Server) -> None:
    volume = random_name()
    options = {"host": "127.0.0.1", "port": 1, "data_volume": volume, "only_check": True, "expect": {"version": "17"}}
    assert run_module("postgres_databases", options)["changed"] is False
    docker("volume", "create", volume)
    try:
        assert run_module("postgres_databases", options)["changed"] is False
        docker(
            "run", "--rm", "-u0", "-v", f"{volume}:/v", "--entrypoint", "sh", image(17), "-c", "echo 16 > /v/PG_VERSION"
        )
        refused = run_module("postgres_databases", options)
        assert "made with version 16, and version 17 is asked for" in refused["msg"]
        assert "pg_dumpall" in refused["msg"]
    finally:
        docker("volume", "rm", volume)
