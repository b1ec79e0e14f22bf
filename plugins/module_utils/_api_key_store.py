# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys in a table, read and written with whole sets of rows. Works inside a transaction of the caller, on psycopg2's cursor.

Names in statements are quoted by `ident`, or our own; values are parameters (`nosec B608`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._api_key_table import Schema, Table

SHOWN = (
    *("key_id", "prefix", "last4", "name", "tenant", "scopes", "pepper_version", "created", "expires", "revoked"),
    *("last_used", "first_used", "replaced_by", "retire_seconds"),
)


@dataclass(frozen=True)
class Selection:
    """Which keys: by what names them, by whose they are, by what people call them, by age. Nothing given is all."""

    ids: Sequence[str] = ()
    tenants: Sequence[str] = ()
    names: Sequence[str] = ()
    older_than_seconds: float | None = None
    ended_seconds_ago: float | None = None


@dataclass(frozen=True)
class NewKey:
    """A key as the database gets it. `row` is that of the key it takes the place of."""

    key_id: str
    hash: str
    prefix: str = ""
    last4: str = ""
    pepper_version: int = 0
    row: str | None = None
    name: str = ""
    tenant: str = ""
    scopes: Sequence[str] = ()
    # ISO 8601.
    expires: str | None = None


class Store:
    """Reads and writes keys. Rows are named by their id as text."""

    def __init__(self, cursor: Any, table: Table, schema: Schema) -> None:
        self.cursor = cursor
        self.table = table
        self.schema = schema

    # Conditions and parts of statements.

    @property
    def named(self) -> str:
        """The column by which people name a key."""
        return self.table.column("key_id" if self.table.has("key_id") else "id")

    @property
    def status(self) -> str:
        cases = [f"WHEN {self.table.column('revoked')} IS NOT NULL THEN 'revoked'"]
        if self.table.has("expires"):
            cases.append(f"WHEN {self.table.column('expires')} <= now() THEN 'expired'")
        if self.table.has("replaced_by"):
            cases.append(f"WHEN {self.table.column('replaced_by')} IS NOT NULL THEN 'replaced'")
        return f"CASE {' '.join(cases)} ELSE 'active' END"

    @property
    def _end(self) -> str:
        revoked = self.table.column("revoked")
        return f"LEAST({revoked}, {self.table.column('expires')})" if self.table.has("expires") else revoked

    def _rows(self) -> str:
        """Placeholder for ids of rows, in the column's own type so that its index serves."""
        return f"%s::text[]::{self.schema.type_of('id')}[]"

    def _chosen(self, selection: Selection) -> tuple[str, list[Any]]:
        where: list[str] = ["true"]
        values: list[Any] = []
        for column, wanted in (
            (self.named, selection.ids),
            (self.table.column("tenant") if selection.tenants else "", selection.tenants),
            (self.table.column("name") if selection.names else "", selection.names),
        ):
            if wanted:
                where.append(f"{column}::text = ANY (%s)")
                values.append(list(wanted))
        if selection.older_than_seconds is not None:
            where.append(f"{self.table.column('created')} < now() - make_interval(secs => %s)")
            values.append(selection.older_than_seconds)
        if selection.ended_seconds_ago is not None:
            where.append(f"{self._end} < now() - make_interval(secs => %s)")
            values.append(selection.ended_seconds_ago)
        return " AND ".join(where), values

    # Reading.

    def find(self, selection: Selection, *statuses: str) -> list[dict[str, Any]]:
        """Keys for people, without their hashes."""
        fields = [name for name in SHOWN if self.table.has(name)]
        columns = "".join(f", {self.table.column(name)}" for name in fields)
        where, values = self._chosen(selection)
        if statuses:
            where += f" AND {self.status} = ANY (%s)"
            values.append(list(statuses))
        self.cursor.execute(
            f"SELECT {self.table.column('id')}::text, {self.status}, extract(epoch FROM now() - {self.table.column('created')})::bigint"  # nosec B608
            f"{columns} FROM {self.table.quoted} WHERE {where} ORDER BY {self.table.column('id')}",
            values,
        )
        return [
            _described(dict(zip(("row", "status", "age_seconds", *fields), row, strict=True))) for row in self.cursor
        ]

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that no key has."""
        self.cursor.execute(
            f"SELECT wanted FROM unnest(%s::text[]) AS wanted EXCEPT SELECT {self.named}::text FROM {self.table.quoted}",  # nosec B608
            (list(ids),),
        )
        return sorted(row[0] for row in self.cursor.fetchall())

    def known(self, hashes: Sequence[str]) -> dict[str, str]:
        """The row of each hash that is there."""
        hashed = self.table.column("hash")
        self.cursor.execute(
            f"SELECT {hashed}::text, {self.table.column('id')}::text FROM {self.table.quoted} WHERE {hashed}::text = ANY (%s)",  # nosec B608
            (list(hashes),),
        )
        return dict(self.cursor.fetchall())

    def ends(self, rows: Sequence[str]) -> dict[str, str | None]:
        """When each of these keys ends, or ended; nothing where the table does not say."""
        columns = [self.table.column(name) for name in ("revoked", "expires") if self.table.has(name)]
        if not rows or not columns:
            return {}
        self.cursor.execute(
            f"SELECT {self.table.column('id')}::text, COALESCE({', '.join(columns)}) FROM {self.table.quoted}"  # nosec B608
            f" WHERE {self.table.column('id')} = ANY ({self._rows()})",
            (list(rows),),
        )
        return {row: _text(when) for row, when in self.cursor.fetchall()}

    def pepper_use(self) -> dict[str, int]:
        """How many keys that are good hold on to each version of the pepper."""
        if not self.table.has("pepper_version"):
            return {}
        version = self.table.column("pepper_version")
        self.cursor.execute(
            f"SELECT COALESCE({version}::text, '0'), count(*) FROM {self.table.quoted}"  # nosec B608
            f" WHERE {self.status} IN ('active', 'replaced') GROUP BY 1 ORDER BY 1"
        )
        return dict(self.cursor.fetchall())

    # Writing.

    def locked(self, rows: Sequence[str], *statuses: str) -> set[str]:
        """Lock rows in the order of their ids; those that are still in one of the states. Who comes second waits here, and finds them changed."""
        row_id = self.table.column("id")
        self.cursor.execute(
            f"SELECT {row_id}::text FROM {self.table.quoted} WHERE {row_id} = ANY ({self._rows()}) AND {self.status} = ANY (%s)"  # nosec B608
            f" ORDER BY {row_id} FOR UPDATE",
            (list(rows), list(statuses)),
        )
        return {row[0] for row in self.cursor.fetchall()}

    def used_within(self, rows: Sequence[str], seconds: float) -> list[str]:
        """What names those keys that were used a short time ago."""
        self.cursor.execute(
            f"SELECT {self.named}::text FROM {self.table.quoted} WHERE {self.table.column('id')} = ANY ({self._rows()})"  # nosec B608
            f" AND {self.table.column('last_used')} > now() - make_interval(secs => %s) ORDER BY 1",
            (list(rows), seconds),
        )
        return [row[0] for row in self.cursor.fetchall()]

    def replace(self, keys: Sequence[NewKey], lifetime_seconds: float | None) -> dict[str, str]:
        """Insert keys that take over what the old ones may do; by hash, the row of each.

        Without a lifetime each is good as long as the one before it was meant to be.
        """
        carried = [name for name in ("name", "tenant", "scopes") if self.table.has(name)]
        values = {
            name: f"v.{name}"
            for name in ("key_id", "hash", "prefix", "last4", "pepper_version")
            if self.table.has(name)
        }
        values |= {name: f"o.{self.table.column(name)}" for name in carried}
        if self.table.has("expires"):
            meant = f"(o.{self.table.column('expires')} - o.{self.table.column('created')})"
            values["expires"] = (
                f"now() + {meant if lifetime_seconds is None else f'make_interval(secs => {float(lifetime_seconds)})'}"
            )
        return self._insert(
            keys,
            values,
            f" JOIN {self.table.quoted} o ON o.{self.table.column('id')} = v.row::{self.schema.type_of('id')}",
        )

    def add(self, keys: Sequence[NewKey], lifetime_seconds: float | None) -> dict[str, str]:
        """Insert keys that are nobody's successor, those whose hash is there already left out; by hash, the row of each."""
        values = {
            name: f"v.{name}"
            for name in ("key_id", "hash", "prefix", "last4", "pepper_version")
            if self.table.has(name)
        }
        values |= {
            name: f"v.{name}::{self.schema.type_of(name)}" for name in ("name", "tenant") if self.table.has(name)
        }
        if self.table.has("scopes"):
            listed = self.schema.type_of("scopes").endswith("[]")
            # A column of text holds them as OAuth writes them.
            split = f"string_to_array(v.scopes, ' ')::{self.schema.type_of('scopes')}"
            values["scopes"] = split if listed else f"v.scopes::{self.schema.type_of('scopes')}"
        if self.table.has("expires"):
            general = (
                "NULL" if lifetime_seconds is None else f"now() + make_interval(secs => {float(lifetime_seconds)})"
            )
            values["expires"] = f"COALESCE(v.expires, {general})"
        return self._insert(
            keys,
            values,
            f" WHERE NOT EXISTS (SELECT FROM {self.table.quoted} t WHERE t.{self.table.column('hash')}::text = v.hash)",  # nosec B608
        )

    def _insert(self, keys: Sequence[NewKey], values: Mapping[str, str], rest: str) -> dict[str, str]:
        # Whether or not the application's table says so by itself: `max_age` and the successor's end are counted from it.
        values = {**values, "created": "now()"}
        columns = ", ".join(self.table.column(name) for name in values)
        arrays = [
            [key.key_id for key in keys],
            [key.hash for key in keys],
            [key.prefix for key in keys],
            [key.last4 for key in keys],
            [key.pepper_version for key in keys],
            [key.row for key in keys],
            [key.name for key in keys],
            [key.tenant for key in keys],
            [" ".join(key.scopes) for key in keys],
            [key.expires for key in keys],
        ]
        self.cursor.execute(
            f"INSERT INTO {self.table.quoted} ({columns}) SELECT {', '.join(values.values())} FROM unnest(%s::text[], %s::text[], %s::text[],"  # nosec B608
            " %s::text[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])"
            f" AS v (key_id, hash, prefix, last4, pepper_version, row, name, tenant, scopes, expires){rest}"
            f" RETURNING {self.table.column('hash')}::text, {self.table.column('id')}::text",
            arrays,
        )
        return dict(self.cursor.fetchall())

    def end(
        self, successors: Mapping[str, tuple[str, str]], overlap_seconds: float | None, retire_seconds: int | None
    ) -> dict[str, Any]:
        """Have old rows end, never later than they would have; by row, when. `successors` are (row, key id) of what took their places.

        Without an overlap they go on to their own end, or to `retire_seconds` after the first use of the successor: the verifier sees to that.
        """
        self._point_on(successors)
        changes = []
        if overlap_seconds == 0:
            changes.append(f"{self.table.column('revoked')} = now()")
        elif overlap_seconds is not None:
            expires = self.table.column("expires")
            changes.append(f"{expires} = LEAST(o.{expires}, now() + make_interval(secs => {float(overlap_seconds)}))")
        if retire_seconds is not None:
            changes.append(f"{self.table.column('retire_seconds')} = {int(retire_seconds)}")
        if self.table.has("replaced_by"):
            kind, (place, _by_id) = self.schema.type_of("replaced_by"), self._replaced_by
            changes.append(f"{self.table.column('replaced_by')} = v.{place}::{kind}")
        ends = self.table.column("revoked" if overlap_seconds == 0 else "expires")
        self.cursor.execute(
            f"UPDATE {self.table.quoted} o SET {', '.join(changes)} FROM unnest({self._rows()}, %s::text[], %s::text[])"  # nosec B608
            f" AS v (row, successor, key_id) WHERE o.{self.table.column('id')} = v.row"
            f" RETURNING o.{self.table.column('id')}::text, o.{ends}",
            (list(successors), [one[0] for one in successors.values()], [one[1] for one in successors.values()]),
        )
        return {row: _text(when) for row, when in self.cursor.fetchall()}

    def _point_on(self, successors: Mapping[str, tuple[str, str]]) -> None:
        """Keys that wait for the first use of one that is now replaced itself wait for its successor's: consumers may skip one."""
        if not (self.table.has("retire_seconds") and self.table.has("replaced_by")):
            return
        place, by_id = self._replaced_by
        self.cursor.execute(
            f"UPDATE {self.table.quoted} w SET {self.table.column('replaced_by')} = v.{place}::{self.schema.type_of('replaced_by')}"  # nosec B608
            f" FROM unnest({self._rows()}, %s::text[], %s::text[]) AS v (row, successor, key_id)"
            f" JOIN {self.table.quoted} o ON o.{self.table.column('id')} = v.row"
            f" WHERE w.{self.table.column('replaced_by')}::text = o.{self.table.column('key_id' if by_id else 'id')}::text"
            f" AND w.{self.table.column('retire_seconds')} IS NOT NULL AND w.{self.table.column('revoked')} IS NULL",
            (list(successors), [one[0] for one in successors.values()], [one[1] for one in successors.values()]),
        )

    @property
    def _replaced_by(self) -> tuple[str, bool]:
        """By what a key names its successor: a column of `successors`, and whether that is the key's id."""
        by_id = self.table.has("key_id") and self.schema.type_of("replaced_by") in ("text", "character varying")
        return ("key_id" if by_id else "successor"), by_id

    def revoke(self, rows: Sequence[str]) -> None:
        self.cursor.execute(
            f"UPDATE {self.table.quoted} SET {self.table.column('revoked')} = now() WHERE {self.table.column('id')} = ANY ({self._rows()})",  # nosec B608
            (list(rows),),
        )

    def prune(self, selection: Selection) -> list[str]:
        """Remove keys; their rows."""
        where, values = self._chosen(selection)
        self.cursor.execute(
            f"DELETE FROM {self.table.quoted} WHERE {where} RETURNING {self.table.column('id')}::text",  # nosec B608
            values,
        )
        return [row[0] for row in self.cursor.fetchall()]


def _described(key: dict[str, Any]) -> dict[str, Any]:
    """A key as people and JSON take it; what it does not have is left out."""
    found = {name: _text(value) for name, value in key.items() if value not in (None, "", [])}
    return {"id": found.pop("key_id", key["row"]), **found}


def _text(value: Any) -> Any:
    if isinstance(value, str | int | float | list) or value is None:
        return value
    return value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else str(value)
