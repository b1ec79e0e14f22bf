# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgresql.conf from what the server has: memory, CPUs, connections. Pure functions.

The lines are those of every version the collection knows: a version asked for by mistake changes no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

LEAST_MB = 256
_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", re.IGNORECASE)
# What the container relies on: moved, it would not be reached, or be reached in the clear.
_FIXED = re.compile(
    r"ssl|ssl_(cert|key|ca)_file|listen_addresses|port|unix_socket_.*|password_encryption|hba_file|ident_file|config_file"
    r"|data_directory|include(_dir|_if_exists)?|logging_collector|log_destination|max_connections",
    re.IGNORECASE,
)


def settings(
    memory_mb: int, max_connections: int, cpus: float, overrides: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """All lines of postgresql.conf, values quoted; `overrides` win over what is derived."""
    if memory_mb < LEAST_MB:
        raise PlatformError(
            f"{memory_mb} MiB are too little for PostgreSQL", f"Give postgres_memory_mb at least {LEAST_MB}."
        )
    derived = _from_memory(memory_mb, max_connections) | _from_cpus(max(1, int(cpus))) | _usual()
    return {name: _quote(value) for name, value in {**derived, **_checked(overrides or {})}.items()}


def _from_memory(memory_mb: int, max_connections: int) -> dict[str, Any]:
    shared = memory_mb // 4
    # Every connection may sort or hash in about four places at once before memory is short.
    each = (memory_mb - shared) * 1024 // (max_connections * 4)
    return {
        "max_connections": max_connections,
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{memory_mb * 3 // 4}MB",
        "work_mem": f"{min(max(each, 4096), 65536)}kB",
        "maintenance_work_mem": f"{min(max(memory_mb // 16, 32), 1024)}MB",
    }


def _from_cpus(cpus: int) -> dict[str, Any]:
    return {
        "max_worker_processes": max(8, cpus),
        "max_parallel_workers": cpus,
        "max_parallel_workers_per_gather": min(4, max(1, cpus // 2)),
        "max_parallel_maintenance_workers": min(4, max(1, cpus // 2)),
    }


def _usual() -> dict[str, Any]:
    return {
        "shared_preload_libraries": "pg_stat_statements",
        "track_io_timing": True,
        "random_page_cost": 1.1,
        "effective_io_concurrency": 200,
        "wal_level": "replica",
        "wal_compression": "lz4",
        "min_wal_size": "256MB",
        "max_wal_size": "2GB",
        # On from the start, as turning it on takes a restart; the backup replaces the command, which takes a reload.
        "archive_mode": True,
        "archive_command": "true",
        "idle_in_transaction_session_timeout": "10min",
        "log_line_prefix": "%m [%p] %q%u@%d %a ",
        "log_lock_waits": True,
        "log_temp_files": "64MB",
        "log_autovacuum_min_duration": "30s",
        "log_min_duration_statement": "2s",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def _checked(overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in overrides:
        if not _NAME.fullmatch(name):
            raise PlatformError(f"`{name}` in postgres_settings is no name of a setting", "Correct it.")
        if _FIXED.fullmatch(name):
            raise PlatformError(
                f"`{name}` in postgres_settings is set by the role itself",
                "Use the role's variable for it (postgres_max_connections, postgres_port, postgres_tls_*), or leave it.",
            )
    return {name.lower(): value for name, value in overrides.items()}


def _quote(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if "\n" in text:
        raise PlatformError("A value in postgres_settings has more than one line", "Write it on one.")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
