# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed out, built for real: the collection, the whole collection and nothing but the collection."""

from __future__ import annotations

import json
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.artefacts import build
from tests.artefacts.build import BIN, run, tracked

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


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, with litter among them."""
    top = build.clone(tmp_path_factory.mktemp("clone"))
    for name in LITTER:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("litter\n")
    return top


@pytest.fixture(scope="module")
def archive(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.archive(clone, tmp_path_factory.mktemp("galaxy"))


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=clone)
    (found,) = out.iterdir()
    return found


def test_the_archive_for_galaxy(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        held = {member.name for member in tar if not member.isdir()}
    assert held == tracked(*PARTS, "tests/sanity", "README.md", "LICENSE", "CHANGELOG.md") | {
        "MANIFEST.json",
        "FILES.json",
    }


def test_the_wheel(wheel: Path) -> None:
    inside = "ansible_collections/lastro/platform/"
    with zipfile.ZipFile(wheel) as held:
        names = {name for name in held.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert names == {inside + name for name in tracked(*PARTS, "galaxy.yml")}


@pytest.mark.parametrize("kind", ["archive", "wheel"])
def test_size(kind: str, request: pytest.FixtureRequest) -> None:
    built: Path = request.getfixturevalue(kind)
    assert 20_000 < built.stat().st_size < SIZE_MAX_BYTES


def test_modules_and_playbooks_are_found_in_an_environment_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Nothing is configured: Ansible looks for collections where Python looks for packages."""
    run(sys.executable, "-m", "venv", "--without-pip", "fresh", cwd=tmp_path)
    python = tmp_path / "fresh" / "bin" / "python"
    run(BIN / "uv", "pip", "install", "--quiet", "--python", python, "--no-deps", "--offline", wheel, cwd=tmp_path)
    (site,) = (tmp_path / "fresh" / "lib").glob("python*/site-packages")
    # ansible-core itself comes from the environment of the tests.
    (site / "ansible.pth").write_text(sysconfig.get_path("purelib"))
    nowhere = {"ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "home/collections")}
    settings = {**nowhere, "PATH": f"{python.parent}:/usr/bin:/bin"}
    shown = run(
        python, BIN / "ansible-doc", "--json", "--type", "module", "lastro.platform.stack", cwd=tmp_path, **settings
    )
    document = json.loads(shown)["lastro.platform.stack"]["doc"]
    assert document["module"] == "stack"
    assert document["filename"].startswith(str(site))
    (tmp_path / "hosts.yml").write_text("all: {children: {postgres: {}, redis: {}, app: {}, proxy: {}}}")
    listed = run(
        python, BIN / "ansible-playbook", "--list-tasks", "-i", "hosts.yml", "lastro.platform.status", cwd=tmp_path, **settings
    )  # fmt: skip
    assert "Show what runs and the checklist" in listed
