# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions in environments of their own, each from an exact lock: `nox --list`.

Nothing is downloaded but packages. A Python that the machine does not have is an error that says how to get it;
`make matrix` goes on in a nested host that has it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))
from scripts.matrix import PAIRS, interpreter  # nox does not add the repository to the path

MAIN_LOCK = "requirements.lock"
ARTEFACTS_LOCK = "tests/artefacts/requirements.lock"

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
# Below a folder that git and the linters leave alone.
nox.options.envdir = "build/nox"
nox.options.download_python = "never"
# `sync` takes away what the lock does not name, so an environment that is there already is as good as a new one.
nox.options.reuse_venv = "yes"
nox.options.sessions = ["matrix", "artefacts"]
nox.options.error_on_missing_interpreters = True

# Version managers put a stand-in for each version first, which fails unless the version is chosen.
found = [str(Path(path).parent) for path in map(interpreter, PAIRS) if path]
os.environ["PATH"] = os.pathsep.join([*found, os.environ["PATH"]])


def _install(session: nox.Session, lock: str) -> None:
    session.run_install("uv", "pip", "sync", "--quiet", "--system-certs", "--require-hashes", lock, external=True)


@nox.session(python=[*PAIRS])
def matrix(session: nox.Session) -> None:
    """Unit tests, syntax and documentation with one pair of Python and ansible-core."""
    _install(session, MAIN_LOCK)
    session.run("python", "-m", "pytest", "-q", "-n", "2", *(session.posargs or ["tests/unit", "tests/matrix"]))


@nox.session
def artefacts(session: nox.Session) -> None:
    """What is handed out, held against the rules of where it is handed out."""
    _install(session, ARTEFACTS_LOCK)
    arguments = session.posargs or ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "tests/artefacts"]
    session.run("python", "-m", "pytest", "-q", *arguments)


@nox.session
def docs(session: nox.Session) -> None:
    """The reference as HTML, in build/docs."""
    _install(session, ARTEFACTS_LOCK)
    session.run("python", "-m", "tests.artefacts.reference", "build/docs")


@nox.session
def changelog(session: nox.Session) -> None:
    """Write CHANGELOG.md and changelogs/changelog.yaml from the fragments, for the version of galaxy.yml."""
    _install(session, ARTEFACTS_LOCK)
    session.run("antsibull-changelog", "release", "--update-existing")
