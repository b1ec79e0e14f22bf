# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find a tenant's newest jobs, without locking out those who write."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


NAME = "ix_jobs_tenant_id_created_at"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # An attempt that was interrupted leaves an invalid index of this name behind.
        op.drop_index(NAME, table_name="jobs", if_exists=True, postgresql_concurrently=True)
        op.create_index(NAME, "jobs", ["tenant_id", "created_at"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(NAME, table_name="jobs", if_exists=True, postgresql_concurrently=True)
