#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Wait until a list of checks holds, and goes on holding
version_added: 0.1.0
description:
  - Evaluates all checks in parallel, round by round, until every one of them held O(consecutive) times in a row, all
    at the same moment, or O(timeout_seconds) runs out.
  - With O(hold_for_seconds) it then goes on asking, and fails at the first check that breaks for longer than O(tolerance).
  - The checks run on the managed host, so they see what the services there see.
extends_documentation_fragment:
  - lastro.platform.checks
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description:
      - Evaluates once, never fails and writes no O(result_file). Where there is nothing to ask, RV(checks[].evaluated) is false.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
  idempotent:
    support: full
    description: Only reads. O(result_file) is a receipt of this run, written at each, and no change.
options:
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
  hold_for_seconds:
    description:
      - How long every check has to go on holding once all of them did. It is asked every O(interval_seconds), the last time at the end.
      - The first check that breaks ends it at once.
    type: float
    default: 0.0
  tolerance:
    description: How many bad rounds in a row of one check are forgiven during O(hold_for_seconds).
    type: int
    default: 0
  result_file:
    description:
      - File on the host for what this module returns, with host and time, as JSON. Also where the checks do not hold.
      - It is replaced as a whole and may be read by its owner alone. Its directory has to be there.
    type: path
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

- name: Watch the new colour for ten minutes, forgive two bad rounds in a row, keep a receipt
  lastro.platform.health_gate:
    interval_seconds: 5
    hold_for_seconds: 600
    tolerance: 2
    result_file: /var/lib/lastro/shop/gate.json
    checks:
      - name: targets are up
        type: prometheus
        url: http://172.30.77.1:9090
        query: up{job="web"}
        operator: "=="
        threshold: 1
      - name: no dead letters, no retries
        type: event_bus
        url: http://172.30.77.1:18100/metrics
      - name: green is as good as blue
        type: compare
        url: http://172.30.77.1:9090
        new: colour="green"
        old: colour="blue"
        requests: http_requests_total
        errors: http_requests_total{status=~"5.."}
        error_rate_max_ratio: 1.5
        error_rate_slack: 0.001
        latency: http_request_duration_seconds
        quantiles:
          - quantile: 0.95
            max_ratio: 1.5
            slack_seconds: 0.05

- name: Ask for what is around the application
  lastro.platform.health_gate:
    checks:
      - name: certificate
        type: tls
        host: shop.example.org
        port: 443
        days_left_min: 21
      - name: jobs
        type: queue
        host: 172.30.77.1
        password: "{{ platform_secrets.redis }}"
        queue: default
        late_seconds: 60
        length_max: 1000
      - name: orders
        type: rabbitmq
        url: http://172.30.77.1:15672
        user: monitor
        password: "{{ platform_secrets.rabbitmq }}"
        queue: orders
        length_max: 100
        consumers_min: 1
      - name: uploads
        type: s3
        url: https://s3.example.org
        bucket: uploads
        access_key: app
        secret_key: "{{ platform_secrets.s3 }}"
"""

RETURN = r"""
ok:
  description: Whether all checks held.
  type: bool
  returned: always
  sample: true
elapsed_seconds:
  description: How long it took in all.
  type: float
  returned: always
  sample: 3.2
failed_checks:
  description: Names of the checks that did not hold.
  type: list
  elements: str
  returned: always
  sample: []
summary:
  description: One line a check, in columns.
  type: list
  elements: str
  returned: always
  sample:
    - ok    web on prod, slot 0  http 172.30.77.1:18100/ready  3 in a row, 4 ms
    - FAIL  redis                redis 172.30.77.1:6379        NOAUTH Authentication required.
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
      description: Whether it held often enough in a row, and did not break after that.
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
    rounds:
      description: How many of them came after all checks held, during O(hold_for_seconds).
      type: int
      sample: 0
    breaches:
      description: How many of those rounds were bad.
      type: int
      sample: 0
    longest_breach:
      description: How many of those rounds were bad in a row at most.
      type: int
      sample: 0
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
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._checks_asked import CHECKS_SPEC, asking, checks_of
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._gate import Patience, watch
from ansible_collections.lastro.platform.plugins.module_utils._gate_report import (
    masked,
    report,
    require_place,
    summary,
    write_receipt,
)

ARGUMENTS = {
    "checks": {**CHECKS_SPEC, "required": True},
    "consecutive": {"type": "int", "default": 1},
    "interval_seconds": {"type": "float", "default": 1.0},
    "timeout_seconds": {"type": "float", "default": 60.0},
    "hold_for_seconds": {"type": "float", "default": 0.0},
    "tolerance": {"type": "int", "default": 0},
    "result_file": {"type": "path"},
    "engine_socket": {"type": "path", "default": "/var/run/docker.sock"},
}
TIMES = ("consecutive", "interval_seconds", "timeout_seconds", "hold_for_seconds", "tolerance")


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    receipt = None if module.check_mode else given["result_file"]
    try:
        patience = Patience(*(given[name] for name in TIMES))
        specs = checks_of(module)
        if receipt:
            require_place(receipt)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    started = datetime.now(UTC)
    result = run(module, specs, Patience(1, 1, 0) if module.check_mode else patience)
    if receipt:
        try:
            write_receipt(receipt, masked(result, module.no_log_values), started)
        except OSError as error:
            problem = f"The result_file could not be written: {of_the_host(error, receipt)}"
            module.fail_json(**{**result, "msg": " ".join((result.get("msg", ""), problem)).strip()})
    if not result["ok"] and not module.check_mode:
        module.fail_json(**result)
    module.exit_json(changed=False, **result)


def run(module: AnsibleModule, specs: list[dict[str, Any]], patience: Patience) -> dict[str, Any]:
    """Ask until it is decided; what the module returns."""
    began = time.monotonic()
    with asking(module, specs, module.params["engine_socket"]) as ask:
        streaks = watch([spec["name"] for spec in specs], patience, ask, time.monotonic, time.sleep)
    failed = [spec["name"] for spec, streak in zip(specs, streaks, strict=True) if not streak.holds]
    result: dict[str, Any] = {
        "ok": not failed,
        "elapsed_seconds": round(time.monotonic() - began, 2),
        "failed_checks": failed,
        "summary": summary(specs, streaks),
        "checks": [streak.result() for streak in streaks],
    }
    if failed:
        result["msg"] = report(specs, streaks, result["elapsed_seconds"])
    return result


if __name__ == "__main__":
    main()
