# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of migrate_seed: nothing runs that it has not looked at."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.alembic_project import AlembicProject
from tests.integration.playbook import play
from tests.integration.postgres_server import Server

TABLE = "CREATE TABLE item (id bigint PRIMARY KEY, name text)"
GROWS = "ALTER TABLE item ADD COLUMN price int"
SHRINKS = "ALTER TABLE item DROP COLUMN name"


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    project = AlembicProject(tmp_path / "project", server, wanted)
    project.add(TABLE, downgrade="DROP TABLE item")
    return project


def run(project: AlembicProject, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    task = {"name": "Migrate", "lastro.platform.migrate_seed": {**project.arguments(), **more}, "register": "done"}
    show = {"ansible.builtin.debug": {"msg": "{{ {'applied': done.applied | default([]), 'notices': done.notices} }}"}}
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [task, show]}]
    return play(project.directory.parent, plays, {}, {"one": {}}, {}, *arguments)


def migrated(project: AlembicProject) -> None:
    """To its head, by the host's half alone."""
    done = project.run()
    assert "failed" not in done, done["msg"]


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def revision_of(project: AlembicProject) -> list[tuple[Any, ...]]:
    return project.sql("SELECT version_num FROM alembic_version") if project.sql(THERE)[0][0] else []


THERE = "SELECT to_regclass('alembic_version') IS NOT NULL"


def test_check_shows_the_sql_and_a_run_migrates_once(project: AlembicProject) -> None:
    shown = run(project, "--check", "--diff")
    assert shown.returncode == 0, shown.stdout
    assert "+CREATE TABLE item" in shown.stdout
    assert "pending: 0001 Revision 0001. (expand)" in shown.stdout
    assert "changed=1" in shown.stdout
    assert revision_of(project) == []
    done = run(project)
    assert done.returncode == 0, done.stdout
    assert "changed=1" in done.stdout
    assert re.search(r"^one: +\d+ s  begins after before-migration [0-9A-F]+/[0-9A-F]+ ", done.stdout, re.MULTILINE)
    assert revision_of(project) == [("0001",)]
    assert "changed=0" in run(project).stdout


def test_a_database_without_tables_is_not_judged(project: AlembicProject) -> None:
    project.add(SHRINKS)
    done = run(project, policy="expand_only")
    assert done.returncode == 0, done.stdout
    assert "findings do not count: the database has no table yet." in said(done)
    assert revision_of(project) == [("0002",)]


def test_a_long_wait_says_for_whom(project: AlembicProject) -> None:
    migrated(project)
    project.add(GROWS)
    project.server.sql(f"ALTER ROLE {project.login['user']} SET lock_timeout = '3s'")
    with project.server.session(**project.login) as holder:
        holder.execute("BEGIN; LOCK TABLE item")
        done = run(project, retries=1, old_transaction_seconds=300)
    assert done.returncode
    assert re.search(r"waits for a lock that pid \d+ holds", done.stdout), done.stdout
    assert "waited too long for a lock, attempt 1 of 2" in done.stdout
    assert "Somebody else uses the table" in said(done)


@pytest.mark.parametrize(
    ("policy", "statements", "refused"),
    [
        ("expand_contract", [SHRINKS], ""),
        ("expand_contract", [GROWS, SHRINKS], "(mixed-classes)"),
        ("expand_only", ["DO $$ BEGIN PERFORM 1; END $$"], "(unknown)"),
    ],
)
def test_what_a_policy_lets_through(project: AlembicProject, policy: str, statements: list[str], refused: str) -> None:
    migrated(project)
    project.add(*statements)
    done = run(project, policy=policy, lint_exclude=["ban-drop-column"])
    assert bool(done.returncode) is bool(refused), done.stdout
    assert revision_of(project) == [("0001" if refused else "0002",)]
    if refused:
        assert "The pending migrations are refused. Nothing was changed." in said(done)
        assert refused in said(done)


def test_a_waiver_is_leave_for_one_rule_until_a_day(project: AlembicProject) -> None:
    migrated(project)
    project.add(SHRINKS)
    refused = run(project)
    assert refused.returncode
    rule = re.search(r"0002[^\n]*?\b(ban-drop-column)\b", said(refused))
    assert rule, refused.stdout
    waiver = {"revision": "0002", "rule": rule[1], "reason": "nobody reads it", "expires": "2020-01-31"}
    expired = run(project, waivers=[waiver])
    assert expired.returncode
    assert "ended on 2020-01-31" in said(expired)
    done = run(project, waivers=[{**waiver, "expires": "2999-01-31"}])
    assert done.returncode == 0, done.stdout
    assert "is waived until 2999-01-31: nobody reads it" in said(done)
    assert revision_of(project) == [("0002",)]


def test_code_whose_sql_cannot_be_had_runs_only_where_it_says_what_it_is(project: AlembicProject) -> None:
    migrated(project)
    project.add("op.get_bind().exec_driver_sql('SELECT 1').scalar() + 1")
    refused = run(project, policy="expand_only")
    assert refused.returncode, refused.stdout
    assert revision_of(project) == [("0001",)]
    path = project.directory / "migrations/versions/0002.py"
    path.write_text(path.read_text().replace("down_revision = ", 'platform_class = "data"\ndown_revision = '))
    done = run(project, policy="expand_only")
    assert done.returncode == 0, done.stdout
    assert revision_of(project) == [("0002",)]


def test_seeds_of_the_controller_are_brought_in(project: AlembicProject) -> None:
    folders = [project.directory.parent / name for name in ("a", "b")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "items.csv").write_text(f"id,name\n{number},of {folder.name}\n")
    seeds = [
        {"file": str(folder / "items.csv"), "name": f"{folder.name}.csv", "table": "item", "key": ["id"]}
        for folder in folders
    ]
    done = run(project, seeds=seeds)
    assert done.returncode == 0, done.stdout
    assert project.sql("SELECT * FROM item ORDER BY id") == [(0, "of a"), (1, "of b")]
    (folders[0] / "items.csv").write_text("id,name\n0,changed\n")
    shown = run(project, "--check", "--diff", seeds=seeds)
    assert "a.csv: 1 updated" in shown.stdout
    assert "changed=1" in shown.stdout
    assert project.sql("SELECT name FROM item WHERE id = 0") == [("of a",)]


def test_the_way_back_is_shown_and_prod_takes_only_what_was_rehearsed(project: AlembicProject) -> None:
    project.add(GROWS, downgrade="ALTER TABLE item DROP COLUMN price")
    migrated(project)
    rehearsals = str(project.directory.parent / "rehearsals.jsonl")
    back = {"state": "downgraded", "revision": "0001", "rehearsals": rehearsals}
    shown = run(project, "--check", "--diff", environment="stage", **back)
    assert "+ALTER TABLE item DROP COLUMN price" in shown.stdout
    assert revision_of(project) == [("0002",)]
    refused = run(project, environment="prod", **back)
    assert refused.returncode
    assert "has to have run before on data like these" in said(refused)
    assert revision_of(project) == [("0002",)]
    # Data of dev show nothing.
    assert run(project, environment="dev", **back).returncode == 0
    migrated(project)
    assert run(project, environment="production", **back).returncode
    assert revision_of(project) == [("0002",)]
    done = run(project, environment="stage", **back)
    assert done.returncode == 0, done.stdout
    assert revision_of(project) == [("0001",)]
    assert project.sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'item'") == [(2,)]
    assert json.loads(Path(rehearsals).read_text())["steps"] == ["0002"]
    assert "changed=0" in run(project, environment="stage", **back).stdout, "there is nothing to undo any more"
    migrated(project)
    assert run(project, environment="prod", **back).returncode == 0
    assert revision_of(project) == [("0001",)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"revision": "0001"}, "A downgrade needs `environment`. Give it, as `environment: stage`."),
        ({"environment": "stage"}, "A downgrade needs `revision`. Give it, as `revision: 0004`."),
        (
            {"revision": "0001", "environment": "stage", "rehearsals": "/nowhere/at/all.jsonl"},
            "/nowhere/at is no directory. Correct `rehearsals`, or make the directory.",
        ),
    ],
)
def test_a_way_back_that_is_not_all_there(project: AlembicProject, given: dict[str, str], message: str) -> None:
    migrated(project)
    refused = run(project, state="downgraded", **given)
    assert refused.returncode
    assert message in said(refused)
    assert revision_of(project) == [("0001",)]


def test_what_is_secret_in_the_sql_is_not_shown_and_hinders_nobody(project: AlembicProject) -> None:
    variables = {
        **project.arguments()["environment_variables"],
        "OWNER": "accounting_of_ours",
        "WORD": "se-cret-word",
        "SHORT": "xq7",
    }
    project.add("CREATE SCHEMA accounting_of_ours")
    project.add("CREATE TABLE accounting_of_ours.t (word text DEFAULT 'se-cret-word')")
    shown = run(project, "--diff", "-vvv", environment_variables=variables, policy="expand_only")
    assert shown.returncode == 0, shown.stdout
    assert "CREATE TABLE ___hidden___.t (word text DEFAULT '___hidden___')" in shown.stdout
    assert "xq7" not in shown.stdout
    assert project.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'accounting_of_ours'") == [(1,)]


def test_a_unique_index_is_not_taken_away_from_what_serves(project: AlembicProject) -> None:
    project.add("CREATE UNIQUE INDEX item_name ON item (name)")
    project.add("CREATE INDEX item_id ON item (id)")
    migrated(project)
    project.add("DROP INDEX item_id")
    done = run(project, policy="expand_only", lint_exclude="require-concurrent-index-deletion")
    assert done.returncode == 0, done.stdout
    project.add("DROP INDEX item_name")
    refused = run(project, policy="expand_only", lint=False)
    assert refused.returncode
    assert "Revision 0005: `DROP INDEX item_name` lets values repeat, and ON CONFLICT of what serves" in said(refused)
    assert revision_of(project) == [("0004",)]


def test_a_seed_without_a_file(project: AlembicProject) -> None:
    refused = run(project, seeds=[{"table": "item", "key": ["id"]}])
    assert refused.returncode
    assert "missing required arguments: file found in seeds" in said(refused)
    assert revision_of(project) == []


def test_what_cannot_be_undone_is_named(project: AlembicProject) -> None:
    project.add(GROWS, downgrade="raise NotImplementedError('prices were rounded')")
    project.add("ALTER TABLE item ADD COLUMN size int")
    migrated(project)
    refused = run(project, state="downgraded", revision="0001", environment="dev")
    assert refused.returncode
    assert "Revision 0002 is irreversible: NotImplementedError: prices were rounded" in said(refused)
    assert revision_of(project) == [("0003",)]
    done = run(project, state="downgraded", revision="0002", environment="dev")
    assert done.returncode == 0, done.stdout
    assert "Going back from revision 0003 changes nothing but the revision that is noted." in said(done)
    unknown = run(project, state="downgraded", revision="0007", environment="dev")
    assert unknown.returncode
    assert "0007" in said(unknown)


def test_no_secret_shows(project: AlembicProject) -> None:
    project.add("ALTER TABLE nowhere ADD COLUMN price int")
    done = run(project, "--diff", "-vvv")
    assert done.returncode
    assert 'relation "nowhere" does not exist' in said(done)
    assert project.login["password"] not in done.stdout + done.stderr
