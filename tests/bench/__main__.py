# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: ratios against a peer measured in the same run, or seconds beside what they may be. Nothing here is red or green.

    python -m tests.bench                    everything
    python -m tests.bench stack deploy       some of it

Each result is a file in build/bench: name, unit, ours, runs, machine, and peer and ratio or the bar.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import deploy, fleet, keys, seeds, stack
from tests.support import REPOSITORY

RUNS = 5
BENCHMARKS = {
    "stack": stack.benchmarks,
    "deploy": deploy.benchmarks,
    "fleet": fleet.benchmarks,
    "seeds": seeds.benchmarks,
    "keys": keys.benchmarks,
}


def timed(action: Callable[[], Any], before: Callable[[], Any] | None = None) -> list[float]:
    """Seconds of each of the runs; `before` brings things into place and is not measured."""
    seconds = []
    for _ in range(RUNS):
        if before:
            before()
        began = time.perf_counter()
        action()
        seconds.append(round(time.perf_counter() - began, 3))
    return seconds


def machine() -> dict[str, Any]:
    engine = subprocess.run(
        ["/usr/bin/docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=True
    )
    return {
        "cpus": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": engine.stdout.strip(),
        "load_before": os.getloadavg()[0],
    }


def report(name: str, ours: list[float], peer: list[float] | None, what: str, bar: float | None = None) -> None:
    """Print and keep one result, beside a peer's and the most it may be, where there are such."""
    mine = statistics.median(ours)
    result: dict[str, Any] = {"name": name, "what": what, "unit": "seconds", "ours": mine, "runs": {"ours": ours}}
    shown = f"{name:28} ours {mine:7.2f} s"
    if peer:
        theirs = statistics.median(peer)
        ratio = round(mine / theirs, 2)
        result |= {"peer": theirs, "ratio": ratio, "runs": {"ours": ours, "peer": peer}}
        shown += f"   peer {theirs:7.2f} s   ratio {ratio:6.2f}"
    if bar:
        result |= {"bar": bar}
        shown += f"   bar {bar:8.2f} s   {'within' if mine <= bar else 'OVER'}"
    target = REPOSITORY / "build" / "bench" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({**result, "machine": machine()}, indent=1) + "\n")
    print(f"{shown}   ({what})", flush=True)


def main() -> int:
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    os.chdir(Path(REPOSITORY))
    for name in chosen:
        BENCHMARKS[name](timed, report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
