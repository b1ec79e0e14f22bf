# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database server dies by SIGKILL at a random moment of the work: afterwards it is all or nothing, and the next run completes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tests.integration import test_seeds
from tests.integration.alembic_project import AlembicProject
from tests.integration.api_keys import Keys
from tests.integration.test_api_key_faults import ROTATE, due, holds_together
from tests.integration.test_migrate_seed_faults import TABLE, crash_during

ROUNDS = 20
# The work of an attempt sleeps for a second in total; what it does in between is not counted.
WORK_SECONDS = 1.0
STEPS = 5
ROWS = 1000
# What is attempted in a database of its own, and how long after its first statement the server dies.
Attempt = Callable[[Any, float], "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What one kill left, and what the next run made of it."""

    left: str
    whole: bool
    finished: bool
    failed: bool
    completed: bool

    @property
    def good(self) -> bool:
        """All or nothing is there; whoever says that it worked did it all; the next run completes."""
        return self.whole and (self.failed or self.finished) and self.completed


def prove(attempt: Attempt, place: Callable[[], AbstractContextManager[Any]]) -> dict[str, Any]:
    outcomes, moments = [], []
    for _ in range(ROUNDS):
        moments.append(round(random.uniform(0, WORK_SECONDS), 2))
        with place() as one:
            outcomes.append(attempt(one, moments[-1]))
    return {
        "holds": holds(outcomes),
        "rounds": len(outcomes),
        "killed_after_seconds": moments,
        "runs_that_failed": sum(outcome.failed for outcome in outcomes),
        "left": dict(Counter(outcome.left for outcome in outcomes)),
        "bad": [str(outcome) for outcome in outcomes if not outcome.good],
    }


def holds(outcomes: list[Outcome]) -> bool:
    """Every kill ended well, and most of them came before the work was done: others show nothing."""
    return all(outcome.good for outcome in outcomes) and 2 * sum(outcome.failed for outcome in outcomes) > len(outcomes)


def migration(project: AlembicProject, seconds: float) -> Outcome:
    """Two revisions of several statements each, in a transaction each, after one that makes the table."""
    project.add(TABLE)
    sleep = f"SELECT pg_sleep({WORK_SECONDS / STEPS / 2})"
    for revision in range(2):
        steps = range(revision * STEPS, revision * STEPS + STEPS)
        rows = [f"INSERT INTO item SELECT generate_series({n * ROWS}, {n * ROWS + ROWS - 1}), 'x'" for n in steps]
        project.add(*(statement for row in rows for statement in (row, sleep)))
    planned = project.plan()
    whole = [("0001", 0), ("0002", STEPS * ROWS), ("0003", 2 * STEPS * ROWS)]

    def found() -> tuple[str, int]:
        ((revision, rows),) = project.sql("SELECT version_num, (SELECT count(*) FROM item) FROM alembic_version")
        return revision, rows

    done = crash_during(project, lambda: project.run(planned), seconds)
    left, again = found(), project.run()
    return Outcome(
        left="revision {}, {} rows".format(*left),
        whole=left in whole,
        finished=left == whole[-1],
        failed=bool(done.get("failed")),
        completed="failed" not in again and found() == whole[-1],
    )


def seed(project: AlembicProject, seconds: float) -> Outcome:
    """Two files: the rows of the first are written when the server dies over those of the second."""
    often = 20
    body = (
        f"BEGIN IF NEW.id % {often} = 0 THEN PERFORM pg_sleep({WORK_SECONDS * often / ROWS}); END IF; RETURN NEW; END"
    )
    for statement in (
        TABLE,
        "CREATE TABLE first (id bigint PRIMARY KEY, name text)",
        f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER slow BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION slow()",
    ):
        project.sql(statement)
    text = "id,name\n" + "".join(f"{number},x\n" for number in range(ROWS))
    files = [test_seeds.seed(project, f"{table}.csv", text, table=table, key=["id"]) for table in ("first", "item")]

    def found() -> tuple[int, int]:
        ((first, second),) = project.sql("SELECT (SELECT count(*) FROM first), (SELECT count(*) FROM item)")
        return first, second

    done = crash_during(project, lambda: test_seeds.run(project, seeds=files), seconds)
    left, again = found(), test_seeds.run(project, seeds=files)
    return Outcome(
        left="{} and {} rows".format(*left),
        whole=left in ((0, 0), (ROWS, ROWS)),
        finished=left == (ROWS, ROWS),
        failed=bool(done.get("failed")),
        completed="failed" not in again and found() == (ROWS, ROWS),
    )


def rotation(keys: Keys, seconds: float) -> Outcome:
    """Ten keys: their successors go in one by one, and they themselves are ended one by one."""
    number = 10
    due(keys, number)
    before = {label: entry["key"] for label, entry in keys.sink.read()["keys"].items()}
    body = f"BEGIN PERFORM pg_sleep({WORK_SECONDS / number / 2}); RETURN NEW; END"
    keys.sql(f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    keys.sql("CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON lastro_api_keys FOR EACH ROW EXECUTE FUNCTION slow()")

    def found() -> tuple[int, int]:
        ((rows, replaced),) = keys.sql("SELECT count(*), count(replaced_by) FROM lastro_api_keys")
        return rows, replaced

    def readable() -> bool:
        """Consumers find the key before, or the one that was committed; none is missing."""
        held = {label: entry["key"] for label, entry in keys.sink.read()["keys"].items()}
        return set(held) == set(before) and (held == before or found() == (2 * number, number))

    done = crash_during(keys, lambda: keys.run(**ROTATE), seconds)
    left, consumers = found(), readable()
    again = keys.run(**ROTATE)
    holds_together(keys)
    return Outcome(
        left="{} keys, {} of them replaced".format(*left),
        whole=left in ((number, 0), (2 * number, number)) and consumers,
        finished=left == (2 * number, number),
        failed=bool(done.get("failed")),
        completed="failed" not in again and found() == (2 * number, number),
    )
