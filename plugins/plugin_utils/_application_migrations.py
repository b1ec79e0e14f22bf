# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `migrate_seed` is told of an application: `x-platform.migrations` of its services, and the inventory's `app_migrations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, AppService
from ansible_collections.lastro.platform.plugins.plugin_utils._colour_inputs import Inputs

# What an environment may say of the migrations of one service.
OPTIONS = (
    *("policy", "lint", "lint_exclude", "waivers", "not_valid", "known_revisions", "seeds", "verify", "drift"),
    "old_transaction_seconds",
)


def migrations(application: Application, inputs: Inputs, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of the module by service, without the project that they share."""
    services = {service.name: service for service in application.services.values() if service.migrations}
    for name, options in given.items():
        if name not in services:
            raise PlatformError(
                f"app_migrations names the service {name}, which says nothing of migrations",
                f"Services with x-platform.migrations: {', '.join(sorted(services)) or 'none'}.",
            )
        if not isinstance(options, Mapping):
            raise PlatformError(
                f"app_migrations.{name} is not a mapping", "Give options by name, as policy: expand_only."
            )
        wrong = sorted(set(options) - set(OPTIONS))
        if wrong:
            raise PlatformError(
                f"app_migrations.{name} has the unknown key {wrong[0]}", f"Its keys: {', '.join(sorted(OPTIONS))}."
            )
    return {
        name: {**_of_service(application, inputs, service), **given.get(name, {})} for name, service in services.items()
    }


def _of_service(application: Application, inputs: Inputs, service: AppService) -> dict[str, Any]:
    said = service.migrations
    url = _url(application, inputs, service, str(said.get("database") or "DATABASE_URL"))
    return {
        "url": url,
        "hostaddr": application.settings.provided.get(_host(url), "") if _host(url) in application.provided else "",
        "alembic": dict(said.get("alembic") or {}),
        "python": list(said.get("python") or ["python3"]),
        "migrate_command": list(said.get("command") or []),
        "status_command": list(said.get("status") or []),
        "seed_command": list(said.get("seed") or []),
    }


def _url(application: Application, inputs: Inputs, service: AppService, secret: str) -> str:
    """The URL with which the service migrates."""
    found = {**inputs.secrets, **inputs.secrets_for.get(service.name, {})}.get(secret)
    if not found:
        raise application.source.error(
            f"service {service.name} migrates, and its secret {secret} holds no URL of a database",
            f"Set app_secrets_for.{service.name}.{secret}, or name the secret that holds it in x-platform.migrations.database.",
            *("services", service.name),
        )
    return str(found)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""  # the module says what is wrong with it
