# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which relations a migration locks, by what it does to them."""

from __future__ import annotations

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_locks import locks

EVERYTHING = [
    "CREATE INDEX CONCURRENTLY i ON t (n)",
    "DROP INDEX CONCURRENTLY i",
    "DO $$ BEGIN DELETE FROM t; END $$",
    "VACUUM t",
    "GRANT SELECT ON t TO r; CALL p()",
    None,
]
NAMED = [
    ("ALTER TABLE s.t ADD COLUMN n int", {"changed": ["t"]}),
    ("ALTER TABLE t RENAME TO u", {"changed": ["t"]}),
    ("DROP INDEX s.i", {"changed": ["i", "s"]}),
    ("CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()", {"changed": ["t"]}),
    ("DROP TABLE t, u", {"dropped": ["t", "u"]}),
    ("TRUNCATE t", {"dropped": ["t"]}),
    ("ALTER TABLE t DROP CONSTRAINT c", {"dropped": ["t"]}),
    ("CREATE TABLE t (n int REFERENCES u)", {"written": ["t", "u"]}),
    ("CREATE INDEX i ON t (n)", {"written": ["t"]}),
    ("INSERT INTO t SELECT n FROM u", {"written": ["t", "u"]}),
    ("UPDATE t SET n = (SELECT max(n) FROM u); ALTER TABLE v ADD m int", {"written": ["t", "u"], "changed": ["v"]}),
    ("BEGIN; CREATE SCHEMA s; GRANT SELECT ON t TO r; COMMIT", {}),
    ("", {}),
]


@pytest.mark.parametrize("sql", EVERYTHING)
def test_what_waits_for_everybody(sql: str | None) -> None:
    assert locks(["ALTER TABLE t ADD n int", sql])["everything"]


@pytest.mark.parametrize(("sql", "named"), NAMED)
def test_what_is_in_the_way_of_whom(sql: str, named: dict[str, list[str]]) -> None:
    assert locks([sql]) == {"everything": False, "changed": [], "dropped": [], "written": [], **named}
