# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the module `migrate_seed`: plan; then, alone, the same plan again, migrate, look at what is left, seed, verify."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _migration_guard as guard
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._migrate_tool import (
    Alembic,
    Commands,
    Leave,
    Moved,
    NotPlanned,
    Plan,
    Program,
    Stopped,
)
from ansible_collections.lastro.platform.plugins.module_utils._migration_record import Record
from ansible_collections.lastro.platform.plugins.module_utils._migration_report import (
    Report,
    ahead_of,
    applied,
    says_changed,
    undone,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import (
    DriverError,
    Server,
    Session,
)
from ansible_collections.lastro.platform.plugins.module_utils._progress import Progress
from ansible_collections.lastro.platform.plugins.module_utils._seed_files import load
from ansible_collections.lastro.platform.plugins.module_utils._seed_sync import Counts, Sync, fence

RETRY_SECONDS = (1.0, 8.0)
HIDDEN = "___hidden___"


class MigrateSeed:
    """Plans and runs with the tool that the options name; the database is reached by a session of its own beside it."""

    def __init__(
        self,
        params: Mapping[str, Any],
        server: Server,
        program: Program,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        secrets: Collection[str] = (),
    ) -> None:
        self.params = params
        self.server = server
        self.program = program
        self.progress = progress
        self.clock = clock
        self.pause = pause
        # The longest first: another one may be a part of it.
        self.secrets = sorted(secrets, key=len, reverse=True)
        self.tool: Alembic | Commands = self._tool()
        self.seeds = [load(entry["file"], entry, entry.get("name") or "") for entry in params["seeds"]]
        if twice := sorted({seed.name for seed in self.seeds if [one.name for one in self.seeds].count(seed.name) > 1}):
            raise PlatformError(f"Several seeds have the name {', '.join(twice)}", "Give each a `name` of its own.")
        self.record = Record(params["record"])
        # Whoever left something invalid: until it is gone, each run is refused for it.
        self.unfinished = self.record.unfinished()
        self.report = Report()

    def _tool(self) -> Alembic | Commands:
        seconds = self.params["timeout_seconds"]
        if self.params["migrate_command"]:
            return Commands(self.program, self.params["migrate_command"], self.params["status_command"], seconds)
        return Alembic(self.program, self.params["python"], self.params["alembic"], seconds)

    # plan ------------------------------------------------------------------------------------------------------------

    def plan(self, try_seeds: bool) -> dict[str, Any]:
        """What a run would do now. Nothing is changed and no lock is taken; seeds are tried in a transaction that is given up."""
        fence(self.seeds, self.params["environment"])
        if not try_seeds:
            # Only check mode may look while another run works.
            self.program.wait_for_others(self.params["timeout_seconds"])
        with self.server.connect() as session:
            guard.require_writable(session.query)
            empty = guard.is_empty(session.query)
            unique = guard.unique_names(session.query)
        plan = self._plan()
        # Before the migration their tables may not exist.
        counts = self._seed(really=False) if try_seeds and not (plan.pending or plan.ahead or self.back) else {}
        return {
            "current": list(plan.current),
            "heads": list(plan.heads),
            "pending": [self._shown(entry) for entry in plan.pending],
            "known": plan.known,
            "ahead": plan.ahead,
            "empty": empty,
            "unique": sorted(
                self._hidden(name) for name in unique if any(name in (entry["sql"] or "") for entry in plan.pending)
            ),
            "digest": plan.digest,
            "drift": dict(plan.drift),
            "seeds": counts,
            "changed": bool(plan.pending)
            or any(c["inserted"] or c["updated"] or c["removed"] for c in counts.values()),
        }

    def _shown(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A pending entry without what is secret."""
        hidden = {name: self._hidden(entry[name]) for name in ("sql", "message", "sql_error") if entry[name]}
        return {**entry, **hidden}

    def _hidden(self, text: str) -> str:
        """With a word in the place of each secret, as Ansible's own asterisks make SQL that nobody can judge."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text

    # run -------------------------------------------------------------------------------------------------------------

    def run(self, planned: Mapping[str, Any]) -> dict[str, Any]:
        """Do what was planned; a plan that is another one by now is refused."""
        try:
            done = self._run(planned)
        except Exception:
            with suppress(OSError):  # what went wrong first is told
                self._keep(ok=False)
            raise
        self._keep(ok=True)
        return done

    def _keep(self, ok: bool) -> None:
        revisions = {*self.report.before, *self.report.applied, *self.report.after}
        self.record.keep(ok, self.params["release"], revisions, self.report.after, self.unfinished)

    def _run(self, planned: Mapping[str, Any]) -> dict[str, Any]:
        fence(self.seeds, self.params["environment"])
        self.program.wait_for_others(self.params["timeout_seconds"])
        with self.server.connect() as session, self._alone(session) as waited:
            guard.require_writable(session.query)
            plan = self._agreed(Plan.of(planned), waited)
            self.report.before = self.report.after = list(plan.current)
            before = self.unfinished or guard.leftovers(session.query)
            if plan.pending:
                self.locks = planned.get("locks") or guard.ALL_LOCKS
                self._migrate(session, plan, before)
            if plan.ahead:
                self.report.notices.append(ahead_of(plan))
                return {**asdict(self.report), "changed": False}
            self._require_clean(session, before)
            if not self.back:
                with self._timed("seed"):
                    self.report.seeds = self._seed(really=True)
                    self._seed_by_command()
            self._verify(session)
            self._tell_drift(self.report.drift or plan.drift)
        return {**asdict(self.report), "changed": self.report.changed}

    @property
    def back(self) -> bool:
        """Whether this run goes back."""
        return str(self.params["state"]) == "downgraded"

    def _plan(self) -> Plan:
        revision = self.params["revision"]
        if self.back:
            return self.tool.downgrade_plan(revision)
        leave = Leave(frozenset(self.params["known_revisions"]), self.record.reached())
        return self.tool.plan(revision, self.params["drift"], leave)

    def _say(self, text: str) -> None:
        self.progress.say(self.params["service"] or "", text)

    def _agreed(self, planned: Plan, waited: bool) -> Plan:
        """The plan that was looked at; whoever was waited for may have left nothing of it."""
        if not (planned.pending and (waited or self.back)):
            return planned
        now = self._plan()
        if now.pending and now.digest != planned.digest:
            raise NotPlanned
        return now

    @contextmanager
    def _alone(self, session: Session) -> Iterator[bool]:
        with guard.alone(session.query, self.params["lock_wait_seconds"], self.clock, self.pause, self._say) as waited:
            self.report.seconds["waited"] = round(waited, 2)
            yield waited >= guard.LOCK_POLL_SECONDS

    def _migrate(self, session: Session, plan: Plan, before: guard.Leftovers) -> None:
        self._require_no_old_transaction(session)
        if not guard.sees_all_sessions(session.query):
            self.report.notices.append(
                f"The login {self.server.settings['user']} may not see the transactions of others, so old ones were not looked for."
                " GRANT pg_read_all_stats to it."
            )
        self.report.restore_point = guard.restore_point(session.query, self.params["restore_point"])
        point = self.report.restore_point
        self._say(f"begins after {point['name'] or 'the place'} {point['lsn']} of the write-ahead log")
        if self.report.restore_point["why_no_name"]:
            self.report.notices.append(
                f"There is no named restore point ({self.report.restore_point['why_no_name']}); the migration began after {self.report.restore_point['lsn']}."
            )
        if without := guard.without_timeouts(session.query):
            self.report.notices.append(
                f"The login {self.server.settings['user']} has no {' and no '.join(without)}: a migration that waits keeps everybody"
                " else waiting. Set it with ALTER ROLE."
            )
        self.unfinished = before
        self.record.begin(self.params["release"], before)
        with (
            self._timed("migrate"),
            self.server.connect() as watcher,
            guard.Waits(watcher.query, self.server.settings["user"], self._say) as waits,
        ):
            moved = self._upgrade(session, plan, before)
        self.report.drift = dict(moved.drift)
        self.report.seconds["lock_waits"] = round(waits.seconds, 1)
        self.report.changed = self.report.changed or moved.before != moved.after or not plan.known
        self.report.after = list(moved.after)
        self.report.applied = undone(plan, moved) if self.back else applied(plan, moved)
        if moved.error:
            raise self._failed(plan, moved, self._left(session, before))
        wanted = sorted(plan.heads) if self.back else [str(plan.pending[-1]["id"])]
        if plan.known and sorted(moved.after) != wanted:
            raise PlatformError(
                f"The migration ended at {', '.join(moved.after) or 'no revision'}, and should have at {', '.join(wanted) or 'none'}",
                "See the application's env.py.",
            )

    def _require_clean(self, session: Session, before: guard.Leftovers) -> None:
        """Also where nothing was pending: the run that left something was refused for it, and this one has not mended it."""
        after = guard.leftovers(session.query)
        guard.require_clean(guard.left_by(before, after, self.params["not_valid"]))
        self.unfinished = None
        self.report.notices += guard.told(after)

    def _left(self, session: Session, before: guard.Leftovers) -> list[str]:
        """What statements outside a transaction left, as CREATE INDEX CONCURRENTLY does; nothing where the server is gone."""
        with suppress(DriverError):
            left = guard.left_by(before, guard.leftovers(session.query), self.params["not_valid"])
            return [*left.invalid_indexes, *left.not_valid]
        return []

    def _require_no_old_transaction(self, session: Session) -> None:
        guard.require_no_old_transaction(session.query, self.params["old_transaction_seconds"], self.locks)

    def _upgrade(self, session: Session, plan: Plan, before: guard.Leftovers) -> Moved:
        """Once, and again after a wait where it only waited too long for a lock."""
        first: Moved | None = None
        while True:
            self.report.attempts += 1
            moved = self._move_once(session, plan)
            first = first or moved
            moved = replace(moved, before=first.before)
            # What an attempt left would make the next one fail for another reason.
            if not moved.locked or self.report.attempts > self.params["retries"] or self._left(session, before):
                return moved
            if plan.known and not self.back:
                plan = self._rest(plan, moved)
                self.report.after = list(moved.after)
            self._say(f"waited too long for a lock, attempt {self.report.attempts} of {self.params['retries'] + 1}")
            # Not all at the same moment again, where several wait for the same table.
            self.pause(random.uniform(*RETRY_SECONDS))  # no secret depends on it  # nosec B311
            try:
                self._require_no_old_transaction(session)
            except PlatformError as error:
                return replace(moved, error={**moved.error, "text": f"{moved.error['text']}. {error.problem}"})

    def _rest(self, plan: Plan, moved: Moved) -> Plan:
        """What came through stays; what is pending now has to be the rest of what was planned."""
        done = applied(plan, moved)
        rest = [(entry["id"], entry["sql"]) for entry in plan.pending if entry["id"] not in done]
        now = self._plan()
        if [(entry["id"], entry["sql"]) for entry in map(self._shown, now.pending)] != rest:
            raise NotPlanned
        return now

    def _move_once(self, session: Session, plan: Plan) -> Moved:
        began = str(session.query("SELECT clock_timestamp()::text AS now")[0]["now"])
        before = self.report.before
        try:
            return self._move(plan)
        except NotPlanned:
            now = self._plan()
            if now.pending:
                raise
            return Moved(now.current, now.current, drift=now.drift)  # another run was quicker
        except Stopped as error:
            # Its client is gone; on the server its statement may go on, with all its locks.
            ended = guard.end_sessions_of_tool(session.query, began)
            more = f" {ended} of its sessions were ended on the server." if ended else ""
            text = f"{error.problem}.{more}"
            return Moved(
                tuple(before), self._plan().current, {"type": "stopped", "text": text, "sqlstate": "", "statement": ""}
            )

    def _move(self, plan: Plan) -> Moved:
        revision = self.params["revision"]
        return self.tool.downgrade(revision) if self.back else self.tool.upgrade(plan, revision, self.params["drift"])

    def _failed(self, plan: Plan, moved: Moved, left_behind: Sequence[str]) -> PlatformError:
        error = moved.error
        where = f"The database stands at {', '.join(moved.after) or 'no revision'}." if plan.known else ""
        statement = f" in `{' '.join(error['statement'].split())[:300]}`" if error["statement"] else ""
        attempts = f" after {self.report.attempts} attempts" if self.report.attempts > 1 else ""
        done = (
            f" {', '.join(self.report.applied)} had been {'undone' if self.back else 'applied'}."
            if self.report.applied
            else ""
        )
        cure = (
            "Somebody else uses the table: find who (pg_stat_activity), then run again."
            if moved.locked
            else "Correct the migration, then run again."
        )
        left = f" It left behind, invalid or NOT VALID: {', '.join(left_behind)}." if left_behind else ""
        what = "The downgrade failed" if self.back else "The migration failed"
        return PlatformError(
            f"{what}{attempts}: {error['type']}: {error['text']}{statement}. {where}{done}{left}", cure
        )

    # seeds -----------------------------------------------------------------------------------------------------------

    def _seed(self, really: bool) -> dict[str, dict[str, int]]:
        """All files in one transaction; unless `really`, it is given up in the end, and the counts say what would be."""
        if not self.seeds:
            return {}
        counts: dict[str, Counts] = {}
        with self.server.connect() as session, session.work(keep=really) as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", (int(self.params["timeout_seconds"] * 1000),))
            for name, one in Sync(cursor).apply(self.seeds):
                counts[name] = one
                self._say(f"{name}: {one}")
        if really:
            self.report.changed = self.report.changed or any(one.changed for one in counts.values())
        return {name: asdict(one) for name, one in counts.items()}

    def _seed_by_command(self) -> None:
        command: Sequence[str] = self.params["seed_command"]
        if not command:
            return
        self._say("the application's seeds")
        done = self.program.run(command, "", self.params["timeout_seconds"])
        if done.timed_out or done.code:
            how = (
                f"had not ended after {self.params['timeout_seconds']:g} s and was stopped"
                if done.timed_out
                else f"ended with {done.code}"
            )
            raise PlatformError(
                f"The seeds' command {how}:\n{done.tail()}", "Correct it, then run again; the migration stays."
            )
        lines = done.output.strip().splitlines()
        self.report.seed_command = lines[-1][:1000] if lines else ""
        self.report.changed = self.report.changed or says_changed(self.report.seed_command)

    def _verify(self, session: Session) -> None:
        for check in self.params["verify"]:
            try:
                rows = session.query(check["query"])
            except DriverError as error:
                raise PlatformError(
                    f"{check['name']} could not be asked: {' '.join(str(error).split())}",
                    f"Correct its query `{check['query']}`. The migration and the seeds stay.",
                ) from error
            found = "" if not rows else str(next(iter(rows[0].values())))
            if found != str(check["expected"]):
                raise PlatformError(
                    f"{check['name']} is {found or 'nothing'}, wanted {check['expected']}",
                    f"It was asked by `{check['query']}`.",
                )
            self.report.verified.append(check["name"])

    def _tell_drift(self, drift: Mapping[str, Any]) -> None:
        """Models that differ from the database are told, not refused: some hide tables on purpose."""
        self.report.drift = dict(drift)
        if drift.get("differences"):
            self.report.notices.append(f"The models differ from the database: {drift['differences']}")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = self.clock()
        try:
            yield
        finally:
            self.report.seconds[what] = round(self.clock() - began, 2)
