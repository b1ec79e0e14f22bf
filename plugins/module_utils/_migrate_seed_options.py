# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module `migrate_seed`, which both its halves read: the controller's and the host's."""

from __future__ import annotations

from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import FILES_SPEC

REQUIRED_BY = {"project": ("compose", "service")}


def arguments() -> dict[str, Any]:
    """The argument spec, as Ansible reads it."""
    text, words = {"type": "str"}, {"type": "list", "elements": "str", "default": []}
    seed = {"file": {"type": "path", "required": True}, "name": text, "table": text, "remove_missing": {"type": "bool"}}
    seed |= {name: {"type": "list", "elements": "str", "no_log": False} for name in ("key", "environments")}
    return {
        "url": {"type": "str", "required": True, "no_log": True},
        "hostaddr": text,
        "ca": text,
        "sslmode": {
            "type": "str",
            "default": "prefer",
            "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        },
        "project": text,
        "directory": {"type": "path", "required": True},
        "compose": {"type": "dict"},
        "files": FILES_SPEC,
        "service": text,
        "environment_variables": {"type": "dict", "default": {}, "no_log": False},
        "python": {"type": "list", "elements": "str", "default": ["python3"]},
        "alembic": {"type": "dict", "default": {}, "options": {"config": text, "section": text}},
        "migrate_command": words,
        "status_command": words,
        "seed_command": words,
        "state": {"type": "str", "default": "upgraded", "choices": ["upgraded", "downgraded"]},
        "revision": {"type": "str", "default": ""},
        "release": {"type": "str", "default": ""},
        "record": {"type": "path"},
        "known_revisions": words,
        "not_there_yet": {"type": "bool", "default": False},
        "rehearsals": {"type": "path"},
        "environment": {"type": "str", "default": ""},
        "seeds": {"type": "list", "elements": "dict", "default": [], "options": seed},
        "verify": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {name: {"type": "str", "required": True} for name in ("name", "query", "expected")},
        },
        "policy": {"type": "str", "default": "any", "choices": ["any", "expand_contract", "expand_only"]},
        "lint": {"type": "bool", "default": True},
        "lint_exclude": words,
        "waivers": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                **{name: {"type": "str", "required": True} for name in ("revision", "rule", "reason")},
                "expires": {"type": "raw", "required": True},
            },
        },
        "not_valid": words,
        "drift": {"type": "bool", "default": True},
        "restore_point": {"type": "str", "default": "before-migration"},
        "lock_wait_seconds": {"type": "float", "default": 600},
        "old_transaction_seconds": {"type": "float", "default": 30},
        "retries": {"type": "int", "default": 3},
        "timeout_seconds": {"type": "float", "default": 3600},
        "connect_timeout": {"type": "int", "default": 5},
        "lease": LEASE_SPEC,
        "phase": {"type": "str", "choices": ["plan", "run"], "default": "plan"},
        "planned": {"type": "dict", "default": {}},
        "progress": {"type": "path"},
        "engine": {"type": "path", "default": "/var/run/docker.sock"},
    }
