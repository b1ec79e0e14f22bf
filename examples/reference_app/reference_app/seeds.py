# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds: the taxonomy everywhere, demo tenants and keys outside prod. Running them again changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reference_app.database import ApiKey, Base, Taxon, Tenant
from reference_app.keys import hash_key
from reference_app.settings import DEV_KEYS, Settings, SettingsError

DEMO_TENANTS = ("demo-clinic", "demo-lab")
_ENUMERATIONS = {
    "sex": ("female", "male", "intersex"),
    "activity_level": ("sedentary", "light", "moderate", "active", "very active"),
    "goal": ("lose weight", "keep weight", "gain weight"),
}
_CLINICAL_LIMITS = {"min kcal per day": 1200, "max kcal per day": 4500, "max protein g per kg": 2.5}


@dataclass(frozen=True)
class Seeded:
    """How many rows were added."""

    tenants: int
    api_keys: int
    taxonomy: int


def taxonomy() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"kind": kind, "code": label.replace(" ", "_"), "label": label, "amount": None}
        for kind, labels in _ENUMERATIONS.items()
        for label in labels
    ]
    return rows + [
        {"kind": "clinical_limit", "code": label.replace(" ", "_"), "label": label, "amount": amount}
        for label, amount in _CLINICAL_LIMITS.items()
    ]


def seed(session: Session, settings: Settings) -> Seeded:
    """Add what is missing, in one transaction. Rows that exist stay as they are: a revoked key stays revoked."""
    if settings.environment == "prod" and settings.dev_keys:
        names = ", ".join(DEV_KEYS[role] for role in settings.dev_keys)
        raise SettingsError(f"{names}: keys for development are refused in prod; create keys with the platform")
    if settings.dev_keys:
        settings.require("API_KEY_SALT")
    tenants = keys = 0
    if settings.environment != "prod":
        tenants = _add(session, Tenant, [{"name": name} for name in DEMO_TENANTS])
        keys = _add_keys(session, settings)
    seeded = Seeded(tenants, keys, _add(session, Taxon, taxonomy()))
    session.commit()
    return seeded


def missing(session: Session, settings: Settings) -> list[str]:
    """Which seeds are not there, as kind/code and tenant names."""
    wanted = [(row["kind"], row["code"]) for row in taxonomy()]
    found = set(
        session.execute(select(Taxon.kind, Taxon.code).where(tuple_(Taxon.kind, Taxon.code).in_(wanted))).tuples()
    )
    absent = [f"{kind}/{code}" for kind, code in wanted if (kind, code) not in found]
    if settings.environment != "prod":
        tenants = set(session.scalars(select(Tenant.name).where(Tenant.name.in_(DEMO_TENANTS))))
        absent += [f"tenant/{name}" for name in DEMO_TENANTS if name not in tenants]
    return absent


def _add_keys(session: Session, settings: Settings) -> int:
    tenant = session.execute(select(Tenant.id).where(Tenant.name == DEMO_TENANTS[0])).scalar_one()
    rows = [
        {"tenant_id": tenant, "role": role, "key_hash": hash_key(settings.api_key_salt, key)}
        for role, key in settings.dev_keys.items()
    ]
    return _add(session, ApiKey, rows)


def _add(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> int:
    if not rows:
        return 0
    statement = insert(table).on_conflict_do_nothing().returning(table.__table__.c.id)
    return len(session.scalars(statement, rows).all())
