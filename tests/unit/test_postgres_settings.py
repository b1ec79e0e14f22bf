# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgresql.conf from memory, CPUs and connections."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_settings import settings


@pytest.mark.parametrize(
    ("memory_mb", "connections", "shared", "cache", "work", "maintenance"),
    [
        (256, 100, "'64MB'", "'192MB'", "'4096kB'", "'32MB'"),
        (1024, 100, "'256MB'", "'768MB'", "'4096kB'", "'64MB'"),
        (8192, 100, "'2048MB'", "'6144MB'", "'15728kB'", "'512MB'"),
        (8192, 20, "'2048MB'", "'6144MB'", "'65536kB'", "'512MB'"),
        (65536, 500, "'16384MB'", "'49152MB'", "'25165kB'", "'1024MB'"),
    ],
)
def test_memory(memory_mb: int, connections: int, shared: str, cache: str, work: str, maintenance: str) -> None:
    found = settings(memory_mb, connections, 2)
    assert found["shared_buffers"] == shared
    assert found["effective_cache_size"] == cache
    assert found["work_mem"] == work
    assert found["maintenance_work_mem"] == maintenance
    assert found["max_connections"] == str(connections)


@pytest.mark.parametrize("memory_mb", [256, 1024, 8192, 65536, 262144])
@pytest.mark.parametrize("connections", [20, 100, 500])
def test_shared_and_working_memory_leave_room(memory_mb: int, connections: int) -> None:
    found = settings(memory_mb, connections, 2)
    shared, work = (int(re.sub(r"\D", "", found[name])) for name in ("shared_buffers", "work_mem"))
    roomy = memory_mb * 1024 // 4 // connections > 4096
    assert not roomy or shared * 1024 + work * connections < memory_mb * 1024


@pytest.mark.parametrize(
    ("cpus", "workers", "gather"), [(0.5, "1", "1"), (1, "1", "1"), (2, "2", "1"), (4, "4", "2"), (32, "32", "4")]
)
def test_cpus(cpus: float, workers: str, gather: str) -> None:
    found = settings(1024, 100, cpus)
    assert (found["max_parallel_workers"], found["max_parallel_workers_per_gather"]) == (workers, gather)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (True, "on"),
        (False, "off"),
        (5, "5"),
        (1.5, "1.5"),
        ("32MB", "'32MB'"),
        (["a", "b"], "'a, b'"),
        ("it's a \\ slash", "'it''s a \\\\ slash'"),
    ],
)
def test_a_given_value_wins_and_is_quoted(value: Any, line: str) -> None:
    assert settings(1024, 100, 1, {"WORK_MEM": value})["work_mem"] == line


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"ssl": False}, "set by the role itself"),
        ({"Listen_Addresses": "x"}, "set by the role itself"),
        ({"max_connections": 5}, "set by the role itself"),
        ({"data_directory": "/x"}, "set by the role itself"),
        ({"work_mem = 1\nssl": 1}, "no name of a setting"),
        ({"work_mem": "1\nssl = off"}, "more than one line"),
    ],
)
def test_what_cannot_be_set(overrides: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlatformError, match=problem):
        settings(1024, 100, 1, overrides)


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(PlatformError, match="at least 256"):
        settings(128, 100, 1)
