# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys: the database holds only their salted HMAC-SHA256 hashes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from reference_app.database import ApiKey


@dataclass(frozen=True)
class Caller:
    tenant_id: int
    role: str


def hash_key(salt: str, key: str) -> str:
    """HMAC-SHA256 of the key with the salt's text as HMAC key, in hex."""
    return hmac.new(salt.encode(), key.encode(), hashlib.sha256).hexdigest()


def find_caller(session: Session, salt: str, key: str) -> Caller | None:
    """Whose key this is; None for an unknown or revoked one. Looking up the hash leaks no timing of the key."""
    row = session.execute(
        select(ApiKey.tenant_id, ApiKey.role).where(ApiKey.key_hash == hash_key(salt, key), ApiKey.revoked_at.is_(None))
    ).one_or_none()
    return Caller(row.tenant_id, row.role) if row else None
