# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document that Compose gets: the user's dict with our labels, taken literally."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._stack import LABEL_DEFINITION, LABEL_FILES, Service


def labelled(compose: Mapping[str, Any], services: Iterable[Service]) -> dict[str, Any]:
    """The compose dict as Compose gets it: with our labels, every `$` doubled so that it stays a `$`."""
    by_name = {service.name: service for service in services}
    result = dict(compose)
    result["services"] = {
        name: {**spec, "labels": _labels(spec.get("labels"), by_name[str(name)])}
        for name, spec in compose["services"].items()
    }
    escaped: dict[str, Any] = _escape(result)
    return escaped


def _labels(given: Any, service: Service) -> dict[str, str]:
    if isinstance(given, Mapping):
        own = {str(key): _label(value) for key, value in given.items()}
    else:
        own = dict(str(entry).partition("=")[::2] for entry in given or [])
    return {**own, LABEL_DEFINITION: service.definition, LABEL_FILES: service.files}


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value
