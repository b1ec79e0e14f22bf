# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a check, as AnsibleModule takes them; which type takes which stands in `_checks`."""

from __future__ import annotations

from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._checks import KEYS
from ansible_collections.lastro.platform.plugins.module_utils._checks_prometheus import OPERATORS

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True, "choices": list(KEYS)},
    "timeout_seconds": {"type": "float"},
    "url": {"type": "str"},
    "method": {"type": "str"},
    "status": {"type": "list", "elements": "int"},
    "headers": {"type": "dict"},
    "secret_headers": {"type": "dict", "no_log": True},
    "expected_headers": {"type": "dict"},
    "json": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "equals": {"type": "raw"},
            "matches": {"type": "str"},
        },
        "required_one_of": [("equals", "matches")],
    },
    "validate_certs": {"type": "bool"},
    "ca": {"type": "str"},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "server_name": {"type": "str"},
    "days_left_min": {"type": "int"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "database": {"type": "str"},
    "sslmode": {"type": "str", "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]},
    "sslrootcert": {"type": "path"},
    "query": {"type": "str"},
    "expected": {"type": "str"},
    "tls": {"type": "bool"},
    "command": {"type": "list", "elements": "str"},
    "queue": {"type": "str"},
    "list": {"type": "str"},
    "late_seconds": {"type": "float"},
    "length_max": {"type": "int"},
    "vhost": {"type": "str"},
    "consumers_min": {"type": "int"},
    "bucket": {"type": "str"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "region": {"type": "str"},
    "operator": {"type": "str", "choices": list(OPERATORS)},
    "threshold": {"type": "float"},
    "no_data": {"type": "str", "choices": ["fail", "pass"]},
    "dlq_metric": {"type": "str"},
    "dlq_max": {"type": "float"},
    "retries_metric": {"type": "str"},
    "retries_growth_max": {"type": "float"},
    "new": {"type": "str"},
    "old": {"type": "str"},
    "requests": {"type": "str"},
    "window": {"type": "str"},
    "samples_min": {"type": "int"},
    "errors": {"type": "str"},
    "error_rate_max_ratio": {"type": "float"},
    "error_rate_slack": {"type": "float"},
    "latency": {"type": "str"},
    "quantiles": {
        "type": "list",
        "elements": "dict",
        "options": {
            "quantile": {"type": "float", "required": True},
            "max_ratio": {"type": "float", "required": True},
            "slack_seconds": {"type": "float", "default": 0.0},
        },
    },
    "container": {"type": "str"},
    "restarts_max": {"type": "int"},
    "argv": {"type": "list", "elements": "str"},
    "rc": {"type": "int"},
    "stdout_matches": {"type": "str"},
}
