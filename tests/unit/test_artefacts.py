# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed out, built for real: the collection, the whole collection and nothing but the collection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support import REPOSITORY

BIN = Path(sys.executable).parent
PARTS = ("meta", "playbooks", "plugins", "roles")
SIZE_MAX_BYTES = 2_000_000
# What lies about in a clone that is worked in, and must not travel.
LITTER = (
    ".venv/lib/secret.py",
    ".ansible/tmp/x",
    ".cache/x",
    "build/bench/noop.json",
    "build/lastro-platform-0.0.9.tar.gz",
    "plugins/modules/__pycache__/stack.cpython-311.pyc",
    "inventories/dev/group_vars/all/vault.yml",
    "dist/lastro_platform-0.0.9-py3-none-any.whl",
)


def tracked(*paths: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {name for name in listed.stdout.split("\0") if name}


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, with litter among them; files that others are just writing do not count."""
    top = tmp_path_factory.mktemp("clone")
    for name in tracked():
        target = top / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
    for name in LITTER:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("litter\n")
    return top


@pytest.fixture(scope="module")
def archive(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("galaxy")
    home = str(tmp_path_factory.mktemp("home"))
    run(str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(out), cwd=clone, ANSIBLE_HOME=home)
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=clone)
    (found,) = out.iterdir()
    return found


def test_the_archive_for_galaxy(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        held = {member.name for member in tar if not member.isdir()}
    assert held == tracked(*PARTS, "README.md", "LICENSE", "CHANGELOG.md") | {"MANIFEST.json", "FILES.json"}


def test_the_wheel(wheel: Path) -> None:
    inside = "ansible_collections/lastro/platform/"
    with zipfile.ZipFile(wheel) as held:
        names = {name for name in held.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert names == {inside + name for name in tracked(*PARTS, "galaxy.yml")}


@pytest.mark.parametrize("kind", ["archive", "wheel"])
def test_size(kind: str, request: pytest.FixtureRequest) -> None:
    built: Path = request.getfixturevalue(kind)
    assert 20_000 < built.stat().st_size < SIZE_MAX_BYTES


def test_a_module_is_found_in_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=tmp_path)
    shown = run(
        str(BIN / "ansible-doc"), "--json", "--type", "module", "lastro.platform.stack",
        cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(target), ANSIBLE_HOME=str(tmp_path / "home"),
    )  # fmt: skip
    document = json.loads(shown)["lastro.platform.stack"]["doc"]
    assert document["module"] == "stack"
    assert document["filename"].startswith(str(target))
