# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys whose sink is the KV engine of a real OpenBao, and whose table is on a real Postgres."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import parse, peppered
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks_remote import KvSink

from tests.integration.api_keys import PEPPERS, Keys
from tests.integration.postgres_server import Server
from tests.support import eventually, free_ports, random_name

POLICY = """
path "secret/data/shop/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/destroy/shop/*" {{ capabilities = [{destroy}] }}
"""
ROTATE: dict[str, Any] = {"state": "rotated", "max_age": "90d", "overlap": "1d"}


class Bao:
    """An OpenBao of this machine with TLS, unsealed, KV version 2 mounted at `secret`. It keeps all in memory, or as production does."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        [port] = free_ports(1)
        self.root = random_name("root-")
        self.address = f"https://127.0.0.1:{port}"
        self.ca = folder / "vault-ca.pem"
        self.log = (folder / "log").open("w")
        program = Path(sys.executable).with_name("bao")
        self.process = subprocess.Popen(
            [
                *(str(program), "server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token"),
                *(f"-dev-listen-address=127.0.0.1:{port}", *arguments),
            ],
            env={"BAO_DEV_ROOT_TOKEN_ID": self.root, "HOME": str(folder), "PATH": "/usr/bin:/bin"},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def ready(self) -> bool:
        """Whether the engine answers, which it does a while after the server."""
        try:
            return bool(self.ask("GET", "secret/config")["data"])
        except (URLError, OSError):
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> dict[str, Any]:
        request = Request(
            f"{self.address}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-Vault-Token": token or self.root},
        )
        with urlopen(request, timeout=10, context=ssl.create_default_context(cafile=str(self.ca))) as response:
            found: dict[str, Any] = json.loads(response.read() or b"{}")
        return found

    def token(self, destroy: str = '"update"') -> str:
        name = random_name("lt-")
        self.ask("POST", f"sys/policies/acl/{name}", {"policy": POLICY.format(destroy=destroy)})
        found: str = self.ask("POST", "auth/token/create", {"policies": [name]})["auth"]["client_token"]
        return found

    def sink(self, path: str, token: str = "", **options: Any) -> KvSink:
        given = {
            **{"address": self.address, "mount": "secret", "path": path, "namespace": None, "token_file": None},
            **{"token_variable": "BAO_TOKEN", "ca_file": str(self.ca), **options},
        }
        return KvSink(
            given, {"BAO_TOKEN": token or self.token()}, lambda _attempt: threading.Event().wait(0.02) and None
        )


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    running = Bao(tmp_path_factory.mktemp("bao"))
    try:
        eventually(running.ready, "OpenBao answers", 60, lambda: Path(running.log.name).read_text())
        yield running
    finally:
        running.stop()


@pytest.fixture
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """One with integrated storage, and its limits as they come."""
    folder = tmp_path_factory.mktemp("bao")
    [port] = free_ports(1)
    (folder / "raft").mkdir()
    config = folder / "config.hcl"
    config.write_text(
        f'storage "raft" {{\n path = "{folder}/raft"\n node_id = "one"\n}}\ncluster_addr = "http://127.0.0.1:{port}"\n'
    )
    running = Bao(folder, f"-config={config}")
    try:
        eventually(running.ready, "OpenBao answers", 60, lambda: Path(running.log.name).read_text())
        yield running
    finally:
        running.stop()


@pytest.fixture
def path() -> str:
    return f"shop/{random_name('')}"


@pytest.fixture
def keys(tmp_path: Path, server: Server, wanted: dict[str, Any], bao: Bao, path: str) -> Keys:
    found = Keys(tmp_path, server, wanted)
    found.sink = bao.sink(path)
    return found


def versions(bao: Bao, path: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = bao.ask("GET", f"secret/metadata/{path}")["data"]["versions"]
    return found


def test_a_rotation_by_one_write_before_the_commit_and_one_after(keys: Keys, bao: Bao, path: str) -> None:
    key_id = keys.issue("billing")
    old = keys.plain("acme/billing")
    keys.issue("other")
    keys.age()
    before = len(versions(bao, path))
    during: list[Any] = []

    def wrap(execute: Any) -> Any:
        def run(phase: str, request: dict[str, Any]) -> dict[str, Any]:
            if phase == "apply":
                during.append(keys.sink.read())
            done: dict[str, Any] = execute(phase, request)
            return done

        return run

    done = keys.run(**ROTATE, wrap=wrap)
    assert "failed" not in done, done["msg"]
    # The old key can be read until the commit.
    assert during[0]["keys"]["acme/billing"]["key"] == old
    assert len(during[0]["pending"]) == 2
    assert len(versions(bao, path)) == before + 2
    content = bao.ask("GET", f"secret/data/{path}")["data"]["data"]
    assert content["pending"] == "{}"
    assert json.loads(content["keys"])["acme/billing"]["key"] != old
    assert key_id in [key["replaces"] for key in done["keys"]]


def test_what_was_not_committed_can_not_be_read_any_more(keys: Keys, bao: Bao, path: str) -> None:
    keys.issue("billing")
    keys.age()
    before = bao.ask("GET", f"secret/data/{path}")["data"]["data"]

    def wrap(execute: Any) -> Any:
        return lambda phase, request: execute(phase, {**request, "looked": request.get("looked", 0) - 700})

    assert "took more than 600 s" in keys.run(**ROTATE, wrap=wrap)["msg"]
    assert bao.ask("GET", f"secret/data/{path}")["data"]["data"] == before
    found = versions(bao, path)
    staged = str(len(found) - 1)
    assert [number for number, version in found.items() if version["destroyed"]] == [staged]
    with pytest.raises(HTTPError, match="404"):
        bao.ask("GET", f"secret/data/{path}?version={staged}")


def test_without_the_right_to_destroy_that_is_said(keys: Keys, bao: Bao, path: str) -> None:
    keys.issue("billing")
    keys.age()

    def wrap(execute: Any) -> Any:
        return lambda phase, request: execute(phase, {**request, "looked": request.get("looked", 0) - 700})

    done = keys.run(**ROTATE, wrap=wrap, sink=bao.sink(path, bao.token(destroy='"read"')))
    assert "took more than 600 s" in done["msg"]
    assert f"update secret/destroy/{path}" in done["warnings"][0]


def test_twenty_runs_at_once_do_not_overwrite_each_other(keys: Keys, bao: Bao, path: str) -> None:
    for name in ("a", "b", "c"):
        keys.issue(name)
    keys.age()
    together = threading.Barrier(20)
    token = bao.token()

    def wrap(execute: Any) -> Any:
        def run(phase: str, request: dict[str, Any]) -> dict[str, Any]:
            done: dict[str, Any] = execute(phase, request)
            if phase == "look":
                together.wait(120)
            return done

        return run

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: keys.run(**ROTATE, wrap=wrap, sink=bao.sink(path, token)), range(20)))
    assert [result["msg"] for result in results if "failed" in result] == []
    assert sum(len(result["keys"]) for result in results) == 3
    document = keys.sink.read()
    assert document["pending"] == {}
    good = keys.sql("SELECT key_id FROM lastro_api_keys WHERE replaced_by IS NULL")
    assert {entry["id"] for entry in document["keys"].values()} == {row[0] for row in good}


def test_ten_thousand_keys_by_one_write_before_the_commit(keys: Keys, bao: Bao, path: str) -> None:
    keys.issue("first")
    keys.sql(
        "INSERT INTO lastro_api_keys (key_id, hash, pepper_version, name, tenant, created)"
        " SELECT 'old' || n, 'hash' || n, 2, 'name' || n, 'acme', now() - interval '100 days' FROM generate_series(1, 10000) n"
    )
    done = keys.run(**ROTATE)
    assert "failed" not in done, done["msg"]
    assert len(done["keys"]) == 10000
    assert len(versions(bao, path)) == 2 + 2
    # As the runbook tells a consumer to read it.
    content = bao.ask("GET", f"secret/data/{path}")["data"]["data"]
    held = json.loads(content["keys"])
    assert len(held) == 10001
    assert held["acme/name7"]["key"].startswith("shop_prod_")
    assert content["pending"] == "{}"


def test_a_secret_that_the_storage_does_not_take(keys: Keys, stored: Bao, path: str) -> None:
    """Integrated storage takes 1 MiB an entry."""
    sink = stored.sink(path, stored.root)
    keys.issue("first", sink=sink)
    before = sink.read()
    keys.sql(
        "INSERT INTO lastro_api_keys (key_id, hash, pepper_version, name, tenant, created)"
        " SELECT 'old' || n, 'hash' || n, 2, 'name' || n, 'acme', now() - interval '100 days' FROM generate_series(1, 4000) n"
    )
    done = keys.run(**ROTATE, sink=sink)
    assert re.search("value being too large.* Use one path a tenant.*max_entry_size", done["msg"])
    assert sink.read() == before
    assert keys.sql("SELECT count(*), count(replaced_by) FROM lastro_api_keys") == [(4001, 0)]
    keys.sql("DELETE FROM lastro_api_keys WHERE key_id LIKE 'old%' AND substr(key_id, 4)::int > 1000")
    assert len(keys.run(**ROTATE, sink=sink)["keys"]) == 1000
    assert len(sink.read()["keys"]) == 1001


def test_importing_what_the_sink_has(keys: Keys) -> None:
    keys.issue("billing", scopes=["read"])
    plain = keys.plain("acme/billing")
    keys.sql("DELETE FROM lastro_api_keys")
    done = keys.run(state="imported", import_sink=True)
    assert "failed" not in done, done["msg"]
    assert plain not in json.dumps(done)
    assert keys.sql("SELECT key_id, name, tenant, scopes, last4, hash FROM lastro_api_keys") == [
        (parse(plain).id, "billing", "acme", ["read"], plain[-4:], peppered(bytes.fromhex(PEPPERS["2"]), plain))
    ]
    assert not keys.run(state="imported", import_sink=True)["changed"]
    assert (
        "was made for prod, and this is production"
        in keys.run(state="imported", import_sink=True, environment="production")["msg"]
    )


def test_other_fields_of_the_secret_stay(keys: Keys, bao: Bao, path: str) -> None:
    bao.ask("POST", f"secret/data/{path}", {"data": {"owner": "somebody"}})
    keys.issue("billing")
    assert bao.ask("GET", f"secret/data/{path}")["data"]["data"]["owner"] == "somebody"


def test_a_secret_whose_newest_version_was_deleted(keys: Keys, bao: Bao, path: str) -> None:
    keys.issue("billing")
    bao.ask("DELETE", f"secret/data/{path}")
    assert keys.sink.read() == {"keys": {}, "pending": {}}
    keys.issue("other")
    assert set(keys.sink.read()["keys"]) == {"acme/other"}


@pytest.mark.parametrize(
    ("token", "options", "message"),
    [
        ("s.wrong", {}, "permission denied.*Give a token whose policy"),
        ("", {"mount": "nowhere"}, "Mount a KV engine of version 2|Give a token"),
        ("", {"mount": "old"}, "is no KV engine of version 2"),
        ("", {"ca_file": None}, "certificate verify failed|CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_what_can_be_wrong_with_a_server(
    bao: Bao, path: str, token: str, options: dict[str, Any], message: str
) -> None:
    mounts = bao.ask("GET", "sys/mounts")["data"]
    if "old/" not in mounts:
        bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    sink = bao.sink(path, token or bao.root, **options)
    with pytest.raises(PlatformError, match=message) as caught:
        sink.stage([{"id": "a", "key": "top-secret"}])
    assert "top-secret" not in str(caught.value)
    assert (token or bao.root) not in str(caught.value)


def test_a_sealed_server(keys: Keys, tmp_path: Path) -> None:
    own = Bao(tmp_path)
    try:
        eventually(own.ready, "OpenBao answers", 60)
        sink = own.sink("shop/x", own.root)
        own.ask("PUT", "sys/seal", {})
        done = keys.run(state="present", name="n", sink=sink)
        assert "It is sealed or in maintenance" in done["msg"]
    finally:
        own.stop()
    done = keys.run(state="present", name="n", sink=sink)
    assert "does not answer" in done["msg"]
    assert keys.sql("SELECT to_regclass('lastro_api_keys')") == [(None,)]
