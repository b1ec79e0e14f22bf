# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the rows of seed files into their tables: all files in one transaction, and only rows that differ are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import ident
from ansible_collections.lastro.platform.plugins.module_utils._seed_files import Seed

# Names in SQL are quoted by `ident` and values go by COPY, so what bandit suspects below (B608) is meant.
RECORD = "lastro_record"
_SHOWN = 5
# Types without an equality of their own, and what is compared instead.
_COMPARED_AS = {
    "json": "jsonb",
    **dict.fromkeys(("xml", "point", "line", "lseg", "box", "path", "polygon", "circle"), "text"),
}


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


@dataclass(frozen=True)
class _Staged:
    """A file whose rows are in a temporary table."""

    seed: Seed
    # Both quoted.
    table: str
    stage: str
    # Of each column, the type that stands in for its own where rows are compared.
    compared_as: dict[str, str]

    @property
    def same_key(self) -> str:
        return " AND ".join(f"t.{ident(column)} = s.{ident(column)}" for column in self.seed.key)

    def compared(self, alias: str, columns: Iterable[str]) -> str:
        return ", ".join(
            f"{alias}.{ident(column)}" + (f"::{self.compared_as[column]}" if column in self.compared_as else "")
            for column in columns
        )


class Sync:
    """Works inside a transaction of the caller, on psycopg2's cursor."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def apply(self, seeds: Sequence[Seed]) -> Iterator[tuple[str, Counts]]:
        """Bring all files in; yields the name of each and its counts when it is in.

        Rows no longer listed go first, from the last file to the first: a file may refer to those before it.
        """
        staged = []
        for number, seed in enumerate(seeds):
            with _named(seed):
                staged.append(self._staged(seed, number))
        _require_lone_removals(staged)
        removed = {}
        for one in reversed(staged):
            with _named(one.seed):
                removed[one.seed.name] = self._remove(one) if one.seed.remove_missing else 0
        for one in staged:
            with _named(one.seed):
                counts = self._merge(one)
                self.cursor.execute(f"DROP TABLE {one.stage}")
            counts.removed = removed[one.seed.name]
            yield one.seed.name, counts

    def _staged(self, seed: Seed, number: int) -> _Staged:
        table = self._table(seed)
        compared_as = self._check_columns(seed, table)
        staged = _Staged(seed, table, f"pg_temp.lastro_seed_{number}", compared_as)
        self._stage(staged)
        self._check_keys(staged)
        return staged

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

    def _check_columns(self, seed: Seed, table: str) -> dict[str, str]:
        """Refuse columns that are not there; of those that have no equality, what to compare them as."""
        self.cursor.execute(
            "SELECT attname::text, atttypid::regtype::text FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (table,),
        )
        known = dict(self.cursor.fetchall())
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
        return {column: _COMPARED_AS[kind] for column, kind in known.items() if kind in _COMPARED_AS}

    def _stage(self, staged: _Staged) -> None:
        seed = staged.seed
        columns = ", ".join(ident(column) for column in seed.columns)
        name = staged.stage.removeprefix("pg_temp.")
        self.cursor.execute(
            f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {columns} FROM {staged.table} WITH NO DATA"  # nosec B608
        )
        self.cursor.execute(f"ALTER TABLE {staged.stage} ADD COLUMN {RECORD} bigint GENERATED ALWAYS AS IDENTITY")
        with seed.text() as text:
            try:
                self.cursor.copy_expert(
                    f"COPY {staged.stage} ({columns}) FROM STDIN WITH ({seed.copy_options()})", text
                )
            except Exception as error:
                raise _explained(seed, error) from error
        self.cursor.execute(f"ANALYZE {staged.stage}")

    def _check_keys(self, staged: _Staged) -> None:
        seed, stage = staged.seed, staged.stage
        key = ", ".join(ident(column) for column in seed.key)
        empty = " OR ".join(f"{ident(column)} IS NULL" for column in seed.key)
        self.cursor.execute(f"SELECT {RECORD} FROM {stage} WHERE {empty} ORDER BY {RECORD} LIMIT 1")  # nosec B608
        found = self.cursor.fetchone()
        if found:
            raise PlatformError(
                f"{seed.name}:{seed.line_of(found[0])}: the key is NULL", "Give each row its natural key."
            )
        self.cursor.execute(
            f"SELECT array_agg({RECORD} ORDER BY {RECORD}) FROM {stage}"  # nosec B608
            f" GROUP BY {key} HAVING count(*) > 1 ORDER BY min({RECORD}) LIMIT {_SHOWN}"
        )
        repeated = [row[0] for row in self.cursor.fetchall()]
        if repeated:
            first, second = (seed.line_of(record) for record in repeated[0][:2])
            raise PlatformError(
                f"{seed.name}:{second}: the same {', '.join(seed.key)} as in line {first}", "Keep one of the rows."
            )

    def _remove(self, staged: _Staged) -> int:
        self.cursor.execute(
            f"DELETE FROM {staged.table} t WHERE NOT EXISTS (SELECT FROM {staged.stage} s WHERE {staged.same_key})"  # nosec B608
        )
        return int(self.cursor.rowcount)

    def _merge(self, staged: _Staged) -> Counts:
        seed, table, stage = staged.seed, staged.table, staged.stage
        quoted = [ident(column) for column in seed.columns]
        others = [column for column in seed.columns if column not in seed.key]
        counts = Counts()
        if others:
            written = ", ".join(f"{ident(column)} = s.{ident(column)}" for column in others)
            self.cursor.execute(
                f"UPDATE {table} t SET {written} FROM {stage} s WHERE {staged.same_key}"  # nosec B608
                f" AND ROW({staged.compared('t', others)}) IS DISTINCT FROM ROW({staged.compared('s', others)})"
            )
            counts.updated = self.cursor.rowcount
        self.cursor.execute(
            f"INSERT INTO {table} ({', '.join(quoted)}) SELECT {', '.join(f's.{column}' for column in quoted)} FROM {stage} s"  # nosec B608
            f" WHERE NOT EXISTS (SELECT FROM {table} t WHERE {staged.same_key}) ORDER BY s.{RECORD}"
        )
        counts.inserted = self.cursor.rowcount
        self.cursor.execute(f"SELECT count(*) FROM {stage}")  # nosec B608
        counts.unchanged = self.cursor.fetchone()[0] - counts.inserted - counts.updated
        return counts


def _require_lone_removals(staged: Sequence[_Staged]) -> None:
    """Refuse a file that would remove each time what another one brings in."""
    for one in staged:
        others = [other.seed.name for other in staged if other.table == one.table and other is not one]
        if one.seed.remove_missing and others:
            raise PlatformError(
                f"{one.seed.name} would remove the rows of {', '.join(others)}: all are of {one.seed.table}",
                "Leave `remove_missing` out, or put the rows into one file. No seed was changed.",
            )


@contextmanager
def _named(seed: Seed) -> Iterator[None]:
    """What the server says, with the file it is about."""
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        raise PlatformError(
            f"{seed.name}: {' '.join(str(error).split())}", "No seed was changed. Correct it, then run again."
        ) from error


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
