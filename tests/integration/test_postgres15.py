# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One case of every claim on Postgres 15 without pgvector; `make proof ONLY=modules` runs the whole files on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import postgres_server
from tests.integration import test_migrate_seed as migrations
from tests.integration import test_migrate_seed_locks as locks
from tests.integration import test_seeds as seeds
from tests.integration.alembic_project import AlembicProject
from tests.integration.api_keys import Keys
from tests.integration.gate_support import gate, only
from tests.integration.postgres_server import SUPERUSER, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres_server.running(tmp_path_factory.mktemp("postgres"), version=15) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    return AlembicProject(tmp_path, server, wanted)


def test_it_is_15_without_pgvector(server: Server) -> None:
    assert server.sql("SHOW server_version_num")[0][0].startswith("15")
    assert server.sql("SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'pg_trgm')") == [("pg_trgm",)]


def test_from_nothing_to_nothing_to_do(project: AlembicProject) -> None:
    project.add(migrations.TABLE)
    planned = project.plan()
    assert "CREATE TABLE item" in planned["pending"][0]["sql"]
    assert project.sql("SELECT to_regclass('item')") == [(None,)]
    done = project.run(planned, restore_point="before release 7/a")
    assert "failed" not in done, done["msg"]
    assert (done["before"], done["after"], done["applied"]) == ([], ["0001"], ["0001"])
    assert done["restore_point"]["name"] == "before-release-7-a"
    assert not project.run()["changed"]


def test_an_invalid_index(project: AlembicProject) -> None:
    migrations.test_an_invalid_index_is_named(project)


def test_a_lock_is_waited_for(project: AlembicProject) -> None:
    project.sql(migrations.TABLE)
    project.server.sql(f"ALTER ROLE {project.login['user']} SET lock_timeout = '300ms'")
    project.add("ALTER TABLE item ADD COLUMN price int")
    locks.test_a_lock_that_is_let_go_is_waited_for(project)


def test_the_way_back(project: AlembicProject) -> None:
    project.add(migrations.TABLE)
    project.add("ALTER TABLE item ADD COLUMN price int", downgrade="ALTER TABLE item DROP COLUMN price")
    assert project.run()["after"] == ["0002"]
    back = {"state": "downgraded", "revision": "0001"}
    planned = project.plan(**back)
    assert "ALTER TABLE item DROP COLUMN price" in planned["pending"][0]["sql"]
    done = project.run(planned, **back)
    assert "failed" not in done, done["msg"]
    assert (done["before"], done["after"], done["applied"]) == (["0002"], ["0001"], ["0002"])
    assert project.sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'item'") == [(2,)]


def test_a_migration_that_wants_pgvector_says_that_it_is_not_there(project: AlembicProject) -> None:
    project.add("CREATE EXTENSION vector")
    done = project.run()
    assert done["failed"]
    assert 'extension "vector" is not available' in done["msg"]
    assert "in `CREATE EXTENSION vector`" in done["msg"]
    assert project.sql("SELECT to_regclass('alembic_version')") == [(None,)]


def test_seeds(project: AlembicProject) -> None:
    project.sql(seeds.TABLE)
    seeds.test_rows_come_in_once_and_are_written_only_where_they_differ(project, "countries.csv")
    project.sql("TRUNCATE country")
    seeds.test_rows_that_are_not_listed_stay_unless_asked_for(project)


def test_keys(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> None:
    keys = Keys(tmp_path, server, wanted)
    old = keys.issue("billing")
    keys.age()
    done = keys.run(state="rotated", max_age="90d", overlap="1d")
    assert [key["replaces"] for key in done["keys"]] == [old]
    assert not keys.run(state="rotated", max_age="90d", overlap="1d")["changed"]
    revoked = keys.run(state="revoked", ids=[old], force=True)
    assert "failed" not in revoked, revoked["msg"]
    assert [key["status"] for key in keys.run(state="listed")["keys"]] == ["revoked", "active"]


def test_the_gate_asks_it(server: Server) -> None:
    login = {"host": "127.0.0.1", "port": server.port, "user": "postgres", "password": SUPERUSER, "sslmode": "require"}
    version = "SELECT current_setting('server_version_num')::int / 10000"
    check = {"name": "db", "type": "postgres", **login, "query": version}
    good = only(gate({**check, "expected": "15"}))
    assert (good["ok"], good["last_answer"]) == (True, "15")
    bad = only(gate({**check, "expected": "17"}))
    assert (bad["ok"], bad["evaluated"]) == (False, True)
    assert "'17'" in bad["last_error"]
