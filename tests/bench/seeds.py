# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A million rows of a CSV brought in by migrate_seed, against a bare COPY into a temporary table and one INSERT … ON CONFLICT."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration import postgres_server
from tests.support import run_module

ROWS = 1_000_000
TABLE = "CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, price numeric)"
PEER = (
    "BEGIN; CREATE TEMPORARY TABLE incoming (LIKE item) ON COMMIT DROP",
    "COPY incoming FROM STDIN WITH (FORMAT csv, HEADER true)",
    "INSERT INTO item SELECT * FROM incoming ON CONFLICT (id) DO UPDATE SET name = excluded.name, price = excluded.price; COMMIT",
)


def benchmarks(timed: Callable[..., list[float]], report: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory(prefix="lastro-bench-") as folder:
        directory = Path(folder)
        directory.chmod(0o755)
        with postgres_server.running(directory) as server, postgres_server.database(server) as wanted:
            assert "failed" not in server.run(wanted)
            _measure(directory, server, wanted, timed, report)


def _measure(
    directory: Path,
    server: postgres_server.Server,
    wanted: dict[str, Any],
    timed: Callable[..., list[float]],
    report: Callable[..., None],
) -> None:
    login = postgres_server.login(wanted, "migrate")
    file = directory / "items.csv"
    with file.open("w") as text:
        text.write("id,name,price\n")
        text.writelines(f"{number},item number {number},{number % 1000}.99\n" for number in range(ROWS))
    server.sql(TABLE, **login)
    url = (
        f"postgresql://{login['user']}:{login['password']}@127.0.0.1:{server.port}/{login['database']}?sslmode=require"
    )

    def ours() -> None:
        done = run_module(
            "migrate_seed",
            {
                "url": url,
                "directory": str(directory),
                "migrate_command": ["true"],
                "status_command": ["true"],
                "phase": "run",
                "planned": {"current": [], "heads": [], "pending": [], "known": True, "ahead": False, "drift": {}},
                "seeds": [{"file": str(file), "table": "item", "key": ["id"]}],
            },
        )
        assert "failed" not in done, done["msg"]

    def peer() -> None:
        begin, copy, merge = PEER
        with server.session(**login) as cursor, file.open() as text:
            cursor.execute(begin)
            cursor.copy_expert(copy, text)
            cursor.execute(merge)

    def empty() -> None:
        server.sql("TRUNCATE item", **login)

    theirs = timed(peer, empty)
    report("seeds_first", timed(ours, empty), theirs, f"{ROWS:,} rows of CSV into an empty table, whole process")
    again = timed(peer)
    report("seeds_again", timed(ours), again, f"{ROWS:,} rows that are all there already, whole process")
