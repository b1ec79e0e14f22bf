# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make proof`: the long runs behind the claims, most of them on bare nested hosts. Results are kept in docs/proof.

make proof                        everything
make proof ONLY=first_platform    one of them
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from typing import Any

from tests.proof import first_platform, fleet, hosts, modules, releases
from tests.support import REPOSITORY

PROOFS = {
    "first_platform": first_platform.prove,
    "fleet": fleet.prove,
    "hosts": hosts.prove,
    "modules": modules.prove,
    "releases": releases.prove,
}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def keep(name: str, result: dict[str, Any]) -> None:
    """Write a result with what it takes to repeat it."""
    about = {
        "name": name,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", "plugins", "roles", "playbooks", "examples")),
        "command": f"make proof ONLY={name}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "memory_mb": _memory_mb()},
    }
    target = REPOSITORY / "docs" / "proof" / f"{name}.json"
    target.write_text(json.dumps({**about, **result}, indent=1) + "\n")
    print(f"{name}: {'holds' if result['holds'] else 'DOES NOT HOLD'}; see docs/proof/{name}.json", flush=True)


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def main() -> int:
    chosen = sys.argv[1:] or list(PROOFS)
    unknown = sorted(set(chosen) - set(PROOFS))
    if unknown:
        print(f"no such proof: {', '.join(unknown)}; there are {', '.join(PROOFS)}", file=sys.stderr)
        return 2
    results = {name: PROOFS[name]() for name in chosen}
    for name, result in results.items():
        keep(name, result)
    return 0 if all(result["holds"] for result in results.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
