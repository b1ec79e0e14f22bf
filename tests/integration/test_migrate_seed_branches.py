# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans that are no straight line: branches that meet, SQL that is never the same, what came through before a lock was not got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.alembic_project import AlembicProject
from tests.integration.postgres_server import Server

TABLE = "CREATE TABLE item (id bigint PRIMARY KEY, name text)"


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    return AlembicProject(tmp_path, server, wanted)


def test_the_other_branch_of_a_merge_is_shown_before_it_runs(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("CREATE TABLE kept (id bigint)", name="left", downgrade="DROP TABLE kept")
    assert "failed" not in project.run()
    project.add("DROP TABLE item", down="0001", name="right", downgrade=TABLE)
    project.add("op.get_bind", down=("left", "right"), name="both")
    planned = project.plan()
    assert [entry["id"] for entry in planned["pending"]] == ["right", "both"]
    assert "DROP TABLE item" in planned["pending"][0]["sql"]
    done = project.run(planned)
    assert done["applied"] == ["right", "both"]

    # Undoing a merge changes nothing but where the database stands: at both branches again, as Alembic has it.
    back = project.run(state="downgraded", revision="left")
    assert "failed" not in back, back["msg"]
    assert (back["applied"], back["after"]) == (["both"], ["left", "right"])


def test_going_back_by_steps_ends_where_it_should(project: AlembicProject) -> None:
    project.add(TABLE, downgrade="DROP TABLE item")
    project.add("CREATE TABLE more (id bigint)", downgrade="DROP TABLE more")
    assert "failed" not in project.run()
    done = project.run(state="downgraded", revision="-1")
    assert "failed" not in done, done["msg"]
    assert (done["after"], done["applied"]) == (["0001"], ["0002"])


def test_sql_that_is_another_one_each_time_counts_as_unknown_and_runs(project: AlembicProject) -> None:
    project.add(TABLE)
    project.add("import_uuid", more="import uuid")
    path = project.directory / "migrations/versions/0002.py"
    path.write_text(
        path.read_text().replace(
            "op.execute('import_uuid')", "op.execute(f\"INSERT INTO item VALUES (1, '{uuid.uuid4()}')\")"
        )
    )
    planned = project.plan()
    assert planned["pending"][1]["sql"] is None
    assert "another one each time" in planned["pending"][1]["sql_error"]
    done = project.run(planned)
    assert "failed" not in done, done["msg"]
    assert project.sql("SELECT count(*) FROM item") == [(1,)]


def test_what_came_through_before_a_lock_was_not_got_stays_and_the_rest_is_tried_again(
    project: AlembicProject,
) -> None:
    project.add(TABLE)
    assert "failed" not in project.run()
    project.add("CREATE TABLE through (id bigint)")
    project.add("SET LOCAL lock_timeout = '300ms'", "ALTER TABLE item ADD COLUMN amount bigint")
    with project.server.session(**project.login) as other:
        other.execute("BEGIN; SELECT * FROM item")
        done = project.run(retries=1)
    assert "failed after 2 attempts" in done["msg"]
    assert "The database stands at 0002. 0002 had been applied." in done["msg"]
    done = project.run()
    assert done["applied"] == ["0003"]


def test_a_query_with_a_percent_sign_and_one_that_is_wrong(project: AlembicProject) -> None:
    project.add(TABLE)
    like = "SELECT count(*) FROM item WHERE name LIKE 'a%'"
    done = project.run(verify=[{"name": "names", "query": like, "expected": "0"}])
    assert "failed" not in done, done["msg"]
    done = project.run(verify=[{"name": "names", "query": "SELECT count(*) FROM items", "expected": "0"}])
    assert done["msg"].startswith("names could not be asked: ")


def test_short_words_of_the_environment_do_not_hide_letters_of_the_plan(project: AlembicProject) -> None:
    project.add("CREATE TABLE stages (id bigint)")
    given = {**project.arguments()["environment_variables"], "APP_ENV": "stage", "DEBUG": "1", "PORT": 5432}
    done = project.run(environment_variables=given)
    assert "failed" not in done, done["msg"]
    assert (done["applied"], done["before"]) == (["0001"], [])
