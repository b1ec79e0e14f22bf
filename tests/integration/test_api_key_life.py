# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of keys in the course of time: they end, are skipped, come again from a file, and share sink and table with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_keys import PEPPERS, Execute, Keys
from tests.integration.postgres_server import Server
from tests.integration.test_api_key_application import MAPPED, TABLE
from tests.integration.test_api_key_faults import Died, die_at

FOREIGN = "a-key-of-another-time-that-is-long-enough-0123456789"


@pytest.fixture
def keys(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> Keys:
    return Keys(tmp_path, server, wanted)


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_a_key_that_is_issued_again_is_found_by_the_name_of_the_dead_one(keys: Keys, how: str) -> None:
    first = keys.issue("billing")
    column = "expires" if how == "expired" else "revoked"
    keys.sql(f"UPDATE lastro_api_keys SET {column} = now() - interval '1 s'")
    second = keys.issue("billing")
    assert first != second
    assert {label: entry["id"] for label, entry in keys.sink.read()["keys"].items()} == {"acme/billing": second}


def test_a_key_under_an_older_pepper_does_not_come_back_by_an_import(keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "import.jsonl"
    file.touch(0o600)
    file.write_text(json.dumps({"key": FOREIGN, "name": "billing"}))
    (imported,) = keys.run(state="imported", import_file=str(file), peppers={"1": PEPPERS["1"]})["keys"]
    done = keys.run(state="revoked", ids=[imported["id"]], peppers={"1": PEPPERS["1"]})
    assert "failed" not in done, done["msg"]
    again = keys.run(state="imported", import_file=str(file))
    assert (again["changed"], again["keys"]) == (False, [])
    assert keys.sql("SELECT count(*), count(revoked) FROM lastro_api_keys") == [(1, 1)]


def test_keys_that_are_staged_for_another_table_are_left_alone(keys: Keys) -> None:
    keys.issue("billing")
    entry = {"id": "other", "key": "x", "hash": "0" * 64, "name": "other", "staged": 0, "table": "8/shop/api_keys"}
    keys.sink.stage([entry])
    done = keys.run(state="rotated", all=True, overlap="1h")
    assert "failed" not in done, done["msg"]
    assert done["settled"]["discarded"] == []
    assert list(keys.sink.read()["pending"]) == ["other"]
    # Their own table, and nobody can commit them any more; whoever only reads leaves them, too.
    keys.sink.stage([{**entry, "id": "ours", "table": None}])
    keys.run(state="listed")
    assert sorted(keys.sink.read()["pending"]) == ["other", "ours"]
    assert keys.run(state="rotated", all=True, overlap="1h")["settled"]["discarded"] == ["ours"]
    assert list(keys.sink.read()["pending"]) == ["other"]


def test_a_key_waits_for_the_first_use_of_its_last_successor(keys: Keys) -> None:
    """A consumer that skips a rotation takes the newest key, and the one that it used ends with the first use of that."""
    first = keys.issue("billing")
    for _ in range(2):
        done = keys.run(state="rotated", all=True, retire_on_first_use="1h")
        assert "failed" not in done, done["msg"]
    newest = keys.sink.read()["keys"]["acme/billing"]["id"]
    ((successor,),) = keys.sql(f"SELECT replaced_by FROM lastro_api_keys WHERE key_id = '{first}'")
    assert successor == newest


def test_only_chosen_keys_are_pruned(keys: Keys) -> None:
    for tenant in ("acme", "other"):
        keys.issue("billing", tenant)
    keys.sql("UPDATE lastro_api_keys SET revoked = now() - interval '1 h'")
    done = keys.run(state="pruned", tenants=["acme"], keep="0s")
    assert [key["tenant"] for key in done["keys"]] == ["acme"]
    assert keys.sql("SELECT tenant FROM lastro_api_keys") == [("other",)]


def test_consumers_hear_of_a_revocation_that_the_sink_does_not_take(keys: Keys) -> None:
    key = keys.issue("billing")

    def sink_breaks(execute: Execute) -> Execute:
        def run(phase: str, request: dict[str, Any]) -> dict[str, Any]:
            done = execute(phase, request)
            if phase == "apply":
                keys.path.chmod(0o644)  # refused as readable by others
            return done

        return run

    done = keys.run(state="revoked", ids=[key], force=True, wrap=sink_breaks)
    assert done["msg"].startswith("The keys are revoked, and the sink still has them: ")
    assert [(told["event"], told["keys"][0]["id"]) for told in keys.told] == [("api_keys_revoked", key)]
    keys.path.chmod(0o600)
    assert keys.sink.read()["keys"]


def test_a_key_that_is_issued_again_by_a_run_that_dies_is_found_by_its_name(keys: Keys) -> None:
    keys.issue("billing")
    keys.sql("UPDATE lastro_api_keys SET expires = now() - interval '1 s'")
    with pytest.raises(Died):
        keys.run(state="present", name="billing", tenant="acme", wrap=die_at("apply", after=True))
    again = keys.run(state="present", name="billing", tenant="acme")
    assert again["settled"]["finished"] == [again["keys"][0]["id"]]
    assert {label: entry["id"] for label, entry in keys.sink.read()["keys"].items()} == {
        "acme/billing": again["keys"][0]["id"]
    }


def test_the_key_of_a_tenant_is_not_that_of_nobody(keys: Keys) -> None:
    keys.issue("billing")
    done = keys.run(state="present", name="billing")
    assert "failed" not in done, done["msg"]
    assert sorted(keys.sink.read()["keys"]) == ["acme/billing", "billing"]
    assert not keys.run(state="present", name="billing")["changed"]


@pytest.fixture
def loose(keys: Keys) -> Keys:
    """An application's table that leaves to the program what the database could do."""
    keys.sql(TABLE)
    keys.sql("ALTER TABLE api_keys ALTER created_at DROP DEFAULT, ALTER key_hash DROP NOT NULL")
    return keys


def test_a_table_without_defaults_gets_the_time_of_issue(loose: Keys) -> None:
    done = loose.run(state="present", tenant="1", scopes=["client"], **MAPPED)
    assert "failed" not in done, done["msg"]
    assert loose.sql("SELECT created_at <= now() FROM api_keys") == [(True,)]


def test_rows_without_a_hash_are_no_duplicates(loose: Keys) -> None:
    loose.sql("ALTER TABLE api_keys DROP CONSTRAINT api_keys_key_hash_key")
    loose.sql(
        "INSERT INTO api_keys (tenant_id, role, created_at, revoked_at) SELECT 1, 'client', now(), now() FROM generate_series(1, 3)"
    )
    done = loose.run(state="present", tenant="1", scopes=["client"], heal=True, **MAPPED)
    assert "failed" not in done, done["msg"]
    assert loose.sql("SELECT count(*) FROM api_keys WHERE key_hash IS NULL") == [(3,)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"scopes": ["read only"]}, "has a blank"),
        ({"pepper_version": "two"}, "is no number"),
        ({"expires": "2027-01-31"}, "expires"),
    ],
)
def test_what_an_import_could_not_keep_is_refused(
    loose: Keys, tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    file = tmp_path / "import.jsonl"
    file.touch(0o600)
    file.write_text(json.dumps({"key": FOREIGN, "tenant": "1", "scopes": ["client"], **entry}))
    done = loose.run(state="imported", import_file=str(file), **MAPPED)
    assert message in done["msg"]
    assert loose.sql("SELECT count(*) FROM api_keys") == [(0,)]
