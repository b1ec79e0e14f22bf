# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations of API keys that meet each other, or die: nothing is lost, nothing is doubled, and the next run completes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import parse, peppered
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import FileSink

from tests.integration.api_keys import PEPPERS, Execute, Keys
from tests.integration.postgres_server import Server, docker, running
from tests.support import eventually

ROTATE: dict[str, Any] = {"state": "rotated", "max_age": "90d", "overlap": "1d"}


class Died(BaseException):
    """The controller is gone: none of its code runs any more."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that can be killed."""
    with running(tmp_path_factory.mktemp("postgres"), durable=True) as found:
        yield found


@pytest.fixture
def keys(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> Keys:
    return Keys(tmp_path, server, wanted)


def due(keys: Keys, number: int) -> list[str]:
    """Ids of keys that are old enough to be rotated."""
    ids = [keys.issue(f"name-{index}") for index in range(number)]
    keys.age()
    return ids


def holds_together(keys: Keys) -> None:
    """Every key that is good and has no successor is in the sink, once, as the text whose hash the table has; nothing is staged."""
    document = keys.sink.read()
    assert document["pending"] == {}
    rows = keys.sql(
        "SELECT key_id, hash, pepper_version FROM lastro_api_keys WHERE revoked IS NULL AND replaced_by IS NULL"
    )
    held = {entry["id"]: entry["key"] for entry in document["keys"].values()}
    assert {row[0] for row in rows} == set(held)
    for key_id, stored, version in rows:
        assert parse(held[key_id]).id == key_id
        assert peppered(bytes.fromhex(PEPPERS[str(version)]), held[key_id]) == stored


def die_at(phase: str, after: bool) -> Any:
    def wrap(execute: Execute) -> Execute:
        def run(name: str, request: dict[str, Any]) -> dict[str, Any]:
            if name == phase and not after:
                raise Died
            done = execute(name, request)
            if name == phase:
                raise Died
            return done

        return run

    return wrap


def at_once(number: int) -> Any:
    """Nobody changes the table before all have looked at it and staged their keys."""
    together = threading.Barrier(number)

    def wrap(execute: Execute) -> Execute:
        def run(phase: str, request: dict[str, Any]) -> dict[str, Any]:
            if phase == "apply":
                together.wait(120)
            return execute(phase, request)

        return run

    return wrap


def slow_down(keys: Keys, what: str) -> None:
    """Whoever comes to that statement stays there for a while, so that others without a lock get there too."""
    keys.sql(
        "CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'"
    )
    keys.sql(f"CREATE TRIGGER stay BEFORE {what} ON lastro_api_keys FOR EACH STATEMENT EXECUTE FUNCTION stay()")


def test_of_twenty_rotations_at_once_each_key_is_rotated_by_one(keys: Keys) -> None:
    ids = due(keys, 5)
    slow_down(keys, "UPDATE")
    wrap = at_once(20)
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: keys.run(**ROTATE, sink=keys.new_sink(), wrap=wrap), range(20)))
    assert [result["msg"] for result in results if "failed" in result] == []
    assert sorted(key["replaces"] for result in results for key in result["keys"]) == sorted(ids)
    assert sum(len(result["lost"]) for result in results) == 19 * 5
    assert keys.sql("SELECT count(*), count(DISTINCT hash), count(replaced_by) FROM lastro_api_keys") == [(10, 10, 5)]
    holds_together(keys)


def test_of_twenty_that_issue_one_key_one_does(keys: Keys) -> None:
    keys.issue("first")
    slow_down(keys, "INSERT")
    wrap = at_once(20)
    wanted = {"state": "present", "name": "n", "tenant": "t", "wrap": wrap}
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: keys.run(**wanted, sink=keys.new_sink()), range(20)))
    assert [result["msg"] for result in results if "failed" in result] == []
    assert sum(result["changed"] for result in results) == 1
    assert keys.sql("SELECT count(*) FROM lastro_api_keys WHERE name = 'n'") == [(1,)]
    holds_together(keys)


def test_a_controller_that_dies_before_the_commit_leaves_nothing_that_counts(keys: Keys) -> None:
    ids = due(keys, 3)
    before = {label: entry["key"] for label, entry in keys.sink.read()["keys"].items()}
    with pytest.raises(Died):
        keys.run(**ROTATE, wrap=die_at("apply", after=False))
    document = keys.sink.read()
    # The old keys are where consumers look for them.
    assert {label: entry["key"] for label, entry in document["keys"].items()} == before
    assert len(document["pending"]) == 3
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(3,)]

    done = keys.run(**ROTATE)
    assert sorted(key["replaces"] for key in done["keys"]) == sorted(ids)
    # That run can't know whether the other one is only slow.
    assert done["settled"]["waiting"] == sorted(document["pending"])

    late = keys.sink.read()
    keys.sink._store(
        {**late, "pending": {n: {**e, "staged": e["staged"] - 1000} for n, e in late["pending"].items()}}, None
    )
    done = keys.run(**ROTATE)
    assert done["settled"]["discarded"] == sorted(document["pending"])
    holds_together(keys)


def test_a_controller_that_dies_after_the_commit_is_finished_by_the_next_run(keys: Keys) -> None:
    due(keys, 3)
    with pytest.raises(Died):
        keys.run(**ROTATE, wrap=die_at("apply", after=True))
    staged = sorted(keys.sink.read()["pending"])
    assert keys.told == []
    assert keys.run(**ROTATE, is_check=True)["settled"]["finished"] == staged
    assert sorted(keys.sink.read()["pending"]) == staged
    done = keys.run(**ROTATE)
    assert (done["changed"], done["keys"], done["settled"]["finished"]) == (True, [], staged)
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(6,)]
    holds_together(keys)
    assert [(told["event"], len(told["keys"])) for told in keys.told] == [("api_keys_rotated", 3)]
    assert all(key["old_ends"].startswith("20") for key in keys.told[0]["keys"])
    assert not keys.run(**ROTATE)["changed"]
    assert len(keys.told) == 1


def test_an_answer_that_was_lost_is_not_taken_for_a_failure(keys: Keys) -> None:
    due(keys, 2)

    def wrap(execute: Execute) -> Execute:
        def run(phase: str, request: dict[str, Any]) -> dict[str, Any]:
            done = execute(phase, request)
            return {"failed": True, "msg": "The connection broke"} if phase == "apply" else done

        return run

    done = keys.run(**ROTATE, wrap=wrap)
    assert done["failed"]
    assert "Nobody knows whether it was committed" in done["msg"]
    assert len(keys.sink.read()["pending"]) == 2
    keys.run(**ROTATE)
    holds_together(keys)


def test_a_run_that_took_too_long_does_not_commit(keys: Keys) -> None:
    due(keys, 2)

    def wrap(execute: Execute) -> Execute:
        return lambda phase, request: execute(phase, {**request, "looked": request.get("looked", 0) - 700})

    done = keys.run(**ROTATE, wrap=wrap)
    assert "This run took more than 600 s" in done["msg"]
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(2,)]
    holds_together(keys)


def test_a_commit_that_the_server_refuses(keys: Keys) -> None:
    due(keys, 2)
    before = keys.sink.read()
    keys.sql(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not on a Friday'; END $$"
    )
    keys.sql(
        "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON lastro_api_keys DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION no()"
    )
    done = keys.run(**ROTATE)
    assert "not on a Friday" in done["msg"]
    assert "Nobody knows" not in done["msg"]
    assert keys.sink.read() == before
    assert keys.sql("SELECT count(*), count(replaced_by) FROM lastro_api_keys") == [(2, 0)]
    keys.sql("DROP TRIGGER no ON lastro_api_keys")
    assert len(keys.run(**ROTATE)["keys"]) == 2
    holds_together(keys)


class Broken(FileSink):
    """Refuses its nth write."""

    nth = 1

    def _store(self, document: Any, version: Any) -> Any:
        self.nth -= 1
        if self.nth == 0:
            raise PlatformError("The disk is full", "Free some.")
        return super()._store(document, version)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_sink_that_fails(keys: Keys, nth: int) -> None:
    due(keys, 3)
    before = keys.sink.read()
    sink = Broken(str(keys.path), lambda _attempt: None)
    sink.nth = nth
    done = keys.run(**ROTATE, sink=sink)
    assert done["failed"]
    assert "The disk is full" in done["msg"]
    if nth == 1:
        assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(3,)]
        assert keys.sink.read() == before
    else:
        assert "The keys are in the database, and the sink was not finished" in done["msg"]
        assert keys.sink.read()["keys"] == before["keys"]
    keys.run(**ROTATE)
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(6,)]
    holds_together(keys)


def test_a_database_that_is_killed_in_the_middle_of_a_rotation(keys: Keys) -> None:
    due(keys, 10)
    before = {label: entry["key"] for label, entry in keys.sink.read()["keys"].items()}
    # The new rows are in and the old ones are about to end.
    keys.sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'"
    )
    keys.sql("CREATE TRIGGER wait BEFORE UPDATE ON lastro_api_keys FOR EACH STATEMENT EXECUTE FUNCTION wait()")

    def asleep() -> bool:
        return bool(keys.server.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

    with ThreadPoolExecutor(1) as pool:
        rotation = pool.submit(keys.run, **ROTATE)
        eventually(asleep, "the rotation has its new rows in", 60)
        keys.server.crash()
        done = rotation.result(60)
    assert done["failed"]
    assert "The server went away in the middle" in done["msg"]
    assert {label: entry["key"] for label, entry in keys.sink.read()["keys"].items()} == before
    assert keys.sink.read()["pending"] == {}
    assert keys.sql("SELECT count(*), count(replaced_by) FROM lastro_api_keys") == [(10, 0)]

    keys.sql("DROP TRIGGER wait ON lastro_api_keys")
    done = keys.run(**ROTATE)
    assert "failed" not in done, done["msg"]
    assert len(done["keys"]) == 10
    holds_together(keys)


def test_a_standby_is_refused(keys: Keys) -> None:
    keys.issue("billing")
    signal = "/var/lib/postgresql/data/standby.signal"
    docker("exec", "-u", "postgres", keys.server.name, "touch", signal)
    keys.server.crash()
    try:
        held = keys.path.read_bytes()
        for options in (
            {"state": "rotated", "all": True, "overlap": "1d"},
            {"state": "revoked", "all": True},
            {"state": "present", "name": "other"},
            {"state": "pruned"},
        ):
            done = keys.run(**options)
            assert done["failed"]
            assert "The server is in recovery" in done["msg"]
        assert keys.path.read_bytes() == held
        assert len(keys.run(state="listed")["keys"]) == 1
    finally:
        docker("exec", "-u", "postgres", keys.server.name, "rm", signal)
        keys.server.crash()
