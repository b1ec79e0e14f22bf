# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks a gate can ask. A type has one entry in each of the tables here and a function in a `_checks_<family>.py`.

Such a function gets the check and the seconds it may take, and returns the answer or raises Absent or Wrong.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    HTTP,
    REQUIRED,
    TLS,
    Absent,
    Spec,
    Wrong,
    refused,
    require_url,
    short,
)
from ansible_collections.lastro.platform.plugins.module_utils._checks_event_bus import (
    Growth,
    probe_event_bus,
    require_event_bus,
)
from ansible_collections.lastro.platform.plugins.module_utils._checks_host import probe_command, probe_container
from ansible_collections.lastro.platform.plugins.module_utils._checks_http import probe_http
from ansible_collections.lastro.platform.plugins.module_utils._checks_postgres import probe_postgres
from ansible_collections.lastro.platform.plugins.module_utils._checks_prometheus import (
    probe_compare,
    probe_prometheus,
    require_compare,
    require_prometheus,
)
from ansible_collections.lastro.platform.plugins.module_utils._checks_rabbitmq import probe_rabbitmq, require_rabbitmq
from ansible_collections.lastro.platform.plugins.module_utils._checks_redis import (
    REDIS,
    probe_queue,
    probe_redis,
    require_queue,
)
from ansible_collections.lastro.platform.plugins.module_utils._checks_s3 import probe_s3, require_s3
from ansible_collections.lastro.platform.plugins.module_utils._checks_tls import probe_tcp, probe_tls, require_tls
from ansible_collections.lastro.platform.plugins.module_utils._engine import SOCKET, Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Reading

Probe = Callable[[float], str]


def _address(spec: Spec) -> str:
    """A URL without its query, which may hold a secret."""
    return str(spec["url"]).partition("?")[0]


COMMON = {"name": REQUIRED, "type": REQUIRED, "timeout_seconds": 5.0}
# What each type takes, and what it assumes when a key is not given. A key of another type is refused.
KEYS: dict[str, dict[str, Any]] = {
    "http": {**HTTP, "method": "GET", "status": [200], "expected_headers": {}, "json": []},
    "tcp": {"host": REQUIRED, "port": REQUIRED},
    "tls": {"host": REQUIRED, "port": REQUIRED, "server_name": None, "days_left_min": 14, **TLS},
    "postgres": {
        "host": REQUIRED,
        "port": 5432,
        "user": REQUIRED,
        "password": None,  # none given  # nosec B105
        "database": "postgres",
        "sslmode": "prefer",
        "sslrootcert": None,
        "query": "SELECT 1",
        "expected": None,
    },
    "redis": {"host": REQUIRED, **REDIS, "command": ["PING"], "expected": None},
    "queue": {
        "host": REQUIRED,
        **REDIS,
        "database": None,
        "queue": None,
        "list": None,
        "late_seconds": None,
        "length_max": None,
    },
    "rabbitmq": {
        **HTTP,
        "user": None,
        "password": None,  # none given  # nosec B105
        "vhost": "/",
        "queue": None,
        "length_max": None,
        "consumers_min": None,
    },
    "s3": {
        "url": REQUIRED,
        **TLS,
        "bucket": REQUIRED,
        "access_key": REQUIRED,
        "secret_key": REQUIRED,
        "region": "us-east-1",
    },
    "prometheus": {**HTTP, "query": REQUIRED, "operator": REQUIRED, "threshold": REQUIRED, "no_data": "fail"},
    "event_bus": {
        **HTTP,
        "dlq_metric": "event_bus_dlq",
        "dlq_max": 0.0,
        "retries_metric": "pipeline_retry_count",
        "retries_growth_max": 0.0,
    },
    "compare": {
        **HTTP,
        "new": REQUIRED,
        "old": REQUIRED,
        "requests": REQUIRED,
        "window": "5m",
        "samples_min": 100,
        "errors": None,
        "error_rate_max_ratio": None,
        "error_rate_slack": 0.0,
        "latency": None,
        "quantiles": [],
    },
    "container": {"container": REQUIRED, "restarts_max": None, "command": None},
    "command": {"argv": REQUIRED, "rc": 0, "stdout_matches": None},
}
# What the keys of a type have to be to each other, seen before anything is asked.
RULES: dict[str, Callable[[Spec], None]] = {
    "http": require_url,
    "tls": require_tls,
    "queue": require_queue,
    "rabbitmq": require_rabbitmq,
    "s3": require_s3,
    "prometheus": require_prometheus,
    "event_bus": require_event_bus,
    "compare": require_compare,
}
PROBES: dict[str, Callable[[Spec, float], str]] = {
    "http": probe_http,
    "tcp": probe_tcp,
    "tls": probe_tls,
    "postgres": probe_postgres,
    "redis": probe_redis,
    "queue": probe_queue,
    "rabbitmq": probe_rabbitmq,
    "s3": probe_s3,
    "prometheus": probe_prometheus,
    "compare": probe_compare,
    "command": probe_command,
}
# What a check asks, for people; host and port where a type is not here.
TARGETS: dict[str, Callable[[Spec], str]] = {
    "http": _address,
    "rabbitmq": lambda spec: f"rabbitmq {_address(spec)}" + (f" queue {spec['queue']}" if spec["queue"] else ""),
    "s3": lambda spec: f"s3 {_address(spec).rstrip('/')}/{spec['bucket']}",
    "prometheus": lambda spec: f"prometheus {_address(spec)}",
    "event_bus": lambda spec: f"event_bus {_address(spec)}",
    "compare": lambda spec: f"compare {spec['new']} with {spec['old']} at {_address(spec)}",
    "queue": lambda spec: f"queue {spec['queue'] or spec['list']} at {spec['host']}:{spec['port']}",
    "container": lambda spec: f"container {spec['container']}",
    "command": lambda spec: f"command {spec['argv'][0]}",
}
# Where to look when a check does not hold; whether its target answers where a type is not here.
CURES: dict[str, Callable[[Spec], str]] = {
    "container": lambda spec: f"`docker logs {spec['container']}` on this host says why",
    "command": lambda spec: f"run `{spec['argv'][0]}` by hand on this host",
    "tls": lambda spec: f"renew the certificate that {spec['host']}:{spec['port']} shows",
    "queue": lambda spec: f"see whether a worker of {spec['queue'] or spec['list']} runs, and its log",
    "s3": lambda spec: f"see whether the bucket {spec['bucket']} exists and which rights the key has",
    "prometheus": lambda spec: f"run the query in {_address(spec).rstrip('/')}/graph, then look at what it is about",
    "event_bus": lambda _spec: "see in the workers' log why jobs fail",
    "compare": lambda spec: (
        f"compare both sides' requests in {_address(spec).rstrip('/')}/graph, then the new one's log"
    ),
}


def prepare(checks: Sequence[Spec]) -> list[dict[str, Any]]:
    """The checks as given → the same with the defaults of their types. Two of one name are refused."""
    names = [check["name"] for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlatformError(f"Several checks have the name {', '.join(twice)}", "Give each a name of its own.")
    return [_prepare(check) for check in checks]


def _prepare(given: Spec) -> dict[str, Any]:
    keys = {**COMMON, **KEYS[given["type"]]}
    foreign = sorted(key for key, value in given.items() if value is not None and key not in keys)
    if foreign:
        raise PlatformError(
            f"Check {given['name']}: a check of type {given['type']} takes no {', '.join(foreign)}",
            f"It takes {', '.join(sorted(keys))}.",
        )
    spec = {key: default if given.get(key) is None else given[key] for key, default in keys.items()}
    _refuse_unusable(spec)
    if spec["type"] in RULES:
        RULES[spec["type"]](spec)
    return spec


def _refuse_unusable(spec: Spec) -> None:
    """What templating may have left empty, or what no check can mean."""
    empty = [key for key, value in spec.items() if value is REQUIRED or (key == "argv" and not value)]
    if empty:
        raise refused(spec, f"{', '.join(empty)} is empty", "Give it a value.")
    if not 0 < spec["timeout_seconds"] < math.inf:
        raise refused(spec, f"it cannot take {spec['timeout_seconds']} s", "Give more than 0 for timeout_seconds.")
    for pattern in (spec.get("stdout_matches"), *(one.get("matches") for one in spec.get("json") or ())):
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise refused(spec, f"{pattern!r} is no regular expression: {error}", "Correct it.") from error


def required() -> list[tuple[str, str, list[str]]]:
    """What AnsibleModule has to require of each type."""
    wanted = {kind: [key for key, default in keys.items() if default is REQUIRED] for kind, keys in KEYS.items()}
    return [("type", kind, keys) for kind, keys in wanted.items()]


def probe_of(spec: Spec, engine_socket: str = SOCKET) -> Probe:
    """A prepared check → a function of the seconds it may take. It remembers what the rounds before have seen."""
    growth = Growth()
    probes: dict[str, Callable[[Spec, float], str]] = {
        **PROBES,
        "container": lambda spec, seconds: probe_container(spec, Engine(engine_socket, timeout=seconds)),
        "event_bus": lambda spec, seconds: probe_event_bus(spec, seconds, growth),
    }
    return lambda seconds: probes[spec["type"]](spec, seconds)


def evaluate(
    probe: Probe, seconds: float, clock: Callable[[], float] = time.monotonic, hide: Callable[[str], str] = str
) -> Reading:
    """Run one probe once; whatever happens is a reading. Secrets are hidden before an answer is cut, not in half."""
    began = clock()

    def reading(ok: bool, evaluated: bool, answer: str, error: str) -> Reading:
        return Reading(ok, evaluated, (clock() - began) * 1000, short(hide(answer)), short(hide(error)))

    try:
        answer = probe(seconds)
    except Absent as error:
        return reading(False, False, "", str(error))
    except Wrong as error:
        return reading(False, True, error.answer, str(error))
    except Exception as error:
        # Anything else is an answer too: a reset connection, a half reply, a bad certificate.
        return reading(False, True, "", f"{type(error).__name__}: {error}")
    return reading(True, True, answer, "")


def target(spec: Spec) -> str:
    """What a check asks, for people."""
    kind = spec["type"]
    return TARGETS[kind](spec) if kind in TARGETS else f"{kind} {spec['host']}:{spec['port']}"


def cure(spec: Spec) -> str:
    """Where to look when this check does not hold."""
    if spec["type"] in CURES:
        return CURES[spec["type"]](spec)
    return f"see from this host whether {target(spec)} answers, then look at the log of what should answer there"
