# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the files, and what several of them begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration import postgres_server, proxy_stand
from tests.integration.images_support import remove_images
from tests.integration.proxy_stand import Stand
from tests.support import random_name

# The longest first: two workers that take file after file then end at about the same time.
LONG = (
    *(
        "firewall",
        "stack",
        "proxy_release",
        "reference_app",
        "app_migrations",
        "lab",
        "virtual_address",
        "proxy_switch",
        "acme",
        "images_registry",
    ),
    *(
        "images",
        "stack_failures",
        "proxy_provisional",
        "release_lease",
        "proxy_canary",
        "proxy_mode",
        "migrate_seed_faults",
    ),
    *("migrate_seed_gate", "migrate_seed", "seeds", "migrate_seed_locks", "postgres15"),
    *(
        "traffic",
        "promote",
        "docker_repository",
        "stack_jobs",
        "postgres_databases",
        "postgres_logins",
        "reference_app_compose",
    ),
    *("api_key_play", "api_key_openbao", "api_key_faults", "api_key", "api_key_application"),
    *("reference_app_migrations", "health_gate_metrics", "health_gate_servers", "health_gate", "health_gate_soak"),
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres_server.Server]:
    """A Postgres server for the tests of one file."""
    with postgres_server.running(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def wanted(server: postgres_server.Server) -> Iterator[dict[str, Any]]:
    """What is asked of the module for a database of one test."""
    with postgres_server.database(server) as arguments:
        yield arguments


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """A proxy for the tests of one file."""
    with proxy_stand.running() as running:
        yield running


@pytest.fixture
def proxy(stand: Stand) -> Stand:
    """That proxy as every test finds it: blue serves, everything is ready."""
    stand.rest()
    return stand
