# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations by Alembic against a real server: what is planned, what runs, and what is left when it fails."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.alembic_project import AlembicProject
from tests.integration.postgres_server import Server, login

TABLE = "CREATE TABLE item (id bigint PRIMARY KEY, name text)"


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    return AlembicProject(tmp_path, server, wanted)


def test_from_nothing_to_nothing_to_do(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("ALTER TABLE item ADD COLUMN price int", more='platform_class = "expand"')
    planned = project.plan()
    assert planned["changed"]
    assert (planned["current"], planned["heads"]) == ([], ["0002"])
    first, second = planned["pending"]
    assert (first["id"], first["message"], first["class"]) == ("0001", "Revision 0001.", "")
    assert "CREATE TABLE item" in first["sql"]
    assert (second["down"], second["class"]) == (["0001"], "expand")
    assert project.sql("SELECT to_regclass('item')") == [(None,)]

    done = project.run(planned)
    assert "failed" not in done, done["msg"]
    assert done["changed"]
    assert (done["before"], done["after"], done["applied"]) == ([], ["0002"], ["0001", "0002"])
    assert project.sql("SELECT tableowner::text FROM pg_tables WHERE tablename = 'item'")[0][0].endswith("_owner")

    planned = project.plan()
    assert not planned["changed"]
    assert planned["pending"] == []
    done = project.run()
    assert not done["changed"]
    assert done["applied"] == []


def test_a_plan_that_is_another_one_by_now_is_refused(project: AlembicProject) -> None:
    project.add(TABLE)
    planned = project.plan()
    project.add("ALTER TABLE item ADD COLUMN price int")
    done = project.run(planned)
    assert done["failed"]
    assert "not those that were planned" in done["msg"]
    assert project.sql("SELECT to_regclass('item')") == [(None,)]


def test_a_revision_that_the_release_does_not_know(project: AlembicProject) -> None:
    project.add(TABLE)
    project.run()
    project.sql("UPDATE alembic_version SET version_num = 'f00'")
    planned = project.plan()
    assert planned["failed"]
    assert "at revision f00, which this release does not know" in planned["msg"]


def test_two_heads(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("SELECT 1", name="left", down="0001")
    project.add("SELECT 1", name="right", down="0001")
    planned = project.plan()
    assert planned["failed"]
    assert "2 heads: left, right" in planned["msg"]
    assert "alembic merge" in planned["msg"]


def test_what_fails_leaves_the_database_at_a_revision_and_says_which_statement(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("INSERT INTO item VALUES (1, 'a')", "ALTER TABLE item ADD COLUMN name text")
    done = project.run()
    assert done["failed"]
    assert 'column "name" of relation "item" already exists' in done["msg"]
    assert "in `ALTER TABLE item ADD COLUMN name text`" in done["msg"]
    assert "The database stands at 0001. 0001 had been applied." in done["msg"]
    assert project.sql("SELECT * FROM item") == []
    assert project.sql("SELECT version_num FROM alembic_version") == [("0001",)]


def test_an_index_made_concurrently_does_not_wait_for_the_lock_of_migrations(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add(
        "with op.get_context().autocommit_block():", "    op.execute('CREATE INDEX CONCURRENTLY i ON item (name)')"
    )
    done = project.run()
    assert "failed" not in done, done["msg"]
    assert project.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


def test_an_invalid_index_is_named(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("INSERT INTO item VALUES (1, 'a'), (2, 'a')")
    project.run()
    (project.directory / "migrations/versions/0003.py").write_text(
        '"""x"""\nimport contextlib\nfrom alembic import op\nrevision, down_revision = "0003", "0002"\n'
        "def upgrade():\n    with op.get_context().autocommit_block(), contextlib.suppress(Exception):\n"
        "        op.execute('CREATE UNIQUE INDEX CONCURRENTLY i ON item (name)')\n"
    )
    done = project.run()
    assert done["failed"]
    assert "left invalid indexes: i" in done["msg"]


def test_a_constraint_that_nobody_validated(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("ALTER TABLE item ADD CONSTRAINT positive CHECK (id > 0) NOT VALID")
    done = project.run()
    assert done["failed"]
    assert "left constraints NOT VALID: item.positive" in done["msg"]
    # It is there now, and nothing says that a run left it; the next one tells, and does not fail.
    assert "failed" not in project.run()
    project.add("ALTER TABLE item ADD CONSTRAINT named CHECK (name <> '') NOT VALID")
    done = project.run(not_valid=["item.named"])
    assert "failed" not in done, done["msg"]
    assert "The constraint item.named is NOT VALID." in done["notices"]


def test_what_a_run_left_stops_the_next_ones_until_it_is_gone(project: AlembicProject) -> None:
    project.sql("CREATE TABLE before (id int)")
    project.sql("ALTER TABLE before ADD CHECK (id > 0) NOT VALID")
    kept = {"record": str(project.directory / "record.json")}
    project.add(TABLE)
    project.add("ALTER TABLE item ADD CONSTRAINT positive CHECK (id > 0) NOT VALID")
    for _again in range(2):
        assert "left constraints NOT VALID: item.positive. " in project.run(**kept)["msg"]
    project.sql("ALTER TABLE item VALIDATE CONSTRAINT positive")
    done = project.run(**kept)
    assert "failed" not in done, done["msg"]
    assert "The constraint before.before_id_check is NOT VALID." in done["notices"]
    assert "failed" not in project.run(**kept)


def test_an_index_that_a_failed_run_left_is_not_passed_over(project: AlembicProject) -> None:
    kept = {"record": str(project.directory / "record.json")}
    project.add(TABLE)
    project.add("INSERT INTO item VALUES (1, 'a'), (2, 'a')")
    project.add(
        "with op.get_context().autocommit_block():",
        "    op.execute('CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON item (name)')",
    )
    assert "It left behind, invalid or NOT VALID: i." in project.run(**kept)["msg"]
    project.sql("UPDATE item SET name = id")
    # Now the statement does nothing, as there is an index of that name.
    assert "left invalid indexes: i. " in project.run(**kept)["msg"]
    project.sql("DROP INDEX i")
    project.sql("CREATE UNIQUE INDEX i ON item (name)")
    assert "failed" not in project.run(**kept)


def test_a_login_without_timeouts_is_told(project: AlembicProject) -> None:
    user = project.login["user"]
    project.add(TABLE)
    told = f"The login {user} has no "
    assert not [notice for notice in project.run()["notices"] if notice.startswith(told)]
    project.server.sql(f"ALTER ROLE {user} SET lock_timeout = 0")
    project.add("ALTER TABLE item ADD COLUMN price int")
    (notice,) = [notice for notice in project.run()["notices"] if notice.startswith(told)]
    assert notice.startswith(f"{told}lock_timeout: a migration that waits")


def test_of_twenty_at_once_one_migrates_and_the_others_have_nothing_to_do(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("INSERT INTO item VALUES (1, 'a')", "time.sleep(0.5)")
    file = project.directory / "items.csv"
    file.write_text("id,name\n1,a\n2,b\n")
    seeds = [{"file": str(file), "table": "item", "key": ["id"]}]
    planned = project.plan()
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: project.run(planned, seeds=seeds), range(20)))
    assert [result["msg"] for result in results if "failed" in result] == []
    assert sorted(result["applied"] for result in results) == [[]] * 19 + [["0001", "0002"]]
    assert sorted(result["seeds"]["items.csv"]["inserted"] for result in results) == [0] * 19 + [1]
    assert project.sql("SELECT count(*) FROM item") == [(2,)]


def test_a_migration_that_hangs_is_stopped_on_the_server_too(project: AlembicProject) -> None:
    project.add(TABLE)
    project.run()
    project.add("INSERT INTO item VALUES (1, 'a')", "SELECT pg_sleep(100)")
    done = project.run(timeout_seconds=6)
    assert done["failed"]
    assert "had not ended after 6 s and was stopped" in done["msg"]
    assert "1 of its sessions were ended on the server" in done["msg"]
    assert "The database stands at 0001." in done["msg"]
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    assert project.server.sql(sessions) == [(0,)]
    assert project.sql("SELECT * FROM item") == []


TOOL = """
import pathlib, subprocess, sys
done = pathlib.Path(__file__).with_name("migrated")
if sys.argv[1] == "status":
    sys.exit(not done.exists())
if sys.argv[1] == "seed":
    print('{{"changed": false}}')
if sys.argv[1] == "migrate" and {works}:
    done.touch()
if sys.argv[1] == "fail":
    print("no way: {password}", file=sys.stderr)
    sys.exit(3)
"""


def test_any_tool_migrates_once(project: AlembicProject) -> None:
    tool = project.directory / "tool.py"
    word = project.login["password"]
    tool.write_text(TOOL.format(works=False, password=word))
    given = {f"{name}_command": [sys.executable, "tool.py", name] for name in ("migrate", "status", "seed")}
    done = project.run(**given)
    assert "says after the migration that something is left" in done["msg"]
    done = project.run(**{**given, "migrate_command": [sys.executable, "tool.py", "fail"]})
    assert "ended with 3:" in done["msg"]
    assert "no way: ********" in done["msg"], "the URL's password alone is hidden too"
    assert word not in json.dumps(done)
    tool.write_text(TOOL.format(works=True, password=""))
    done = project.run(**given)
    assert "failed" not in done, done["msg"]
    assert (done["changed"], done["applied"]) == (True, [f"{sys.executable} tool.py migrate"])
    assert project.plan(**given)["pending"] == []
    assert not project.run(**given)["changed"]


def test_a_point_to_go_back_to(project: AlembicProject) -> None:
    project.add(TABLE)
    assert project.run(restore_point="before release 7/a")["restore_point"]["name"] == "before-release-7-a"
    project.server.sql(
        f"REVOKE EXECUTE ON FUNCTION pg_create_restore_point FROM {project.login['user']}",
        database=project.login["database"],
    )
    project.add("ALTER TABLE item ADD COLUMN price int")
    done = project.run(restore_point="before release 7/a")
    assert done["restore_point"]["name"] == ""
    assert done["restore_point"]["lsn"]
    assert "no named restore point" in done["notices"][0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "postgresql:///nowhere"}, "The URL of the database server cannot be read"),
        ({"alembic": {"config": "other.ini"}}, "there is no other.ini"),
        ({"python": ["/bin/true"]}, "said nothing of Alembic"),
        ({"python": ["/no/python"]}, "/no/python can't be run"),
    ],
)
def test_bad_input(project: AlembicProject, settings: dict[str, Any], message: str) -> None:
    project.add(TABLE)
    arguments = {**settings}
    planned = project.plan(**arguments)
    assert planned["failed"]
    assert message in planned["msg"]


def test_a_wrong_password_is_not_shown(project: AlembicProject) -> None:
    project.add(TABLE)
    planned = project.plan(url=project.arguments()["url"].replace(project.login["password"], "wrong-secret-word"))
    assert planned["failed"]
    assert "refuses the password" in planned["msg"]
    assert "wrong-secret-word" not in str(planned)


def test_a_login_that_cannot_migrate_is_refused(project: AlembicProject) -> None:
    project.add(TABLE)
    project.server.sql(f"ALTER ROLE {project.login['user']} SET default_transaction_read_only = on")
    planned = project.plan()
    assert planned["failed"]
    assert f"Sessions of {project.login['user'].removesuffix('_migrate')}_owner are read-only" in planned["msg"]
    application = login(project.wanted, "app_a")
    where = f"127.0.0.1:{project.server.port}/{application['database']}"
    planned = project.plan(url=f"postgresql://{application['user']}:{application['password']}@{where}?sslmode=require")
    assert planned["failed"]
    assert f"The user {application['user']} may create nothing in this database" in planned["msg"]


def test_models_that_differ_from_the_database_are_told(project: AlembicProject) -> None:
    project.add(TABLE)
    done = project.run(drift=True)
    assert "failed" not in done, done["msg"]
    assert done["drift"]["compared"]
    assert "'remove_table'" in done["drift"]["differences"]
    assert "The models differ from the database" in done["notices"][-1]
    assert project.plan(drift=True)["drift"] == done["drift"]
