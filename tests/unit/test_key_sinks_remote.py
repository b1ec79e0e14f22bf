# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sinks of API keys that are secret managers: what is refused before anything is sent.

What they do is tested in tests/integration: test_api_key_openbao.py has a real OpenBao, test_api_key_aws.py AWS as moto has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils import _key_sinks_remote
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


def test_what_aws_refuses() -> None:
    class Aws:
        def get_secret_value(self, SecretId: str, VersionStage: str) -> None:
            error = Exception()
            error.response = {
                "Error": {"Code": {"denied": "AccessDeniedException"}.get(SecretId, "ResourceNotFoundException")}
            }  # type: ignore[attr-defined]
            raise error

    with pytest.raises(PlatformError, match="refused get_secret_value of denied: AccessDeniedException"):
        AwsSink("denied", Aws(), no_pause).read()
    with pytest.raises(PlatformError, match="more than the 65536 bytes"):
        AwsSink("p", Aws(), no_pause).stage([entry("x" * 70000)])


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_key_sinks_remote, "find_spec", lambda _name: None)
    with pytest.raises(PlatformError, match="needs boto3 on the controller"):
        aws_client(lambda _name: object(), {"region": None, "profile": None})


def test_without_the_collection_of_aws() -> None:
    with pytest.raises(PlatformError, match=r"needs the collection amazon\.aws"):
        aws_client(lambda _name: None, {"region": None, "profile": None})
