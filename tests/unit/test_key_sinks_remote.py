# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sinks of API keys that are secret managers: what is refused before anything is sent, and the calls to AWS against a stand-in.

The KV engine is tested against a real OpenBao in tests/integration/test_api_key_openbao.py. AWS itself was never asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks_remote import AwsSink, KvSink, aws_client

KV: dict[str, Any] = {
    **{"address": "https://bao.example.com:8200", "mount": "secret", "path": "shop/api_keys"},
    **{"namespace": None, "token_file": None, "token_variable": "BAO_TOKEN", "ca_file": None},
}


def no_pause(_attempt: int) -> None:
    pass


def entry(key_id: str, **more: Any) -> dict[str, Any]:
    return {"id": key_id, "key": f"plain-{key_id}", "hash": f"h-{key_id}", **more}


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"address": None}, {"BAO_TOKEN": "t"}, "is no URL"),
        ({"address": "bao.example.com"}, {"BAO_TOKEN": "t"}, "is no URL"),
        ({"address": "http://bao.example.com"}, {"BAO_TOKEN": "t"}, "would get token and keys unencrypted"),
        ({}, {}, "The variable BAO_TOKEN of the controller's environment has no token"),
        ({"token_variable": "OTHER"}, {"BAO_TOKEN": "t"}, "The variable OTHER"),
        ({}, {"BAO_TOKEN": "a\nb"}, "has no token"),
        ({"token_file": "/nowhere"}, {"BAO_TOKEN": "t"}, "The file /nowhere has no token"),
        ({"ca_file": "/nowhere"}, {"BAO_TOKEN": "t"}, "/nowhere can't be read as a CA"),
        ({"ca_file": __file__}, {"BAO_TOKEN": "t"}, "can't be read as a CA"),
    ],
)
def test_what_a_kv_sink_refuses(options: dict[str, Any], environment: dict[str, str], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        KvSink({**KV, **options}, environment, no_pause)


def test_a_kv_sink_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s.TOPSECRET\n")
    sink = KvSink({**KV, "address": "http://127.0.0.1:1", "token_file": str(tmp_path / "token")}, {}, no_pause)
    with pytest.raises(PlatformError, match=r"does not answer: .*refused") as caught:
        sink.read()
    assert "TOPSECRET" not in str(caught.value)


def test_a_kv_sink_of_this_machine_is_not_asked_by_way_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without TLS a proxy would see token and keys. Nobody listens at either port; the message says which was asked.
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:2")
    sink = KvSink({**KV, "address": "http://127.0.0.1:1"}, {"BAO_TOKEN": "t"}, no_pause)
    with pytest.raises(PlatformError, match="Connection refused"):
        sink.read()


def test_more_than_a_request_may_have_is_not_sent() -> None:
    sink = KvSink({**KV, "address": "http://127.0.0.1:1"}, {"BAO_TOKEN": "t"}, no_pause)
    with pytest.raises(PlatformError, match=r"more than the 33554432 of a request.*Use one path a tenant"):
        sink._store({"keys": {}, "pending": {"a": entry("a" * 12_000_000)}}, 1)


class AwsError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Aws:
    """What Secrets Manager does, as its documentation has it."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.interfere = 0

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:
        if "AWSCURRENT" not in self.labels:
            raise AwsError("ResourceNotFoundException")
        version = self.labels["AWSCURRENT"]
        return {"VersionId": version, "SecretString": self.versions[version]}

    def create_secret(self, Name: str, SecretString: str, ClientRequestToken: str) -> dict[str, Any]:
        if self.versions:
            raise AwsError("ResourceExistsException")
        self.versions[ClientRequestToken] = SecretString
        self.labels["AWSCURRENT"] = ClientRequestToken
        return {"VersionId": ClientRequestToken}

    def put_secret_value(
        self, SecretId: str, SecretString: str, ClientRequestToken: str, VersionStages: list[str]
    ) -> dict[str, Any]:
        self.versions[ClientRequestToken] = SecretString
        self.labels |= dict.fromkeys(VersionStages, ClientRequestToken)
        return {"VersionId": ClientRequestToken}

    def update_secret_version_stage(
        self, SecretId: str, VersionStage: str, RemoveFromVersionId: str, MoveToVersionId: str | None = None
    ) -> None:
        if self.interfere:
            self.interfere -= 1
            content = {"keys": {}, "pending": {f"other-{self.interfere}": entry(f"other-{self.interfere}")}}
            self.versions["other"] = json.dumps(content)
            self.labels["AWSCURRENT"] = "other"
        if self.labels.get(VersionStage) != RemoveFromVersionId:
            raise AwsError("InvalidParameterException")
        if VersionStage == "AWSCURRENT":
            self.labels["AWSPREVIOUS"] = RemoveFromVersionId
        del self.labels[VersionStage]
        if MoveToVersionId:
            self.labels[VersionStage] = MoveToVersionId


def test_a_rotation_in_aws() -> None:
    aws = Aws()
    sink = AwsSink("shop/api_keys", aws, no_pause)
    assert sink.read() == {"keys": {}, "pending": {}}
    sink.stage([entry("a")])
    sink.finish([entry("a", ref="1")])
    assert sink.read()["keys"]["a"]["key"] == "plain-a"
    sink.stage([entry("b", replaces="1")])
    staged = aws.labels["AWSCURRENT"]
    assert set(sink.read()["keys"]) == {"a"}
    sink.discard(["b"])
    assert sink.read() == {"keys": {"a": {"id": "a", "key": "plain-a", "ref": "1"}}, "pending": {}}
    # AWS deletes what has no label.
    assert staged not in {version for label, version in aws.labels.items() if label != "LASTRO_STAGED"}


def test_somebody_else_writes_to_aws_at_the_same_time() -> None:
    aws = Aws()
    sink = AwsSink("shop/api_keys", aws, no_pause)
    sink.stage([entry("first")])
    aws.interfere = 1
    sink.stage([entry("mine")])
    assert set(sink.read()["pending"]) == {"other-0", "mine"}


def test_what_aws_refuses() -> None:
    class Denied:
        def get_secret_value(self, **_arguments: Any) -> None:
            raise AwsError("AccessDeniedException")

    with pytest.raises(PlatformError, match="refused get_secret_value of p: AccessDeniedException"):
        AwsSink("p", Denied(), no_pause).read()
    with pytest.raises(PlatformError, match="more than the 65536 bytes"):
        AwsSink("p", Aws(), no_pause).stage([entry("x" * 70000)])


def test_without_the_collection_of_aws() -> None:
    with pytest.raises(PlatformError, match=r"needs the collection amazon\.aws"):
        aws_client(lambda _name: None, {"region": None, "profile": None})
