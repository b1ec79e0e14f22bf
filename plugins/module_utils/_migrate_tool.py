# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two kinds of tools that migrate: Alembic, which says what it will do, and any command, which does it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.lastro.platform.plugins.module_utils import _alembic_driver
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._oneoff import Done

LOCK_TIMEOUT = "55P03"


class Stopped(PlatformError):
    """A command had not ended in its time and was stopped."""


class NotPlanned(PlatformError):
    """What is pending is not what was planned."""

    def __init__(self) -> None:
        super().__init__(
            "The migrations that are pending are not those that were planned: the database or the image changed meanwhile",
            "Run again; the new plan is looked at first.",
        )


class Program(Protocol):
    """Where commands run."""

    def run(self, command: Sequence[str], text: str, seconds: float) -> Done: ...

    def wait_for_others(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What a run would do. `pending` entries are those of the Alembic driver; `known` is false where only running tells."""

    current: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    pending: tuple[Mapping[str, Any], ...] = ()
    known: bool = True
    # A later release has migrated the database already: this one has nothing to do here.
    ahead: bool = False
    # How the models differ from the database, where that was asked for and nothing is pending.
    drift: Mapping[str, Any] = field(default_factory=dict)
    # Of a plan that went to the controller and came back: what is secret is not in its SQL any more.
    digest_given: str = ""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Plan:
        """The plan that a module returned."""
        return cls(
            tuple(found["current"]),
            tuple(found["heads"]),
            tuple(found["pending"]),
            found["known"],
            found["ahead"],
            found["drift"],
            found.get("digest", ""),
        )

    @property
    def digest(self) -> str:
        """The same for the same work, whenever it is asked for."""
        if self.digest_given:
            return self.digest_given
        work = {"current": list(self.current), "heads": list(self.heads), "pending": list(self.pending)}
        return _alembic_driver.digest(work)


@dataclass(frozen=True)
class Leave:
    """Which revisions may stand in the database that the release does not know."""

    # Named by somebody.
    named: frozenset[str] = frozenset()
    # Reached by runs before, on this very platform.
    reached: frozenset[str] = frozenset()

    def covers(self, unknown: Iterable[str], heads: Iterable[str]) -> bool:
        """All named; or all reached, by runs that came through where this release ends."""
        unknown = set(unknown)
        return unknown <= self.named or (unknown <= self.reached and set(heads) <= self.reached)


NO_LEAVE = Leave()


@dataclass(frozen=True)
class Moved:
    """From where to where a run brought the database; `error` is what stopped it."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    error: Mapping[str, str] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)

    @property
    def locked(self) -> bool:
        """It waited too long for a lock: nothing is wrong with it, and it may be tried again."""
        return self.error.get("sqlstate") == LOCK_TIMEOUT


class Alembic:
    """Alembic in the application's own Python, spoken to by a driver that is piped to it."""

    def __init__(self, program: Program, python: Sequence[str], options: Mapping[str, Any], seconds: float) -> None:
        self.program = program
        self.python = list(python)
        self.options = {key: value for key, value in options.items() if value}
        self.seconds = seconds

    def plan(self, revision: str = "", drift: bool = False, leave: Leave = NO_LEAVE) -> Plan:
        answer = self._ask("plan", revision=revision, drift=drift)
        current, heads = tuple(answer["current"]), tuple(answer["heads"])
        if answer["unknown"]:
            if leave.covers(answer["unknown"], heads):
                return Plan(current, heads, ahead=True)
            raise PlatformError(
                f"The database is at revision {', '.join(answer['unknown'])}, which this release does not know",
                "Either a later release migrated it: deploy one that has this revision, go back by `state: downgraded` with that later one, or, "
                "where this release works on it as it is, name the revision in `known_revisions`. Or it is another application's database.",
            )
        if len(heads) > 1:
            raise PlatformError(
                f"The migrations have {len(heads)} heads: {', '.join(heads)}",
                "Merge them (`alembic merge heads`) and build the image again.",
            )
        if not heads:
            raise PlatformError("There are no migrations", "Correct `alembic.config`, or take the migration out.")
        return Plan(current, heads, tuple(answer["pending"]), drift=answer.get("drift") or {})

    def upgrade(self, plan: Plan, revision: str = "", drift: bool = False) -> Moved:
        """Apply the plan, if it is the plan still."""
        answer = self._ask("upgrade", digest=plan.digest, revision=revision, drift=drift)
        if "planned" in answer:
            raise NotPlanned
        return self._moved(answer)

    def downgrade(self, revision: str) -> Moved:
        return self._moved(self._ask("downgrade", revision=revision))

    def downgrade_plan(self, revision: str) -> Plan:
        """The steps back, in their order, each with its SQL."""
        answer = self._ask("downgrade", revision=revision, show=True)
        steps = [
            {
                "id": step["id"],
                "message": step["message"],
                "sql": None if step["error"] else step["sql"],
                "sql_error": step["error"],
                "class": "",
            }
            for step in answer["steps"]
        ]
        return Plan(tuple(answer["current"]), tuple(answer["heads"]), tuple(steps))

    @staticmethod
    def _moved(answer: Mapping[str, Any]) -> Moved:
        return Moved(tuple(answer["before"]), tuple(answer["after"]), answer["error"] or {}, answer.get("drift") or {})

    def _ask(self, verb: str, **more: Any) -> dict[str, Any]:
        options = {**self.options, **{key: value for key, value in more.items() if value}}
        done = self.program.run(
            [*self.python, "-", verb, json.dumps(options)], inspect.getsource(_alembic_driver), self.seconds
        )
        if done.timed_out:
            raise Stopped(
                f"Alembic ({verb}) had not ended after {self.seconds:g} s and was stopped:\n{done.tail()}",
                "Find what it waits for.",
            )
        lines = [line for line in done.output.splitlines() if line.startswith(_alembic_driver.MARK)]
        if not lines:
            raise PlatformError(
                f"{self.python[0]} ended with {done.code} and said nothing of Alembic:\n{done.tail()}",
                "Its image needs Python and Alembic; name its interpreter in `python`.",
            )
        answer: dict[str, Any] = json.loads(lines[-1][len(_alembic_driver.MARK) :])
        if verb == "plan" or "before" not in answer:
            error = answer.get("error")
            if error:
                raise PlatformError(
                    f"Alembic ({verb}) failed: {error['type']}: {error['text']}",
                    "See the application's env.py and alembic.ini.",
                )
        return answer


class Commands:
    """Any tool: a command that migrates, and one that says with its exit code whether there is nothing to do."""

    def __init__(self, program: Program, migrate: Sequence[str], status: Sequence[str], seconds: float) -> None:
        self.program = program
        self.migrate = list(migrate)
        self.status = list(status)
        self.seconds = seconds

    def plan(self, revision: str = "", drift: bool = False, leave: Leave = NO_LEAVE) -> Plan:
        if revision:
            raise PlatformError("`revision` is for Alembic", "Have migrate_command name it.")
        if self.status and self.program.run(self.status, "", self.seconds).code == 0:
            return Plan()
        return Plan(
            pending=(
                {"id": " ".join(self.migrate), "sql": None, "message": "", "class": "", "sql_error": "it is a command"},
            ),
            known=False,
        )

    def upgrade(self, plan: Plan, revision: str = "", drift: bool = False) -> Moved:
        done = self.program.run(self.migrate, "", self.seconds)
        if done.timed_out:
            raise Stopped(
                f"{self.migrate[0]} had not ended after {self.seconds:g} s and was stopped:\n{done.tail()}",
                "Find what it waits for.",
            )
        if done.code:
            return _failed(self.migrate[0], f"ended with {done.code}:\n{done.tail()}")
        after = self.program.run(self.status, "", self.seconds) if self.status else None
        if after and after.code:
            return _failed(self.status[0], f"says after the migration that something is left:\n{after.tail()}")
        return Moved()

    def downgrade_plan(self, revision: str) -> Plan:
        raise PlatformError("Only Alembic can be asked to go back", "Take `state: downgraded` out.")

    def downgrade(self, revision: str) -> Moved:
        return Moved()


def _failed(program: str, text: str) -> Moved:
    return Moved(error={"type": program, "text": text, "sqlstate": "", "statement": ""})
