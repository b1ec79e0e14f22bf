# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference can be generated, without an error and without a gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artefacts import build, reference


@pytest.fixture(scope="module")
def readable(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.readable(installed, tmp_path_factory.mktemp("readable"))


def test_documentation_is_complete(readable: Path) -> None:
    reference.lint(readable)


def test_every_plugin_and_role_has_a_page(readable: Path, tmp_path: Path) -> None:
    wanted = {
        f"{name}_{kind}" for kind in ("module", "lookup", "filter", "role") for name in build.documented(kind, readable)
    }
    assert wanted - reference.pages(readable, tmp_path / "rst") == set()
    reference.html(tmp_path / "rst", tmp_path / "html")
    assert "Reconcile" in (tmp_path / "html" / "stack_module.html").read_text()


def test_an_unfinished_description_is_seen(readable: Path, tmp_path: Path) -> None:
    copy = reference.readable(readable, tmp_path)
    module = copy / "plugins/modules/stack.py"
    module.write_text(module.read_text().replace("short_description:", "shortened:", 1))
    with pytest.raises(AssertionError, match="stack"):
        reference.lint(copy)
