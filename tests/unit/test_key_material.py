# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys on the controller: hashing under peppers, importing, rules for scanners, options."""

from __future__ import annotations

import json
import re
import secrets
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import generate, peppered
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import check, check_source, seconds_of
from ansible_collections.lastro.platform.plugins.module_utils._api_key_table import Table, table_of
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_material import (
    Hasher,
    for_database,
    imported,
    issue,
    read_import,
    scanner_rules,
)

PEPPERS = {1: "11" * 32, "2": "22" * 32}


def test_new_keys_have_the_newest_pepper() -> None:
    hasher = Hasher(PEPPERS, None)
    assert (hasher.newest, hasher.scheme) == (2, "pepper")
    assert hasher.hash("k") == peppered(b"\x22" * 32, "k")
    assert hasher.hash("k", 1) == peppered(b"\x11" * 32, "k")


def test_a_salt_is_version_0() -> None:
    hasher = Hasher({}, "the salt")
    assert (hasher.newest, hasher.scheme) == (0, "salt")
    assert hasher.hash("k") == peppered(b"the salt", "k")
    both = Hasher(PEPPERS, "the salt")
    assert (both.newest, both.scheme) == (2, "pepper")
    assert both.hash("k", 0) == peppered(b"the salt", "k")


@pytest.mark.parametrize(
    ("peppers", "salt", "message"),
    [
        ({"1": "00"}, None, "Pepper 1 is not 32 bytes in hex"),
        ({"x": "11" * 32}, None, "no number from 1 on"),
        ({"0": "11" * 32}, None, "no number from 1 on"),
        ({}, " ", "The salt is empty"),
    ],
)
def test_peppers_that_are_none(peppers: dict[Any, Any], salt: str | None, message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        Hasher(peppers, salt)


def test_a_pepper_that_keys_need_is_not_left_out() -> None:
    hasher = Hasher({2: "22" * 32}, None)
    hasher.refuse_missing({"2": 5, "1": 0})
    with pytest.raises(PlatformError, match="Pepper 1 is not given, and 3 good keys hold on to it"):
        hasher.refuse_missing({"2": 5, "1": 3})
    with pytest.raises(PlatformError, match="Pepper 0 is not given"):
        hasher.refuse_missing({"0": 1})
    with pytest.raises(PlatformError, match="no pepper of version 7"):
        hasher.hash("k", 7)
    with pytest.raises(PlatformError, match="nothing to hash keys with"):
        Hasher({}, None).hash("k")


def test_the_host_gets_no_key() -> None:
    hasher = Hasher(PEPPERS, None)
    old = {"row": "7", "ref": "the old one", "name": "n", "tenant": 3, "scopes": "a b"}
    [entry] = issue([old], "shop", "prod", hasher, secrets.token_bytes, 5.0)
    sent = for_database(entry)
    assert sent == {
        "key_id": entry["id"],
        "prefix": "shop_prod",
        "last4": entry["key"][-4:],
        "hash": hasher.hash(entry["key"]),
        "pepper_version": 2,
        "row": "7",
        "name": "n",
        "tenant": "3",
        "scopes": ["a", "b"],
    }
    assert entry["replaces"] == "the old one"
    assert entry["key"].split("_")[3] not in json.dumps(sent)


def test_importing_by_whatever_format() -> None:
    hasher = Hasher(PEPPERS, "the salt")
    ours, foreign = str(generate("shop", "prod", secrets.token_bytes)), secrets.token_urlsafe(48)
    first, second, third = imported(
        [
            {"key": ours, "scopes": "a b"},
            {"key": foreign, "name": "old", "pepper_version": 0},
            {"hash": "AB" * 32, "pepper_version": 1},
        ],
        "prod",
        hasher,
        secrets.token_bytes,
    )
    assert (first["key_id"], first["prefix"], first["scopes"]) == (ours.split("_")[2], "shop_prod", ["a", "b"])
    assert first["hash"] == hasher.hash(ours, 2)
    assert (second["hash"], second["last4"], second["prefix"]) == (peppered(b"the salt", foreign), foreign[-4:], "")
    assert re.fullmatch("[0-9A-Za-z]{12}", second["key_id"])
    assert (third["hash"], third["last4"], third["pepper_version"]) == ("ab" * 32, "", 1)


@pytest.mark.parametrize("environment", ["prod", "production"])
def test_keys_of_dev_stay_out_of_production(environment: str) -> None:
    hasher = Hasher(PEPPERS, None)
    of_dev = str(generate("shop", "dev", secrets.token_bytes))
    for entry in ({"key": of_dev}, {"key": "x" * 31}, {"hash": "ab" * 32, "environment": "dev"}):
        with pytest.raises(PlatformError) as caught:
            imported([entry], environment, hasher, secrets.token_bytes)
        assert of_dev not in str(caught.value)
        imported([entry], "stage", hasher, secrets.token_bytes)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.jsonl", "top-secret", "is no list of keys"),
        ("i.yml", "top-secret", "is no list of keys"),
        ("i.yml", "- [top-secret", "is no list of keys"),
        ("i.jsonl", '{"keys": "top-secret"}', "Entry 1 of .* has keys"),
        ("i.yml", "- {name: top-secret}", "has neither `key` nor `hash`"),
    ],
)
def test_files_that_are_no_import(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(0o600)
    with pytest.raises(PlatformError, match=message) as caught:
        read_import(str(tmp_path / name))
    assert "top-secret" not in str(caught.value)


def test_scanners_find_keys_and_nothing_else() -> None:
    text = scanner_rules("shop")
    [rule] = tomllib.loads(text)["rules"]
    found = re.compile(rule["regex"])
    key = str(generate("shop", "prod", secrets.token_bytes))
    assert found.findall(f'KEY="{key}";') == [key]
    assert rule["keywords"][0] in key
    for other in (key[:-1], key + "x", key.replace("shop", "shops"), f"x{key}", "shop_prod_x_y"):
        assert not found.search(other)
    # What GitHub takes has no word boundaries: they are fields of their own there.
    secret = re.search("Secret format:  (.*)", text)
    assert secret
    assert re.fullmatch(secret[1], key)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 7776000), ("12h", 43200), ("30m", 1800), ("45s", 45), ("0", 0), ("1.5h", 5400), (None, None), ("", None)],
)
def test_times(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text, "overlap") == seconds


OPTIONS: dict[str, Any] = {
    **{"import_file": None, "import_sink": False, "hashes": [], "environment": None},
    **{"ids": [], "names": [], "tenants": [], "scopes": [], "all": False, "name": "", "tenant": "", "keep": "90d"},
    **dict.fromkeys(("max_age", "overlap", "retire_on_first_use", "lifetime", "unused_for")),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": "rotated", "overlap": "1d"}, "which keys to rotate"),
        ({"state": "rotated", "all": True}, "when the old keys end"),
        ({"state": "rotated", "all": True, "ids": ["a"], "overlap": "1d"}, "`all` is given beside a selection"),
        ({"state": "rotated", "all": True, "overlap": "0s", "retire_on_first_use": "1h"}, "Leave one of them out"),
        ({"state": "rotated", "all": True, "overlap": "-1d"}, "is no time"),
        ({"state": "rotated", "all": True, "overlap": "1 day"}, "is no time"),
        ({"state": "revoked"}, "which keys to revoke"),
        ({"state": "imported"}, "which keys to import"),
        ({"state": "imported", "import_sink": True}, "for which environment keys are imported"),
        ({"state": "pruned", "keep": ""}, "for how long ended keys stay"),
        ({"state": "revoked", "names": [""]}, "`names` has an empty entry"),
        ({"state": "present"}, "which key there has to be"),
        ({"state": "present", "name": "a b"}, "`name` has blanks"),
        ({"state": "present", "name": "a", "scopes": ["a b"]}, "`scopes` has blanks"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    refuse = check_source if options["state"] == "imported" else check
    with pytest.raises(PlatformError, match=re.escape(message)):
        refuse({**OPTIONS, **options})


MAPPED = {"id": "id", "hash": "key_hash", "created": "created_at", "revoked": "revoked_at"}


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("", MAPPED, "`table` names none"),
        ("lastro_api_keys", MAPPED, "is the collection's own table"),
        ("t", {**MAPPED, "colour": "x"}, "`columns` has colour"),
        ("t", {"id": "id"}, "`columns` names no column for hash"),
    ],
)
def test_mappings_that_are_refused(name: str, columns: dict[str, str], message: str) -> None:
    with pytest.raises(PlatformError, match=re.escape(message)):
        table_of(name, columns)


def test_a_feature_without_its_column_is_refused_by_name() -> None:
    table = table_of("app.api_keys", MAPPED)
    assert table.quoted == '"app"."api_keys"'
    with pytest.raises(
        PlatformError, match=r"An overlap needs a column for `expires` .* app\.api_keys has none.*leave an overlap out"
    ):
        table.require("An overlap", "expires", "replaced_by")
    Table().require("An overlap", "expires", "replaced_by")
