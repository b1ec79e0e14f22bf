# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that ask a Prometheus server: a query against a threshold, and a new release against the old one."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    Spec,
    Wrong,
    ask,
    own_headers,
    refused,
    require_endpoint,
    require_not_negative,
)

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
Series = tuple[Mapping[str, str], float]

_TEXT = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
_SELECTOR = rf"\s*[a-zA-Z_]\w*\s*(=|!=|=~|!~)\s*{_TEXT}\s*"
SELECTORS = re.compile(rf"{_SELECTOR}(,{_SELECTOR})*")
METRIC = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?")
# What ends with a range of time, as `up[5m]` or `up[5m] offset 1h`, is many values and not one.
_RANGE = re.compile(r"\]\s*((offset|@)\s*\S+\s*){0,2}$")


def require_prometheus(spec: Spec) -> None:
    require_endpoint(spec)
    if spec["operator"] not in OPERATORS:
        raise refused(spec, f"there is no operator {spec['operator']}", f"It is one of {' '.join(OPERATORS)}.")
    if not math.isfinite(spec["threshold"]):
        raise refused(spec, "the threshold is no number", "Give one, as 0.99.")
    query = spec["query"].strip()
    if not query or re.fullmatch(_TEXT, query) or _RANGE.search(query):
        raise refused(
            spec,
            "its query gives neither a vector nor a scalar",
            "Ask for one value a series: rate(x[5m]) or max_over_time(x[5m]) rather than x[5m].",
        )


def probe_prometheus(spec: Spec, seconds: float) -> str:
    """An instant query; every series of its answer has to hold."""
    series = instant(spec, spec["query"], seconds)
    if series:
        return judge(series, spec["operator"], spec["threshold"])
    if spec["no_data"] == "pass":
        return "no data, which is good here"
    raise Wrong("no data: the query gives no series")


def judge(series: list[Series], sign: str, threshold: float) -> str:
    """Hold every series against the threshold; the worst of them is named."""
    bad = [one for one in series if math.isnan(one[1]) or not OPERATORS[sign](one[1], threshold)]
    labels, value = max(bad or series, key=lambda one: _badness(one[1], sign, threshold))
    answer = f"{_named(labels)}{value:.10g}" + (f", the worst of {len(series)} series" if len(series) > 1 else "")
    if bad:
        many = f", {len(bad)} of {len(series)} series do not hold" if len(series) > 1 else ""
        raise Wrong(f"{_named(labels)}{value:.10g}, wanted {sign} {threshold:.10g}{many}", answer)
    return answer


def _badness(value: float, sign: str, threshold: float) -> tuple[bool, float]:
    """How far a value is on the wrong side. NaN is no number to compare, and the worst."""
    above = value - threshold
    far = {"<": above, "<=": above, ">": -above, ">=": -above, "==": abs(above), "!=": -abs(above)}[sign]
    return math.isnan(value), 0.0 if math.isnan(far) else far


def _named(labels: Mapping[str, str]) -> str:
    name = labels.get("__name__", "")
    inner = ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items()) if key != "__name__")
    return f"{name}{{{inner}}} is " if inner else f"{name} is " if name else ""


def instant(spec: Spec, query: str, seconds: float) -> list[Series]:
    """The answer to one query, evaluated now: labels and value of each series; a scalar is a series without labels."""
    question = urlencode({"query": query, "timeout": f"{seconds:.3f}"})
    reply = ask(spec, f"{spec['url'].rstrip('/')}/api/v1/query?{question}", seconds, own_headers(spec))
    try:
        document = reply.decoded()
        said = document["error"] if document["status"] == "error" else ""
        data = {} if said else document["data"]
    except (Wrong, KeyError, TypeError) as error:
        raise Wrong(f"status {reply.status}, and not the answer of a Prometheus", str(reply)) from error
    if said:
        raise Wrong(f"Prometheus refuses the query: {said}")
    if data["resultType"] == "scalar":
        return [({}, float(data["result"][1]))]
    if data["resultType"] != "vector":
        raise Wrong(f"the query gives a {data['resultType']}, wanted a vector or a scalar")
    if any("value" not in one for one in data["result"]):
        raise Wrong("the query gives a histogram, wanted numbers")
    return [(one["metric"], float(one["value"][1])) for one in data["result"]]


def require_compare(spec: Spec) -> None:
    """Only whole names and selectors go into the query that is made of them."""
    require_endpoint(spec)
    if spec["new"] == spec["old"]:
        raise refused(spec, "new and old are the same", "Give the selectors of two releases.")
    for key in ("new", "old"):
        if not SELECTORS.fullmatch(spec[key]):
            raise refused(spec, f"{key} is no list of label selectors", 'Write it without braces, as colour="green".')
    for key in ("requests", "errors", "latency"):
        metric = METRIC.fullmatch(spec[key]) if spec[key] is not None else None
        if spec[key] is not None and not (metric and (not metric[2] or SELECTORS.fullmatch(metric[2]))):
            cure = 'Give a name, with selectors where it needs them: http_requests_total{status=~"5.."}.'
            raise refused(spec, f"{key} is not the name of a metric", cure)
    if not re.fullmatch(r"(\d+(ms|s|m|h|d|w|y))+", spec["window"]):
        raise refused(spec, f"there is no window {spec['window']}", "Write it as Prometheus does: 90s, 5m, 1h30m.")
    if spec["samples_min"] < 1:
        raise refused(spec, f"samples_min is {spec['samples_min']}", "Give 1 or more: nothing cannot be compared.")
    if (spec["errors"] is None) != (spec["error_rate_max_ratio"] is None):
        raise refused(spec, "errors and error_rate_max_ratio belong together", "Give both or neither.")
    if (spec["latency"] is None) == bool(spec["quantiles"]):
        raise refused(spec, "latency and quantiles belong together", "Give both or neither.")
    if spec["errors"] is None and spec["latency"] is None:
        raise refused(spec, "nothing is compared", "Give errors, latency or both.")
    require_not_negative(spec, "error_rate_max_ratio", "error_rate_slack")
    for quantile in spec["quantiles"]:
        if not 0 <= quantile["quantile"] <= 1:
            raise refused(spec, f"there is no quantile {quantile['quantile']}", "Give one from 0 to 1, as 0.95.")
        require_not_negative({**quantile, "name": spec["name"]}, "max_ratio", "slack_seconds")


def probe_compare(spec: Spec, seconds: float) -> str:
    """A new release against the old one, by what Prometheus knows of both at one moment."""
    series = instant(spec, comparison(spec), seconds)
    return compare(spec, {labels["figure"]: value for labels, value in series})


def comparison(spec: Spec) -> str:
    """One query for all figures, each with its name as the label `figure`."""
    window = f"[{spec['window']}]"
    wanted = {"requests known": f"count({_selected(spec['requests'])})"}
    if spec["errors"]:
        # Its name alone: that no request failed yet does not mean that nobody would count it.
        wanted["errors known"] = f"count({spec['errors'].partition('{')[0]})"
    for side in ("new", "old"):
        wanted[f"{side} requests"] = f"sum(increase({_selected(spec['requests'], spec[side])}{window}))"
        if spec["errors"]:
            wanted[f"{side} errors"] = f"sum(increase({_selected(spec['errors'], spec[side])}{window}))"
        for quantile in spec["quantiles"]:
            buckets = f"sum by (le) (rate({_selected(spec['latency'], spec[side], '_bucket')}{window}))"
            wanted[f"{side} {quantile['quantile']}"] = f"histogram_quantile({quantile['quantile']}, {buckets})"
    return " or ".join(f'label_replace({query}, "figure", "{name}", "", "")' for name, query in wanted.items())


def _selected(metric: str, selectors: str = "", suffix: str = "") -> str:
    name, _brace, own = metric.removesuffix("}").partition("{")
    inner = ", ".join(part for part in (own, selectors) if part)
    return f"{name}{suffix}{{{inner}}}" if inner else f"{name}{suffix}"


def compare(spec: Spec, figures: Mapping[str, float]) -> str:
    """Hold the figures of both sides against each other; both stand in the answer."""
    for key in ("requests", "errors"):
        if spec[key] and f"{key} known" not in figures:
            raise Wrong(f"no data: Prometheus knows no metric {spec[key]}")
    answers, wrong = {side: _requests(spec, side, figures) for side in ("new", "old")}, []
    if spec["errors"]:
        new, old = (figures.get(f"{side} errors", 0.0) / figures[f"{side} requests"] for side in ("new", "old"))
        allowed = old * spec["error_rate_max_ratio"] + spec["error_rate_slack"]
        answers = {side: f"{answers[side]}, {rate:.2%} errors" for side, rate in (("new", new), ("old", old))}
        if not new <= allowed:
            wrong.append(f"{new:.2%} errors against {old:.2%}, allowed are {allowed:.2%}")
    for quantile in spec["quantiles"]:
        label = f"p{quantile['quantile'] * 100:g}"
        new, old = (_latency(spec, side, quantile["quantile"], figures) for side in ("new", "old"))
        allowed = old * quantile["max_ratio"] + quantile["slack_seconds"]
        answers = {side: f"{answers[side]}, {label} {value:.3g} s" for side, value in (("new", new), ("old", old))}
        if not new <= allowed:
            wrong.append(f"{label} {new:.3g} s against {old:.3g} s, allowed are {allowed:.3g} s")
    answer = f"new: {answers['new']}; old: {answers['old']}"
    if wrong:
        raise Wrong("; ".join(wrong), answer)
    return answer


def _requests(spec: Spec, side: str, figures: Mapping[str, float]) -> str:
    found = figures.get(f"{side} requests")
    if found is None or math.isnan(found):
        raise Wrong(f"no data: Prometheus knows no {spec['requests']} of {side} ({spec[side]}) in {spec['window']}")
    if found < spec["samples_min"]:
        raise Wrong(f"too few requests to compare: {found:.0f}, wanted {spec['samples_min']} ({side}: {spec[side]})")
    return f"{found:.0f} requests"


def _latency(spec: Spec, side: str, quantile: float, figures: Mapping[str, float]) -> float:
    found = figures.get(f"{side} {quantile}", math.nan)
    if math.isnan(found):
        raise Wrong(f"no data: Prometheus knows no {spec['latency']} of {side} ({spec[side]}) in {spec['window']}")
    return found
