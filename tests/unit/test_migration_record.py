# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of migrations, and which revisions may stand in a database that a release does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._migrate_tool import Leave
from ansible_collections.lastro.platform.plugins.module_utils._migration_guard import Leftovers
from ansible_collections.lastro.platform.plugins.module_utils._migration_record import Record, records


@pytest.mark.parametrize(
    ("named", "reached", "unknown", "heads", "covered"),
    [
        ((), (), ["6"], ["5"], False),
        ((), ("5", "6"), ["6"], ["5"], True),
        # This application never stood where this release ends: another history.
        ((), ("6",), ["6"], ["5"], False),
        ((), ("5",), ["6"], ["5"], False),
        (("6",), (), ["6"], ["5"], True),
        (("6",), (), ["6", "7"], ["5"], False),
        (("7",), ("5", "6"), ["6", "7"], ["5"], False),
    ],
)
def test_leave(
    named: tuple[str, ...], reached: tuple[str, ...], unknown: list[str], heads: list[str], covered: bool
) -> None:
    assert Leave(frozenset(named), frozenset(reached)).covers(unknown, heads) is covered


def test_what_was_reached_stays_and_how_it_ended_is_the_last_run(tmp_path: Path) -> None:
    record = Record(str(tmp_path / "migrations/migrate.json"))
    assert (record.read(), record.reached()) == ({}, frozenset())
    record.keep(True, "1.4", ["4", "5"], ["5"])
    record.keep(False, "1.5", [], [])
    kept = record.read()
    assert (kept["ok"], kept["release"], kept["current"], kept["reached"]) == (False, "1.5", ["5"], ["4", "5"])
    assert (tmp_path / "migrations/migrate.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "migrations").stat().st_mode & 0o077 == 0
    assert [entry["service"] for entry in records(tmp_path / "migrations")] == ["migrate"]


def test_what_was_invalid_before_a_run_stays_until_one_ends_well(tmp_path: Path) -> None:
    record, before = Record(str(tmp_path / "migrate.json")), Leftovers(("i",), ("t.c",))
    record.begin("1.4", Leftovers())
    assert (record.unfinished(), record.read()["ok"]) == (Leftovers(), False)
    record.keep(False, "1.4", [], [], before)
    assert record.unfinished() == before
    record.keep(True, "1.4", ["5"], ["5"])
    assert record.unfinished() is None


def test_without_a_path_nothing_is_kept() -> None:
    record = Record(None)
    record.keep(True, "1.4", ["5"], ["5"])
    assert record.read() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ok": true}', '{"reached": 5}'])
def test_a_torn_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "migrate.json"
    path.write_text(text)
    with pytest.raises(PlatformError, match=f"{path} is not a record of migrations"):
        Record(str(path)).reached()


def test_no_directory_no_records(tmp_path: Path) -> None:
    assert records(tmp_path / "nothing") == []
