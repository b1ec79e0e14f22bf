# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fragments are fragments, and a release turns all of them into CHANGELOG.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.artefacts import build

PROGRAM = build.BIN / "antsibull-changelog"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return build.clone(tmp_path / "clone")


def test_fragments(clone: Path) -> None:
    build.run(PROGRAM, "lint", cwd=clone)


def test_a_wrong_fragment_is_seen(clone: Path) -> None:
    (clone / "changelogs/fragments/wrong.yml").write_text("novelties: [something]\n")
    with pytest.raises(AssertionError, match="novelties"):
        build.run(PROGRAM, "lint", cwd=clone)


def test_a_release_names_every_change(clone: Path) -> None:
    fragments = sorted((clone / "changelogs/fragments").glob("*.yml"))
    sections = [yaml.safe_load(path.read_text()) for path in fragments]
    entries = [entry for section in sections for kind in section.values() if isinstance(kind, list) for entry in kind]
    assert len(entries) >= len(fragments) - 1
    build.run(PROGRAM, "release", "--update-existing", cwd=clone)
    written = (clone / "CHANGELOG.md").read_text()
    version = yaml.safe_load((clone / "galaxy.yml").read_text())["version"]
    assert f'<a id="v{version.replace(".", "-")}"></a>' in written
    lines = [line[2:].replace("\\", "") for line in written.splitlines() if line.startswith("* ")]
    told = [line.split(" ")[0] for line in lines if line.startswith("lastro.")]
    new = [
        f"lastro.platform.{name}" for kind in ("module", "lookup", "filter") for name in build.documented(kind, clone)
    ]
    assert sorted(told) == sorted(new)
    assert len(lines) == len(entries) + len(new)
