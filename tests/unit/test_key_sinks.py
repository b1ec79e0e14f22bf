# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sinks of API keys hold, and files of them."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_document import (
    as_lines,
    as_yaml,
    discarded,
    finished,
    from_lines,
    from_yaml,
    label_of,
    staged,
)
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import Conflict, FileSink, Sink, VaultFileSink
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
ENTRIES = st.dictionaries(
    TEXT, st.fixed_dictionaries({"id": TEXT, "key": TEXT, "scopes": st.lists(TEXT, max_size=2)}), max_size=4
)


def entry(key_id: str, **more: Any) -> dict[str, Any]:
    return {"id": key_id, "key": f"plain-{key_id}", "hash": f"h-{key_id}", "staged": 1.0, "pepper_version": 1, **more}


def entered(document: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return finished(staged(document, [new]), [new])


def no_pause(_attempt: int) -> None:
    pass


@given(ENTRIES, ENTRIES)
def test_what_is_written_is_read(keys: dict[str, Any], pending: dict[str, Any]) -> None:
    document = {"keys": keys, "pending": pending}
    assert from_yaml(yaml.safe_load(as_yaml(document))) == document
    assert from_lines(as_lines(document)) == document


def test_other_variables_of_a_file_stay() -> None:
    document = from_yaml({"mail_host": "a", "api_keys": None})
    assert document == {"mail_host": "a", "keys": {}, "pending": {}}
    assert yaml.safe_load(as_yaml(document)) == {"mail_host": "a", "api_keys": {}, "api_keys_pending": {}}


def test_a_rotation_in_the_document() -> None:
    document = finished(staged({}, [entry("a", name="n", tenant="t")]), [entry("a", name="n", tenant="t", ref="1")])
    assert document == {
        "keys": {"t/n": {"id": "a", "key": "plain-a", "name": "n", "tenant": "t", "ref": "1"}},
        "pending": {},
    }
    new = entry("b", name="n", tenant="t", replaces="1")
    between = staged(document, [new, entry("c")])
    assert between["keys"] == document["keys"]
    assert set(between["pending"]) == {"b", "c"}
    after = discarded(finished(between, [{**new, "ref": "2"}]), ["c"])
    assert {label: found["id"] for label, found in after["keys"].items()} == {"t/n": "b"}
    assert after["pending"] == {}
    assert finished(after, [], ["2"]) == {"keys": {}, "pending": {}}


def test_two_keys_of_one_name_both_stay() -> None:
    first = entered({}, entry("a", name="n", ref="1"))
    both = entered(first, entry("b", name="n", ref="2"))
    assert {label: found["id"] for label, found in both["keys"].items()} == {"n": "a", "b": "b"}
    after = entered(both, entry("c", name="n", ref="3", replaces="1"))
    assert {label: found["id"] for label, found in after["keys"].items()} == {"b": "b", "n": "c"}


def test_a_key_that_others_finished_and_replaced_does_not_come_back() -> None:
    mine = entry("a", name="n", ref="1")
    later = entered(entered({}, mine), entry("b", name="n", ref="2", replaces="1"))
    assert finished(later, [mine]) == later


@pytest.mark.parametrize(
    ("given_entry", "label"),
    [
        ({"id": "a"}, "a"),
        ({"id": "a", "tenant": "t"}, "a"),
        ({"id": "a", "name": "n"}, "n"),
        ({"id": "a", "name": "n", "tenant": "t"}, "t/n"),
    ],
)
def test_labels(given_entry: dict[str, Any], label: str) -> None:
    assert label_of(given_entry) == label


@pytest.mark.parametrize("name", ["keys.jsonl", "keys.yml"])
def test_a_file_is_private_and_replaced_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sink = FileSink(str(path), no_pause)
    assert sink.read() == {"keys": {}, "pending": {}}
    sink.stage([entry("a")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sink.finish([entry("a", ref="1")])
    assert FileSink(str(path), no_pause).read()["keys"]["a"]["key"] == "plain-a"
    before = path.stat().st_mtime_ns
    sink.discard(["unknown"])
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.jsonl"
    path.write_text("")
    path.chmod(mode)
    with pytest.raises(PlatformError, match="Others can read"):
        FileSink(str(path), no_pause).stage([entry("a")])
    assert path.read_text() == ""


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlatformError, match=r"keys\.jsonl"):
        FileSink(str(tmp_path / "keys.jsonl"), no_pause).read()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("k.jsonl", "top-secret"),
        ("k.jsonl", '{"label": "top-secret"}'),
        ("k.yml", "- top-secret"),
        ("k.yml", "api_keys: {a: top-secret}"),
        ("k.yml", "top-secret: ["),
    ],
)
def test_a_file_of_something_else_is_left_alone_and_not_shown(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(PlatformError, match="is no file of keys") as caught:
        FileSink(str(path), no_pause).stage([entry("a")])
    assert "top-secret" not in str(caught.value)
    assert path.read_text() == text


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="nowhere"):
        FileSink(str(tmp_path / "nowhere/keys.jsonl"), no_pause).stage([entry("a")])


def test_twenty_writers_of_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.jsonl")
    threads = [threading.Thread(target=FileSink(path, no_pause).stage, args=([entry(str(n))],)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(FileSink(path, no_pause).read()["pending"]) == 20


def vault(path: Path, password: str = "one", vault_id: str | None = None) -> VaultFileSink:
    secrets = [("default", VaultSecret(password.encode())), ("other", VaultSecret(b"two"))]
    return VaultFileSink(str(path), vault_id, secrets, no_pause)


def test_an_encrypted_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.yml"
    sink = vault(path)
    sink.stage([entry("a")])
    sink.finish([entry("a", ref="1")])
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256")
    assert "plain-a" not in path.read_text()
    plain = VaultLib([("default", VaultSecret(b"one"))]).decrypt(path.read_bytes())
    assert yaml.safe_load(plain)["api_keys"]["a"]["key"] == "plain-a"
    assert sink.read()["keys"]["a"]["key"] == "plain-a"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_encrypted_file_of_a_vault_identity(tmp_path: Path) -> None:
    path = tmp_path / "keys.yml"
    vault(path, vault_id="other").stage([entry("a")])
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;other")
    assert VaultLib([("x", VaultSecret(b"two"))]).decrypt(path.read_bytes())


def test_what_is_wrong_with_an_encrypted_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.yml"
    with pytest.raises(PlatformError, match="There is no vault password for the vault identity third"):
        vault(path, vault_id="third")
    with pytest.raises(PlatformError, match="There is no vault password to encrypt"):
        VaultFileSink(str(path), None, [], no_pause)
    vault(path).stage([entry("a")])
    with pytest.raises(PlatformError, match="No vault password of this run opens"):
        vault(path, "wrong").read()
    path.write_text("api_keys: {}")
    with pytest.raises(PlatformError, match="is not encrypted"):
        vault(path).stage([entry("a")])


class Contested(Sink):
    """Somebody else is faster some times."""

    def __init__(self, conflicts: int) -> None:
        super().__init__(no_pause)
        self.conflicts = conflicts
        self.content: tuple[dict[str, Any], int] = ({}, 0)

    def _load(self) -> tuple[dict[str, Any], Any]:
        return json.loads(json.dumps(self.content[0])), self.content[1]

    def _store(self, document: dict[str, Any], version: Any) -> Any:
        if self.conflicts:
            self.conflicts -= 1
            self.content = (staged(self.content[0], [entry(f"other-{self.conflicts}")]), self.content[1] + 1)
        if version != self.content[1]:
            raise Conflict
        self.content = (document, version + 1)
        return version + 1


def test_what_somebody_else_wrote_meanwhile_stays() -> None:
    sink = Contested(2)
    sink.stage([entry("mine")])
    assert set(sink.read()["pending"]) == {"mine", "other-0", "other-1"}
    with pytest.raises(PlatformError, match="by somebody else 60 times"):
        Contested(1000).stage([entry("mine")])
