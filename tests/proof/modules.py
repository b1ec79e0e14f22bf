# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that no other collection has, for longer than the gate has time: kills, races, a million rows, Postgres 15.

Another module's proof is another entry of PARTS: what it measured, with `holds`. On this machine's own Engine, with the
images of the integration tests.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.bench import keys, seeds
from tests.integration import postgres_server, test_api_key_faults, test_health_gate_soak, test_migrate_seed
from tests.integration.alembic_project import AlembicProject
from tests.integration.api_keys import Keys
from tests.integration.postgres_server import Server
from tests.proof import modules_kills
from tests.support import REPOSITORY

RACES = 5
RUNS = 5
RATIO = 2
KEYS_RATIO = 3
# What asks a Postgres; the gate's other files have nothing to do with its version.
FILES = (
    *(
        "migrate_seed",
        "migrate_seed_branches",
        "migrate_seed_faults",
        "migrate_seed_gate",
        "migrate_seed_locks",
        "seeds",
    ),
    *(
        "api_key",
        "api_key_application",
        "api_key_aws",
        "api_key_faults",
        "api_key_life",
        "api_key_openbao",
        "api_key_play",
    ),
    "health_gate",
)


def prove() -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {}
    for name, part in PARTS.items():
        began = time.monotonic()
        parts[name] = part()
        parts[name]["seconds"] = round(time.monotonic() - began)
        print(f"  {name}: {parts[name]}", flush=True)
    return {"holds": all(part["holds"] for part in parts.values()), **parts}


@contextmanager
def running(durable: bool = False) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="lastro-proof-") as folder:
        Path(folder).chmod(0o755)
        with postgres_server.running(Path(folder), durable) as server:
            yield server


@contextmanager
def project(server: Server) -> Iterator[AlembicProject]:
    """A project of its own with a database of its own."""
    with tempfile.TemporaryDirectory(prefix="lastro-proof-") as folder, postgres_server.database(server) as wanted:
        yield AlembicProject(Path(folder), server, wanted)


@contextmanager
def some_keys(server: Server) -> Iterator[Keys]:
    """Keys in a database of their own."""
    with tempfile.TemporaryDirectory(prefix="lastro-proof-") as folder, postgres_server.database(server) as wanted:
        yield Keys(Path(folder), server, wanted)


def killed(
    attempt: modules_kills.Attempt, place: Callable[[Server], AbstractContextManager[Any]] = project
) -> dict[str, Any]:
    """The server dies by SIGKILL at random moments of an attempt."""
    with running(durable=True) as server:
        return modules_kills.prove(attempt, lambda: place(server))


def races(attempt: Callable[[Any], None], place: Callable[[Server], AbstractContextManager[Any]]) -> dict[str, Any]:
    """Twenty at once, as in the gate: one does the work, and nothing is lost or there twice."""
    failures = []
    with running() as server:
        for _ in range(RACES):
            with place(server) as one:
                try:
                    attempt(one)
                except AssertionError:
                    failures.append(traceback.format_exc(limit=-1))
    return {"holds": not failures, "rounds": RACES, "at_once": 20, "failures": failures}


def million_rows() -> dict[str, Any]:
    """Seeds against a bare COPY and one INSERT … ON CONFLICT."""
    found = compared(seeds.benchmarks)
    return {"holds": all(each["ratio"] <= RATIO for each in found.values()), "rows": seeds.ROWS, **found}


def ten_thousand_keys() -> dict[str, Any]:
    """A rotation against the same statements with keys made in Python."""
    found = compared(keys.benchmarks)
    return {"holds": found["keys_rotate"]["ratio"] <= KEYS_RATIO, "keys": keys.KEYS, **found}


def compared(benchmarks: Callable[..., None]) -> dict[str, Any]:
    """What a benchmark reports: both sides of each of its ratios."""
    found: dict[str, Any] = {}

    def timed(action: Callable[[], Any], before: Callable[[], Any] | None = None) -> list[float]:
        taken = []
        for _ in range(RUNS):
            if before:
                before()
            began = time.perf_counter()
            action()
            taken.append(round(time.perf_counter() - began, 2))
        return taken

    def report(name: str, ours: list[float], peer: list[float] | None, what: str) -> None:
        found[name] = {"what": what, "ours_seconds": ours}
        if peer:
            ratio = round(statistics.median(ours) / statistics.median(peer), 3)
            found[name] |= {"peer_seconds": peer, "ratio": ratio}

    benchmarks(timed, report)
    return found


def two_hundred_checks() -> dict[str, Any]:
    """200 checks of a second each, side by side, against the slowest of them."""
    runs = []
    for _ in range(RUNS):
        result, slowest = test_health_gate_soak.two_hundred_checks()
        runs.append({"elapsed_seconds": result["elapsed_seconds"], "slowest_seconds": round(slowest, 2)})
        runs[-1]["ratio"] = round(result["elapsed_seconds"] / slowest, 3)
    return {"holds": all(run["ratio"] <= RATIO for run in runs), "runs": runs}


def postgres_15() -> dict[str, Any]:
    """The integration tests of the modules, file by file, on Postgres 15 without pgvector."""
    files = {name: tested(REPOSITORY / f"tests/integration/test_{name}.py") for name in FILES}
    return {"holds": all(good(counts) for counts in files.values()), "files": files}


def good(counts: dict[str, int]) -> bool:
    """Whether tests ran and all passed."""
    return counts["passed"] > 0 and counts["passed"] == counts["tests"]


def counted(report: Path) -> dict[str, int]:
    """How many tests a report of pytest knows, and how many passed; none where it did not come to write one."""
    suite = next(ElementTree.parse(report).iter("testsuite")).attrib if report.exists() else {}
    tests, *others = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    return {"tests": tests, "passed": tests - sum(others)}


def tested(file: Path) -> dict[str, int]:
    """How many tests a file has, and how many of them pass on Postgres 15."""
    with tempfile.TemporaryDirectory(prefix="lastro-proof-") as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", str(file)],
            cwd=REPOSITORY,
            env={**os.environ, postgres_server.VARIABLE: "15"},
            capture_output=True,
            text=True,
            check=False,
        )
        counts = counted(report)
    if not good(counts):
        print(done.stdout[-8000:] + done.stderr[-2000:], flush=True)
    return counts


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "kills_in_a_migration": lambda: killed(modules_kills.migration),
    "kills_in_a_seed": lambda: killed(modules_kills.seed),
    "kills_in_a_rotation": lambda: killed(modules_kills.rotation, some_keys),
    "races_of_migrations": lambda: races(
        test_migrate_seed.test_of_twenty_at_once_one_migrates_and_the_others_have_nothing_to_do, project
    ),
    "races_of_rotations": lambda: races(
        test_api_key_faults.test_of_twenty_rotations_at_once_each_key_is_rotated_by_one, some_keys
    ),
    "million_rows": million_rows,
    "ten_thousand_keys": ten_thousand_keys,
    "two_hundred_checks": two_hundred_checks,
    "postgres_15": postgres_15,
}
