# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small Alembic projects of a test's own, run by this Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.integration.postgres_server import Server, login
from tests.support import run_module

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, MetaData
from sqlalchemy.pool import NullPool

metadata = MetaData()
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["DATABASE_URL"], poolclass=NullPool).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
"""
VERSION = '''"""{message}"""
import time
from alembic import op

revision = "{name}"
down_revision = {down!r}
{more}

def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''


class AlembicProject:
    """Revisions `0001`, `0002` … for a database of a throw-away server."""

    def __init__(self, directory: Path, server: Server, wanted: dict[str, Any]) -> None:
        self.directory = directory
        self.server = server
        self.wanted = wanted
        self.login = login(wanted, "migrate")
        assert "failed" not in server.run(wanted)
        (directory / "migrations/versions").mkdir(parents=True)
        (directory / "migrations/env.py").write_text(ENV)
        (directory / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        self.count = 0

    def add(self, *upgrade: str, downgrade: str = "pass", down: Any = "", more: str = "", name: str = "") -> str:
        """A revision that executes SQL, or, where a line begins with `op.` or `time.`, runs it as it stands."""
        before = f"{self.count:04}" if self.count else None
        self.count += 1
        name = name or f"{self.count:04}"
        text = VERSION.format(
            name=name,
            message=f"Revision {name}.",
            down=before if down == "" else down,
            upgrade=_body(upgrade),
            downgrade=_body([downgrade]),
            more=more,
        )
        (self.directory / f"migrations/versions/{name}.py").write_text(text)
        return name

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        return self.server.sql(text, **self.login)

    def arguments(self, **more: Any) -> dict[str, Any]:
        where = f"127.0.0.1:{self.server.port}/{self.login['database']}"
        url = f"postgresql://{self.login['user']}:{self.login['password']}@{where}"
        return {
            "url": f"{url}?sslmode=require",
            "directory": str(self.directory),
            "python": [sys.executable],
            "environment_variables": {
                "DATABASE_URL": url.replace("postgresql://", "postgresql+psycopg2://") + "?sslmode=require"
            },
            "drift": False,
            **more,
        }

    def plan(self, check: bool = False, **more: Any) -> dict[str, Any]:
        return run_module("migrate_seed", self.arguments(phase="plan", **more), check)

    def run(self, planned: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Plan and run, as the controller does."""
        planned = planned or self.plan(**more)
        if planned.get("failed"):
            return planned
        return run_module("migrate_seed", self.arguments(phase="run", planned=planned, **more))


def _body(lines: Any) -> str:
    plain = ("op.", "time.", "pass", "with ", "    ", "raise ")
    return "\n".join(f"    {line}" if line.startswith(plain) else f"    op.execute({line!r})" for line in lines)
