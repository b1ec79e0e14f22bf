# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a RabbitMQ by its management API: alarms, and what waits in one queue."""

from __future__ import annotations

import base64
import time
from typing import Any
from urllib.parse import quote

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    Reply,
    Spec,
    Wrong,
    ask,
    left_of,
    own_headers,
    refused,
    require_endpoint,
    require_not_negative,
)


def require_rabbitmq(spec: Spec) -> None:
    require_endpoint(spec)
    require_not_negative(spec, "length_max", "consumers_min")
    if (spec["user"] is None) != (spec["password"] is None):
        raise refused(spec, "user and password belong together", "Give both or neither.")
    if spec["queue"] is None and (spec["length_max"], spec["consumers_min"]) != (None, None):
        raise refused(spec, "length_max and consumers_min are those of a queue", "Give queue as well.")


def probe_rabbitmq(spec: Spec, seconds: float) -> str:
    """No alarm is on; where a queue is named, it is there and not longer and not lonelier than allowed."""
    began = time.monotonic()
    reply = _ask(spec, "health/checks/alarms", seconds)
    if reply.status == 503:
        raise Wrong(f"an alarm is on: {reply.decoded().get('reason', '')}", str(reply))
    _require_200(reply)
    said = reply.decoded()
    if not isinstance(said, dict) or said.get("status") != "ok":
        raise Wrong("this is not the management API of a RabbitMQ", str(reply))
    if spec["queue"] is None:
        return "no alarms"
    where = f"{quote(spec['vhost'], safe='')}/{quote(spec['queue'], safe='')}"
    reply = _ask(spec, f"queues/{where}", left_of(seconds, began))
    if reply.status == 404:
        raise Wrong(f"there is no queue {spec['queue']} in the virtual host {spec['vhost']}", str(reply))
    _require_200(reply)
    return judge(spec, reply.decoded())


def judge(spec: Spec, queue: dict[str, Any]) -> str:
    """Hold the figures of a queue against what is allowed."""
    length, consumers = queue.get("messages"), queue.get("consumers")
    if length is None or consumers is None:
        raise Wrong(f"no data: RabbitMQ has no figures of {spec['queue']} yet")
    answer = f"no alarms; {spec['queue']}: {length} messages, {consumers} consumers"
    wrong = []
    if spec["length_max"] is not None and length > spec["length_max"]:
        wrong.append(f"{length} messages wait or are worked, allowed are {spec['length_max']}")
    if spec["consumers_min"] is not None and consumers < spec["consumers_min"]:
        wrong.append(f"{consumers} consumers, wanted are {spec['consumers_min']}")
    if wrong:
        raise Wrong("; ".join(wrong), answer)
    return answer


def _ask(spec: Spec, path: str, seconds: float) -> Reply:
    headers = own_headers(spec)
    if spec["user"] is not None:
        headers["Authorization"] = f"Basic {basic(spec)}"
    return ask(spec, f"{spec['url'].rstrip('/')}/api/{path}", seconds, headers)


def basic(spec: Spec) -> str:
    """The login as the request carries it. A server may send it back."""
    return base64.b64encode(f"{spec['user']}:{spec['password']}".encode()).decode()


def _require_200(reply: Reply) -> None:
    if reply.status == 401:
        raise Wrong("the login is refused, or the user lacks the tag monitoring", str(reply))
    if reply.status != 200:
        raise Wrong(f"status {reply.status}, wanted 200", str(reply))
