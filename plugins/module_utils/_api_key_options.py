# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module `api_key`, for its controller's half and its host's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
PRODUCTION = ("prod", "production")
# What the host gets; everything else stays on the controller, peppers, salt and sink above all.
FOR_THE_HOST = (
    *("state", "url", "ca", "sslmode", "connect_timeout", "table", "columns", "heal", "environment"),
    *("name", "tenant", "scopes", "ids", "names", "tenants", "all", "max_age", "overlap", "retire_on_first_use"),
    *("lifetime", "unused_for", "force", "keep"),
)


def seconds_of(text: str | None, option: str) -> float | None:
    """A time as it is written (`90d`, `12h`, `30m`, `45s`) in seconds."""
    if text is None or text == "":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", str(text).strip())
    if not found:
        raise PlatformError(f"`{option}` is {text!r}, which is no time", "Write it as 90d, 12h, 30m or 45s.")
    return float(found[1]) * UNITS[found[2]]


def check_source(params: Mapping[str, Any]) -> None:
    """Refuse an import without keys, or for no environment: keys of dev would get to production.

    The host is not asked: it gets hashes, and no options that say where keys are.
    """
    if params["state"] == "imported" and not (params["import_file"] or params["import_sink"] or params["hashes"]):
        raise PlatformError("It is not said which keys to import", "Give `import_file`, `import_sink` or `hashes`.")
    if params["state"] == "imported" and not params["environment"]:
        raise PlatformError("It is not said for which environment keys are imported", "Give `environment`.")


def check(params: Mapping[str, Any]) -> None:
    """Refuse options that don't go together, on the controller and on the host."""
    state = params["state"]
    selected = [name for name in ("ids", "names", "tenants", "all") if params[name]]
    if params["all"] and len(selected) > 1:
        raise PlatformError("`all` is given beside a selection", "Leave one of them out.")
    if state == "rotated" and not (selected or params["max_age"]):
        raise PlatformError(
            "It is not said which keys to rotate", "Give `ids`, `names`, `tenants`, `max_age` or `all: true`."
        )
    if state == "rotated" and not (params["overlap"] or params["retire_on_first_use"]):
        raise PlatformError(
            "It is not said when the old keys end",
            "Give `overlap` (0s where they end at once) or `retire_on_first_use`.",
        )
    if state == "revoked" and not selected:
        raise PlatformError("It is not said which keys to revoke", "Give `ids`, `names`, `tenants` or `all: true`.")
    if state == "present" and not (params["name"] or params["tenant"]):
        raise PlatformError("It is not said which key there has to be", "Give `name`, `tenant` or both.")
    if params["retire_on_first_use"] and seconds_of(params["overlap"], "overlap") == 0:
        raise PlatformError(
            "`overlap` ends the old keys at once, and `retire_on_first_use` lets them go on", "Leave one of them out."
        )
    if state == "pruned" and seconds_of(params["keep"], "keep") is None:
        raise PlatformError("It is not said for how long ended keys stay", "Give `keep`.")
    for option in ("ids", "names", "tenants"):
        # An empty variable would select every key that has no name.
        if not all(params[option]):
            raise PlatformError(f"`{option}` has an empty entry", "Correct the variable it comes from.")
    for option in ("max_age", "overlap", "retire_on_first_use", "lifetime", "unused_for", "keep"):
        seconds_of(params[option], option)
    for name, value in [
        ("name", params["name"]),
        ("tenant", params["tenant"]),
        *(("scopes", one) for one in params["scopes"]),
    ]:
        if re.search(r"[\x00-\x20\x7f]", value):
            raise PlatformError(f"`{name}` has blanks or control characters", "Write it without.")


TEXT = {"type": "str"}
EMPTY = {"type": "str", "default": ""}
WORDS = {"type": "list", "elements": "str", "default": []}
FLAG = {"type": "bool", "default": False}


def argument_spec() -> dict[str, Any]:
    return {
        "state": {
            "type": "str",
            "required": True,
            "choices": ["present", "rotated", "revoked", "listed", "pruned", "imported"],
        },
        **_database(),
        "prefix": TEXT,
        "environment": TEXT,
        "name": EMPTY,
        "tenant": EMPTY,
        "scopes": WORDS,
        **dict.fromkeys(("ids", "names", "tenants"), WORDS),
        "all": FLAG,
        **dict.fromkeys(("max_age", "overlap", "retire_on_first_use", "lifetime"), TEXT),
        "unused_for": {"type": "str", "default": "10m"},
        "force": FLAG,
        "keep": {"type": "str", "default": "90d"},
        "peppers": {"type": "dict", "default": {}, "no_log": True},
        "salt": {"type": "str", "no_log": True},
        "import_file": {"type": "path"},
        "import_sink": FLAG,
        "hashes": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": _hashes()},
        "sink": {"type": "dict", "options": _sink()},
        "notify": {"type": "dict", "default": {}, "options": _notify()},
        "scanner_rules": {"type": "path"},
        "phase": {"type": "str", "choices": ["look", "prepare", "apply"], "default": "look"},
        "request": {"type": "str", "default": "{}", "no_log": True},
    }


def _database() -> dict[str, Any]:
    modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
    return {
        "url": {"type": "str", "required": True, "no_log": True},
        "ca": TEXT,
        "sslmode": {"type": "str", "default": "verify-full", "choices": modes},
        "connect_timeout": {"type": "int", "default": 5},
        "table": TEXT,
        "columns": {"type": "dict", "default": {}, "no_log": False},
        "heal": FLAG,
    }


def _hashes() -> dict[str, Any]:
    return {
        "hash": {"type": "str", "required": True, "no_log": True},
        "pepper_version": {"type": "int"},
        "name": EMPTY,
        "tenant": EMPTY,
        "scopes": WORDS,
        "expires": TEXT,
        "environment": TEXT,
    }


def _sink() -> dict[str, Any]:
    return {
        "type": {
            "type": "str",
            "required": True,
            "choices": ["file", "vault_file", "kv", "aws_secrets_manager"],
        },
        "path": {"type": "str", "required": True},
        "vault_id": TEXT,
        "address": TEXT,
        "mount": {"type": "str", "default": "secret"},
        "namespace": TEXT,
        "token_file": {"type": "path", "no_log": False},
        "token_variable": {"type": "str", "default": "BAO_TOKEN", "no_log": False},
        "ca_file": {"type": "path"},
        "region": TEXT,
        "profile": TEXT,
    }


def _notify() -> dict[str, Any]:
    many = {"type": "list", "elements": "str", "default": []}
    return {
        "webhooks": {**many, "no_log": True},
        "slack": {**many, "no_log": True},
        "mail": {
            "type": "dict",
            "options": {
                "host": {"type": "str", "required": True},
                "port": {"type": "int", "default": 25},
                "sender": {"type": "str", "required": True},
                "to": {"type": "list", "elements": "str", "required": True},
                "starttls": {"type": "bool", "default": True},
                "user": TEXT,
                "password": {"type": "str", "no_log": True},
                "ca_file": {"type": "path"},
            },
        },
    }
