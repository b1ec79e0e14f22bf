#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Wait until a list of checks holds
version_added: 0.1.0
description:
  - Evaluates all checks in parallel, round by round, until every one of them held O(consecutive) times in a row, all
    at the same moment, or O(timeout_seconds) runs out.
  - The checks run on the managed host, so they see what the services there see.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description:
      - Evaluates once and never fails. Where there is nothing to ask, RV(checks[].evaluated) is false.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
  idempotent:
    support: full
    description: Only reads.
options:
  checks:
    description: What has to hold. A key that does not belong to the check's type is refused.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the check, unique in the list.
        type: str
        required: true
      type:
        description: What is asked.
        type: str
        required: true
        choices: [http, tcp, postgres, redis, container, command]
      timeout_seconds:
        description: How long one evaluation may take. V(5) when not given.
        type: float
      url:
        description: For V(http), C(http://) or C(https://) address, without credentials. Redirects are not followed.
        type: str
      method:
        description: For V(http), V(GET) when not given.
        type: str
      status:
        description: For V(http), status or statuses that are good. V([200]) when not given.
        type: list
        elements: int
      headers:
        description: For V(http), request headers.
        type: dict
      secret_headers:
        description: For V(http), request headers whose values are secret.
        type: dict
      expected_headers:
        description: For V(http), response headers and the value each must have.
        type: dict
      json:
        description: For V(http), conditions on the body, which has to be JSON.
        type: list
        elements: dict
        suboptions:
          path:
            description: Place of the value, as C(a.b[0].c).
            type: str
            required: true
          equals:
            description: The value it must be, of the same JSON type.
            type: raw
          matches:
            description: A regular expression found in it. Values that are no strings are matched as JSON text.
            type: str
      validate_certs:
        description: For V(http) and V(redis) with TLS, whether the certificate is verified. V(true) when not given.
        type: bool
      ca:
        description: For V(http) and V(redis) with TLS, path of a CA bundle on this host, or the PEM itself.
        type: str
      host:
        description:
          - For V(tcp), V(postgres) and V(redis), host name or address. V(postgres) takes a socket directory too.
        type: str
      port:
        description: For V(tcp), V(postgres) (V(5432) when not given) and V(redis) (V(6379)).
        type: int
      user:
        description: For V(postgres), and V(redis) with ACL users.
        type: str
      password:
        description: For V(postgres) and V(redis).
        type: str
      database:
        description: For V(postgres), V(postgres) when not given.
        type: str
      sslmode:
        description: For V(postgres), as libpq knows it. V(prefer) when not given.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: For V(postgres), path of the CA on this host.
        type: path
      query:
        description: For V(postgres), V(SELECT 1) when not given.
        type: str
      expected:
        description:
          - For V(postgres), the first column of the first row, as text. Any result is good when not given.
          - For V(redis), the answer as text. V(PONG) for C(PING), otherwise any answer is good when not given.
        type: str
      tls:
        description: For V(redis), whether to speak TLS. V(false) when not given.
        type: bool
      command:
        description: For V(redis), the command as a list of words. V([PING]) when not given.
        type: list
        elements: str
      container:
        description: For V(container), its name. It has to run, and be healthy if it has a health check.
        type: str
      restarts_max:
        description: For V(container), how many restarts by the Engine are tolerated. Any number when not given.
        type: int
      argv:
        description: For V(command), program and arguments. There is no shell.
        type: list
        elements: str
      rc:
        description: For V(command), the exit code that is good. V(0) when not given.
        type: int
      stdout_matches:
        description: For V(command), a regular expression found in the standard output.
        type: str
  consecutive:
    description: How many times in a row every check has to hold.
    type: int
    default: 1
  interval_seconds:
    description: Pause between two rounds.
    type: float
    default: 1.0
  timeout_seconds:
    description: After this time no further round starts. V(0) means one round.
    type: float
    default: 60.0
  engine_socket:
    description: The Docker Engine's socket, for checks of type V(container).
    type: path
    default: /var/run/docker.sock
requirements:
  - psycopg2 (only for checks of type V(postgres))
"""

EXAMPLES = r"""
- name: Wait for the infrastructure
  lastro.platform.health_gate:
    timeout_seconds: 60
    checks:
      - name: postgres
        type: postgres
        host: 172.30.77.1
        user: app
        password: "{{ platform_secrets.postgres_app }}"
        database: app
        query: SELECT count(*) FROM pg_extension WHERE extname = 'vector'
        expected: "1"
      - name: redis
        type: redis
        host: 172.30.77.1
        password: "{{ platform_secrets.redis }}"
      - name: proxy
        type: container
        container: lastro-proxy-haproxy-1
        restarts_max: 0

- name: Require the new colour to be ready three times in a row
  lastro.platform.health_gate:
    consecutive: 3
    checks:
      - name: web on dev, slot 0
        type: http
        url: http://172.30.77.1:18100/ready
        status: [200, 204]
        expected_headers:
          content-type: application/json
        json:
          - path: status
            equals: ok
          - path: checks.postgres
            matches: ^(healthy|degraded)$
"""

RETURN = r"""
ok:
  description: Whether all checks held.
  type: bool
  returned: always
  sample: true
elapsed_seconds:
  description: How long the gate took.
  type: float
  returned: always
  sample: 3.2
failed_checks:
  description: Names of the checks that did not hold.
  type: list
  elements: str
  returned: always
  sample: []
checks:
  description: One entry a check, in the order given.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the check.
      type: str
      sample: redis
    ok:
      description: Whether it held often enough in a row.
      type: bool
      sample: true
    evaluated:
      description: Whether the last attempt found something to ask.
      type: bool
      sample: true
    attempts:
      description: How often it was evaluated.
      type: int
      sample: 3
    latency_ms:
      description: How long the last attempt took.
      type: float
      sample: 1.4
    last_answer:
      description: The last answer, one line, cut after 200 characters.
      type: str
      sample: PONG
    last_error:
      description: What was wrong at the last attempt, empty when nothing was.
      type: str
      sample: ""
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils._checks import (
    cure,
    evaluate,
    prepare,
    probe_of,
    psycopg2_missing,
    target,
)
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Patience, Reading, Streak, watch

CHECK = {
    "name": {"type": "str", "required": True},
    "type": {
        "type": "str",
        "required": True,
        "choices": ["http", "tcp", "postgres", "redis", "container", "command"],
    },
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
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "database": {"type": "str"},
    "sslmode": {"type": "str", "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]},
    "sslrootcert": {"type": "path"},
    "query": {"type": "str"},
    "expected": {"type": "str"},
    "tls": {"type": "bool"},
    "command": {"type": "list", "elements": "str"},
    "container": {"type": "str"},
    "restarts_max": {"type": "int"},
    "argv": {"type": "list", "elements": "str"},
    "rc": {"type": "int"},
    "stdout_matches": {"type": "str"},
}
REQUIRED_IF = [
    ("type", "http", ["url"]),
    ("type", "tcp", ["host", "port"]),
    ("type", "postgres", ["host", "user"]),
    ("type", "redis", ["host"]),
    ("type", "container", ["container"]),
    ("type", "command", ["argv"]),
]
THREADS = 32


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "checks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": CHECK,
                "required_if": REQUIRED_IF,
            },
            "consecutive": {"type": "int", "default": 1},
            "interval_seconds": {"type": "float", "default": 1.0},
            "timeout_seconds": {"type": "float", "default": 60.0},
            "engine_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        patience = Patience(given["consecutive"], given["interval_seconds"], given["timeout_seconds"])
        specs = prepare(given["checks"])
    except PlatformError as error:
        module.fail_json(msg=str(error))
    if not module.check_mode and any(spec["type"] == "postgres" for spec in specs) and psycopg2_missing():
        module.fail_json(msg=missing_required_lib("psycopg2"))
    began = time.monotonic()
    streaks = hold(specs, Patience(1, 1, 0) if module.check_mode else patience, given["engine_socket"])
    failed = [spec for spec, streak in zip(specs, streaks, strict=True) if not streak.holds]
    result: dict[str, Any] = {
        "ok": not failed,
        "elapsed_seconds": round(time.monotonic() - began, 2),
        "failed_checks": [spec["name"] for spec in failed],
        "checks": [streak.result() for streak in streaks],
    }
    if failed:
        result["msg"] = report(specs, streaks, result["elapsed_seconds"])
    if failed and not module.check_mode:
        module.fail_json(**result)
    module.exit_json(changed=False, **result)


def hold(specs: list[dict[str, Any]], patience: Patience, engine_socket: str) -> list[Streak]:
    """Watch the checks, each in a thread of its own."""
    probes = [(probe_of(spec, engine_socket), spec["timeout_seconds"]) for spec in specs]
    with ThreadPoolExecutor(max_workers=min(len(specs), THREADS) or 1) as pool:

        def measure(left: float) -> list[Reading]:
            return list(pool.map(lambda probe: evaluate(probe[0], min(probe[1], left)), probes))

        return watch([spec["name"] for spec in specs], patience, measure, time.monotonic, time.sleep)


def report(specs: list[dict[str, Any]], streaks: list[Streak], seconds: float) -> str:
    """Which checks do not hold, why, and where to look first."""
    failed = [(spec, streak) for spec, streak in zip(specs, streaks, strict=True) if not streak.holds]
    reasons = "; ".join(
        f"{spec['name']} ({target(spec)}): "
        + (streak.last.error if streak.last and streak.last.error else f"held only {streak.length} times in a row")
        for spec, streak in failed
    )
    cures = "; ".join(dict.fromkeys(cure(spec) for spec, _result in failed))
    return f"{len(failed)} of {len(specs)} checks do not hold after {seconds:g} s: {reasons}. Cure: {cures}."


if __name__ == "__main__":
    main()
