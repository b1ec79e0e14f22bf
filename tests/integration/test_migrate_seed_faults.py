# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database is killed in the middle: afterwards it is all or nothing, and the next run completes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.integration import postgres_server
from tests.integration.alembic_project import AlembicProject
from tests.integration.postgres_server import Server
from tests.support import eventually, started_module

TABLE = "CREATE TABLE item (id bigint PRIMARY KEY, name text)"
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres_server.running(tmp_path_factory.mktemp("postgres"), durable=True) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    project = AlembicProject(tmp_path, server, wanted)
    project.add(TABLE)
    assert "failed" not in project.run()
    return project


class Place(Protocol):
    """Something with a server that can be killed."""

    server: Server


def crash_during(project: Place, action: Callable[[], dict[str, Any]], seconds: float = 0) -> dict[str, Any]:
    """What the module says where the server dies so long after a statement of its was seen asleep."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(action)
        eventually(lambda: project.server.sql(SLEEPING) == [(1,)], "it runs", evidence=lambda: str(running))
        time.sleep(seconds)
        project.server.crash()
        return running.result()


def test_in_a_migration(project: AlembicProject) -> None:
    project.add("INSERT INTO item VALUES (1, 'a')", "SELECT pg_sleep(60)")
    done = crash_during(project, project.run)
    assert done["failed"]
    assert "server closed the connection unexpectedly" in done["msg"]
    assert (project.sql("SELECT * FROM item"), project.sql("SELECT * FROM alembic_version")) == ([], [("0001",)])
    script = project.directory / "migrations/versions/0002.py"
    script.write_text(script.read_text().replace("pg_sleep(60)", "pg_sleep(0)"))
    assert project.run()["applied"] == ["0002"]
    assert project.sql("SELECT * FROM item") == [(1, "a")]


def test_in_an_index_that_is_made_concurrently(project: AlembicProject) -> None:
    """Host and server die. The next run passes over the invalid index by IF NOT EXISTS, and is refused for it all the same."""
    kept = {"record": str(project.directory / "record.json")}
    project.sql("INSERT INTO item VALUES (1, 'a')")
    body = "BEGIN PERFORM pg_sleep(60); RETURN word; END"
    project.sql(f"CREATE FUNCTION slow(word text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ {body} $$")
    project.add(
        "with op.get_context().autocommit_block():",
        "    op.execute('CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON item (slow(name))')",
    )
    given = project.arguments(phase="run", planned=project.plan(**kept), **kept)
    with started_module("migrate_seed", given) as module:
        eventually(lambda: project.server.sql(SLEEPING) == [(1,)], "it runs")
        module.kill()
        project.server.crash()
    assert project.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('i')") == [(False,)]
    assert "left invalid indexes: i. " in project.run(**kept)["msg"]
    project.sql("DROP INDEX i")
    assert "failed" not in project.run(**kept)


def test_in_a_seed(project: AlembicProject) -> None:
    body = "BEGIN IF NEW.id = 2 THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END"
    project.sql(f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    project.sql("CREATE TRIGGER slow BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION slow()")
    file = project.directory / "items.csv"
    file.write_text("id,name\n1,a\n2,b\n3,c\n")
    seeds = [{"file": str(file), "table": "item", "key": ["id"]}]
    done = crash_during(project, lambda: project.run(seeds=seeds))
    assert done["failed"]
    assert "items.csv" in done["msg"]
    assert "No seed was changed" in done["msg"]
    assert project.sql("SELECT * FROM item") == []
    project.sql("DROP TRIGGER slow ON item")
    assert project.run(seeds=seeds)["seeds"]["items.csv"]["inserted"] == 3


def test_a_standby_is_refused(project: AlembicProject) -> None:
    project.add("ALTER TABLE item ADD COLUMN price int")
    signal = "/var/lib/postgresql/data/standby.signal"
    postgres_server.docker("exec", "-u", "postgres", project.server.name, "touch", signal)
    project.server.crash()
    try:
        planned = project.plan()
        assert planned["failed"]
        assert "The database is in recovery" in planned["msg"]
        assert "Migrate the primary" in planned["msg"]
    finally:
        postgres_server.docker("exec", "-u", "postgres", project.server.name, "rm", signal)
        project.server.crash()
