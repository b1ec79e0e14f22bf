# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic from inside the application."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

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


def upgrade(url: str) -> list[str]:
    """Apply what is missing; returns the revisions that were applied, oldest first."""
    config = configuration(url)
    applied: list[str] = []
    config.attributes["applied"] = applied
    command.upgrade(config, "head")
    return applied
