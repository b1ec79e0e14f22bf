# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys whose sink is AWS Secrets Manager: boto3 as the collection amazon.aws logs in, against moto. AWS itself cannot be asked here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks_remote import AwsSink, aws_client
from moto import mock_aws

from tests.integration.api_keys import Keys
from tests.integration.postgres_server import Server
from tests.integration.test_api_key_faults import ROTATE, Died, die_at

PATH = "shop/api_keys"


@pytest.fixture(scope="module", autouse=True)
def collections() -> None:
    """As ansible-playbook does at its start."""
    init_plugin_loader()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-moto")
    with mock_aws():
        yield aws_client(lookup_loader.get, {"region": "sa-east-1", "profile": None})


@pytest.fixture
def keys(tmp_path: Path, server: Server, wanted: dict[str, Any], client: Any) -> Keys:
    keys = Keys(tmp_path, server, wanted)
    keys.sink = AwsSink(PATH, client, lambda _attempt: None)
    return keys


def readable(client: Any) -> list[dict[str, Any]]:
    """The documents of all versions that have a label: AWS deletes the others."""
    versions = client.list_secret_version_ids(SecretId=PATH)["Versions"]
    return [
        json.loads(client.get_secret_value(SecretId=PATH, VersionId=version["VersionId"])["SecretString"])
        for version in versions
        if version["VersionStages"]
    ]


def test_a_rotation(keys: Keys, client: Any) -> None:
    old = keys.issue("billing")
    plain = keys.plain("acme/billing")
    keys.age()
    done = keys.run(**ROTATE)
    assert "failed" not in done, done["msg"]
    assert keys.plain("acme/billing") != plain
    assert [key["replaces"] for key in done["keys"]] == [old]
    assert not keys.run(**ROTATE)["changed"]


def test_a_controller_that_dies_after_the_commit(keys: Keys) -> None:
    keys.issue("billing")
    plain = keys.plain("acme/billing")
    keys.age()
    with pytest.raises(Died):
        keys.run(**ROTATE, wrap=die_at("apply", after=True))
    assert keys.plain("acme/billing") == plain, "the old key stays readable"
    done = keys.run(**ROTATE)
    assert len(done["settled"]["finished"]) == 1
    assert keys.plain("acme/billing") != plain


def test_a_rotation_that_the_database_refuses_leaves_no_new_key(keys: Keys, client: Any) -> None:
    keys.issue("billing")
    keys.age()
    keys.sql("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$")
    keys.sql("CREATE TRIGGER no BEFORE UPDATE ON lastro_api_keys FOR EACH ROW EXECUTE FUNCTION no()")
    before = keys.sink.read()
    assert keys.run(**ROTATE)["failed"]
    assert keys.sink.read() == before
    assert [document["pending"] for document in readable(client)] == [{}] * len(readable(client))


def test_somebody_else_writes_at_the_same_time(keys: Keys, client: Any) -> None:
    keys.issue("billing")
    other = AwsSink(PATH, client, lambda _attempt: None)
    times = []

    class Interfering:
        def __getattr__(self, name: str) -> Any:
            if name == "put_secret_value" and not times:
                times.append(name)
                other.stage([{"id": "other", "key": "x", "hash": "0" * 64, "staged": 0}])
            return getattr(client, name)

    AwsSink(PATH, Interfering(), lambda _attempt: None).stage(
        [{"id": "mine", "key": "y", "hash": "1" * 64, "staged": 0}]
    )
    assert sorted(keys.sink.read()["pending"]) == ["mine", "other"]
