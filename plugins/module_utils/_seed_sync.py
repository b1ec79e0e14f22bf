# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the rows of seed files into their tables: all files in one transaction, and only rows that differ are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import ident
from ansible_collections.lastro.platform.plugins.module_utils._seed_files import Seed

# Names in SQL are quoted by `ident` and values go by COPY, so what bandit suspects below (B608) is meant.
STAGE = "pg_temp.lastro_seed"
RECORD = "lastro_record"
_SHOWN = 5


@dataclass
class Counts:
    """What happened to the rows of one file."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.inserted or self.updated or self.removed)


class Sync:
    """Works inside a transaction of the caller, on psycopg2's cursor."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def apply(self, seed: Seed) -> Counts:
        """Rows in, rows that differ updated, rows no longer listed removed where asked for."""
        table = self._table(seed)
        self._check_columns(seed, table)
        self._stage(seed, table)
        self._check_keys(seed)
        counts = self._merge(seed, table)
        # For the next file; after an error the whole transaction goes.
        self.cursor.execute(f"DROP TABLE {STAGE}")
        return counts

    def _table(self, seed: Seed) -> str:
        """The table, quoted; refused where there is none, or none that may be written."""
        table = ".".join(ident(part) for part in seed.table.split("."))
        self.cursor.execute("SELECT to_regclass(%s)", (table,))
        if self.cursor.fetchone()[0] is None:
            raise PlatformError(f"{seed.name}: there is no table {seed.table}", "Correct `table`, or migrate first.")
        self.cursor.execute(
            "SELECT has_table_privilege(%s, 'INSERT') AND has_table_privilege(%s, 'UPDATE')", (table, table)
        )
        if not self.cursor.fetchone()[0]:
            raise PlatformError(
                f"{seed.name}: the user may not write to {seed.table}", "Seed as a user who may, as <database>_migrate."
            )
        return table

    def _check_columns(self, seed: Seed, table: str) -> None:
        self.cursor.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (table,),
        )
        known = {row[0] for row in self.cursor.fetchall()}
        unknown = [column for column in seed.columns if column not in known]
        if unknown:
            line = seed.line_of(1) if seed.rows else 1
            raise PlatformError(
                f"{seed.name}:{line}: {seed.table} has no column {unknown[0]}",
                f"Its columns: {', '.join(sorted(known))}.",
            )
        self.cursor.execute(_UNIQUE, (table, sorted(seed.key)))
        if not self.cursor.fetchone()[0]:
            raise PlatformError(
                f"{seed.name}: {', '.join(seed.key)} is not unique in {seed.table}",
                "Name the columns of its primary key or of a unique constraint as `key`; without one two runs at once could both insert a row.",
            )

    def _stage(self, seed: Seed, table: str) -> None:
        columns = ", ".join(ident(column) for column in seed.columns)
        self.cursor.execute(
            f"CREATE TEMPORARY TABLE lastro_seed ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"  # nosec B608
        )
        self.cursor.execute(f"ALTER TABLE {STAGE} ADD COLUMN {RECORD} bigint GENERATED ALWAYS AS IDENTITY")
        with seed.text() as text:
            try:
                self.cursor.copy_expert(f"COPY {STAGE} ({columns}) FROM STDIN WITH ({seed.copy_options()})", text)
            except Exception as error:
                raise _explained(seed, error) from error
        self.cursor.execute(f"ANALYZE {STAGE}")

    def _check_keys(self, seed: Seed) -> None:
        key = ", ".join(ident(column) for column in seed.key)
        empty = " OR ".join(f"{ident(column)} IS NULL" for column in seed.key)
        self.cursor.execute(f"SELECT {RECORD} FROM {STAGE} WHERE {empty} ORDER BY {RECORD} LIMIT 1")  # nosec B608
        found = self.cursor.fetchone()
        if found:
            raise PlatformError(
                f"{seed.name}:{seed.line_of(found[0])}: the key is NULL", "Give each row its natural key."
            )
        self.cursor.execute(
            f"SELECT array_agg({RECORD} ORDER BY {RECORD}) FROM {STAGE}"  # nosec B608
            f" GROUP BY {key} HAVING count(*) > 1 ORDER BY min({RECORD}) LIMIT {_SHOWN}"
        )
        repeated = [row[0] for row in self.cursor.fetchall()]
        if repeated:
            first, second = (seed.line_of(record) for record in repeated[0][:2])
            raise PlatformError(
                f"{seed.name}:{second}: the same {', '.join(seed.key)} as in line {first}", "Keep one of the rows."
            )

    def _merge(self, seed: Seed, table: str) -> Counts:
        quoted = [ident(column) for column in seed.columns]
        others = [ident(column) for column in seed.columns if column not in seed.key]
        same = " AND ".join(f"t.{ident(column)} = s.{ident(column)}" for column in seed.key)
        counts = Counts()
        if seed.remove_missing:
            self.cursor.execute(
                f"DELETE FROM {table} t WHERE NOT EXISTS (SELECT FROM {STAGE} s WHERE {same})"  # nosec B608
            )
            counts.removed = self.cursor.rowcount
        if others:
            left, right = (", ".join(f"{alias}.{column}" for column in others) for alias in ("t", "s"))
            self.cursor.execute(
                f"UPDATE {table} t SET {', '.join(f'{column} = s.{column}' for column in others)} FROM {STAGE} s"  # nosec B608
                f" WHERE {same} AND ROW({left}) IS DISTINCT FROM ROW({right})"
            )
            counts.updated = self.cursor.rowcount
        self.cursor.execute(
            f"INSERT INTO {table} ({', '.join(quoted)}) SELECT {', '.join(f's.{column}' for column in quoted)} FROM {STAGE} s"  # nosec B608
            f" WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same}) ORDER BY s.{RECORD}"
        )
        counts.inserted = self.cursor.rowcount
        self.cursor.execute(f"SELECT count(*) FROM {STAGE}")  # nosec B608
        counts.unchanged = self.cursor.fetchone()[0] - counts.inserted - counts.updated
        return counts


_UNIQUE = """
SELECT EXISTS (
  SELECT FROM pg_index i
   WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
     AND ARRAY(SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1) = %s)
"""


def _explained(seed: Seed, error: Exception) -> Exception:
    """What COPY says, with the file's own name and line."""
    diagnosis = getattr(error, "diag", None)
    primary, context = (getattr(diagnosis, name, None) or "" for name in ("message_primary", "context"))
    if not primary:
        return error
    place = re.search(r"line (\d+)", context)
    number = int(place[1]) if place else 1
    line = number if seed.csv else seed.lines[number - 1]
    column = re.search(r"column (\w+)", context)
    return PlatformError(
        f"{seed.name}:{line}: {f'column {column[1]}: ' if column else ''}{primary}", "Correct the row."
    )


def fence(seeds: Iterable[Seed], environment: str) -> None:
    """Refuse to begin where one of the files must not run."""
    for seed in seeds:
        if seed.fenced(environment):
            raise PlatformError(
                f"{seed.name} is for {', '.join(seed.environments)}, and this is {environment}",
                "Take it out of the seeds of this environment.",
            )
