# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of an event bus by its metrics: dead letters by their number, retries by their growth."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    Spec,
    Wrong,
    ask,
    own_headers,
    refused,
    require_not_negative,
    require_url,
)

# A page of metrics may be long, and one that is cut could hide a series.
PAGE_BYTES = 16 * 1024 * 1024
_NAME = r"[a-zA-Z_:][\w:]*"
_SERIES = re.compile(rf'({_NAME})(\{{(?:[^"}}]|"(?:[^"\\]|\\.)*")*\}})?\s+(\S+)(?:\s+-?[\d.]+)?(?:\s+#.*)?')


@dataclass
class Growth:
    """How much counters grew since they were read first."""

    last: dict[str, float] = field(default_factory=dict)
    grown: dict[str, float] = field(default_factory=dict)

    def feed(self, values: Mapping[str, float]) -> float:
        """The most that any series grew. One that was reset, or came later, counts from zero."""
        first = not self.last
        for series, value in values.items():
            before = value if first else self.last.get(series, 0.0)
            self.grown[series] = self.grown.get(series, 0.0) + (value - before if value >= before else value)
            self.last[series] = value
        return max(self.grown.values())


def require_event_bus(spec: Spec) -> None:
    require_url(spec)
    require_not_negative(spec, "dlq_max", "retries_growth_max")
    for key in ("dlq_metric", "retries_metric"):
        if not re.fullmatch(_NAME, spec[key]):
            raise refused(spec, f"{key} is not the name of a metric", "Give the name alone, as event_bus_dlq.")


def probe_event_bus(spec: Spec, seconds: float, growth: Growth) -> str:
    """Read the page; `growth` remembers the rounds before."""
    reply = ask(spec, spec["url"], seconds, {"Accept": "text/plain", **own_headers(spec)}, most=PAGE_BYTES)
    if reply.status != 200:
        raise Wrong(f"status {reply.status}, wanted 200", str(reply))
    if reply.cut:
        raise Wrong(f"the page is longer than {PAGE_BYTES // 1024 // 1024} MiB")
    dead = values_of(reply.body, spec["dlq_metric"])
    retries = values_of(reply.body, spec["retries_metric"])
    grown = growth.feed(retries)
    most = max(dead.values())
    answer = f"{spec['dlq_metric']} is {most:g}, {spec['retries_metric']} grew by {grown:g}"
    wrong = []
    if not most <= spec["dlq_max"]:
        wrong.append(f"{spec['dlq_metric']} is {most:g}, allowed are {spec['dlq_max']:g}")
    if not grown <= spec["retries_growth_max"]:
        limit = f"allowed are {spec['retries_growth_max']:g}"
        wrong.append(f"{spec['retries_metric']} grew by {grown:g} since the gate began, {limit}")
    if wrong:
        raise Wrong("; ".join(wrong), answer)
    return answer


def values_of(page: str, metric: str) -> dict[str, float]:
    """The series of a metric on a page in Prometheus' text format; what is no number is refused."""
    found = {}
    for line in (line.strip(" \t\r") for line in page.split("\n")):
        if not re.match(rf"{metric}[{{\s]", line):
            continue
        series = _SERIES.fullmatch(line)
        try:
            value = float(series[3]) if series else math.nan
        except ValueError:
            value = math.nan
        if not series or math.isnan(value):
            # Passed over, it could be the one that counts.
            raise Wrong(f"no data: {line} is no number")
        found[f"{series[1]}{series[2] or ''}"] = value
    if not found:
        raise Wrong(f"no data: there is no metric {metric}")
    return found
