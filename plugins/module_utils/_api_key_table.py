# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of API keys: the collection's own, which it keeps in shape, or one of an application whose columns are named.

Only hashes are kept. Works inside a transaction of the caller, on psycopg2's cursor.
Names in statements are quoted by `ident`; values are parameters (`nosec B608`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import ident

OWN_TABLE = "lastro_api_keys"
# What a key may have, and what each is for people.
FIELDS: dict[str, str] = {
    "id": "what names the row",
    "key_id": "the part of the key that names it",
    "prefix": "the prefix and the environment of the key",
    "last4": "the last four characters, for people",
    "hash": "the hash of the key",
    "pepper_version": "which pepper it was hashed with",
    "name": "what people call it",
    "tenant": "whose key it is",
    "scopes": "what it may do",
    "created": "when it was made",
    "expires": "until when it is good",
    "revoked": "since when it is not",
    "last_used": "when it was used last",
    "first_used": "when it was used first",
    "replaced_by": "the key that took its place",
    "retire_seconds": "how long it is good after the first use of the one that took its place",
}
NEEDED = ("id", "hash", "created", "revoked")
OWN_COLUMNS = {
    "id": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "key_id": "text NOT NULL UNIQUE",
    "prefix": "text NOT NULL DEFAULT ''",
    "last4": "text NOT NULL DEFAULT ''",
    "hash": "text NOT NULL UNIQUE",
    # 0 is the salt of applications that have one for all keys.
    "pepper_version": "int NOT NULL DEFAULT 0",
    "name": "text NOT NULL DEFAULT ''",
    "tenant": "text NOT NULL DEFAULT ''",
    "scopes": "text[] NOT NULL DEFAULT '{}'",
    "created": "timestamptz NOT NULL DEFAULT now()",
    "expires": "timestamptz",
    "revoked": "timestamptz",
    "last_used": "timestamptz",
    "first_used": "timestamptz",
    "replaced_by": "text",
    "retire_seconds": "int",
}
# A table without these was made by somebody else.
IDENTITY = ("id", "key_id", "hash")
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('lastro.platform.api_key ' || %s, 0))"


@dataclass(frozen=True)
class Table:
    """A table of keys; `columns` maps our fields to its columns, those it does not have are left out."""

    name: str = OWN_TABLE
    columns: Mapping[str, str] = field(default_factory=lambda: {name: name for name in FIELDS})

    @property
    def own(self) -> bool:
        return self.name == OWN_TABLE

    @property
    def quoted(self) -> str:
        return ".".join(ident(part) for part in self.name.split("."))

    def has(self, *fields: str) -> bool:
        return all(name in self.columns for name in fields)

    def column(self, name: str) -> str:
        return ident(self.columns[name])

    def require(self, feature: str, *fields: str) -> None:
        """Refuse a feature that the table has no column for."""
        missing = [name for name in fields if name not in self.columns]
        if missing:
            raise PlatformError(
                f"{feature} needs a column for `{missing[0]}` ({FIELDS[missing[0]]}), and {self.name} has none",
                f"Add one and name it in `columns`, or leave {feature[0].lower()}{feature[1:]} out.",
            )


def table_of(name: str | None, columns: Mapping[str, str] | None) -> Table:
    """The table that the options name; the collection's own where they name none."""
    if not name:
        if columns:
            raise PlatformError("`columns` says what a table of yours has, and `table` names none", "Name it.")
        return Table()
    if name == OWN_TABLE:
        raise PlatformError(f"{OWN_TABLE} is the collection's own table", "Leave `table` and `columns` out.")
    columns = columns or {}
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise PlatformError(f"`columns` has {unknown[0]}, which no key has", f"A key may have {', '.join(FIELDS)}.")
    absent = [field for field in NEEDED if field not in columns]
    if absent:
        raise PlatformError(f"`columns` names no column for {absent[0]}", f"It needs {', '.join(NEEDED)}.")
    return Table(name, dict(columns))


class Schema:
    """What the table is, and what it should be."""

    def __init__(self, cursor: Any, table: Table) -> None:
        self.cursor = cursor
        self.table = table
        self.types = self._types()

    @property
    def there(self) -> bool:
        return bool(self.types)

    @property
    def complete(self) -> bool:
        return self.there and not self._missing()

    def _types(self) -> dict[str, str]:
        """The type of each column; nothing where the table is not there."""
        self.cursor.execute(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (self.table.quoted,),
        )
        return dict(self.cursor.fetchall())

    def type_of(self, name: str) -> str:
        return self.types[self.table.columns[name]]

    def check(self) -> None:
        """Refuse a table that is not what the options say of it."""
        table = self.table
        if table.own:
            foreign = [name for name in IDENTITY if self.there and name not in self.types]
            if foreign:
                raise PlatformError(
                    f"There is a table {OWN_TABLE} without {foreign[0]}, which this collection did not make",
                    "Rename it, or name it in `table` and say in `columns` what it has.",
                )
            return
        if not self.there:
            raise PlatformError(
                f"There is no table {table.name}", "Correct `table`, or leave it out to use the collection's own."
            )
        wrong = sorted(set(table.columns.values()) - set(self.types))
        if wrong:
            raise PlatformError(
                f"{table.name} has no column {wrong[0]}", f"Its columns: {', '.join(sorted(self.types))}."
            )

    def plan(self, heal: bool) -> list[str]:
        """What `bring` would do, in words."""
        if not self.there:
            return [f"create {self.table.name}"]
        words = [f"add the column {name}" for name in self._missing()]
        if not heal or self._unique():
            return words
        doubled = len(self._duplicates()) if self.complete else 0
        words += [f"remove the duplicates of {doubled} keys"] if doubled else []
        return [*words, "make the hashes unique"]

    def bring(self, heal: bool) -> list[dict[str, Any]]:
        """Create, complete and heal the table. Rows that had to go are returned, never dropped in silence."""
        quoted = self.table.quoted
        if not self.there:
            columns = ", ".join(f"{ident(name)} {kind}" for name, kind in OWN_COLUMNS.items())
            self.cursor.execute(f"CREATE TABLE {quoted} ({columns})")
            self.cursor.execute(f"CREATE INDEX ON {quoted} (tenant, name) WHERE revoked IS NULL")
            self.types = self._types()
        for name in self._missing():
            self.cursor.execute(f"ALTER TABLE {quoted} ADD COLUMN {ident(name)} {OWN_COLUMNS[name]}")
        self.types = self._types()
        if not heal or self._unique():
            return []
        # Nobody adds another duplicate while they are looked for.
        self.cursor.execute(f"LOCK TABLE {quoted} IN SHARE ROW EXCLUSIVE MODE")
        healed = self._resolve()
        name = ident(f"{self.table.name.split('.')[-1]}_hash_key")
        self.cursor.execute(f"ALTER TABLE {quoted} ADD CONSTRAINT {name} UNIQUE ({self.table.column('hash')})")
        return healed

    def _missing(self) -> list[str]:
        return [name for name in OWN_COLUMNS if name not in self.types] if self.table.own else []

    def _duplicates(self) -> list[list[str]]:
        """Rows with one hash, the one that stays first: one that is not revoked before others, then the newest."""
        row_id, hashed = self.table.column("id"), self.table.column("hash")
        created, revoked = self.table.column("created"), self.table.column("revoked")
        self.cursor.execute(
            f"SELECT array_agg({row_id}::text ORDER BY ({revoked} IS NULL) DESC, {created} DESC, {row_id} DESC)"  # nosec B608
            # Rows without a hash are no duplicates: a unique index takes as many as there are.
            f" FROM {self.table.quoted} WHERE {hashed} IS NOT NULL GROUP BY {hashed} HAVING count(*) > 1"
        )
        return [row[0] for row in self.cursor.fetchall()]

    def _resolve(self) -> list[dict[str, Any]]:
        healed = []
        shown = [
            name for name in ("id", "key_id", "name", "tenant", "scopes", "created", "revoked") if self.table.has(name)
        ]
        columns = ", ".join(f"{self.table.column(name)}::text" for name in shown)
        for kept, *others in self._duplicates():
            self.cursor.execute(
                f"DELETE FROM {self.table.quoted} WHERE {self.table.column('id')}::text = ANY (%s) RETURNING {columns}",  # nosec B608
                (others,),
            )
            removed = [dict(zip(shown, row, strict=True)) for row in self.cursor.fetchall()]
            healed.append({"kept": kept, "removed": removed})
        return healed

    def _unique(self) -> bool:
        self.cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_index i"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL"
            " AND i.indnkeyatts = 1 AND a.attname = %s)",
            (self.table.quoted, self.table.columns["hash"]),
        )
        return bool(self.cursor.fetchone()[0])
