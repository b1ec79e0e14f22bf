# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a Postgres."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import closing

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    Absent,
    Spec,
    Wrong,
    as_expected,
    connected,
)


def psycopg2_missing() -> bool:
    """Whether this Python lacks what checks of type postgres need."""
    return importlib.util.find_spec("psycopg2") is None


def probe_postgres(spec: Spec, seconds: float) -> str:
    """One query on a connection of its own, in a transaction that is given up."""
    try:
        psycopg2 = importlib.import_module("psycopg2")
    except ImportError as error:
        raise Absent(f"psycopg2 is not installed for this Python: {error}") from error
    parts = {
        "host": spec["host"],
        "port": spec["port"],
        "user": spec["user"],
        "password": spec["password"],
        "dbname": spec["database"],
        "sslmode": spec["sslmode"],
        "sslrootcert": spec["sslrootcert"],
        # libpq knows whole seconds only, and takes 1 for 2.
        "connect_timeout": max(2, round(seconds)),
    }
    try:
        connection = psycopg2.connect(**{key: value for key, value in parts.items() if value is not None})
    except psycopg2.OperationalError as error:
        # libpq has no error code for "nobody there": asking the port tells it from a refused login.
        if not str(spec["host"]).startswith("/"):
            connected(spec, seconds).close()
        raise Wrong(str(error)) from error
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = %s", (round(seconds * 1000),))
        cursor.execute(spec["query"])
        row = cursor.fetchone() if cursor.description else None
    value = "" if row is None else str(row[0])
    return as_expected(value, spec["expected"])
