# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition of an execution environment is one for ansible-builder, and the collection says what it needs there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from scripts.matrix import PAIRS
from tests.artefacts import build
from tests.support import REPOSITORY

DEFINITION = REPOSITORY / "execution-environment" / "execution-environment.yml"
# Else it is named after the container runtime of the machine.
NAMED = ("--output-filename", "Containerfile")
BUILDER = build.BIN / "ansible-builder"


def create(definition: Path, context: Path) -> str:
    build.run(BUILDER, "create", "--file", definition, "--context", context, *NAMED, cwd=context.parent)
    return (context / "Containerfile").read_text()


def test_the_definition(tmp_path: Path) -> None:
    assert "FROM $EE_BASE_IMAGE" in create(DEFINITION, tmp_path / "context")
    asked = yaml.safe_load((tmp_path / "context/_build/requirements.yml").read_text())["collections"]
    version = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())["version"]
    assert asked == [{"name": "lastro.platform", "version": version}]


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(DEFINITION.read_text().replace("galaxy:", "galaxies:"))
    with pytest.raises(AssertionError, match="galaxies"):
        create(wrong, tmp_path / "context")


def test_the_newest_pair_of_the_matrix() -> None:
    newest = max(PAIRS.values(), key=lambda text: [int(part) for part in text.split(".")])
    major, minor = newest.split(".")
    wanted = f"ansible-core>={newest},<{major}.{int(minor) + 1}"
    assert yaml.safe_load(DEFINITION.read_text())["dependencies"]["ansible_core"]["package_pip"] == wanted


def test_what_the_collection_needs_is_found(installed: Path) -> None:
    output = build.run(BUILDER, "introspect", installed.parents[2], cwd=installed)
    python, system = re.split(r"^system:", output, maxsplit=1, flags=re.MULTILINE)
    assert "jsonschema" in python
    assert "openssh" in system


def test_every_third_party_import_of_the_controller_is_required(installed: Path) -> None:
    """Code that runs on the controller imports ansible-core's own requirements, and what is named."""
    controller = [
        path
        for part in ("action", "filter", "lookup", "plugin_utils")
        for path in installed.glob(f"plugins/{part}/*.py")
    ]
    text = "\n".join(path.read_text() for path in controller)
    imported = set(re.findall(r"^ *(?:from|import) ([a-z_0-9]+)", text, re.MULTILINE))
    named = set(re.findall(r"^[\w-]+", (installed / "meta/ee-requirements.txt").read_text(), re.MULTILINE))
    # A program, in a wheel.
    assert '"squawk"' in text
    imported.add("squawk-cli")
    assert imported - sys.stdlib_module_names - {"ansible", "ansible_collections", "yaml", "jinja2"} == named
