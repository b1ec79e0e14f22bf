# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Galaxy's own importer takes the archive, and finds everything that is in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.artefacts import build


@pytest.fixture(scope="module")
def imported(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("importer")
    config = Path(__file__).with_name("galaxy-importer.cfg")
    output = build.run(
        sys.executable, "-m", "galaxy_importer.main", archive,
        cwd=folder, GALAXY_IMPORTER_CONFIG=str(config), ANSIBLE_HOME=str(folder / "home"),
    )  # fmt: skip
    return output, folder / "importer_result.json"


def test_the_importer_is_content(imported: tuple[str, Path]) -> None:
    output, _result = imported
    assert "Importer processing completed successfully" in output
    said = [line for line in output.splitlines() if line.startswith(("WARNING", "ERROR"))]
    # It counts what tests/sanity says, for a person to look at.
    assert [line for line in said if "Ignore files skip ansible-test sanity tests" not in line] == []


def test_the_importer_finds_everything(imported: tuple[str, Path], installed: Path) -> None:
    result = json.loads(imported[1].read_text())
    found = {(content["content_type"], content["name"]) for content in result["contents"]}
    wanted = {(kind, name) for kind in ("module", "lookup", "role") for name in build.documented(kind, installed)}
    wanted |= {("playbook", path.name) for path in installed.glob("playbooks/*.yml")}
    assert wanted - found == set()
    assert result["requires_ansible"] == ">=2.19.0"
    documented = {content["content_name"] for content in result["docs_blob"]["contents"] if content.get("doc_strings")}
    assert {name for kind, name in wanted if kind != "playbook" and kind != "role"} <= documented
