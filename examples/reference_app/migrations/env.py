# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Alembic reaches the database, from the command line and from reference_app.migrate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

from reference_app.database import Base, connect
from reference_app.settings import load_settings

# Any number, as long as it is always the same.
LOCK = 7_260_317
LOCK_WAIT_SECONDS = 120


def database_url() -> str:
    if url := context.config.attributes.get("url"):
        return str(url)
    settings = load_settings(os.environ)
    settings.require("DATABASE_URL")
    return settings.database_url


@contextmanager
def one_at_a_time(engine: Engine) -> Iterator[None]:
    """Two deploys at once: the second waits. It asks again and again outside a transaction, because a session that
    waits inside one holds a snapshot, and CREATE INDEX CONCURRENTLY of the first would wait for that for ever."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another migration has held the lock for {LOCK_WAIT_SECONDS} s")
            time.sleep(0.5)
        # The lock goes with the connection.
        yield


def record(**step: object) -> None:
    applied = context.config.attributes.get("applied")
    if applied is not None:
        applied.append(step["step"].up_revision_id)  # type: ignore[attr-defined]


def run_online() -> None:
    engine = connect(database_url(), poolclass=NullPool)
    with one_at_a_time(engine), engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            # Each migration is committed by itself: one that needs autocommit must not commit its predecessors half-way.
            transaction_per_migration=True,
            on_version_apply=record,
        )
        with context.begin_transaction():
            context.run_migrations()


def run_offline() -> None:
    """`alembic upgrade head --sql`: what a reviewer or a linter of SQL reads; needs no server."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
