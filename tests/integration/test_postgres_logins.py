# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the logins of a database may do, and how their passwords change, on a real server with TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.integration.postgres_server import SUPERUSER, Server, login
from tests.support import REPOSITORY


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


def open_logins(server: Server, wanted: dict[str, Any]) -> list[str]:
    """The application logins that are open; each is tried."""
    roles = server.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin")
    found = [kind for kind in ("app_a", "app_b") if (f"{wanted['name']}_{kind}",) in roles]
    for kind in found:
        server.sql("SELECT 1", **login(wanted, kind))
    for kind in {"app_a", "app_b"} - set(found):
        with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
            server.sql("SELECT 1", **login(wanted, kind))
    return found


def said(result: dict[str, Any]) -> str:
    return json.dumps(result.get("warnings", ""))


def test_a_login_that_serves_stays_open_until_the_module_is_told_to_close_it(
    server: Server, wanted: dict[str, Any]
) -> None:
    name = wanted["name"]
    assert server.run(wanted)["open_logins"] == []
    assert open_logins(server, wanted) == ["app_a"]

    other = {**wanted, "active": "b"}
    turned = server.run(other)
    assert turned["databases"][name]["changes"] == [f"alter role {name}_app_b: LOGIN CONNECTION LIMIT -1"]
    assert turned["open_logins"] == [f"{name}_app_a"]
    assert f"{name}_app_a stays open beside {name}_app_b" in said(turned)
    assert open_logins(server, wanted) == ["app_a", "app_b"]
    assert not server.run(other)["changed"], "the release may take several attempts"

    planned = server.run(other, check=True, close_inactive=True)
    closed = server.run(other, close_inactive=True)
    assert closed["databases"] == planned["databases"]
    assert closed["databases"][name]["changes"] == [f"alter role {name}_app_a: NOLOGIN CONNECTION LIMIT -1"]
    assert (closed["open_logins"], said(closed)) == ([], '""')
    assert open_logins(server, wanted) == ["app_b"]
    assert not server.run(other, close_inactive=True)["changed"]


def test_a_login_is_not_closed_on_whoever_is_connected_with_it(server: Server, wanted: dict[str, Any]) -> None:
    name, other = wanted["name"], {**wanted, "active": "b"}
    server.run(wanted)
    with server.session(**login(wanted, "app_a")):
        kept = server.run(other, close_inactive=True)
        assert kept["open_logins"] == [f"{name}_app_a"]
        assert f"{name}_app_a is not closed while somebody is connected with it" in said(kept)
    assert open_logins(server, wanted) == ["app_a", "app_b"]
    assert server.run(other, close_inactive=True)["open_logins"] == []
    assert open_logins(server, wanted) == ["app_b"]


def test_both_passwords_may_change_in_one_edit(server: Server, wanted: dict[str, Any]) -> None:
    """What serves keeps its login and its password until it is closed, and only then gets the new one."""
    server.run(wanted)
    new = {**wanted, "active": "b", "passwords": {**wanted["passwords"], "app_a": "new-a", "app_b": "new-b"}}
    opened = server.run(new)
    server.sql("SELECT 1", **login(wanted, "app_a"))
    server.sql("SELECT 1", **login(new, "app_b"))
    assert "what uses it" not in said(opened), "nobody used the login that was opened"
    assert len(server.run(new, close_inactive=True)["databases"][wanted["name"]]["changes"]) == 2
    server.run({**new, "active": "a"})
    server.sql("SELECT 1", **login(new, "app_a"))


def test_a_password_of_the_login_in_use_changes_and_is_warned_about(server: Server, wanted: dict[str, Any]) -> None:
    server.run(wanted)
    changed = {**wanted, "passwords": {**wanted["passwords"], "app_a": "another"}}
    for check in (True, False):
        assert f"The password of {wanted['name']}_app_a changes while it is open" in said(
            server.run(changed, check=check)
        )
    server.sql("SELECT 1", **login(changed, "app_a"))
    assert said(server.run(changed)) == '""'
    idle = {**changed, "passwords": {**changed["passwords"], "app_b": "another"}}
    assert said(server.run(idle)) == '""', "nobody can be using a login that is closed"


def test_no_verifier_is_kept_among_the_statistics_of_statements(server: Server, wanted: dict[str, Any]) -> None:
    server.run({**wanted, "extensions": ["pg_stat_statements"]})
    server.sql("CREATE TABLE counted (id int)", **login(wanted, "migrate"))
    seen = str(server.sql("SELECT query FROM pg_stat_statements", **login(wanted, "monitor")))
    assert "CREATE TABLE counted" in seen, "the monitor sees such statements of others, or it would prove nothing"
    assert "SCRAM-SHA-256" not in seen


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


def deploy(directory: Path, server: Server, wanted: dict[str, Any], *options: str) -> str:
    """The role at both places of a deploy; what Ansible said."""
    name = "lastro.platform.postgres"
    url = f"postgresql://postgres:{SUPERUSER}@127.0.0.1:{server.port}/postgres?sslmode=require"
    given = {"postgres_url": url, "postgres_databases": [wanted], "platform_name": "lt", "platform_state_dir": "/lt",
             "platform_private_address": "127.0.0.1", "ansible_python_interpreter": sys.executable}  # fmt: skip
    roles = [{"ansible.builtin.include_role": {"name": name, "tasks_from": entry}} for entry in ("main", "close")]
    play = [{"hosts": "localhost", "gather_facts": False, "vars": given, "tasks": roles}]
    (directory / "play.yml").write_text(json.dumps(play))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*command, str(directory / "play.yml"), *options], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_deploy_closes_the_login_at_its_end_when_its_release_serves(
    server: Server, wanted: dict[str, Any], tmp_path: Path
) -> None:
    keep = "TASK [lastro.platform.postgres : Keep roles, rights, extensions and first content]"
    wanted = {**wanted, "extensions": []}
    server.run(wanted)
    other = {**wanted, "active": "b"}
    assert deploy(tmp_path, server, other, "-e", "postgres_close_inactive=false").count(keep) == 1
    assert open_logins(server, wanted) == ["app_a", "app_b"]
    assert deploy(tmp_path, server, other, "-e", "postgres_close_inactive=true").count(keep) == 2
    assert open_logins(server, wanted) == ["app_b"]
    again = deploy(tmp_path, server, other, "-e", "postgres_close_inactive=true")
    assert (again.count(keep), "changed=0" in again) == (1, True), "nothing to do costs nothing"
