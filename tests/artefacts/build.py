# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds what is handed out from the tracked files as they are now; files that others are just writing do not count."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

BIN = Path(sys.executable).parent


def tracked(*paths: str) -> set[str]:
    """Names of tracked files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {name for name in listed.stdout.split("\0") if name}


def documented(kind: str, top: Path = REPOSITORY) -> set[str]:
    """Names of the modules, lookups, filters or roles that need documentation, by the files of a collection."""
    if kind == "role":
        return {path.parent.parent.name for path in top.glob("roles/*/meta/argument_specs.yml")}
    if kind == "filter":
        return {name for path in top.glob("plugins/filter/*.py") for name in _filters(path)}
    return {path.stem for path in top.glob(f"plugins/{'modules' if kind == 'module' else kind}/*.py")}


def _filters(path: Path) -> set[str]:
    spec = spec_from_file_location(f"filters_{path.stem}", path)
    assert spec
    assert spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    return set(module.FilterModule().filters())


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Both streams of a command that has to succeed; the environment's own programs come first."""
    settings = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"
    return done.stdout


def clone(top: Path) -> Path:
    """A copy of the tracked files."""
    for name in tracked():
        target = top / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
    return top


def archive(source: Path, out: Path) -> Path:
    """The archive for Galaxy."""
    run(BIN / "ansible-galaxy", "collection", "build", "--output-path", out, cwd=source, ANSIBLE_HOME=str(out / "home"))
    (found,) = out.glob("*.tar.gz")
    return found


def install(built: Path, collections: Path) -> Path:
    """The folder of the collection, installed from its archive."""
    command = ("collection", "install", "--no-deps", "--offline", "-p", collections, built)
    run(BIN / "ansible-galaxy", *command, cwd=built.parent, ANSIBLE_HOME=str(built.parent / "home"))
    return collections / "ansible_collections" / "lastro" / "platform"
