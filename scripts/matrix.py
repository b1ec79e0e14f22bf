#!/usr/bin/env python3
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the matrix of pyproject.toml: with the machine's own Pythons where it has them, in a nested Debian host where not.

scripts/matrix.py          every pair
scripts/matrix.py 3.13     one
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAIRS: dict[str, str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["lastro"]["matrix"]
# The Debian release whose own Python it is: with it, a mirror of Debian is enough.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
TESTS = ("tests/unit", "tests/matrix")


def interpreter(version: str, path: str | None = None, home: Path | None = None) -> str | None:
    """A Python of this version that really runs: from PATH, or one that pyenv keeps."""
    folders = [Path(folder) for folder in (path or os.environ["PATH"]).split(os.pathsep)]
    folders += sorted((home or Path.home()).glob(f".pyenv/versions/{version}.*/bin"), reverse=True)
    for folder in folders:
        candidate = folder / f"python{version}"
        if candidate.is_file():
            done = subprocess.run([candidate, "-c", "import ensurepip"], capture_output=True, check=False)
            if done.returncode == 0:
                return str(candidate)
    return None


def run(version: str) -> int:
    """One pair; the exit code of its tests."""
    if interpreter(version):
        return subprocess.run([sys.executable, "-m", "nox", "--session", f"matrix-{version}"], check=False).returncode
    if version in SUITES and _has_engine():
        print(f"This machine has no Python {version}: Debian {SUITES[version]} in a nested host has.", flush=True)
        return _nested(version)
    print(
        f"There is no Python {version} here, and no Docker Engine for a nested host that has it. Install the one (pyenv install"
        f" {version}) or the other (make deploy does, and scripts/gate integration).",
        file=sys.stderr,
    )
    return 1


def _has_engine() -> bool:
    try:
        done = subprocess.run(["/usr/bin/docker", "version"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _nested(version: str) -> int:
    # Only here, as noxfile.py reads this file in environments that need no lab.
    from tests.lab import host
    from tests.lab.image import Variant
    from tests.support import random_name

    files = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    name = random_name("lt-matrix-")
    try:
        machine = host.up(name, Variant(SUITES[version], "systemd", False))
        clone = subprocess.run(
            ["tar", "--create", "--files-from=-", "--ignore-failed-read"],
            cwd=REPOSITORY,
            input=files,
            capture_output=True,
            check=True,
        ).stdout
        into = ["/usr/bin/docker", "exec", "-i", machine.name, "bash", "-euc"]
        subprocess.run([*into, "mkdir /clone && tar -xC /clone --no-same-owner"], input=clone, check=True)
        script = f"""
            cd /clone
            export DEBIAN_FRONTEND=noninteractive PYTHON=python{version}
            apt-get update -qq && apt-get install -y -qq --no-install-recommends git make python3-venv >/dev/null
            git init -q . && git add --all
            scripts/bootstrap
            .venv/bin/python -m pytest -q -n 2 {" ".join(TESTS)}
        """
        return subprocess.run([*into, script], check=False).returncode
    finally:
        host.down(name)


def main(arguments: list[str]) -> int:
    """Every pair, or those that are named; 1 where one is red or unknown."""
    unknown = set(arguments) - set(PAIRS)
    if unknown:
        print(f"not in the matrix of pyproject.toml: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 1
    codes = [run(version) for version in arguments or PAIRS]
    return int(any(codes) or not codes)


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    raise SystemExit(main(sys.argv[1:]))
