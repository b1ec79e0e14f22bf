# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands around a migration in the database: one at a time, nobody in its way, a point to go back to, and what it left."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import DriverError, Query

# The first half of the lock's key: "lastro migrates"; the second is the database, so others are not kept waiting.
LOCK_CLASS = 0x1A572030
LOCK_POLL_SECONDS = 0.5
SAMPLE_SECONDS = 0.2
# After so many samples people are told: a wait of two seconds, and every ten seconds that it goes on.
TELL_WAIT = 10
TELL_EVERY = 50
_POINT = re.compile(r"[^A-Za-z0-9_.-]+")
INSUFFICIENT_PRIVILEGE = "42501"
# Where nobody could say what a migration locks.
ALL_LOCKS: Mapping[str, Any] = {"everything": True, "changed": [], "dropped": [], "written": []}


@dataclass(frozen=True)
class Leftovers:
    """What a migration may leave behind that works and is not right."""

    invalid_indexes: tuple[str, ...] = ()
    not_valid: tuple[str, ...] = ()


def require_writable(query: Query) -> None:
    """Refuse a server that can't be migrated at all."""
    (state,) = query(
        "SELECT pg_is_in_recovery() AS recovering, current_setting('default_transaction_read_only')::bool AS read_only, "
        "current_user::text AS name, has_database_privilege(current_database(), 'CREATE') OR EXISTS ("
        "  SELECT FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND has_schema_privilege(oid, 'CREATE')) AS creates"
    )
    if state["recovering"]:
        raise PlatformError(
            "The database is in recovery: it is a standby, or a restore that has not ended", "Migrate the primary."
        )
    if state["read_only"]:
        raise PlatformError(
            f"Sessions of {state['name']} are read-only (default_transaction_read_only)",
            "Migrate as <database>_migrate; where somebody made the database read-only on purpose, ask them first.",
        )
    if not state["creates"]:
        raise PlatformError(
            f"The user {state['name']} may create nothing in this database", "Migrate as <database>_migrate."
        )


def is_empty(query: Query) -> bool:
    """Whether nobody has made a table here: a first migration then has nobody in its way, and nothing to lose."""
    (row,) = query(
        "SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        "  WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
        "    AND c.relname <> 'alembic_version'"
        "    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')) AS empty"
    )
    return bool(row["empty"])


@contextmanager
def alone(
    query: Query,
    wait_seconds: float,
    clock: Callable[[], float],
    pause: Callable[[float], None],
    say: Callable[[str], None],
) -> Iterator[float]:
    """Hold the lock of migrations; yields the seconds it was waited for.

    It is a session's lock on a connection that has no transaction open: CREATE INDEX CONCURRENTLY waits for every snapshot older than its own, and
    one that waited for this lock inside a transaction would be such.
    """
    began, said = clock(), ""
    while not query("SELECT pg_try_advisory_lock(%s, hashtext(current_database())) AS held", LOCK_CLASS)[0]["held"]:
        if clock() - began >= wait_seconds:
            raise PlatformError(
                f"Another migration has held the lock for {wait_seconds:.0f} s: {_holder(query)}",
                "Wait for it, or end it (`SELECT pg_terminate_backend(pid)`), then run again.",
            )
        if not said:
            said = f"another migration runs: {_holder(query)}"
            say(said)
        pause(LOCK_POLL_SECONDS)
    try:
        yield clock() - began
    finally:
        # A server that died has released it; what was on its way says so, not this.
        with suppress(DriverError):
            query("SELECT pg_advisory_unlock(%s, hashtext(current_database())) AS released", LOCK_CLASS)


def _holder(query: Query) -> str:
    rows = query(
        "SELECT a.pid, a.application_name::text AS application, a.client_addr::text AS address, a.backend_start::text AS since"
        "  FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s::oid"
        "   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        LOCK_CLASS,
    )
    return (
        ", ".join(
            f"pid {r['pid']} ({r['application'] or 'no name'} from {r['address'] or 'the host'}, since {r['since']})"
            for r in rows
        )
        or "it ended just now"
    )


# Of tables that a migration changes every lock is in its way; of those that it writes or refers to a reader's is not. Indexes stand for
# their tables, a table for its parents and partitions; what it drops reaches the tables that foreign keys tie to it.
_OLD_TRANSACTIONS = """
WITH RECURSIVE named AS (
  SELECT COALESCE(i.indrelid, c.oid) AS oid,
         c.relname = ANY (%(changed)s::text[] || %(dropped)s::text[]) AS exclusive, c.relname = ANY (%(dropped)s::text[]) AS dropped
    FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
   WHERE c.relname = ANY (%(changed)s::text[] || %(dropped)s::text[] || %(written)s::text[])
), family AS (
  SELECT oid, exclusive, dropped FROM named
  UNION
  SELECT CASE WHEN i.inhparent = f.oid THEN i.inhrelid ELSE i.inhparent END, f.exclusive, f.dropped
    FROM family f JOIN pg_inherits i ON f.oid IN (i.inhparent, i.inhrelid)
), reached AS (
  SELECT oid, exclusive FROM family
  UNION
  SELECT CASE WHEN k.conrelid = f.oid THEN k.confrelid ELSE k.conrelid END, true
    FROM family f JOIN pg_constraint k ON k.contype = 'f' AND f.oid IN (k.conrelid, k.confrelid) WHERE f.dropped
)
SELECT a.pid, a.usename::text AS name, a.application_name::text AS application, a.state::text AS state,
       extract(epoch FROM now() - a.xact_start)::int AS age, a.query_start::text AS query_start,
       array_agg(DISTINCT l.relation::regclass::text ORDER BY l.relation::regclass::text) AS tables
  FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.locktype = 'relation'
  JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm')
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   -- Autovacuum has no user, and gives way.
   AND a.usesysid IS NOT NULL AND a.xact_start < now() - make_interval(secs => %(seconds)s)
   AND (%(everything)s OR EXISTS (
     SELECT FROM reached r WHERE r.oid = c.oid AND (r.exclusive OR l.mode <> 'AccessShareLock')))
 GROUP BY a.pid, a.usename, a.application_name, a.state, a.xact_start, a.query_start ORDER BY a.xact_start LIMIT 5
"""


@contextmanager
def as_login(query: Query) -> Iterator[None]:
    """With the rights of the login itself: the role it acts as owns the tables, and sees nothing of other sessions."""
    before = query("SELECT current_setting('role') AS role, set_config('role', 'none', false) AS now")[0]["role"]
    try:
        yield
    finally:
        query("SELECT set_config('role', %s, false) AS now", before)


def sees_all_sessions(query: Query) -> bool:
    """Whether the login may look at the transactions of others: without that right old ones stay unseen."""
    with as_login(query):
        (row,) = query("SELECT pg_has_role('pg_read_all_stats', 'usage') AS sees")
    return bool(row["sees"])


def require_no_old_transaction(query: Query, seconds: float, locks: Mapping[str, Any]) -> None:
    """Refuse while an old transaction holds a lock that the migration would wait for, and everybody else then for the migration.

    `locks` has the names of relations by what the migration does to them (`changed`, `dropped`, `written`), and says `everything` where
    that cannot be told or every snapshot is waited for (CONCURRENTLY).
    """
    with as_login(query):
        rows = query(_OLD_TRANSACTIONS, {**locks, "seconds": seconds})
    if not rows:
        return
    found = "; ".join(
        f"pid {r['pid']} ({r['name']}, {r['application'] or 'no application name'}, {r['state'] or 'state hidden'}, {r['age']} s old, "
        f"last query began {r['query_start'] or 'at a hidden time'}) on {', '.join(r['tables'][:3])}"
        for r in rows
    )
    raise PlatformError(
        f"A transaction older than {seconds:g} s holds locks that the migration would wait for: {found}",
        "End it (`SELECT pg_terminate_backend(pid)`) or wait, then run again; raise `old_transaction_seconds` where it is known to be harmless.",
    )


def end_sessions_of_tool(query: Query, since: str) -> int:
    """End what a stopped migration left running on the server; how many sessions that were. Ours carry our name."""
    with as_login(query):
        rows = query(
            "SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity"
            " WHERE usename = session_user AND datname = current_database() AND pid <> pg_backend_pid()"
            "   AND backend_start >= %s::timestamptz AND application_name <> current_setting('application_name')",
            since,
        )
    return sum(row["ended"] for row in rows)


def restore_point(query: Query, name: str) -> dict[str, Any]:
    """A named point to restore to, or the place in the log where no name can be given."""
    name = _POINT.sub("-", name)[:63]
    (place,) = query("SELECT pg_current_wal_lsn()::text AS lsn, current_setting('wal_level') AS level")
    try:
        with as_login(query):
            lsn = query("SELECT pg_create_restore_point(%s)::text AS lsn", name)[0]["lsn"]
    except Exception as error:
        state = getattr(error, "pgcode", None) or ""
        why = "the user may not" if state == INSUFFICIENT_PRIVILEGE else " ".join(str(error).split())
        return {"name": "", "lsn": place["lsn"], "why_no_name": why}
    return {"name": name, "lsn": lsn, "why_no_name": ""}


def leftovers(query: Query) -> Leftovers:
    """Indexes that queries do not use, and constraints that were never tried on the rows there are."""
    indexes = query(
        "SELECT i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        "  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\\_%'"
        " WHERE NOT i.indisvalid AND c.relkind <> 'I' ORDER BY 1"
    )
    constraints = query(
        "SELECT c.conrelid::regclass::text || '.' || c.conname AS name FROM pg_constraint c"
        "  JOIN pg_namespace n ON n.oid = c.connamespace AND n.nspname NOT LIKE 'pg\\_%'"
        " WHERE NOT c.convalidated ORDER BY 1"
    )
    return Leftovers(tuple(row["name"] for row in indexes), tuple(row["name"] for row in constraints))


def left_by(before: Leftovers, after: Leftovers, declared: Iterable[str]) -> Leftovers:
    """What was not there before, nor was declared."""
    return Leftovers(
        tuple(name for name in after.invalid_indexes if name not in before.invalid_indexes),
        tuple(name for name in after.not_valid if name not in {*before.not_valid, *declared}),
    )


def require_clean(left: Leftovers) -> None:
    """Refuse what migrations left."""
    if left.invalid_indexes:
        raise PlatformError(
            f"The migration left invalid indexes: {', '.join(left.invalid_indexes)}",
            "They slow writes and serve no query. Drop them (`DROP INDEX CONCURRENTLY`), find why they failed (often duplicate rows), then run again.",
        )
    if left.not_valid:
        raise PlatformError(
            f"The migration left constraints NOT VALID: {', '.join(left.not_valid)}",
            "Validate them (`ALTER TABLE … VALIDATE CONSTRAINT`) in a migration, or name them in `not_valid` while that has to wait.",
        )


def told(left: Leftovers) -> list[str]:
    """What others left, or what was declared, in words."""
    notices = [f"The index {name} is invalid since before this run." for name in left.invalid_indexes]
    return notices + [f"The constraint {name} is NOT VALID." for name in left.not_valid]


def unique_names(query: Query) -> frozenset[str]:
    """The unique indexes of the database, which upserts may rely on; a constraint has the name of its index."""
    rows = query(
        "SELECT c.relname::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        "  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\\_%' WHERE i.indisunique"
    )
    return frozenset(row["name"] for row in rows)


def without_timeouts(query: Query) -> list[str]:
    """Those of lock_timeout and statement_timeout that do not stand on the login: a migration would wait for ever, and others for it."""
    rows = query(
        "SELECT name FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout') AND reset_val = '0' ORDER BY name"
    )
    return [row["name"] for row in rows]


class Waits:
    """How long sessions of a role wait for locks, sampled while something runs; on a connection of its own."""

    def __init__(self, query: Query, role: str, say: Callable[[str], None]) -> None:
        self.query = query
        self.role = role
        self.say = say
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        # What goes wrong here the migration meets, too, and tells.
        with suppress(DriverError), as_login(self.query):
            self._watch()

    def _watch(self) -> None:
        samples = waiting = 0
        while not self._over.wait(SAMPLE_SECONDS):
            (row,) = self.query(
                "SELECT count(*) AS waiting, string_agg(DISTINCT array_to_string(pg_blocking_pids(pid), ', '), ', ') AS blockers"
                "  FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()",
                self.role,
            )
            samples += 1
            waiting = waiting + 1 if row["waiting"] else 0
            self.seconds += SAMPLE_SECONDS * bool(waiting)
            if waiting == TELL_WAIT:
                self.say(f"waits for a lock that pid {row['blockers']} holds")
            elif samples % TELL_EVERY == 0:
                self.say("still migrates")
