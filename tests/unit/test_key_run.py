# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller decides in a run of `api_key`, from what a host answered. Real hosts: tests/integration/test_api_key*.py."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import argument_spec
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_run import KeyRun
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import FileSink

NOW = 1_000_000.0
LOOKED: dict[str, Any] = {
    **{
        "now": NOW,
        "place": "",
        "schema": [],
        "due": [],
        "keys": [],
        "known": {},
        "ends": {},
        "peppers": {},
        "notices": [],
    },
    "statement_seconds": 0.1,
}


class Host:
    """Answers the phases one after the other, and keeps what it was asked."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, phase: str, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((phase, request))
        answer = self.answers.pop(0)
        if answer.get("won") == "all":
            answer = {**answer, "won": {key["hash"]: str(n) for n, key in enumerate(request["keys"], 100)}}
        return {"statement_seconds": 0.1, **answer}

    @property
    def phases(self) -> list[str]:
        return [phase for phase, _request in self.asked]


def run_of(path: Path, host: Host, check: bool = False, told: list[Any] | None = None, **options: Any) -> KeyRun:
    given = {"state": "rotated", "url": "x", "prefix": "shop", "environment": "prod", "peppers": {"1": "11" * 32}}
    found = ArgumentSpecValidator(argument_spec()).validate({**given, "overlap": "1d", "all": True, **options})
    assert not found.error_messages
    sink = FileSink(str(path), lambda _attempt: None)

    def tell(message: dict[str, Any]) -> list[str]:
        (told if told is not None else []).append(message)
        return ["nobody was told"]

    return KeyRun(found.validated_parameters, host, sink, secrets.token_bytes, tell, check)


def pending(*ages: float) -> dict[str, dict[str, Any]]:
    return {
        f"id{n}": {
            **{
                "id": f"id{n}",
                "key": f"shop_prod_id{n}_x",
                "hash": f"h{n}",
                "staged": NOW - age,
                "replaces": f"old{n}",
            },
            **{"old_row": str(n), "pepper_version": 1, "name": "", "tenant": "", "scopes": []},
        }
        for n, age in enumerate(ages)
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def test_nothing_due_is_one_execution(path: Path) -> None:
    host = Host(LOOKED)
    result = run_of(path, host).run()
    assert (host.phases, result["changed"]) == (["look"], False)
    assert not path.exists()


def test_a_table_that_is_not_in_shape_is_brought_there_first(path: Path) -> None:
    due = [{"id": "a", "row": "1"}]
    healed = [{"kept": "1", "removed": []}]
    host = Host(
        {**LOOKED, "schema": ["add"]},
        {"healed": healed},
        {**LOOKED, "due": due},
        {"failed": True, "undone": True, "msg": "no"},
    )
    work = run_of(path, host)
    with pytest.raises(PlatformError, match="no"):
        work.run()
    assert host.phases == ["look", "prepare", "look", "apply"]
    # What was removed is told although the run failed.
    assert work.result["healed"] == healed
    assert run_of(path, Host({**LOOKED, "schema": ["add"]}), check=True).run()["changed"]


def test_check_mode_looks_only(path: Path) -> None:
    host = Host({**LOOKED, "due": [{"id": "a", "row": "1"}]})
    result = run_of(path, host, check=True).run()
    assert (host.phases, result["changed"], result["keys"]) == (["look"], True, [{"id": "a", "row": "1"}])
    assert not path.exists()


@pytest.mark.parametrize(
    ("ages", "known", "settled"),
    [
        ((0,), {"h0": "1"}, {"finished": ["id0"], "discarded": [], "waiting": []}),
        ((5000,), {"h0": "1"}, {"finished": ["id0"], "discarded": [], "waiting": []}),
        ((899, 901), {}, {"finished": [], "discarded": ["id1"], "waiting": ["id0"]}),
        ((0, 901, 0), {"h2": "7"}, {"finished": ["id2"], "discarded": ["id1"], "waiting": ["id0"]}),
    ],
)
def test_what_a_run_before_left(
    path: Path, ages: tuple[float, ...], known: dict[str, str], settled: dict[str, Any]
) -> None:
    work = run_of(path, Host({**LOOKED, "known": known}))
    assert work.sink
    work.sink._store({"keys": {}, "pending": pending(*ages)}, None)
    before = path.read_bytes()
    looked = run_of(path, Host({**LOOKED, "known": known}), check=True).run()
    assert looked["settled"] == settled
    assert path.read_bytes() == before
    result = work.run()
    assert result["settled"] == settled
    assert result["changed"] == bool(settled["finished"] or settled["discarded"])
    document = work.sink.read()
    assert sorted(document["pending"]) == settled["waiting"]
    assert sorted(document["keys"]) == settled["finished"]


@pytest.mark.parametrize(("undone", "left"), [(True, 0), (False, 1)])
def test_only_a_host_that_says_so_changed_nothing(path: Path, undone: bool, left: int) -> None:
    host = Host({**LOOKED, "due": [{"id": "a", "row": "1"}]}, {"failed": True, "msg": "broken", "undone": undone})
    work = run_of(path, host)
    with pytest.raises(PlatformError, match="broken"):
        work.run()
    assert work.sink
    assert len(work.sink.read()["pending"]) == left


def test_what_another_run_won_is_discarded_and_said(path: Path) -> None:
    due = [{"id": "a", "row": "1", "name": "n"}, {"id": "b", "row": "2"}]
    host = Host({**LOOKED, "due": due}, {})
    work = run_of(path, host)
    host.answers[-1] = {"won": {}, "ends": {}}
    result = work.run()
    assert (result["changed"], result["keys"], result["lost"]) == (False, [], ["a", "b"])
    assert work.sink
    assert work.sink.read() == {"keys": {}, "pending": {}}


def test_what_is_told_of_a_rotation(path: Path) -> None:
    due = [{"id": "a", "row": "1", "name": "n", "tenant": "t", "scopes": ["r"]}]
    host = Host({**LOOKED, "due": due}, {"won": "all", "ends": {"1": "2027-01-31T00:00:00+00:00"}})
    work = run_of(path, host, retire_on_first_use="1m")
    [key] = work.run()["keys"]
    assert work.sink
    [(label, entry)] = work.sink.read()["keys"].items()
    assert (label, entry["id"], entry["ref"]) == ("t/n", key["id"], key["id"])
    assert key == {
        **{
            "id": entry["id"],
            "row": "100",
            "prefix": "shop_prod",
            "last4": entry["key"][-4:],
            "name": "n",
            "tenant": "t",
        },
        **{
            "scopes": ["r"],
            "replaces": "a",
            "old_ends": "2027-01-31T00:00:00+00:00",
            "retire_after_first_use_seconds": 60,
        },
    }
    assert entry["key"] not in str(host.asked)


def test_rows_of_a_table_without_ids_of_keys_are_named_by_where_they_are(path: Path) -> None:
    due = [{"id": "1", "row": "1"}]
    looked = {**LOOKED, "place": "7/app/api_keys#", "due": due}
    work = run_of(path, Host(looked, {"won": "all"}))
    assert work.sink
    held = {"id": "x", "key": "k"}
    work.sink._store(
        {
            "keys": {"mine": {**held, "ref": "7/app/api_keys#1"}, "other": {**held, "ref": "8/app/api_keys#1"}},
            "pending": {},
        },
        None,
    )
    work.run()
    keys = work.sink.read()["keys"]
    assert "mine" not in keys
    assert "other" in keys
    assert [entry["ref"] for label, entry in keys.items() if label != "other"] == ["7/app/api_keys#100"]


def test_what_cannot_make_keys(path: Path) -> None:
    for options in ({"prefix": None}, {"environment": None}, {"peppers": {}}, {"prefix": "No"}):
        host = Host()
        with pytest.raises(PlatformError):
            run_of(path, host, **options).run()
        assert host.asked == []


def test_consumers_are_told_what_an_earlier_run_had_no_time_to_tell(path: Path) -> None:
    told: list[Any] = []
    work = run_of(path, Host({**LOOKED, "known": {"h0": "1"}}), told=told)
    assert work.sink
    work.sink._store({"keys": {}, "pending": pending(0)}, None)
    assert work.run()["warnings"] == ["nobody was told"]
    assert told == [{"event": "api_keys_rotated", "keys": [{"id": "id0", "prefix": "shop_prod", "replaces": "old0"}]}]
