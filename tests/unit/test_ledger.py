# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that only grows: what tampering and crashes leave, and which release is the last good one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _ledger


def entry(run: str, release: str = "1.0", outcome: str = "kept", **more: Any) -> dict[str, Any]:
    return {"event": "release", "run": run, "release": release, "outcome": outcome, **more}


def rolled_back(run: str, release: str, left: str) -> dict[str, Any]:
    return {**entry(run, release), "event": "rollback", "before": {"release": left}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for number in range(1, 5):
        _ledger.append(str(tmp_path), entry(f"run {number}", f"1.{number}", said="grün → ok"))
    return tmp_path / "ledger.jsonl"


def edited(lines: list[str], number: int, **changes: Any) -> list[str]:
    return [json.dumps({**json.loads(line), **changes}) if at == number else line for at, line in enumerate(lines, 1)]


def test_what_was_added_is_read_in_its_order(file: Path) -> None:
    found = _ledger.read(str(file.parent))
    assert found.problem == ""
    assert [(one["n"], one["release"]) for one in found.entries] == [(1, "1.1"), (2, "1.2"), (3, "1.3"), (4, "1.4")]
    assert found.entries[2]["previous"] == found.entries[1]["hash"]


@pytest.mark.parametrize(
    ("tamper", "problem", "good"),
    [
        (lambda lines: edited(lines, 2, release="9.9"), "line 2 was changed after it was written", 1),
        (lambda lines: edited(lines, 2, hash="f" * 64), "line 2 was changed after it was written", 1),
        (lambda lines: lines[:1] + lines[2:], "line 2 says that it is entry 3: lines were removed or added", 1),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "line 2 says that it is entry 1", 1),
        (lambda lines: [*lines[:2], "gone", *lines[3:]], "line 3 is not an entry", 2),
        (lambda lines: [*lines[:2], "[]", *lines[3:]], "line 3 is not an entry", 2),
        (lambda lines: ["", *lines], "line 1 is not an entry", 0),
    ],
)
def test_a_line_that_was_tampered_with_is_found(file: Path, tamper: Any, problem: str, good: int) -> None:
    file.write_text("\n".join(tamper(file.read_text().splitlines())) + "\n")
    found = _ledger.read(str(file.parent))
    assert found.problem.startswith(problem)
    assert len(found.entries) == good


def test_a_line_rewritten_with_its_own_hash_breaks_the_next(file: Path) -> None:
    lines = file.read_text().splitlines()
    forged = {**json.loads(lines[1]), "release": "9.9"}
    forged["hash"] = _ledger._hash(forged)
    file.write_text("\n".join([lines[0], json.dumps(forged), *lines[2:]]) + "\n")
    assert _ledger.read(str(file.parent)).problem.startswith("line 3 does not follow from line 2")


def test_tampering_stays_visible_however_much_is_added(file: Path) -> None:
    file.write_text("\n".join([*file.read_text().splitlines()[:3], "nonsense"]) + "\n")
    _ledger.append(str(file.parent), entry("later"))
    assert _ledger.read(str(file.parent)).problem == "line 4 is not an entry"


def test_a_line_that_a_crash_left_unfinished_was_never_an_entry(file: Path) -> None:
    with file.open("a") as handle:
        handle.write('{"n":5,"event":"rel')
    assert len(_ledger.read(str(file.parent)).entries) == 4
    assert _ledger.append(str(file.parent), entry("after the crash"))["n"] == 5
    found = _ledger.read(str(file.parent))
    assert (found.problem, found.entries[4]["run"]) == ("", "after the crash")


def test_of_many_that_add_at_once_nothing_is_lost(tmp_path: Path) -> None:
    writers = [
        threading.Thread(target=lambda n=n: [_ledger.append(str(tmp_path), entry(f"{n}.{k}")) for k in range(10)])
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = _ledger.read(str(tmp_path))
    assert (found.problem, len(found.entries)) == ("", 80)


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert _ledger.read(str(tmp_path)) == _ledger.Ledger([])


def closed(run: str) -> dict[str, Any]:
    return {"event": "closed", "run": f"close {run}", "closes": run}


def test_a_release_is_open_until_it_is_closed_and_failed_for_ever() -> None:
    entries = [entry("a"), entry("b", outcome="failed"), entry("c"), closed("a"), entry("d", closed=True)]
    assert [one["state"] for one in _ledger.releases(entries)] == ["closed", "failed", "open", "closed"]


@pytest.mark.parametrize(
    ("entries", "serving", "good"),
    [
        ([], "", ""),
        ([entry("a", "1")], "1", ""),
        ([entry("a", "1"), entry("b", "2")], "2", "1"),
        ([entry("a", "1"), entry("b", "2", "failed")], "1", ""),
        ([entry("a", "1"), entry("b", "2", "failed"), entry("c", "3")], "3", "1"),
        # What was left by a rollback is no goal of the next, unless it was released again.
        ([entry("a", "1"), entry("b", "2"), rolled_back("c", "1", "2")], "1", ""),
        ([entry("z", "0"), entry("a", "1"), entry("b", "2"), rolled_back("c", "1", "2")], "1", "0"),
        ([entry("a", "1"), entry("b", "2"), rolled_back("c", "1", "2"), entry("d", "2"), entry("e", "3")], "3", "2"),
    ],
)
def test_the_last_good_release(entries: list[dict[str, Any]], serving: str, good: str) -> None:
    assert _ledger.last_good(entries, serving) == good


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"event": "relaese", "run": "a"}, "event is 'relaese'"),
        ({"event": "release", "release": "1", "run": "a"}, "outcome is missing"),
        ({"event": "release", "release": "1", "run": "a", "outcome": "good"}, "outcome is neither kept nor failed"),
        ({"event": "release", "release": "1", "outcome": "kept"}, "run is missing"),
        ({"event": "closed", "run": "a"}, "closes is missing"),
        ({"event": "migrated", "run": "a", "migrations": []}, "migrations is missing"),
    ],
)
def test_what_is_no_entry(wrong: dict[str, Any], why: str) -> None:
    assert _ledger.lacking(wrong).startswith(why)


def test_what_is_one() -> None:
    # In dev a release may be without a name.
    for good in (
        entry("a", ""),
        entry("a", outcome="failed"),
        closed("a"),
        {"event": "migrated", "run": "a", "migrations": [{}]},
    ):
        assert _ledger.lacking(good) == ""


def test_the_same_entries_make_the_same_file_on_every_host(tmp_path: Path) -> None:
    for host in ("a", "b"):
        for number in range(3):
            _ledger.append(str(tmp_path / host), entry(f"run {number}", at=1796000000.5 + number))
    assert (tmp_path / "a/ledger.jsonl").read_bytes() == (tmp_path / "b/ledger.jsonl").read_bytes()
    assert (tmp_path / "a/ledger.jsonl").stat().st_mode & 0o777 == 0o600


def migrated(run: str, release: str, *steps: tuple[str, str], outcome: str = "kept") -> dict[str, Any]:
    applied = [{"id": revision, "classes": [kind]} for revision, kind in steps]
    return entry(run, release, outcome, migrations=[{"service": "migrate", "applied": applied}])


def test_what_stands_between_a_release_and_the_schema_of_now() -> None:
    entries = [
        migrated("a", "1", ("0001", "contract")),  # its own
        migrated("b", "2", ("0002", "expand"), ("0003", "contract")),
        migrated("c", "3", ("0004", "unknown"), outcome="failed"),  # the schema stays
        migrated("d", "4", ("0005", "data")),
    ]
    assert _ledger.one_way(entries, "1") == ["migrate 0003", "migrate 0004"]
    # Written down at once, by a run that died before its release.
    at_once = {**migrated("e", "5", ("0006", "contract")), "event": "migrated"}
    assert _ledger.one_way([*entries, at_once], "4") == ["migrate 0006"]
    assert [one["run"] for one in _ledger.releases([*entries, at_once])] == ["a", "b", "c", "d"]
    assert _ledger.one_way(entries, "2") == ["migrate 0004"]
    assert _ledger.one_way(entries, "4") == []
