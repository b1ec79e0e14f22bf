# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of clinical limits, attempts of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("taxonomy", sa.Column("amount", sa.Double(), nullable=True))
    # A constant default is kept in the catalogue: no row is rewritten.
    op.add_column("jobs", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "attempts")
    op.drop_column("taxonomy", "amount")
