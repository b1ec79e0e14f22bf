# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic from inside the application."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.pool import NullPool

from reference_app.database import connect

log = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parent.parent


def configuration(url: str = "") -> Config:
    config = Config(_ROOT / "alembic.ini")
    config.attributes["url"] = url
    return config


def head() -> str:
    return ScriptDirectory.from_config(configuration()).get_current_head() or ""


def current(engine: Engine) -> str:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def ahead(engine: Engine) -> str:
    """The revision of the database where this release does not know it: a later release applied it."""
    revision = current(engine)
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    return "" if not revision or revision in known else revision


def upgrade(url: str) -> tuple[list[str], str]:
    """Apply what is missing; returns the revisions that were applied, oldest first, and what `ahead` says.

    Code rolls back, the schema does not: a release that comes back finds the schema of the one after it. Migrations
    only expand, so it works on that schema, and has nothing to do.
    """
    config = configuration(url)
    applied: list[str] = []
    config.attributes["applied"] = applied
    try:
        command.upgrade(config, "head")
    except CommandError:
        revision = ahead(connect(url, poolclass=NullPool))
        if not revision:
            raise
        log.warning(
            "the database is at revision %s, which this release does not know: a later release migrated it, "
            "and nothing is done",
            revision,
        )
        return [], revision
    return applied, ""
