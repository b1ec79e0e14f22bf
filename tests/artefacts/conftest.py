# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as Galaxy gets it, and as a user has it installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.artefacts import build


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: each keeps one of two workers busy, and the rest fills up the shorter one's time."""
    items.sort(key=lambda item: not item.path.name.startswith("test_sanity"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.archive(build.clone(tmp_path_factory.mktemp("clone")), tmp_path_factory.mktemp("galaxy"))


@pytest.fixture(scope="session")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.install(archive, tmp_path_factory.mktemp("site"))


@pytest.fixture
def collection(installed: Path, tmp_path: Path) -> Path:
    """A copy of the installed one to work in: ansible-test writes into it."""
    copy = tmp_path / "ansible_collections" / "lastro" / "platform"
    shutil.copytree(installed, copy)
    return copy
