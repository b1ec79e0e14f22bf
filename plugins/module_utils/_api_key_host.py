# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's half of the module `api_key`: looking at a table of keys, and changing it in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import PRODUCTION, seconds_of
from ansible_collections.lastro.platform.plugins.module_utils._api_key_store import NewKey, Selection, Store
from ansible_collections.lastro.platform.plugins.module_utils._api_key_table import LOCK, OWN_TABLE, Schema, table_of
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

with suppress(ImportError):
    # The module says so itself.
    import psycopg2

# What was staged this long ago is never committed, so that a later run may throw away what nobody committed.
COMMIT_WITHIN_SECONDS = 600
# The login may have less; others that rotate the same keys are waited for.
PATIENCE = "SET LOCAL lock_timeout = '120s'; SET LOCAL statement_timeout = '300s'"
GOOD = ("active", "replaced")
# What a state asks of the table, with the rights it needs there.
RIGHTS = {
    "present": ("SELECT", "INSERT"),
    "imported": ("SELECT", "INSERT"),
    "rotated": ("SELECT", "INSERT", "UPDATE"),
    "revoked": ("SELECT", "UPDATE"),
    "pruned": ("SELECT", "DELETE"),
    "listed": ("SELECT",),
}


class KeyHost:
    """Looks or changes, inside the transaction of the cursor."""

    def __init__(self, params: Mapping[str, Any], request: Mapping[str, Any], cursor: Any) -> None:
        self.params = params
        self.request = request
        self.cursor = cursor
        self.state = params["state"]
        self.table = table_of(params["table"], params["columns"])
        self.heal = self.table.own or params["heal"]
        self.schema = Schema(cursor, self.table)
        self.store = Store(cursor, self.table, self.schema)
        self.times = {
            name: seconds_of(params[name], name)
            for name in ("max_age", "overlap", "retire_on_first_use", "lifetime", "unused_for", "keep")
        }

    @property
    def selection(self) -> Selection:
        return Selection(self.params["ids"], self.params["tenants"], self.params["names"], self.times["max_age"])

    @property
    def ended(self) -> Selection:
        """Those of the selection that ended long enough ago."""
        return replace(self.selection, ended_seconds_ago=float(self.times["keep"] or 0))

    # Looking.

    def look(self) -> dict[str, Any]:
        """What is there and what would be done. Changes nothing."""
        self.check_server()
        self.schema.check()
        self.check_features()
        idle = self.state == "listed" or (not self.schema.there and self.state in ("revoked", "pruned"))
        changes = [] if idle else self.schema.plan(self.heal)
        self.check_rights(bool(changes))
        self.cursor.execute("SELECT extract(epoch FROM now())::float8")
        now = self.cursor.fetchone()[0]
        found = {
            "now": now,
            **self.place(),
            "schema": changes,
            "due": [],
            "keys": [],
            "known": {},
            "ends": {},
            "peppers": {},
            "notices": [],
        }
        if not self.schema.complete:
            # Nothing is in it, or nobody can ask before it is completed.
            if self.params["ids"] and not self.schema.there:
                raise PlatformError(
                    f"There is no table {self.table.name} yet, and no key in it", "Correct `ids` or `url`."
                )
            if self.schema.there and idle:
                found["notices"] = [
                    f"{self.table.name} is of an older version; a run that issues or rotates completes it."
                ]
            return found
        hashes = self.request.get("hashes", [])
        found |= {"known": self.store.known(hashes) if hashes else {}, "peppers": self.store.pepper_use()}
        found["ends"] = self.store.ends(self.request.get("replaced", []))
        return {**found, **_LOOKS[self.state](self)}

    def place(self) -> dict[str, str]:
        """Which table of the world this is, and what tells its rows from others where the key itself can't."""
        self.cursor.execute("SELECT system_identifier::text, current_database() FROM pg_control_system()")
        identity = f"{'/'.join(self.cursor.fetchone())}/{self.table.name}"
        return {"table": identity, "place": "" if self.table.has("key_id") else f"{identity}#"}

    def check_server(self) -> None:
        self.cursor.execute("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool")
        standby, read_only = self.cursor.fetchone()
        if self.state == "listed":
            return
        if standby:
            raise PlatformError(
                "The server is in recovery: it is a standby or still replays its log", "Use the address of the primary."
            )
        if read_only:
            raise PlatformError(
                "Transactions of this login are read-only (default_transaction_read_only)",
                "Use a login that may write, or take the setting from the role, database or server.",
            )

    def check_features(self) -> None:
        """Refuse what the table has no column for, by name, before anything is done."""
        require, asked = self.table.require, self.params
        if self.request.get("scheme") == "pepper":
            require("A versioned pepper", "pepper_version")
        if asked["ids"] and not self.table.has("key_id"):
            require("A selection by `ids`", "id")
        for option, field in (
            ("tenants", "tenant"),
            ("names", "name"),
            ("tenant", "tenant"),
            ("name", "name"),
            ("scopes", "scopes"),
        ):
            if asked[option]:
                require(f"The option `{option}`", field)
        if self.state in ("present", "rotated", "imported") and self.times["lifetime"] is not None:
            require("A lifetime", "expires")
        if self.state == "rotated" and self.times["overlap"]:
            require("An overlap", "expires", "replaced_by")
        if self.state == "rotated" and self.times["retire_on_first_use"] is not None:
            require("Retirement on first use", "expires", "replaced_by", "first_used", "retire_seconds")

    def check_rights(self, changes: bool) -> None:
        if not self.schema.there:
            self.cursor.execute(
                "SELECT has_schema_privilege(current_schema(), 'CREATE'), current_schema(), current_user"
            )
            allowed, schema, user = self.cursor.fetchone()
            if not allowed and self.state != "listed":
                raise PlatformError(
                    f"{user} may not create {OWN_TABLE} in the schema {schema}",
                    "Connect once as a login that acts as the owner, as the one that migrates.",
                )
            return
        self.cursor.execute(
            "SELECT wanted, current_user FROM unnest(%s) AS wanted WHERE NOT CASE wanted WHEN 'DELETE'"
            " THEN has_table_privilege(%s, wanted) ELSE has_any_column_privilege(%s, wanted) END",
            (list(RIGHTS[self.state]), self.table.quoted, self.table.quoted),
        )
        missing = self.cursor.fetchall()
        if missing:
            raise PlatformError(
                f"{missing[0][1]} has no right to {', '.join(row[0] for row in missing)} on {self.table.name}",
                "Use a login that has it, or grant it.",
            )
        self.cursor.execute(
            "SELECT pg_has_role(relowner, 'USAGE'), current_user FROM pg_class WHERE oid = %s::regclass",
            (self.table.quoted,),
        )
        owner, user = self.cursor.fetchone()
        if changes and not owner:
            raise PlatformError(
                f"{self.table.name} has to be changed ({', '.join(self.schema.plan(self.heal))}), and {user} does not own it",
                "Connect once as a login that acts as the owner, as the one that migrates.",
            )

    def check_ids(self) -> None:
        unknown = self.store.unknown(self.params["ids"]) if self.params["ids"] else []
        if unknown:
            raise PlatformError(
                f"{self.table.name} has no key {', '.join(unknown[:5])}",
                "`state: listed` shows those it has. Nothing was changed.",
            )

    def look_present(self) -> dict[str, Any]:
        return {"keys": self.like_wanted()}

    def like_wanted(self) -> list[dict[str, Any]]:
        """Keys that are good, of the name and tenant wanted."""
        wanted = self.params
        given = Selection(
            tenants=[wanted["tenant"]] if wanted["tenant"] else [], names=[wanted["name"]] if wanted["name"] else []
        )
        found = self.store.find(given, "active")
        if wanted["name"] and not wanted["tenant"]:
            # A name is one of a tenant's; without one it is nobody's.
            found = [key for key in found if not key.get("tenant")]
        if wanted["name"] or not wanted["scopes"]:
            return found
        # Where keys have no name, what they may do tells them apart.
        return [key for key in found if key.get("scopes") in (wanted["scopes"], " ".join(wanted["scopes"]))]

    def look_rotated(self) -> dict[str, Any]:
        self.check_ids()
        due = self.store.find(self.selection, "active")
        notices = []
        if self.params["ids"]:
            due_ids = {key["id"] for key in due}
            rest = [one for one in self.params["ids"] if one not in due_ids]
            if rest:
                notices = [
                    f"Not due: {', '.join(rest[:20])}. They were rotated or revoked before, have ended, or are younger than `max_age`."
                ]
        if self.params["environment"] in PRODUCTION:
            self.refuse_others(due)
        return {"due": due, "notices": notices}

    def refuse_others(self, keys: list[dict[str, Any]]) -> None:
        """A key of dev that got into production must not become one of production."""
        wrong = [
            key
            for key in keys
            if "_" in key.get("prefix", "") and not key["prefix"].endswith(f"_{self.params['environment']}")
        ]
        if wrong:
            raise PlatformError(
                f"Keys of another environment are in the table of {self.params['environment']}: "
                + ", ".join(f"{key['prefix']}_{key['id']}" for key in wrong[:5]),
                "Revoke them (`state: revoked`); they are never rotated into keys of production. Nothing was changed.",
            )

    def look_revoked(self) -> dict[str, Any]:
        self.check_ids()
        due = self.store.find(self.selection, *GOOD)
        self.refuse_used([key["row"] for key in due])
        unprotected = not self.table.has("last_used") and self.times["unused_for"] and not self.params["force"]
        return {
            "due": due,
            "notices": [f"{self.table.name} does not say when a key was used last, so that is not looked at."]
            if unprotected and due
            else [],
        }

    def refuse_used(self, rows: list[str]) -> None:
        seconds = self.times["unused_for"]
        if not seconds or self.params["force"] or not self.table.has("last_used"):
            return
        used = self.store.used_within(rows, seconds)
        if used:
            raise PlatformError(
                f"Used in the last {self.params['unused_for']}: {', '.join(used[:20])}",
                "Somebody still needs it: rotate it. Or revoke it all the same with `force: true`. Nothing was changed.",
            )

    def look_listed(self) -> dict[str, Any]:
        keys = self.store.find(self.selection)
        wrong = []
        if self.params["environment"] in PRODUCTION:
            wrong = [
                key["id"]
                for key in keys
                if key["status"] in GOOD
                and "_" in key.get("prefix", "")
                and not key["prefix"].endswith(f"_{self.params['environment']}")
            ]
        return {
            "keys": keys,
            "notices": [f"Keys of another environment are good here: {', '.join(wrong[:20])}."] if wrong else [],
        }

    def look_pruned(self) -> dict[str, Any]:
        return {"due": self.store.find(self.ended)}

    def look_imported(self) -> dict[str, Any]:
        return {}

    # Changing.

    def prepare(self) -> dict[str, Any]:
        """Bring the table into shape."""
        self.cursor.execute(PATIENCE)
        self._wait_in_line()
        self.schema = Schema(self.cursor, self.table)
        self.schema.check()
        return {"healed": self.schema.bring(self.heal)}

    def apply(self) -> dict[str, Any]:
        """All of it, or nothing."""
        self.cursor.execute(PATIENCE)
        self.schema.check()
        if self.state in ("present", "imported"):
            # The second of two that add at once sees what the first added.
            self._wait_in_line()
        done = _APPLIES[self.state](self)
        self.check_time()
        return done

    def _wait_in_line(self) -> None:
        self.cursor.execute(LOCK, (self.table.name,))

    def check_time(self) -> None:
        """What is committed late might already be taken for abandoned."""
        looked = self.request.get("looked")
        if looked is None:
            return
        self.cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8 - %s", (looked,))
        if self.cursor.fetchone()[0] > COMMIT_WITHIN_SECONDS:
            raise PlatformError(
                f"This run took more than {COMMIT_WITHIN_SECONDS} s from its look at the table",
                "Find out what held it, and run again. Nothing was changed.",
            )

    def new_keys(self) -> list[NewKey]:
        return [NewKey(**key) for key in self.request["keys"]]

    def apply_present(self) -> dict[str, Any]:
        if self.like_wanted():
            return {"won": {}}
        return {"won": self.store.add(self.new_keys(), self.times["lifetime"])}

    def apply_imported(self) -> dict[str, Any]:
        keys = self.new_keys()
        for field, what in (("tenant", "A tenant"), ("scopes", "Scopes"), ("expires", "An end")):
            if any(getattr(key, field) for key in keys):
                self.table.require(f"{what} of an imported key", field)
        return {"won": self.store.add(keys, self.times["lifetime"])}

    def apply_rotated(self) -> dict[str, Any]:
        keys = self.new_keys()
        still = self.store.locked([str(key.row) for key in keys], "active")
        winners = [key for key in keys if key.row in still]
        rows = self.store.replace(winners, self.times["lifetime"])
        ends: dict[str, Any] = {}
        if len(rows) == len(winners) > 0:
            retire = self.times["retire_on_first_use"]
            ends = self.store.end(
                {str(key.row): (rows[key.hash], key.key_id) for key in winners},
                self.times["overlap"],
                None if retire is None else int(retire),
            )
        if len(rows) != len(winners) or len(ends) != len(winners):
            raise PlatformError(
                f"{self.table.name} did not take all of the rows",
                "Look for triggers and rules on it. Nothing was changed.",
            )
        return {"won": rows, "ends": ends}

    def apply_revoked(self) -> dict[str, Any]:
        rows = self.request["rows"]
        still = sorted(self.store.locked(rows, *GOOD))
        self.refuse_used(still)
        self.store.revoke(still)
        return {"rows": still}

    def apply_pruned(self) -> dict[str, Any]:
        return {"rows": self.store.prune(self.ended)}


@contextmanager
def told() -> Iterator[None]:
    """What the server refused, in its own first line: others name values, and a hash may be among them."""
    try:
        yield
    except psycopg2.Error as error:
        said = (
            error.diag.message_primary or str(error).strip().splitlines()[0]
            if str(error).strip()
            else "no reason given"
        )
        gone = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and error.pgcode is None
        if gone or (error.pgcode or "").startswith(("57P", "08")):
            raise PlatformError(
                f"The server went away in the middle: {said}", "Nothing was changed. Run again when it is back."
            ) from None
        raise PlatformError(
            f"The server refused it: {said}", _CURES.get(error.pgcode or "", "Nothing was changed.")
        ) from None


_CURES = {
    "42501": "Connect with a login that may do this. Nothing was changed.",
    "25006": "The server or the login is read-only. Nothing was changed.",
    "23502": "Name that column in `columns`, or give it a default. Nothing was changed.",
    "23503": "What it refers to has to be there first. Nothing was changed.",
    "55P03": "Somebody holds the keys for long; see pg_stat_activity. Nothing was changed.",
}
_LOOKS: dict[str, Callable[[KeyHost], dict[str, Any]]] = {
    "present": KeyHost.look_present,
    "rotated": KeyHost.look_rotated,
    "revoked": KeyHost.look_revoked,
    "listed": KeyHost.look_listed,
    "pruned": KeyHost.look_pruned,
    "imported": KeyHost.look_imported,
}
_APPLIES: dict[str, Callable[[KeyHost], dict[str, Any]]] = {
    "present": KeyHost.apply_present,
    "rotated": KeyHost.apply_rotated,
    "revoked": KeyHost.apply_revoked,
    "pruned": KeyHost.apply_pruned,
    "imported": KeyHost.apply_imported,
}
