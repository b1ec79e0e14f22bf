# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation of 10,000 API keys against the same statements with keys generated in Python, in one process and without a sink."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg2
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import generate, peppered
from ansible_collections.lastro.platform.plugins.module_utils._api_key_store import NewKey, Selection, Store
from ansible_collections.lastro.platform.plugins.module_utils._api_key_table import Schema, Table

from tests.integration.api_keys import PEPPERS, Keys
from tests.integration.playbook import play
from tests.integration.postgres_server import database, running

KEYS = 10_000
DAY = 86400
# The same each time: 10,000 keys of one tenant that are old enough, and nothing else.
RESET = f"""
DELETE FROM lastro_api_keys;
INSERT INTO lastro_api_keys (key_id, hash, prefix, last4, pepper_version, name, tenant, scopes, created)
SELECT 'old' || n, md5(n::text) || md5(random()::text), 'shop_prod', 'zzzz', 2, 'name' || n, 'acme', '{{read}}', now() - interval '100 days'
  FROM generate_series(1, {KEYS}) n;
ANALYZE lastro_api_keys
"""


def by_hand(keys: Keys) -> None:
    """What the module's statements and its keys cost without the module."""
    pepper = bytes.fromhex(PEPPERS["2"])
    name = keys.login
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=keys.server.port,
        user=name["user"],
        password=name["password"],
        dbname=name["database"],
        sslmode="require",
    )
    with connection, connection.cursor() as cursor:
        store = Store(cursor, Table(), Schema(cursor, Table()))
        due = store.find(Selection(older_than_seconds=90 * DAY), "active")
        made = []
        for old in due:
            key = generate("shop", "prod", secrets.token_bytes)
            made.append(NewKey(key.id, peppered(pepper, str(key)), "shop_prod", str(key)[-4:], 2, old["row"]))
        store.locked([str(key.row) for key in made], "active")
        rows = store.replace(made, None)
        store.end({str(key.row): (rows[key.hash], key.key_id) for key in made}, float(DAY), None)
    connection.close()
    assert len(due) == KEYS


def benchmarks(timed: Callable[..., list[float]], report: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory(prefix="lt-bench-") as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder)) as server, database(server) as wanted:
            _measure(Keys(Path(folder), server, wanted), Path(folder), timed, report)


def _measure(keys: Keys, folder: Path, timed: Callable[..., list[float]], report: Callable[..., None]) -> None:
    keys.issue("first")
    inside: list[dict[str, float]] = []

    def reset() -> None:
        keys.path.unlink(missing_ok=True)
        keys.sql(RESET)

    def ours() -> None:
        work = keys.work(state="rotated", max_age="90d", overlap="1d")
        assert len(work.run()["keys"]) == KEYS
        inside.append(work.seconds)

    def by_ansible() -> None:
        options = {
            **{"state": "rotated", "max_age": "90d", "overlap": "1d", "url": keys.url, "prefix": "shop"},
            **{"environment": "prod", "peppers": PEPPERS, "sink": {"type": "file", "path": str(keys.path)}},
        }
        task = {"name": "Rotate", "lastro.platform.api_key": options}
        plays = [{"name": "Bench", "hosts": "db", "gather_facts": False, "tasks": [task]}]
        done = play(folder, plays, {}, {"db": {}}, {})
        assert "changed=1" in done.stdout, done.stdout

    what = f"peer: the same statements and Python's own keys, {KEYS} keys, no process and no sink; bar: ratio 3"
    report("keys_rotate", timed(ours, reset), timed(lambda: by_hand(keys), reset), what)
    print(f"  inside: {json.dumps({name: round(value, 2) for name, value in inside[-1].items()})}", flush=True)
    report("keys_rotate_play", timed(by_ansible, reset), None, f"a playbook of one task, {KEYS} keys")
