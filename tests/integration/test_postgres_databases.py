# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real server with TLS."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.support import random_name, run_module

IMAGE = "lastro/postgres:17"
SUPERUSER = "super-secret-of-the-server"
LOGINS = ("migrate", "app_a", "app_b", "monitor")


def docker(*arguments: str) -> str:
    done = subprocess.run(["/usr/bin/docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


class Server:
    """A throw-away server that takes TLS only and logs every statement."""

    def __init__(self, directory: Path) -> None:
        self.name = random_name()
        material = run_module(
            "tls_certificates",
            {"directory": str(directory / "ca"), "certificates": [{"name": "server", "ips": ["127.0.0.1"]}]},
        )["material"]
        self.ca: str = material["ca"]
        config = directory / "config"
        config.mkdir()
        for name, content in (
            ("server.key", material["certificates"]["server"]["key"]),
            ("server.crt", material["certificates"]["server"]["certificate"]),
            ("password", SUPERUSER),
            ("pg_hba.conf", "hostssl all all all scram-sha-256\n"),
            (
                "postgresql.conf",
                "listen_addresses = '*'\nssl = on\nssl_key_file = '/config/server.key'\nssl_cert_file = "
                "'/config/server.crt'\nhba_file = '/config/pg_hba.conf'\nlog_statement = 'all'\nfsync = off\n"
                "include_dir = '/config/more'\n",
            ),
        ):
            (config / name).write_text(content)
            (config / name).chmod(0o400)
            os.chown(config / name, 999, 999)
        (config / "more").mkdir(mode=0o755)
        config.chmod(0o755)
        self.more = config / "more" / "test.conf"
        docker(
            "run", "-d", "--name", self.name, "--tmpfs", "/var/lib/postgresql/data:uid=999,gid=999,mode=0700",
            "-v", f"{config}:/config:ro", "-p", "127.0.0.1::5432",
            "-e", "POSTGRES_PASSWORD_FILE=/config/password", "-e", "POSTGRES_INITDB_ARGS=--data-checksums --encoding=UTF8 "
            "--locale-provider=builtin --locale=C.UTF-8", IMAGE, "postgres", "-c", "config_file=/config/postgresql.conf",
        )  # fmt: skip
        self.port = int(docker("port", self.name, "5432").splitlines()[0].rsplit(":", 1)[1])
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_text(self.ca)
        end = time.monotonic() + 60
        while subprocess.run(
            ["/usr/bin/docker", "exec", self.name, "pg_isready", "-q", "-h", "127.0.0.1"], check=False
        ).returncode:
            assert time.monotonic() < end, docker("logs", self.name)
            time.sleep(0.2)

    def run(self, *databases: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        given = {"host": "127.0.0.1", "port": self.port, "password": SUPERUSER, "ca": self.ca, "databases": databases}
        return run_module("postgres_databases", {**given, **options}, check, True)

    @contextmanager
    def session(self, user: str = "postgres", password: str = SUPERUSER, database: str = "postgres") -> Iterator[Any]:
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname=database, sslmode="require"
        )
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def sql(self, text: str, **login: str) -> list[tuple[Any, ...]]:
        with self.session(**login) as cursor:
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []

    def logs(self) -> str:
        done = subprocess.run(["/usr/bin/docker", "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("postgres"))
    try:
        yield running
    finally:
        docker("rm", "-f", "-v", running.name)


@pytest.fixture
def wanted(server: Server) -> Iterator[dict[str, Any]]:
    name = random_name("lt_")
    yield {"name": name, "passwords": {login: f"{login}-of-{name}" for login in LOGINS}}
    server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    for kind in ("app_a", "app_b", "migrate", "monitor", "rw", "ro", "owner"):
        server.sql(f"DROP ROLE IF EXISTS {name}_{kind}")


def login(wanted: dict[str, Any], kind: str) -> dict[str, str]:
    name = wanted["name"]
    return {"user": f"{name}_{kind}", "password": wanted["passwords"][kind], "database": name}


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


def test_each_login_may_do_its_work_and_no_more(server: Server, wanted: dict[str, Any]) -> None:
    assert server.run({**wanted, "extensions": ["vector"]})["capabilities"]["extensions"] == {"vector": "installed"}
    name, migrate, app, monitor = wanted["name"], *(login(wanted, kind) for kind in ("migrate", "app_a", "monitor"))
    server.sql("CREATE TABLE item (id serial PRIMARY KEY, v vector(2))", **migrate)
    assert server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'item'", **migrate) == [(f"{name}_owner",)]
    settings = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    assert server.sql(settings, **migrate) == [("5s", "15min")]

    server.sql("INSERT INTO item (v) VALUES ('[1,2]'), ('[3,4]')", **app)
    assert server.sql("SELECT id FROM item ORDER BY v <-> '[3,3]' LIMIT 1", **app) == [(2,)]
    server.sql("CREATE TEMPORARY TABLE t AS SELECT * FROM item", **app)
    for statement in ("CREATE TABLE other (id int)", "ALTER TABLE item ADD x int", "DROP TABLE item", "TRUNCATE item"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            server.sql(statement, **app)

    server.sql("CREATE SCHEMA part; CREATE TABLE part.piece (id int)", **migrate)
    server.sql("INSERT INTO part.piece VALUES (1)", **app)

    with server.session(database=name) as cursor:
        cursor.execute(f"SET ROLE {name}_ro; SELECT count(*) FROM item")
        assert cursor.fetchone() == (2,)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM item")
    assert server.sql("SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>'", **monitor) == [
        (0,)
    ]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        server.sql("SELECT * FROM item", **monitor)


def test_one_database_is_closed_to_the_logins_of_another(server: Server, wanted: dict[str, Any]) -> None:
    other = {**wanted, "name": wanted["name"] + "x"}
    server.run(wanted, other)
    try:
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            server.sql("SELECT 1", **{**login(wanted, "app_a"), "database": other["name"]})
    finally:
        server.sql(f"DROP DATABASE {other['name']}")
        for kind in ("app_a", "app_b", "migrate", "monitor", "rw", "ro", "owner"):
            server.sql(f"DROP ROLE {other['name']}_{kind}")


def test_of_two_application_logins_one_is_open(server: Server, wanted: dict[str, Any]) -> None:
    server.run(wanted)
    server.sql("SELECT 1", **login(wanted, "app_a"))
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        server.sql("SELECT 1", **login(wanted, "app_b"))

    turned = server.run({**wanted, "active": "b"})
    assert len(turned["databases"][wanted["name"]]["changes"]) == 2
    server.sql("SELECT 1", **login(wanted, "app_b"))
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        server.sql("SELECT 1", **login(wanted, "app_a"))


def test_a_password_changes_when_it_changed_and_shows_nowhere(server: Server, wanted: dict[str, Any]) -> None:
    server.run(wanted)
    name = wanted["name"]
    changed = {**wanted, "passwords": {**wanted["passwords"], "app_a": "another-päss'word%s"}}
    result = server.run(changed)
    assert result["databases"][name]["changes"] == [f"set the password of {name}_app_a"]
    server.sql("SELECT 1", **login(changed, "app_a"))
    assert not server.run(changed)["changed"]
    shown = json.dumps(result) + server.logs()
    for secret in (SUPERUSER, "another-p", *wanted["passwords"].values(), "SCRAM-SHA-256"):
        assert secret not in shown
    assert "SELECT" in server.logs(), "the log holds statements, or it would prove nothing"


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


def manager(server: Server, attributes: str) -> dict[str, str]:
    role = random_name("lt_admin_")
    server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'managed-by-url' {attributes}")
    return {"url": f"postgresql+psycopg2://{role}:managed-by-url@127.0.0.1:{server.port}/postgres?sslmode=require"}


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
            "run", "--rm", "-u", "0", "-v", f"{volume}:/v", "--entrypoint", "sh", IMAGE, "-c", "echo 16 > /v/PG_VERSION"
        )
        refused = run_module("postgres_databases", options)
        assert "made with version 16, and version 17 is asked for" in refused["msg"]
        assert "pg_dumpall" in refused["msg"]
    finally:
        docker("volume", "rm", volume)
