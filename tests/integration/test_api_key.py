# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys in the collection's own table on a real server: issued, rotated, revoked, imported, pruned, refused."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import parse, peppered

from tests.integration.api_keys import PEPPERS, Keys
from tests.integration.postgres_server import Server, database


@pytest.fixture
def keys(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> Keys:
    return Keys(tmp_path, server, wanted)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Keys]:
    """One key, for what is refused and changes nothing."""
    with database(server) as wanted:
        found = Keys(tmp_path_factory.mktemp("untouched"), server, wanted)
        found.issue("there")
        yield found


def verifies(keys: Keys, plain: str) -> bool:
    """Whether a verifier would take it."""
    rows = keys.sql(
        f"SELECT hash, pepper_version FROM lastro_api_keys WHERE key_id = '{parse(plain).id}' AND revoked IS NULL"
        " AND (expires IS NULL OR expires > now())"
    )
    return [peppered(bytes.fromhex(PEPPERS[str(version)]), plain) == stored for stored, version in rows] == [True]


def test_a_key_is_issued_once(keys: Keys) -> None:
    planned = keys.run(state="present", name="billing", tenant="acme", scopes=["read", "write"], is_check=True)
    assert (planned["changed"], planned["schema"]) == (True, ["create lastro_api_keys"])
    assert keys.sql("SELECT to_regclass('lastro_api_keys')") == [(None,)]
    assert not keys.path.exists()

    done = keys.run(state="present", name="billing", tenant="acme", scopes=["read", "write"], lifetime="90d")
    assert "failed" not in done, done["msg"]
    assert done["changed"]
    plain = keys.plain("acme/billing")
    assert parse(plain).environment == "prod"
    assert verifies(keys, plain)
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    row = keys.sql("SELECT prefix, last4, name, tenant, scopes, pepper_version, expires - created FROM lastro_api_keys")
    assert row[0][:6] == ("shop_prod", plain[-4:], "billing", "acme", ["read", "write"], 2)
    assert row[0][6].days == 90
    assert plain not in json.dumps(done)

    again = keys.run(state="present", name="billing", tenant="acme", scopes=["read"])
    assert not again["changed"]
    assert "may do read, write, and a key keeps that" in again["notices"][0]
    assert keys.plain("acme/billing") == plain


def test_a_rotation_by_age_carries_over_what_the_key_may_do_and_is_done_once(keys: Keys) -> None:
    old_id = keys.issue("billing", scopes=["read"], lifetime="200d")
    keys.issue("young")
    keys.age(f"key_id = '{old_id}'")
    old = keys.plain("acme/billing")

    planned = keys.run(state="rotated", max_age="90d", overlap="7d", is_check=True)
    assert [key["id"] for key in planned["keys"]] == [old_id]
    assert planned["keys"][0]["age_seconds"] > 99 * 86400
    assert keys.plain("acme/billing") == old

    done = keys.run(state="rotated", max_age="90d", overlap="7d")
    assert "failed" not in done, done["msg"]
    assert [key["replaces"] for key in done["keys"]] == [old_id]
    new = keys.plain("acme/billing")
    assert new != old
    assert verifies(keys, old)
    assert verifies(keys, new)
    name, tenant, scopes, lives = keys.sql(
        f"SELECT name, tenant, scopes, expires - created FROM lastro_api_keys WHERE key_id = '{parse(new).id}'"
    )[0]
    # The old one was made to live 200 days, 100 of which are over, and so many more were taken off `created` by the test.
    assert (name, tenant, scopes, lives.days) == ("billing", "acme", ["read"], 300)
    left = keys.sql(f"SELECT expires - now() FROM lastro_api_keys WHERE key_id = '{old_id}'")[0][0]
    assert left.total_seconds() == pytest.approx(7 * 86400, abs=60)

    again = keys.run(state="rotated", max_age="90d", overlap="7d")
    assert (again["changed"], again["keys"]) == (False, [])
    assert keys.plain("acme/billing") == new


def test_an_old_key_never_lives_longer_than_it_would_have(keys: Keys) -> None:
    key_id = keys.issue("billing", lifetime="1d")
    done = keys.run(state="rotated", ids=[key_id], overlap="7d", retire_on_first_use="1h")
    assert "failed" not in done, done["msg"]
    left = keys.sql(f"SELECT expires - now(), retire_seconds FROM lastro_api_keys WHERE key_id = '{key_id}'")[0]
    assert left[0].total_seconds() == pytest.approx(86400, abs=60)
    assert left[1] == 3600
    again = keys.run(state="rotated", ids=[key_id], overlap="7d")
    assert not again["changed"]
    assert f"Not due: {key_id}" in again["notices"][0]


def test_without_an_overlap_the_old_key_ends_at_once(keys: Keys) -> None:
    keys.issue("billing")
    old = keys.plain("acme/billing")
    keys.run(state="rotated", tenants=["acme"], overlap="0s")
    assert not verifies(keys, old)
    assert verifies(keys, keys.plain("acme/billing"))


def test_revoking(keys: Keys) -> None:
    used, idle = keys.issue("used"), keys.issue("idle")
    keys.sql(f"UPDATE lastro_api_keys SET last_used = now() - interval '5 minutes' WHERE key_id = '{used}'")
    refused = keys.run(state="revoked", all=True)
    assert refused["failed"]
    assert f"Used in the last 10m: {used}" in refused["msg"]
    assert keys.sql("SELECT count(*) FROM lastro_api_keys WHERE revoked IS NOT NULL") == [(0,)]
    assert keys.run(state="revoked", ids=[idle])["changed"]
    assert set(keys.sink.read()["keys"]) == {"acme/used"}
    assert not keys.run(state="revoked", ids=[idle])["changed"]
    assert keys.run(state="revoked", ids=[used], force=True)["changed"]
    assert keys.run(state="revoked", ids=[used], unused_for="0s")["changed"] is False


def test_listing_and_pruning(keys: Keys) -> None:
    first = keys.issue("first")
    keys.issue("second")
    keys.run(state="rotated", ids=[first], overlap="1h")
    listed = keys.run(state="listed", sink=None)
    assert sorted(key["status"] for key in listed["keys"]) == ["active", "active", "replaced"]
    assert not listed["changed"]
    assert listed["peppers"] == {"2": 3}
    keys.sql(f"UPDATE lastro_api_keys SET expires = now() - interval '91 days' WHERE key_id = '{first}'")
    assert [key["id"] for key in keys.run(state="pruned", is_check=True)["keys"]] == [first]
    assert [key["id"] for key in keys.run(state="pruned")["keys"]] == [first]
    assert not keys.run(state="pruned")["changed"]
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(2,)]


def test_the_pepper_changes_and_every_key_goes_on_working(keys: Keys) -> None:
    old_id = keys.issue("billing", peppers={"1": PEPPERS["1"]})
    old = keys.plain("acme/billing")
    keys.issue("other", peppers=PEPPERS)
    assert verifies(keys, old)
    refused = keys.run(state="rotated", all=True, overlap="1d", peppers={"2": PEPPERS["2"]})
    assert refused["failed"]
    assert "Pepper 1 is not given, and 1 good keys hold on to it" in refused["msg"]
    done = keys.run(state="rotated", ids=[old_id], overlap="1d")
    assert done["peppers"] == {"1": 1, "2": 1}
    assert verifies(keys, old)
    assert verifies(keys, keys.plain("acme/billing"))
    assert keys.sql("SELECT pepper_version FROM lastro_api_keys ORDER BY id") == [(1,), (2,), (2,)]


def test_importing_keys_of_any_format(keys: Keys, tmp_path: Path) -> None:
    foreign = "x" * 10 + "-_" * 27
    file = tmp_path / "import.jsonl"
    file.write_text(
        json.dumps({"key": foreign, "name": "old", "tenant": "1", "scopes": ["client"], "pepper_version": 0}) + "\n"
    )
    file.chmod(0o600)
    options = {"state": "imported", "import_file": str(file), "salt": "the salt of the application"}
    hashes = [{"hash": "ab" * 32, "name": "known by hash", "pepper_version": 1}]
    assert len(keys.run(**options, hashes=hashes, is_check=True)["keys"]) == 2
    done = keys.run(**options, hashes=hashes)
    assert "failed" not in done, done["msg"]
    assert foreign not in json.dumps(done)
    assert keys.sql("SELECT hash, pepper_version, name, scopes FROM lastro_api_keys ORDER BY id") == [
        ("ab" * 32, 1, "known by hash", []),
        (peppered(b"the salt of the application", foreign), 0, "old", ["client"]),
    ]
    assert not keys.run(**options, hashes=hashes)["changed"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"key": "x" * 64, "environment": "dev"}, "was made for dev, and this is prod"),
        ({"key": "dev-admin-key"}, "has fewer than 32 characters"),
        ({"hash": "12"}, "is no HMAC-SHA256 in hex"),
        ({"name": "nothing"}, "has neither `key` nor `hash`"),
        ({"key": "x" * 64, "secret": 1}, "has secret, which no entry has"),
    ],
)
def test_what_is_not_imported(untouched: Keys, tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    file = tmp_path / "import.jsonl"
    file.write_text(json.dumps(entry))
    file.chmod(0o600)
    done = untouched.run(state="imported", import_file=str(file))
    assert done["failed"]
    assert message in done["msg"]
    assert "x" * 64 not in json.dumps(done)
    assert untouched.sql("SELECT count(*) FROM lastro_api_keys") == [(1,)]


def test_a_file_that_others_can_read_is_not_imported(untouched: Keys, tmp_path: Path) -> None:
    file = tmp_path / "import.jsonl"
    file.write_text("{}")
    file.chmod(0o640)
    assert "Others can read" in untouched.run(state="imported", import_file=str(file))["msg"]


def test_a_key_of_dev_is_never_rotated_into_one_of_production(keys: Keys) -> None:
    keys.issue("billing", environment="dev")
    done = keys.run(state="rotated", all=True, overlap="1d")
    assert done["failed"]
    assert "Keys of another environment are in the table of prod" in done["msg"]
    assert "Keys of another environment are good here" in keys.run(state="listed")["notices"][0]
    assert "failed" not in keys.run(state="rotated", all=True, overlap="1d", environment="stage")


def test_the_table_is_completed_and_healed(keys: Keys) -> None:
    keys.issue("billing")
    keys.sql(
        "ALTER TABLE lastro_api_keys DROP COLUMN first_used, DROP COLUMN name, DROP CONSTRAINT lastro_api_keys_hash_key"
    )
    keys.sql(
        "INSERT INTO lastro_api_keys (key_id, hash, tenant, created, revoked) SELECT x.id, h.hash, 'dup', now() - x.age, x.revoked"
        " FROM (SELECT hash FROM lastro_api_keys) h, (VALUES ('older', interval '2 days', NULL::timestamptz),"
        " ('revoked', interval '-1 day', now())) AS x (id, age, revoked)"
    )
    planned = keys.run(state="present", tenant="acme", is_check=True)
    assert "add the column first_used" in planned["schema"]
    assert "make the hashes unique" in planned["schema"]
    done = keys.run(state="present", tenant="acme")
    assert "failed" not in done, done["msg"]
    healed = done["healed"]
    assert [group["kept"] for group in healed] == ["1"]
    assert sorted(row["key_id"] for row in healed[0]["removed"]) == ["older", "revoked"]
    assert keys.sql("SELECT key_id, tenant FROM lastro_api_keys")[0][1] == "acme"
    assert not keys.run(state="present", tenant="acme")["changed"]
    with pytest.raises(Exception, match="duplicate key"):
        keys.sql("INSERT INTO lastro_api_keys (key_id, hash) SELECT 'again', hash FROM lastro_api_keys")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "postgresql:///nowhere"}, "The URL of the database server cannot be read"),
        ({"url": "postgresql://u:pw@127.0.0.1:none/x"}, "The URL of the database server cannot be read"),
        ({"ids": ["nosuchkey123"]}, "has no key nosuchkey123"),
        ({"state": "revoked", "ids": ["nosuchkey123"], "force": True}, "has no key nosuchkey123"),
        ({"peppers": {"1": "11" * 31}}, "Pepper 1 is not 32 bytes in hex"),
        ({"peppers": {"1": "11" * 33}}, "Pepper 1 is not 32 bytes in hex"),
        ({"state": "imported", "hashes": [{"hash": "ab" * 32}], "environment": None}, "for which environment"),
        ({"peppers": {"1": "00"}}, "Pepper 1 is not 32 bytes in hex"),
        ({"peppers": {"new": "11" * 32}}, "A pepper has a version that is no number"),
        ({"peppers": {}}, "There is nothing to hash keys with"),
        ({"prefix": "No"}, "can't be the prefix of keys"),
        ({"overlap": "soon"}, "`overlap` is 'soon', which is no time"),
        ({"overlap": None}, "not said when the old keys end"),
        ({"all": False}, "not said which keys to rotate"),
        ({"columns": {"id": "id"}}, "`table` names none"),
        (
            {"table": "nowhere", "columns": dict.fromkeys(("id", "hash", "created", "revoked"), "x")},
            "There is no table",
        ),
    ],
)
def test_bad_input_is_refused_and_nothing_is_changed(untouched: Keys, options: dict[str, Any], message: str) -> None:
    keys = untouched
    before, held = keys.sql("SELECT * FROM lastro_api_keys"), keys.path.read_bytes()
    done = keys.run(**{"state": "rotated", "all": "ids" not in options, "overlap": "1d", **options})
    assert done["failed"]
    assert message in done["msg"]
    assert keys.sql("SELECT * FROM lastro_api_keys") == before
    assert keys.path.read_bytes() == held


def test_a_wrong_password_is_not_shown(untouched: Keys) -> None:
    wrong = untouched.url.replace(untouched.login["password"], "wrong-secret-word")
    done = untouched.run(state="listed", url=wrong)
    assert "refuses the password" in done["msg"]
    assert "wrong-secret-word" not in json.dumps(done)


def test_a_login_that_may_only_read(keys: Keys) -> None:
    keys.issue("billing")
    reader = {"user": keys.login["user"].replace("_migrate", "_app_a"), "database": keys.login["database"]}
    rw = keys.login["user"].replace("_migrate", "_rw")
    keys.sql(f"REVOKE INSERT, UPDATE, DELETE ON lastro_api_keys FROM {rw}")
    held = keys.path.read_bytes()
    url = keys.url_of(**reader, password=f"app_a-of-{reader['database']}")
    done = keys.run(state="rotated", all=True, overlap="1d", url=url)
    assert done["failed"]
    assert f"{reader['user']} has no right to INSERT, UPDATE on lastro_api_keys" in done["msg"]
    assert keys.path.read_bytes() == held
    assert "failed" not in keys.run(state="listed", url=url)

    keys.server.sql(f"ALTER ROLE {keys.login['user']} SET default_transaction_read_only = on")
    done = keys.run(state="rotated", all=True, overlap="1d")
    assert "read-only (default_transaction_read_only)" in done["msg"]
