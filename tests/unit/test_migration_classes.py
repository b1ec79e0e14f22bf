# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a statement means to the release that serves while it runs."""

from __future__ import annotations

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_classes import Unparsable, classify

EXPAND = [
    "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)",
    "CREATE TABLE t AS SELECT 1 AS n",
    "ALTER TABLE t ADD COLUMN n int",
    "ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 0",
    "ALTER TABLE t ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE t ADD COLUMN n bigserial PRIMARY KEY",
    "ALTER TABLE t ALTER COLUMN n SET DEFAULT 1",
    "ALTER TABLE t ALTER COLUMN n DROP NOT NULL",
    "ALTER TABLE t DROP CONSTRAINT c",
    "ALTER TABLE t VALIDATE CONSTRAINT c",
    "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
    "ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1)",
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
    "ALTER INDEX i RENAME TO j",
    "ALTER TABLE t RENAME CONSTRAINT c TO d",
    "CREATE INDEX CONCURRENTLY i ON t (n)",
    "DROP INDEX CONCURRENTLY IF EXISTS i",
    "CREATE TYPE e AS ENUM ('a')",
    "ALTER TYPE e ADD VALUE 'b'",
    "CREATE EXTENSION vector",
    "CREATE VIEW v AS SELECT 1 AS n",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "GRANT SELECT ON t TO r",
    "CREATE SEQUENCE s",
    "ALTER SEQUENCE s OWNED BY t.n",
    "SELECT 1 AS n INTO t",
    "ALTER DOMAIN d DROP NOT NULL",
    # A table of these same migrations is nobody's yet.
    "CREATE TABLE t (n int); ALTER TABLE t ALTER COLUMN n SET NOT NULL",
    "CREATE TABLE t (n int); CREATE UNIQUE INDEX i ON t (n)",
    "CREATE TABLE a.t (n int); ALTER TABLE a.t ADD CONSTRAINT c CHECK (n > 0)",
    "CREATE TABLE t (n int); ALTER TABLE t RENAME COLUMN n TO m",
    "CREATE TABLE t (n int); CREATE TRIGGER g BEFORE INSERT ON t EXECUTE FUNCTION f()",
    "CREATE TABLE t (n int); CREATE TABLE u (n int); TRUNCATE t, u",
    "CREATE TABLE t (n int); DROP TABLE t",
]
CONTRACT = [
    ("DROP TABLE t", "drops a table"),
    ("DROP VIEW v", "drops a view"),
    ("DROP TYPE e", "drops a type"),
    ("DROP FUNCTION f()", "drops a function"),
    ("DROP SCHEMA s CASCADE", "drops a schema"),
    ("TRUNCATE t", "empties a table"),
    ("ALTER TABLE t DROP COLUMN n", "drops a column"),
    ("ALTER TABLE t ADD COLUMN m int, DROP COLUMN n", "drops a column"),
    ("ALTER TABLE t ADD COLUMN n int NOT NULL", "adds the column n that must be given"),
    ("ALTER TABLE t ALTER COLUMN n TYPE bigint", "changes a column's type"),
    ("ALTER TABLE t ALTER COLUMN n SET NOT NULL", "sets NOT NULL"),
    ("ALTER TABLE t ALTER COLUMN n DROP DEFAULT", "drops a default"),
    ("ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID", "adds a constraint"),
    ("ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (n) REFERENCES u (id)", "adds a constraint"),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "hides rows"),
    ("ALTER TABLE t DETACH PARTITION p", "takes a partition's rows away"),
    ("ALTER TABLE t RENAME TO u", "renames a table"),
    ("ALTER TABLE t RENAME COLUMN n TO m", "renames a column"),
    ("ALTER TABLE t SET SCHEMA s", "moves to another schema"),
    ("ALTER TYPE e RENAME VALUE 'a' TO 'b'", "renames a value"),
    ("ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0)", "changes a domain"),
    ("CREATE UNIQUE INDEX i ON t (n)", "is a unique index"),
    ("CREATE POLICY p ON t USING (true)", "hides rows"),
    ("REVOKE SELECT ON t FROM r", "takes a right away"),
    ("ALTER TABLE t OWNER TO r", "takes the owner's rights"),
    ("ALTER TYPE e OWNER TO r", "takes the owner's rights"),
    ("DROP INDEX t_once", "lets values repeat"),
    ("DROP INDEX CONCURRENTLY i, s.t_once", "lets values repeat"),
    ("ALTER TABLE t DROP CONSTRAINT t_once", "lets values repeat"),
    # It may have been there before.
    ("CREATE TABLE IF NOT EXISTS t (n int); ALTER TABLE t DROP COLUMN n", "drops a column"),
    # Only one of them is new.
    ("CREATE TABLE t (n int); TRUNCATE t, u", "empties a table"),
    ("CREATE TABLE t (n int); DROP TABLE t, u", "drops a table"),
    # The same name in another schema is another table.
    ("CREATE TABLE a.t (n int); DROP TABLE t", "drops a table"),
]
DATA = [
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET n = 1",
    "DELETE FROM t",
    "WITH gone AS (DELETE FROM t RETURNING n) SELECT count(*) FROM gone",
    "CREATE TABLE kept AS WITH gone AS (DELETE FROM t RETURNING n) SELECT n FROM gone",
    "ALTER SEQUENCE s RESTART WITH 7",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
    "REFRESH MATERIALIZED VIEW v",
    "SELECT setval('s', 10)",
]
UNKNOWN = [
    ("DO $$ BEGIN END $$", "cannot be read"),
    ("CALL p()", "cannot be read"),
    ("SELECT purge()", "calls purge"),
    ("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "replaces a function"),
    ("CREATE TRIGGER g BEFORE INSERT ON t EXECUTE FUNCTION f()", "adds a trigger"),
    ("DROP TRIGGER g ON t", "drops a trigger"),
    ("ALTER TABLE t DISABLE TRIGGER g", "no part of ALTER TABLE that is known"),
    ("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", "no statement that is known"),
]
NONE = [
    "BEGIN; COMMIT",
    "SET lock_timeout = '5s'",
    "COMMENT ON TABLE t IS 'x'",
    "SELECT 1",
    "UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001'",
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
]


@pytest.mark.parametrize("sql", EXPAND)
def test_what_only_adds(sql: str) -> None:
    assert {statement.kind for statement in classify(sql)} == {"expand"}


@pytest.mark.parametrize(("sql", "why"), CONTRACT)
def test_what_takes_away(sql: str, why: str) -> None:
    last = classify(sql, unique=["t_once"])[-1]
    assert last.kind == "contract"
    assert last.why.startswith(why)


@pytest.mark.parametrize("sql", DATA)
def test_what_changes_rows(sql: str) -> None:
    assert [statement.kind for statement in classify(sql)] == ["data"]


@pytest.mark.parametrize(("sql", "why"), UNKNOWN)
def test_what_cannot_be_told(sql: str, why: str) -> None:
    (statement,) = classify(sql)
    assert statement.kind == "unknown"
    assert why in statement.why


@pytest.mark.parametrize("sql", NONE)
def test_what_has_no_say(sql: str) -> None:
    assert classify(sql) == []


def test_a_version_table_of_another_name() -> None:
    assert [s.kind for s in classify("UPDATE versions SET n = '1'", version_table="versions")] == []
    assert [s.kind for s in classify("UPDATE alembic_version SET n = '1'", version_table="versions")] == ["data"]


def test_the_text_of_each_statement_is_its_own() -> None:
    found = classify("-- größer\nCREATE TABLE ö (n int);\n\n-- then\nDROP TABLE ä;  ")
    assert [(statement.sql.splitlines()[-1], statement.kind) for statement in found] == [
        ("CREATE TABLE ö (n int)", "expand"),
        ("DROP TABLE ä", "contract"),
    ]


def test_what_postgres_would_not_understand() -> None:
    with pytest.raises(Unparsable, match="can't be read: syntax error"):
        classify("CREATE TABEL t (n int)")
