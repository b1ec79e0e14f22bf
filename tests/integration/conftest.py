# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the files, and names for images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.images_support import remove_images
from tests.support import random_name

# The longest first: two workers that take file after file then end at about the same time.
LONG = (
    *("firewall", "stack", "reference_app", "lab", "proxy_switch", "images_registry", "images", "stack_failures"),
    *("promote", "docker_repository", "stack_jobs", "postgres_databases", "postgres_logins", "reference_app_compose"),
    *("reference_app_migrations", "health_gate"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = [f"test_{name}.py" for name in LONG]
    items.sort(key=lambda item: order.index(item.path.name) if item.path.name in order else len(order))


@pytest.fixture
def prefix() -> Iterator[str]:
    """A name space for the images of one test, emptied afterwards."""
    name = random_name()
    yield name
    remove_images(name)
