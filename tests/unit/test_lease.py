# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets a lease, who may change something, and what a file says that several write at once."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _lease
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import Lease

NOW = 1_796_000_000.0


def asked(run: str = "new", seconds: float = 900) -> Lease:
    return Lease(0, run, seconds=seconds, holder={"who": "ana", "where": "ci-7", "doing": "release of 1.4.2"})


def of(run: str, number: int, left: float) -> Lease:
    return Lease(
        number,
        run,
        until=NOW + left,
        since=NOW - 10,
        seconds=900,
        holder={"who": "bo", "where": "desk", "doing": "release of 1.4.1"},
    )


@pytest.mark.parametrize(
    ("found", "number"),
    [
        (None, 1),
        (of("old", 7, -1), 8),  # it ended
        (Lease(7, "old"), 8),  # a fence alone, or given back
        (of("new", 7, 100), 7),  # its own
        (of("new", 7, -100), 7),
    ],
)
def test_a_free_lease_is_granted_under_a_higher_number(found: Lease | None, number: int) -> None:
    got = _lease.granted(found, asked(), 0, NOW)
    assert (got.run, got.number, got.since, got.until) == ("new", number, NOW, NOW + 900)


def test_a_held_lease_is_refused_with_who_where_since_and_until() -> None:
    with pytest.raises(_lease.Held) as refused:
        _lease.granted(of("old", 7, 600), asked(), 0, NOW)
    said = str(refused.value)
    assert "run 7 (release of 1.4.1, by bo from desk, since 2026-11-30 00:53:10 UTC)" in said
    assert "ends at 2026-11-30 01:03:20 UTC, in 600 s" in said
    assert "-e platform_lease_take_over=7" in said


def test_a_run_that_is_known_to_be_dead_is_followed_and_no_other() -> None:
    assert _lease.granted(of("old", 7, 600), asked(), 7, NOW).number == 8
    with pytest.raises(_lease.Held):
        _lease.granted(of("old", 8, 600), asked(), 7, NOW)


def test_a_clock_that_was_set_back_makes_no_lease_longer() -> None:
    assert _lease.granted(of("old", 7, 86400), asked(), 0, NOW).number == 8
    # Corrected by a little it was not set back.
    with pytest.raises(_lease.Held):
        _lease.granted(of("old", 7, 930), asked(), 0, NOW)


def test_the_number_is_higher_than_any_that_a_host_of_the_platform_knows() -> None:
    wanted = replace(asked(), number=41)
    assert _lease.granted(None, wanted, 0, NOW).number == 42
    assert _lease.granted(Lease(50, "old"), wanted, 0, NOW).number == 51


@pytest.mark.parametrize(
    ("found", "after"),
    [
        (None, Lease(8, "mine")),
        (Lease(7, "old"), Lease(8, "mine")),  # the fence of a host that no lease is on
        (of("old", 7, -1), Lease(8, "mine")),
        (Lease(8, "mine"), Lease(8, "mine")),
    ],
)
def test_a_change_of_the_newest_run_raises_the_fence(found: Lease | None, after: Lease) -> None:
    assert _lease.passed(found, "mine", 8, NOW) == after


def test_on_a_host_that_gave_it_a_lower_number_a_run_has_its_highest() -> None:
    assert _lease.passed(of("mine", 5, 100), "mine", 9, NOW).number == 9


def test_a_change_renews_the_lease_that_the_run_holds_also_after_its_end_but_not_what_it_gave_back() -> None:
    for left in (100, -100):
        assert _lease.passed(of("mine", 8, left), "mine", 8, NOW).until == NOW + 900
    assert _lease.passed(Lease(8, "mine", until=0, seconds=900), "mine", 8, NOW).until == 0


@pytest.mark.parametrize(
    "found",
    [
        Lease(9, "newer"),
        Lease(8, "as new"),  # two runs that were given the same number by hosts that did not know each other
        of("newer", 9, 600),
        of("older", 7, 600),  # whoever holds it is the one, whatever the numbers
    ],
)
def test_a_change_of_any_other_run_is_refused(found: Lease) -> None:
    with pytest.raises(
        PlatformError, match=rf"This run, number 8, lost its lease to run {found.number} .*Nothing was changed"
    ):
        _lease.passed(found, "mine", 8, NOW)


def option(directory: Path, run: str, number: int) -> dict[str, Any]:
    return {"directory": str(directory), "run": run, "number": number}


def test_take_change_return_and_the_late_one(tmp_path: Path) -> None:
    place = tmp_path / "shop"
    first = _lease.take(str(place), asked("first"), 0)
    with _lease.held(option(place, "first", first.number), check_mode=False):
        pass
    with pytest.raises(_lease.Held):
        _lease.take(str(place), asked("second"), 0)
    _lease.give_back(str(place), "first")
    second = _lease.take(str(place), asked("second"), 0)
    assert (first.number, second.number) == (1, 2)
    with pytest.raises(PlatformError, match="lost its lease to run 2"), _lease.held(option(place, "first", 1), False):
        pytest.fail("changed something")
    _lease.give_back(str(place), "first")  # nobody's to return any more
    assert json.loads((place / "lease.json").read_text())["until"] > time.time()


def test_without_a_lease_and_in_check_mode_nothing_is_asked_or_written(tmp_path: Path) -> None:
    with _lease.held(None, check_mode=False), _lease.held(option(tmp_path / "no", "x", 1), check_mode=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lease_is_not_taken_while_a_change_is_under_way(tmp_path: Path) -> None:
    _lease.take(str(tmp_path), asked("first", seconds=0.1), 0)
    begun, end = threading.Event(), threading.Event()

    def change() -> None:
        with _lease.held(option(tmp_path, "first", 1), check_mode=False):
            begun.set()
            end.wait(20)

    working = threading.Thread(target=change)
    working.start()
    begun.wait(5)
    time.sleep(0.15)
    try:
        with pytest.raises(PlatformError, match=r"has been under way here for 0\.3 s"):
            _lease.take(str(tmp_path), asked("second"), 0, drain=0.3)
        threading.Timer(0.3, end.set).start()
        assert _lease.take(str(tmp_path), asked("second"), 0, drain=5).number == 2
    finally:
        end.set()
        working.join()


def test_of_many_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    got: list[str] = []
    start = threading.Barrier(12)

    def ask(name: str) -> None:
        start.wait()
        with contextlib.suppress(_lease.Held):
            got.append(_lease.take(str(tmp_path), asked(name), 0).run)

    askers = [threading.Thread(target=ask, args=(f"r{n}",)) for n in range(12)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(got) == 1
    assert json.loads((tmp_path / "lease.json").read_text())["run"] == got[0]


def test_the_first_change_on_a_host_waits_for_those_of_older_runs(tmp_path: Path) -> None:
    """A host without a lease, on which a run that lost it is at work still."""
    begun, end, order = threading.Event(), threading.Event(), []

    def old() -> None:
        with _lease.held(option(tmp_path, "old", 1), check_mode=False):
            begun.set()
            end.wait(20)
            order.append("old")

    working = threading.Thread(target=old)
    working.start()
    begun.wait(5)
    threading.Timer(0.3, end.set).start()
    with _lease.held(option(tmp_path, "new", 2), check_mode=False):
        order.append("new")
    working.join()
    assert order == ["old", "new"]
    with pytest.raises(PlatformError, match="lost its lease to run 2"), _lease.held(option(tmp_path, "old", 1), False):
        pytest.fail("changed something")


def test_a_fence_keeps_older_runs_out_of_a_host_that_has_no_lease(tmp_path: Path) -> None:
    _lease.fence(str(tmp_path), "new", 2)
    with pytest.raises(PlatformError, match="lost its lease to run 2"), _lease.held(option(tmp_path, "old", 1), False):
        pytest.fail("changed something")
    with pytest.raises(PlatformError, match="number 1, lost its lease to run 2"):
        _lease.fence(str(tmp_path), "old", 1)


def test_a_lease_is_renewed_for_its_own_run_alone_and_not_after_it_was_given_back(tmp_path: Path) -> None:
    _lease.take(str(tmp_path), asked("first", seconds=1), 0)
    until = json.loads((tmp_path / "lease.json").read_text())["until"]
    time.sleep(0.05)
    _lease.renew(str(tmp_path), "other")
    assert json.loads((tmp_path / "lease.json").read_text())["until"] == until
    _lease.renew(str(tmp_path), "first")
    assert json.loads((tmp_path / "lease.json").read_text())["until"] > until
    _lease.give_back(str(tmp_path), "first")
    _lease.renew(str(tmp_path), "first")
    assert json.loads((tmp_path / "lease.json").read_text())["until"] == 0
    _lease.renew(str(tmp_path / "absent"), "first")


def test_a_full_disk_stops_no_run_that_is_at_work_and_lets_none_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lease.take(str(tmp_path), asked("first"), 0)

    def full(*_words: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_lease.StackDirectory, "write", full)
    with _lease.held(option(tmp_path, "first", 1), check_mode=False):
        pass
    _lease.give_back(str(tmp_path), "first")
    with pytest.raises(OSError, match="No space"):
        _lease.take(str(tmp_path), asked("second"), take_over=1)


def test_a_file_that_says_nothing_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text("{}")
    with pytest.raises(PlatformError, match=r"lease\.json says nothing of a lease. Remove it"):
        _lease.take(str(tmp_path), asked(), 0)
