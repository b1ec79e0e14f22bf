#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release_watch
short_description: Watch a release that has just begun to serve
version_added: 0.1.0
description:
  - On a host of the proxy it reads HAProxy's counters of both colours from its admin socket (O(directory)). On any host it asks O(checks), such as whether
    containers restarted. It fails at the first moment at which the new colour does worse than it may.
  - A switch that is provisional (M(lastro.platform.proxy_switch), O(lastro.platform.proxy_switch#module:state=provisional)) is taken back in the same
    moment, so the colour before serves again before anybody was told. Where the release stays or is no longer provisional it changes nothing.
  - A server of the new colour that is down is enough. Failed requests (status 5xx, those that HAProxy itself answers among them) and latency
    count from O(requests_min) requests on, and are held against the colour before, latency service by service.
  - Where users send too few requests it can send its own (O(probe_rate)). Where there are too few all the same, the answer is
    V(too_few_requests), which is no proof; O(too_few) says whether that fails.
  - Where the task runs on several hosts and fails on one of them, it ends on the others as well, as all of them go back to the colour before.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  action:
    support: full
    description: Has the watch end on all hosts of the task when it fails on one.
  check_mode:
    support: full
    description: Nothing is watched, as a check switches to nothing.
  diff_mode:
    support: none
    description: The verdict says what was done.
  idempotent:
    support: full
    description: What was taken back is not provisional any more.
options:
  directory:
    description: Directory of the proxy's stack, with C(run/). Without it only O(checks) are asked.
    type: path
  colour:
    description: The colour that serves now.
    type: str
    required: true
    choices: [blue, green]
  seconds:
    description: How long to watch.
    type: float
    default: 30
  interval_seconds:
    description: Time between two looks.
    type: float
    default: 1
  requests_min:
    description: Requests from which on their number says something.
    type: int
    default: 100
  failed_max:
    description: Share of requests that may fail. Where of the colour before some failed too, as many more at most.
    type: float
    default: 0.01
  latency_factor_max:
    description: How many times as long as the colour before it may take to answer.
    type: float
    default: 2
  latency_floor_ms:
    description: Milliseconds that are quick enough, whatever the colour before took.
    type: float
    default: 100
  probe_rate:
    description:
      - Requests a second that are sent by the module itself, to O(probe_urls) in turn.
      - An answer of the application is one more request that HAProxy counts. No answer within five seconds, or one of HAProxy itself, is held
        against the release by O(failed_max), from the third on; so a release that never answers is found, too.
    type: float
    default: 0
  probe_urls:
    description: Addresses that lead through this proxy to the release, for example C(http://127.0.0.1:8080/ready). Certificates are not verified.
    type: list
    elements: str
    default: []
  probe_host:
    description: The host that is asked for at O(probe_urls), where the routes are for some only.
    type: str
    default: ""
  checks:
    description:
      - What is asked at each look besides, as of M(lastro.platform.health_gate).
      - One that held and then breaks twice in a row takes the release back; at the end of the time all of them hold. Those of type V(container) count as
        held from the beginning, as no release serves whose containers did not pass its gate.
    required: false
    default: []
  stop_file:
    description: The watch ends when this file is there, with the verdict V(ended); the action plugin names it, and has it made where another host's failed.
    type: path
  too_few:
    description: What too few requests are.
    type: str
    choices: [pass, fail]
    default: pass
extends_documentation_fragment:
  - lastro.platform.checks
  - lastro.platform.lease
requirements:
  - psycopg2 (only for checks of type V(postgres))
"""

EXAMPLES = r"""
- name: Watch green for half a minute
  lastro.platform.release_watch:
    directory: /var/lib/lastro/shop/proxy
    colour: green
    seconds: 30

- name: Demand a proof where nobody is about
  lastro.platform.release_watch:
    directory: /var/lib/lastro/shop/proxy
    colour: green
    seconds: 60
    probe_rate: 10
    probe_urls: ["http://127.0.0.1:8080/ready"]
    too_few: fail

- name: See on a host of the application that nothing is restarted
  lastro.platform.release_watch:
    colour: green
    seconds: 60
    checks:
      - name: worker
        type: container
        container: shop-green-worker-1
        restarts_max: 0
"""

RETURN = r"""
verdict:
  description: V(good), V(bad), V(too_few_requests), or V(ended) where the watch failed on another host of the task before the time was over.
  type: str
  returned: always
  sample: good
problem:
  description: What is wrong; empty where nothing is.
  type: str
  returned: always
  sample: 7 of 120 requests failed (5.8%; allowed are 1.0%)
watched_seconds:
  description: How long it was watched.
  type: float
  returned: always
  sample: 30.2
ended_at:
  description: When that was over, in seconds since 1970 on this host's clock.
  type: float
  returned: always
  sample: 1796142969.5
taken_back:
  description: Whether the colour before serves again by this.
  type: bool
  returned: always
  sample: false
new:
  description: Requests since the watch began, how many failed, the mean latency of each service in
    milliseconds by HAProxy's own mean, and servers that are down.
  type: dict
  returned: always
  sample: {requests: 2210, failed: 0, failed_share: 0.0, latency_ms: {web: 12.0}, down: []}
old:
  description: The same of the other colour, since HAProxy began.
  type: dict
  returned: always
  sample: {requests: 91240, failed: 3, failed_share: 0.0, latency_ms: {web: 11.0}, down: []}
"""

import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from itertools import cycle
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._checks_asked import CHECKS_SPEC, asking, checks_of
from ansible_collections.lastro.platform.plugins.module_utils._colour import COLOURS
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import Admin, parse_stat
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._proxy_provisional import give_up
from ansible_collections.lastro.platform.plugins.module_utils._release_watch import (
    BAD,
    ENDED,
    GOOD,
    TOO_FEW,
    Checks,
    Look,
    Probes,
    Rules,
    look_of,
    refuse,
    watch,
)

PROBE_TIMEOUT_SECONDS = 5
PROBES_AT_ONCE = 16


def main() -> None:
    """Module entry point."""
    numbers = {
        "interval_seconds": 1,
        "failed_max": 0.01,
        "latency_factor_max": 2,
        "latency_floor_ms": 100,
        "probe_rate": 0,
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path"},
            "colour": {"type": "str", "required": True, "choices": list(COLOURS)},
            "seconds": {"type": "float", "default": 30},
            "requests_min": {"type": "int", "default": 100},
            **{name: {"type": "float", "default": value} for name, value in numbers.items()},
            "probe_urls": {"type": "list", "elements": "str", "default": []},
            "probe_host": {"type": "str", "default": ""},
            "checks": {**CHECKS_SPEC, "default": []},
            "stop_file": {"type": "path"},
            "too_few": {"type": "str", "choices": ["pass", "fail"], "default": "pass"},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        refuse(params)
        specs = checks_of(module)
        if module.check_mode:
            empty = {"requests": 0, "failed": 0, "failed_share": 0.0, "latency_ms": {}, "down": []}
            outcome = {
                "verdict": GOOD,
                "problem": "",
                "watched_seconds": 0.0,
                "ended_at": time.time(),
                "taken_back": False,
            }
            module.exit_json(changed=False, **outcome, new=empty, old=empty)
        found = watched(module, specs)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    if found["verdict"] == BAD:
        said = f"After {found['watched_seconds']} s of {params['colour']}: {found['problem']}"
        module.fail_json(msg=said, changed=found["taken_back"], **found)
    if found["verdict"] == TOO_FEW and params["too_few"] == "fail":
        said = f"Only {found['new']['requests']} requests came in {found['watched_seconds']} s, {params['requests_min']} are needed to know"
        module.fail_json(
            msg=f"{said}. Watch longer, or have requests sent: `probe_rate`.", changed=found["taken_back"], **found
        )
    module.exit_json(changed=found["taken_back"], **found)


def watched(module: AnsibleModule, specs: list[dict[str, Any]]) -> dict[str, Any]:
    """The verdict, what was seen and what was done. Nobody takes over meanwhile."""
    params = module.params
    number = round(params["probe_rate"] * params["interval_seconds"]) if params["probe_urls"] else 0
    limits = [params[name] for name in ("failed_max", "latency_factor_max", "latency_floor_ms")]
    rules = Rules(params["requests_min"] if params["directory"] else 0, *limits)
    with (
        held(params["lease"], module.check_mode),
        prober(params["probe_urls"], params["probe_host"], number) as probe,
        asking(module, specs) as ask,
    ):
        found = watch(
            looker(params["directory"], params["colour"]),
            probe,
            rules,
            *(params["seconds"], params["interval_seconds"], time.monotonic, time.sleep),
            ended=lambda: os.path.exists(params["stop_file"] or ""),
            checked=Checks(specs, ask).problem,
        )
        ended_at = time.time()
        failed = found["verdict"] in (BAD, ENDED) or (found["verdict"], params["too_few"]) == (TOO_FEW, "fail")
        taken_back = failed and params["directory"] is not None and give_up(params["directory"], params["colour"])
    return {**found, "ended_at": round(ended_at, 2), "taken_back": taken_back}


def looker(directory: str | None, colour: str) -> Callable[[], tuple[Look, Look]]:
    """The new colour and the old one, as the proxy sees them. Where there is none nobody sees anything."""
    other = next(each for each in COLOURS if each != colour)
    if not directory:
        return lambda: (Look(), Look())
    admin = Admin(os.path.join(directory, "run/admin.sock"))

    def look() -> tuple[Look, Look]:
        answer = admin.ask("show stat")
        if answer is None:
            raise PlatformError("HAProxy does not run", "Look at the log of the proxy's container.")
        rows = parse_stat(answer)
        return look_of(rows, colour), look_of(rows, other)

    return look


@contextmanager
def prober(urls: list[str], host: str, number: int) -> Iterator[Callable[[], Probes]]:
    """Sends so many requests each time, in turn, without waiting for their answers."""
    probes, turn = Probes(), cycle(urls)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    # While only a share of the clients gets the release, this has it try the release.
    headers = {"x-canary": "1", **({"Host": host} if host else {})}

    def send(url: str) -> str:
        """Why the application did not answer; empty where it did."""
        try:
            with opener.open(urllib.request.Request(url, headers=headers), timeout=PROBE_TIMEOUT_SECONDS) as answer:
                answer.read()
                own = answer.headers.get("x-lastro-proxy")
        except urllib.error.HTTPError as error:
            own = error.headers.get("x-lastro-proxy")
        except (OSError, HTTPException) as error:
            return f"{url}: {getattr(error, 'reason', error)}"
        return f"{url}: HAProxy itself answers, {own}" if own else ""

    def count(done: Future[str]) -> None:
        if not done.cancelled() and (why := done.result()):
            probes.lost, probes.why = probes.lost + 1, why

    pool = ThreadPoolExecutor(PROBES_AT_ONCE)

    def probe() -> Probes:
        for _one in range(number):
            probes.sent += 1
            pool.submit(send, next(turn)).add_done_callback(count)
        return probes

    try:
        yield probe
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
