# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module `migrate_seed`: the host plans, the controller judges the plan, the host runs that very plan."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import PRODUCTION
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._migrate_seed_options import REQUIRED_BY, arguments
from ansible_collections.lastro.platform.plugins.module_utils._migrate_tool import Plan
from ansible_collections.lastro.platform.plugins.module_utils._migration_report import ahead_of
from ansible_collections.lastro.platform.plugins.plugin_utils._background import BackgroundAction
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_classes import UNKNOWN, classify
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_lint import STYLE, lint
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_locks import locks
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_policy import (
    Finding,
    Judgement,
    Revision,
    judge,
    waivers_from,
)

MODULE = "lastro.platform.migrate_seed"

# What the run has to know of the plan.
PLANNED = ("current", "heads", "pending", "known", "ahead", "drift", "digest", "locks")
# The module ends by its own limits; this one is for a host that is gone.
LONGEST_SECONDS = 86400
# Where a downgrade shows what it would do to production: data that is like production's.
REHEARSED = ("stage", "restore")

display = Display()


class ActionModule(BackgroundAction):
    """Plan, judge, run."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        # Read here, and sent as they were given: paths are the host's.
        _valid, said = self.validate_argument_spec(arguments(), required_by=REQUIRED_BY)
        seeds = said["seeds"]
        folder = self.work_folder() if seeds else None
        try:
            sent = [self._sent(seed, number, str(folder)) for number, seed in enumerate(seeds)]
            done = self._work({**self._task.args, "seeds": sent}, said, task_vars)
            for notice in done.get("notices", []):
                display.display(f"note: {notice}")
            return {**result, **done}
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}
        finally:
            if folder:
                self._remove_tmp_path(folder, force=True)

    def _work(
        self, sent: Mapping[str, Any], said: Mapping[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        back = said["state"] == "downgraded"
        rehearsals = Rehearsals(said["rehearsals"], said["environment"])
        if back:
            require_for_downgrade(said)
            rehearsals.require_folder()
        planned: dict[str, Any] = self._execute_module(MODULE, {**sent, "phase": "plan"}, task_vars=task_vars)
        if planned.get("failed"):
            return planned
        if planned.get("unseen"):
            return {**planned, "notices": [f"Nothing can be said of migrations yet. {planned['unseen']}"]}
        planned["locks"] = {}
        refused, told = refused_back(planned, rehearsals) if back else refused_and_waived(planned, said)
        shown = {**planned, "diff": difference(planned), "notices": told}
        if refused:
            message = "The pending migrations are refused. Nothing was changed.\n" + "\n".join(refused)
            return without_sql({**shown, "applied": [], "failed": True, "changed": False, "msg": message})
        for entry in planned["pending"]:
            what = "goes" if back else "pending"
            display.display(f"{what}: {entry['id']} {entry['message']} ({', '.join(entry['classes']) or 'nothing'})")
        # What seeds would change is only known by bringing them in; and a run without anything to do is a run of this release.
        more = any(said[name] for name in ("seeds", "seed_command", "verify", "record"))
        if self._task.check_mode or not (planned["changed"] or more):
            return {
                **shown,
                "notices": [*told, *drift(planned), *([ahead_of(Plan.of(planned))] if planned["ahead"] else [])],
            }
        run = {**sent, "phase": "run", "planned": {name: planned[name] for name in PLANNED}}
        done = self._ran(run, bool(planned["pending"] or said["seeds"]), task_vars)
        if back and not done.get("failed"):
            rehearsals.keep(planned)
        shown["diff"] = difference({**planned, "seeds": done.get("seeds", {})})
        result = {**shown, **done, "notices": [*told, *done.get("notices", [])]}
        return without_sql(result) if done.get("failed") else result

    def _ran(self, arguments: dict[str, Any], long: bool, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The host's part, shown while it goes on where it may take long."""
        if not long:
            done: dict[str, Any] = self._execute_module(MODULE, arguments, task_vars=task_vars)
            return done
        folder = self.work_folder()
        try:
            return self.followed(MODULE, arguments, folder, task_vars, LONGEST_SECONDS)
        finally:
            self._remove_tmp_path(folder, force=True)

    def _sent(self, seed: Mapping[str, Any], number: int, folder: str) -> dict[str, Any]:
        """The seed with its file on the host; two files may have the same name."""
        local = self._find_needle("files", seed["file"]) if not os.path.isabs(str(seed["file"])) else str(seed["file"])
        target = self._connection._shell.join_path(folder, f"{number}-{os.path.basename(local)}")
        self._transfer_file(local, target)
        self._fixup_perms2([folder, target])
        return {**seed, "file": target, "name": seed.get("name") or os.path.basename(local)}


def without_sql(failed: dict[str, Any]) -> dict[str, Any]:
    """A result whose message somebody has to find on the screen; the SQL stands in the diff."""
    return {**failed, "pending": [{k: v for k, v in entry.items() if k != "sql"} for entry in failed["pending"]]}


class Rehearsals:
    """Downgrades that ran before, outside prod: a line of JSON each, in a file on the controller."""

    def __init__(self, path: Any, environment: str) -> None:
        self.path = Path(str(path)).expanduser() if path else None
        self.environment = environment

    def require_folder(self) -> None:
        """Refuse a file that could not be written afterwards."""
        if self.path and not self.path.parent.is_dir():
            raise PlatformError(f"{self.path.parent} is no directory", "Correct `rehearsals`, or make the directory.")

    def missing(self, digest: str) -> str:
        """Why this downgrade must not run here; empty where it may."""
        if self.environment not in PRODUCTION or digest in self._digests():
            return ""
        where = f"{self.path} holds no run of it" if self.path else "`rehearsals` names no file that could show one"
        return (
            f"A downgrade of {self.environment} has to have run before on data like these (environment"
            f" {' or '.join(REHEARSED)}), and {where}."
        )

    def keep(self, planned: Mapping[str, Any]) -> None:
        """Write down that it ran here, where that says something about production."""
        if not self.path or self.environment not in REHEARSED or not planned["pending"]:
            return
        steps = [entry["id"] for entry in planned["pending"]]
        ran = {"digest": planned["digest"], "environment": self.environment, "from": planned["current"], "steps": steps}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**ran, "at": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")

    def _digests(self) -> set[str]:
        if not self.path or not self.path.is_file():
            return set()
        try:
            ran = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line]
            return {one["digest"] for one in ran if one["environment"] in REHEARSED}
        except (ValueError, KeyError, TypeError) as error:
            raise PlatformError(
                f"{self.path} is not a file of rehearsals", "Correct `rehearsals`, or take the broken line out."
            ) from error


def require_for_downgrade(said: Mapping[str, Any]) -> None:
    """Refuse to go back without knowing where to and where."""
    for name, example in (("revision", "0004"), ("environment", "stage")):
        if not said[name]:
            raise PlatformError(f"A downgrade needs `{name}`", f"Give it, as `{name}: {example}`.")


def refused_back(planned: dict[str, Any], rehearsals: Rehearsals) -> tuple[list[str], list[str]]:
    """Why the steps back must not run, and what is worth knowing of them."""
    refused, told = [], []
    for entry in planned["pending"]:
        entry["classes"] = ["irreversible"] if entry["sql"] is None else []
        if entry["sql"] is None:
            refused.append(f"Revision {entry['id']} is irreversible: {entry['sql_error']}")
        elif not classify(entry["sql"]):
            told.append(f"Going back from revision {entry['id']} changes nothing but the revision that is noted.")
    missing = rehearsals.missing(planned["digest"]) if planned["pending"] else ""
    return [*refused, *([missing] if missing else [])], told


def refused_and_waived(planned: dict[str, Any], said: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Why pending revisions must not run, and what is worth knowing of waivers."""
    judgement = judged(planned, said)
    if planned["empty"]:
        # Nobody waits for a lock here, no release before it reads anything, nothing can be lost.
        return [], [f"{len(judgement.refused)} findings do not count: the database has no table yet."] * bool(
            judgement.refused
        )
    return [str(finding) for finding in judgement.refused], notices(judgement)


def judged(planned: dict[str, Any], said: Mapping[str, Any]) -> Judgement:
    """What the controller says of the plan; the classes of each revision, and what they lock, are added to it."""
    waivers = waivers_from(said["waivers"])
    revisions, findings = [], []
    readable: list[str | None] = []
    for entry in planned["pending"]:
        revision, found = _revision(entry, said, planned["unique"])
        entry["classes"] = sorted(revision.kinds)
        unknown = revision.statements is None or any(one.kind == UNKNOWN for one in revision.statements)
        readable.append(None if unknown else entry["sql"])
        revisions.append(revision)
        findings += found
    planned["locks"] = locks(readable)
    return judge(revisions, said["policy"], findings, waivers)


def _revision(
    entry: Mapping[str, Any], said: Mapping[str, Any], unique: Collection[str]
) -> tuple[Revision, list[Finding]]:
    statements = None if entry["sql"] is None else classify(entry["sql"], unique)
    revision = Revision(str(entry["id"]), str(entry["message"]), statements, str(entry["class"]))
    if not statements or not said["lint"]:
        return revision, []
    excluded = (*STYLE, *said["lint_exclude"])
    return revision, lint(
        revision.id,
        "\n".join(f"{statement.sql};" for statement in statements),
        excluded=excluded,
        transactional=_transactional(entry["sql"]),
    )


def _transactional(sql: str) -> bool:
    """Alembic leaves the transaction for what can't run inside one, and says so in its SQL."""
    return "CONCURRENTLY" not in sql.upper()


def difference(planned: Mapping[str, Any]) -> list[dict[str, str]]:
    """The SQL of each pending revision, and the rows of each seed file that differ."""
    shown = [
        {
            "before_header": "",
            "after_header": f"revision {entry['id']}",
            "before": "",
            "after": entry["sql"] if entry["sql"] is not None else f"-- {entry['sql_error']}\n",
        }
        for entry in planned["pending"]
    ]
    lines = [
        f"{name}: {', '.join(f'{number} {what}' for what, number in counts.items() if what != 'unchanged' and number)}\n"
        for name, counts in planned["seeds"].items()
        if any(number for what, number in counts.items() if what != "unchanged")
    ]
    return shown + (
        [{"before_header": "", "after_header": "seeds", "before": "", "after": "".join(lines)}] if lines else []
    )


def drift(planned: Mapping[str, Any]) -> list[str]:
    """How the models differ from the database, in words."""
    differences = planned["drift"].get("differences")
    return [f"The models differ from the database: {differences}"] if differences else []


def notices(judgement: Judgement) -> list[str]:
    """What was waived, and waivers that nothing needed."""
    told = [f"{finding} is waived until {waiver.expires}: {waiver.reason}" for finding, waiver in judgement.waived]
    return told + [
        f"The waiver of {waiver.rule} for revision {waiver.revision} is not needed." for waiver in judgement.idle
    ]
