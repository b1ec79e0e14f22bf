# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seed files against a real server: only rows that differ are written, all files or none."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._seed_files import load
from ansible_collections.lastro.platform.plugins.module_utils._seed_sync import Counts, Sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.alembic_project import AlembicProject
from tests.integration.postgres_server import Server

TABLE = "CREATE TABLE country (code text PRIMARY KEY, name text NOT NULL, area numeric, facts jsonb, member boolean, touched int DEFAULT 0)"
YAML = """\
table: country
key: code
rows:
  - {code: de, name: Germany, area: 357022.5, facts: {rivers: [Rhine]}, member: true}
  - {code: fr, name: "France\\ttab\\\\n", area: null, facts: null, member: true}
"""
CSV = 'code,name,area\nde,Germany,357022.5\nfr,"France, with ""quotes""\nand a line",\n'


@pytest.fixture
def project(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> AlembicProject:
    project = AlembicProject(tmp_path, server, wanted)
    for table in (TABLE, "CREATE TABLE pair (a int, b int, c text, UNIQUE (a, b))"):
        project.sql(table)
    return project


# Seeds alone: there is nothing to migrate.
NOTHING = {"migrate_command": ["false"], "status_command": ["true"]}


def plan(project: AlembicProject, **more: Any) -> dict[str, Any]:
    return project.plan(check=True, **NOTHING, **more)


def run(project: AlembicProject, **more: Any) -> dict[str, Any]:
    """The run as it follows a plan with nothing pending."""
    planned = {"current": [], "heads": [], "pending": [], "known": True, "ahead": False, "drift": {}}
    return project.run(planned, **NOTHING, **more)


def seed(project: AlembicProject, name: str, text: str, **more: Any) -> dict[str, Any]:
    file = project.directory / name
    file.write_text(text)
    return {"file": str(file), **more}


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    assert "failed" not in result, result["msg"]
    (found,) = result["seeds"].values()
    return tuple(found[key] for key in ("inserted", "updated", "unchanged", "removed"))


@pytest.mark.parametrize("name", ["countries.yml", "countries.json", "countries.csv"])
def test_rows_come_in_once_and_are_written_only_where_they_differ(project: AlembicProject, name: str) -> None:
    rows = [{"code": "de", "name": "Germany", "area": 357022.5}, {"code": "fr", "name": "France", "area": None}]
    described = {"table": "country", "key": ["code"]}
    text = {"json": json.dumps(rows), "yml": json.dumps({**described, "rows": rows}), "csv": CSV}[
        name.rpartition(".")[2]
    ]
    one = seed(project, name, text, **(described if name.endswith(("json", "csv")) else {}))
    assert counts(plan(project, seeds=[one])) == (2, 0, 0, 0)
    assert project.sql("SELECT count(*) FROM country") == [(0,)]
    done = run(project, seeds=[one])
    assert counts(done) == (2, 0, 0, 0)
    assert done["changed"]
    again = run(project, seeds=[one])
    assert counts(again) == (0, 0, 2, 0)
    assert not again["changed"]
    project.sql("UPDATE country SET name = 'Allemagne', touched = 7 WHERE code = 'de'")
    assert counts(run(project, seeds=[one])) == (0, 1, 1, 0)
    # Columns that the file does not have are nobody's here.
    assert project.sql("SELECT name, touched FROM country WHERE code = 'de'") == [("Germany", 7)]


def test_values_arrive_as_they_are(project: AlembicProject) -> None:
    run(project, seeds=[seed(project, "c.yml", YAML)])
    assert project.sql("SELECT * FROM country ORDER BY code") == [
        ("de", "Germany", decimal.Decimal("357022.5"), {"rivers": ["Rhine"]}, True, 0),
        ("fr", "France\ttab\\n", None, None, True, 0),
    ]
    run(project, seeds=[seed(project, "c.csv", CSV, table="country", key=["code"])])
    assert project.sql("SELECT name, area FROM country WHERE code = 'fr'") == [
        ('France, with "quotes"\nand a line', None)
    ]


def test_rows_that_are_not_listed_stay_unless_asked_for(project: AlembicProject) -> None:
    project.sql("INSERT INTO country (code, name) VALUES ('xx', 'Nowhere')")
    assert counts(run(project, seeds=[seed(project, "c.yml", YAML)])) == (2, 0, 0, 0)
    assert counts(run(project, seeds=[seed(project, "c.yml", YAML, remove_missing=True)])) == (0, 0, 2, 1)
    assert project.sql("SELECT code FROM country ORDER BY 1") == [("de",), ("fr",)]


def test_a_key_of_several_columns(project: AlembicProject) -> None:
    pairs = seed(project, "p.csv", "c,b,a\nx,1,1\ny,2,1\n", table="pair", key=["a", "b"])
    assert counts(run(project, seeds=[pairs])) == (2, 0, 0, 0)


def test_all_files_or_none(project: AlembicProject) -> None:
    good, bad = seed(project, "c.yml", YAML), seed(project, "p.csv", "a,b\n1,x\n", table="pair", key=["a", "b"])
    done = run(project, seeds=[good, bad])
    assert done["failed"]
    assert 'p.csv:2: column b: invalid input syntax for type integer: "x"' in done["msg"]
    assert project.sql("SELECT count(*) FROM country") == [(0,)]


@pytest.mark.parametrize(
    ("name", "text", "more", "message"),
    [
        (
            "c.yml",
            YAML + "  - {code: de, name: x, area: 1, facts: 1, member: no}\n",
            {},
            "c.yml:6: the same code as in line 4",
        ),
        ("c.csv", 'code,name\na,"x\ny"\nb,z\na,q\n', {}, "c.csv:5: the same code as in line 2"),
        ("c.csv", "code,nome\nde,x\n", {}, "c.csv:1: country has no column nome"),
        (
            "c.yml",
            "table: country\nkey: code\nrows:\n  - {code: de, nome: x}\n",
            {},
            "c.yml:4: country has no column nome",
        ),
        ("c.csv", "code,name\n,x\n", {}, "c.csv:2: the key is NULL"),
        ("c.csv", "code,name\nde,x\n", {"key": ["name"]}, "name is not unique in country"),
        ("c.csv", "code,name\nde,x\n", {"table": "town"}, "there is no table town"),
        ("c.csv", "code,name\nde,x\n", {"key": ["id"]}, "its key id is no column of its rows"),
        ("c.csv", "code,code\nde,x\n", {}, "c.csv:1: column code stands twice"),
        ("c.csv", "code,name\nde,x,y\n", {}, "c.csv:2: extra data after last expected column"),
        ("c.csv", "code,name\nde,\n", {}, "null value in column"),
        ("c.csv", "", {}, "c.csv:1: the first line does not name the columns"),
        ("c.yml", "rows: [{code: de}, {name: x}]\n", {}, "c.yml:1: this row has no name"),
        ("c.yml", "rows: [1]\n", {}, "`rows` is not a list of mappings"),
        ("c.yml", "a: [\n", {}, "c.yml:2:"),
        (
            "c.json",
            '{"rows": [\n{"code": "de", "name": "x"},\n {"code": "de", "name": "y"}]}',
            {},
            "c.json:3: the same code as in line 2",
        ),
        ("c.json", '[\n{"code": "de"},\n', {}, "c.json:3:"),
        ("c.yml", "lines: []\n", {}, "unknown key lines"),
        ("c.yml", "key: name\nrows: []\n", {}, "c.yml says key: name, and the task says ['code']"),
        ("c.txt", "x", {}, "c.txt is no seed file"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    project: AlembicProject, name: str, text: str, more: dict[str, Any], message: str
) -> None:
    described = {"table": "country", "key": ["code"]} if "table:" not in text else {}
    done = run(project, seeds=[seed(project, name, text, **{**described, **more})])
    assert done["failed"]
    assert message in done["msg"]
    assert project.sql("SELECT count(*) FROM country") == [(0,)]


def test_a_fence_between_environments(project: AlembicProject) -> None:
    fenced = seed(project, "c.yml", "environments: [dev, stage]\n" + YAML)
    done = run(project, seeds=[fenced], environment="prod")
    assert done["failed"]
    assert "c.yml is for dev, stage, and this is prod" in done["msg"]
    assert counts(run(project, seeds=[fenced], environment="stage")) == (2, 0, 0, 0)


def test_queries_that_have_to_hold(project: AlembicProject) -> None:
    countries = seed(project, "c.yml", YAML)
    check = {"name": "two countries", "query": "SELECT count(*) FROM country", "expected": "2"}
    assert run(project, seeds=[countries], verify=[check])["verified"] == ["two countries"]
    done = run(project, verify=[{**check, "expected": "3"}])
    assert done["failed"]
    assert "two countries is 2, wanted 3" in done["msg"]


def test_rows_that_others_refer_to_go_after_those(project: AlembicProject) -> None:
    project.sql("CREATE TABLE city (name text PRIMARY KEY, country text REFERENCES country (code))")
    places = seed(project, "countries.csv", "code,name\nde,Germany\nfr,France\n", table="country", key=["code"])
    cities = seed(project, "cities.csv", "name,country\nBerlin,de\nParis,fr\n", table="city", key=["name"])
    assert not run(project, seeds=[places, cities]).get("failed")
    places = seed(project, "countries.csv", "code,name\nde,Germany\n", table="country", key=["code"])
    cities = seed(project, "cities.csv", "name,country\nBerlin,de\n", table="city", key=["name"])
    done = run(project, seeds=[{**places, "remove_missing": True}, {**cities, "remove_missing": True}])
    assert {name: counts["removed"] for name, counts in done["seeds"].items()} == {"countries.csv": 1, "cities.csv": 1}


def test_a_file_that_would_remove_the_rows_of_another(project: AlembicProject) -> None:
    described = {"table": "country", "key": ["code"]}
    west = seed(project, "west.csv", "code,name\nfr,France\n", **described)
    east = seed(project, "east.csv", "code,name\nde,Germany\n", **described)
    done = run(project, seeds=[west, {**east, "remove_missing": True}])
    assert "east.csv would remove the rows of west.csv: all are of country. Leave `remove_missing` out" in done["msg"]
    assert project.sql("SELECT count(*) FROM country") == [(0,)]
    assert not run(project, seeds=[west, east]).get("failed")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('remove_missing: "false"', "`remove_missing` is 'false'. Write true or false"),
        ("environments: []", "`environments` names none"),
        ("environments:", "`environments` names none"),
    ],
)
def test_what_would_remove_rows_or_let_it_into_prod_by_mistake(
    project: AlembicProject, line: str, message: str
) -> None:
    one = seed(project, "countries.yml", f"{YAML}{line}\n")
    assert message in run(project, seeds=[one], environment="prod")["msg"]


def test_types_that_know_no_equality(project: AlembicProject) -> None:
    project.sql("CREATE TABLE place (id int PRIMARY KEY, facts json, spot point)")
    rows = """id,facts,spot\n1,"{""a"": 1, ""b"": 2}","(1,2)"\n2,{},"(3,4)"\n"""
    places = seed(project, "places.csv", rows, table="place", key=["id"])
    assert run(project, seeds=[places])["seeds"]["places.csv"]["inserted"] == 2
    # The same facts in another order are the same.
    rows = """id,facts,spot\n1,"{""b"": 2, ""a"": 1}","(1,2)"\n2,{},"(3,5)"\n"""
    places = seed(project, "places.csv", rows, table="place", key=["id"])
    counts = run(project, seeds=[places])["seeds"]["places.csv"]
    assert (counts["updated"], counts["unchanged"]) == (1, 1)


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=8)
ROWS = st.dictionaries(TEXT, st.tuples(TEXT, st.none() | st.integers(-9, 9)), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=ROWS, listed=ROWS, remove=st.booleans())
def test_whatever_was_there_the_rows_are_those_of_the_file(
    project: AlembicProject, there: dict[str, Any], listed: dict[str, Any], remove: bool
) -> None:
    file = project.directory / "any.json"
    rows = [{"code": code, "name": name, "area": area} for code, (name, area) in listed.items()]
    file.write_text(json.dumps(rows))
    seed = load(str(file), {"table": "country", "key": ["code"], "remove_missing": remove})
    both = there.keys() & listed.keys()
    updated = sum(there[code] != listed[code] for code in both)
    gone = there.keys() - listed.keys() if remove else set()

    def counted(sync: Callable[[], Counts]) -> tuple[int, ...]:
        found = sync()
        return found.inserted, found.updated, found.unchanged, found.removed

    with project.server.session(**project.login) as cursor:
        cursor.execute("BEGIN")
        for code, (name, area) in there.items():
            cursor.execute("INSERT INTO country (code, name, area) VALUES (%s, %s, %s)", (code, name, area))
        wanted = (len(listed.keys() - both), updated, len(both) - updated, len(gone))
        assert counted(lambda: dict(Sync(cursor).apply([seed]))[seed.name]) == wanted
        cursor.execute("SELECT code, name, area FROM country")
        after = {code: (name, area) for code, name, area in cursor.fetchall()}
        assert after == {code: row for code, row in {**there, **listed}.items() if code not in gone}
        assert counted(lambda: dict(Sync(cursor).apply([seed]))[seed.name]) == (0, 0, len(listed), 0)
        cursor.execute("ROLLBACK")
