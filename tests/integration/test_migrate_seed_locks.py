# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who stands in a migration's way: old transactions, locks that are let go or not, another migration, a login without rights."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _migration_guard as guard
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

from tests.integration.alembic_project import AlembicProject
from tests.integration.postgres_server import Server
from tests.integration.test_migrate_seed import TABLE
from tests.support import eventually


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    return AlembicProject(tmp_path, server, wanted)


def test_an_old_transaction_stops_the_run_before_it_begins(project: AlembicProject) -> None:
    project.add(TABLE)
    project.run()
    project.add("ALTER TABLE item ADD COLUMN price int")
    with project.server.session(**project.login) as cursor:
        cursor.execute("SET application_name = 'a report'; BEGIN; SELECT * FROM item")
        time.sleep(1.2)
        done = project.run(old_transaction_seconds=1)
        cursor.execute("ROLLBACK")
    assert done["failed"]
    assert "older than 1 s holds locks" in done["msg"]
    assert re.search(
        rf"pid \d+ \({project.login['user']}, a report, idle in transaction, \d+ s old, last query began 20[-0-9]+ [:.0-9]+\S+\) on item",
        done["msg"],
    ), done["msg"]
    assert "failed" not in project.run()


OTHERS = [
    "CREATE TABLE tied (item bigint REFERENCES item)",
    "CREATE TABLE alone (id int)",
    "CREATE INDEX named ON item (name)",
]
FREE: dict[str, Any] = {"everything": False, "changed": [], "dropped": [], "written": []}


@pytest.mark.parametrize(
    ("query", "locks", "refused"),
    [
        ("SELECT * FROM alone", {"changed": ["item"]}, False),
        ("SELECT * FROM alone", {"everything": True}, True),
        ("SELECT * FROM item", {"changed": ["item"]}, True),
        ("SELECT * FROM item", {"changed": ["named"]}, True),
        ("SELECT * FROM item", {"written": ["item"]}, False),
        ("UPDATE item SET name = 'b'", {"written": ["item"]}, True),
        ("SELECT * FROM item", {"changed": ["tied"]}, False),
        ("SELECT * FROM item", {"dropped": ["tied"]}, True),
        ("SELECT * FROM tied", {"dropped": ["item"]}, True),
    ],
)
def test_only_locks_that_are_in_the_way_stop_a_run(
    project: AlembicProject, query: str, locks: dict[str, Any], refused: bool
) -> None:
    for statement in (TABLE, *OTHERS):
        project.sql(statement)
    with project.server.session(**project.login) as old, project.server.session(**project.login) as now:
        old.execute(f"BEGIN; {query}")
        time.sleep(0.1)

        def ask(sql: str, *values: Any) -> list[dict[str, Any]]:
            now.execute(sql, values[0] if values and isinstance(values[0], dict) else values or None)
            names = [column.name for column in now.description]
            return [dict(zip(names, row, strict=True)) for row in now.fetchall()]

        said = ""
        try:
            guard.require_no_old_transaction(ask, 0.05, {**FREE, **locks})
        except PlatformError as error:
            said = str(error)
        old.execute("ROLLBACK")
    assert bool(said) is refused, said


def test_a_login_that_sees_nobody_says_so(project: AlembicProject) -> None:
    project.add(TABLE)
    assert "may not see the transactions of others" not in str(project.run()["notices"])
    project.server.sql(f"REVOKE pg_read_all_stats, pg_monitor FROM {project.login['user']}")
    project.add("ALTER TABLE item ADD COLUMN price int")
    assert "may not see the transactions of others" in str(project.run()["notices"])


def test_an_index_that_gave_way_is_not_tried_over_its_own_rest(project: AlembicProject) -> None:
    project.add(TABLE)
    project.run()
    project.server.sql(f"ALTER ROLE {project.login['user']} SET lock_timeout = '300ms'")
    project.add(
        "with op.get_context().autocommit_block():", "    op.execute('CREATE INDEX CONCURRENTLY i ON item (name)')"
    )
    with project.server.session(**project.login) as cursor:
        cursor.execute("BEGIN; UPDATE item SET name = 'b'")
        done = project.run(retries=3)
        cursor.execute("ROLLBACK")
    assert "lock timeout" in done["msg"]
    assert "It left behind, invalid or NOT VALID: i." in done["msg"]
    assert "Somebody else uses the table" in done["msg"]


def test_a_login_of_one_schema_may_migrate_that(project: AlembicProject) -> None:
    owner = f"{project.login['database']}_owner"
    for statement in (
        "DROP SCHEMA public",
        f"CREATE SCHEMA own AUTHORIZATION {owner}",
        f"REVOKE CREATE ON DATABASE {project.login['database']} FROM {owner}",
        f"ALTER DATABASE {project.login['database']} SET search_path = own",
    ):
        project.server.sql(statement, database=project.login["database"])
    project.add(TABLE)
    done = project.run()
    assert "failed" not in done, done["msg"]
    assert project.sql("SELECT to_regclass('own.item') IS NOT NULL") == [(True,)]


def test_whoever_waits_for_another_migration_gives_up_in_the_end(project: AlembicProject) -> None:
    project.add(TABLE)
    planned = project.plan()
    key = f"{guard.LOCK_CLASS}, hashtext(current_database())"
    with project.server.session(**project.login) as cursor:
        cursor.execute(f"SET application_name = 'the other one'; SELECT pg_advisory_lock({key})")
        done = project.run(planned, lock_wait_seconds=1)
    assert "Another migration has held the lock for 1 s: pid" in done["msg"]
    assert "(the other one from" in done["msg"]
    assert project.sql("SELECT to_regclass('item')") == [(None,)]


@contextmanager
def held(project: AlembicProject) -> Iterator[threading.Event]:
    """The table is locked until the event is set, or the block ends."""
    over, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with project.server.session(**project.login) as cursor:
            cursor.execute("BEGIN; SELECT * FROM item")
            locked.set()
            over.wait()
            cursor.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    try:
        yield over
    finally:
        over.set()
        thread.join()


def lock_timeouts(project: AlembicProject) -> int:
    return project.server.logs().count("canceling statement due to lock timeout")


@pytest.fixture
def impatient(project: AlembicProject) -> AlembicProject:
    """A migration that waits for a table, for a short time."""
    project.add(TABLE)
    project.run()
    project.server.sql(f"ALTER ROLE {project.login['user']} SET lock_timeout = '300ms'")
    project.add("ALTER TABLE item ADD COLUMN price int")
    return project


def test_a_lock_that_is_not_let_go_ends_the_run(impatient: AlembicProject) -> None:
    with held(impatient):
        done = impatient.run(retries=1)
    assert done["failed"]
    assert "failed after 2 attempts" in done["msg"]
    assert "lock timeout" in done["msg"]
    assert "stands at 0001" in done["msg"]


def test_a_lock_that_is_let_go_is_waited_for(impatient: AlembicProject) -> None:
    before = lock_timeouts(impatient)
    with held(impatient) as over, ThreadPoolExecutor(1) as pool:
        running = pool.submit(impatient.run, retries=5)
        eventually(lambda: lock_timeouts(impatient) > before, "it waited in vain once")
        over.set()
        done = running.result()
    assert "failed" not in done, done["msg"]
    assert done["attempts"] > 1
    assert done["seconds"]["lock_waits"] > 0
