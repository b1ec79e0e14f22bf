# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms in which Compose lets a value be written, brought to one."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """The same data without the bookkeeping of lines."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def drop_empty(spec: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing; `command: []` and the like say something, and stay."""
    optional = ("depends_on", "environment", "extra_hosts", "volumes", "labels")
    return {key: value for key, value in spec.items() if value or key not in optional}


def pairs(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): as_text(item) for key, item in value.items()}
    return dict(str(entry).partition("=")[::2] for entry in value or [])


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def words(value: Any) -> list[str] | None:
    if value is None:
        return None
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value]


def env_files(value: Any) -> list[tuple[str, bool]]:
    """(path, whether it has to be there) of each env_file."""
    entries = value if isinstance(value, list) else [value] if value else []
    return [
        (str(entry["path"]), entry.get("required") is not False) if isinstance(entry, Mapping) else (str(entry), True)
        for entry in entries
    ]


def variables(value: Any) -> list[tuple[str, str | None]]:
    """Name and value of each entry of `environment`; None where the value comes from outside."""
    if isinstance(value, Mapping):
        return [(str(key), None if item is None else as_text(item)) for key, item in value.items()]
    entries = [as_text(entry).partition("=") for entry in value or []]
    return [(name, given if equals else None) for name, equals, given in entries]


def extra_hosts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(entry) for entry in value]
    return [f"{name}:{ip}" for name, ips in value.items() for ip in (ips if isinstance(ips, list) else [ips])]


def mount_target(entry: Any) -> str:
    return str(entry["target"]) if isinstance(entry, Mapping) else str(entry).split(":")[1]


def is_on(value: Any) -> bool:
    """A boolean of Compose, which a variable makes text. What is neither on nor off is neither, and Compose refuses it."""
    return as_text(value).lower() in ("true", "yes", "on", "y")


def is_off(value: Any) -> bool:
    return as_text(value).lower() in ("", "false", "no", "off", "n")


def volume_source(entry: Any) -> tuple[str, bool]:
    """(source, read-only) of a volume entry; an anonymous volume has no source."""
    if isinstance(entry, Mapping):
        source = str(entry.get("source") or "")
        relative = entry.get("type") == "bind" and source and not is_path(source)
        return f"./{source}" if relative else source, is_on(entry.get("read_only"))
    parts = str(entry).split(":")
    options = parts[2].split(",") if len(parts) > 2 else []
    # Compose takes the last of both.
    return (parts[0] if len(parts) > 1 else ""), "ro" in options and "rw" not in options


def is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~"))


def short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
