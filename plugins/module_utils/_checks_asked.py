# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's list of checks, asked all at the same time, as often as the module wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils._checks import evaluate, prepare, probe_of, required
from ansible_collections.lastro.platform.plugins.module_utils._checks_options import OPTIONS
from ansible_collections.lastro.platform.plugins.module_utils._checks_postgres import psycopg2_missing
from ansible_collections.lastro.platform.plugins.module_utils._checks_rabbitmq import basic
from ansible_collections.lastro.platform.plugins.module_utils._engine import SOCKET
from ansible_collections.lastro.platform.plugins.module_utils._gate import Reading
from ansible_collections.lastro.platform.plugins.module_utils._gate_report import masked

CHECKS_SPEC = {"type": "list", "elements": "dict", "options": OPTIONS, "required_if": required()}
# A check spends its time waiting, so all run at once; the limit is for a list that was made by mistake.
THREADS = 512


def checks_of(module: AnsibleModule) -> list[dict[str, Any]]:
    """The module's option `checks`, prepared. What they have of secrets stays out of everything that the module returns."""
    specs = prepare(module.params["checks"])
    if not module.check_mode and any(spec["type"] == "postgres" for spec in specs) and psycopg2_missing():
        module.fail_json(msg=missing_required_lib("psycopg2"))
    # A server may send back what is behind `Bearer` alone.
    tokens = (str(value).split() for spec in specs for value in spec.get("secret_headers", {}).values())
    module.no_log_values.update(word for words in tokens for word in words if len(word) >= 8)
    module.no_log_values.update(basic(spec) for spec in specs if spec["type"] == "rabbitmq" and spec["password"])
    return specs


@contextmanager
def asking(
    module: AnsibleModule, specs: list[dict[str, Any]], engine_socket: str = SOCKET
) -> Iterator[Callable[[float], list[Reading]]]:
    """A function that asks all of them, each in a thread of its own, and takes so many seconds at most."""
    probes = [probe_of(spec, engine_socket) for spec in specs]
    hide = partial(masked, secrets=frozenset(module.no_log_values))
    with ThreadPoolExecutor(max_workers=min(len(specs), THREADS) or 1) as pool:

        def ask(left: float) -> list[Reading]:
            seconds = [min(spec["timeout_seconds"], left) for spec in specs]
            return list(pool.map(lambda probe, most: evaluate(probe, most, hide=hide), probes, seconds))

        yield ask
