# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is asked: the rules of each type of check."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import yaml
from ansible_collections.lastro.platform.plugins.module_utils import _checks as checks
from ansible_collections.lastro.platform.plugins.module_utils._checks_options import OPTIONS
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

from tests.support import REPOSITORY


def compare(**keys: Any) -> dict[str, Any]:
    given = {"new": 'a="1"', "old": 'a="2"', "requests": "r", "latency": "l"}
    quantiles = [{"quantile": 0.5, "max_ratio": 2, "slack_seconds": 0}]
    return {"type": "compare", "url": "http://h:1", **given, "quantiles": quantiles, **keys}


def query(**keys: Any) -> dict[str, Any]:
    return {"type": "prometheus", "url": "http://h:1", "query": "up", "operator": ">", "threshold": 0, **keys}


@pytest.mark.parametrize(
    ("check", "word"),
    [
        (query(operator="=>"), "there is no operator"),
        (query(threshold=float("nan")), "the threshold is no number"),
        (query(query="up[5m]"), "neither a vector nor a scalar"),
        (query(query="rate(up[5m])[1h:5m] offset 1h"), "neither a vector nor a scalar"),
        (query(query='"text"'), "neither a vector nor a scalar"),
        (query(query=" "), "neither a vector nor a scalar"),
        (query(dlq_max=0), "takes no dlq_max"),
        (query(url="ftp://x"), "url"),
        (query(url="http://me:hush@127.0.0.1:1/"), "secret_headers"),
        ({"type": "event_bus", "url": "http://h:1", "dlq_max": -1}, "dlq_max"),
        ({"type": "event_bus", "url": "http://h:1", "dlq_metric": "a b"}, "dlq_metric"),
        ({"type": "event_bus", "url": "http://h:1", "query": "up"}, "takes no query"),
        ({"type": "tls", "host": "127.0.0.1", "port": 1, "days_left_min": -1}, "days_left_min"),
        ({"type": "tls", "host": "127.0.0.1", "port": 1, "url": "http://h:1"}, "takes no url"),
        (compare(new='{a="1"}'), "without braces"),
        (compare(old='a="1"} or up{b="2"'), "no list of label selectors"),
        (compare(requests="r or up"), "requests is not the name of a metric"),
        (compare(window="5 minutes"), "there is no window"),
        (compare(samples_min=0), "samples_min"),
        (compare(errors="e"), "belong together"),
        (compare(quantiles=None), "belong together"),
        (compare(latency=None, quantiles=None), "nothing is compared"),
        (compare(quantiles=[{"quantile": 1.5, "max_ratio": 2, "slack_seconds": 0}]), "there is no quantile 1.5"),
        (compare(quantiles=[{"quantile": -0.1, "max_ratio": 2, "slack_seconds": 0}]), "there is no quantile"),
        (compare(quantiles=[{"quantile": 0.5, "max_ratio": -2, "slack_seconds": 0}]), "max_ratio"),
        ({"type": "queue", "host": "127.0.0.1", "late_seconds": 1}, "a queue or a list"),
        ({"type": "queue", "host": "127.0.0.1", "queue": "q", "list": "l", "length_max": 1}, "a queue or a list"),
        ({"type": "queue", "host": "127.0.0.1", "list": "l", "late_seconds": 1}, "no age"),
        ({"type": "queue", "host": "127.0.0.1", "queue": "q"}, "nothing could be wrong"),
        ({"type": "queue", "host": "127.0.0.1", "queue": "q", "late_seconds": -1}, "late_seconds"),
        ({"type": "rabbitmq", "url": "http://h:1", "user": "u"}, "belong together"),
        ({"type": "rabbitmq", "url": "http://h:1", "length_max": 1}, "those of a queue"),
        ({"type": "rabbitmq", "url": "http://h:1", "argv": ["x"]}, "takes no argv"),
        (
            {"type": "s3", "url": "http://h:1", "bucket": "a/b", "access_key": "k", "secret_key": "hush"},
            "there can be no bucket",
        ),
        (
            {"type": "s3", "url": "http://h:1", "bucket": "b", "access_key": "k", "secret_key": "s", "query": "x"},
            "takes no query",
        ),
    ],
)
def test_a_malformed_check_is_refused(check: dict[str, Any], word: str) -> None:
    with pytest.raises(PlatformError, match=r"^Check bad: ") as caught:
        checks.prepare([{"name": "bad", **check}])
    assert word in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.cure


@pytest.mark.parametrize(
    "check",
    [
        query(),
        query(query="max_over_time(up[5m])"),
        query(query='up{job="a[5m]"} offset 1h'),
        query(query="1", threshold=-3.5, operator="!="),
        compare(),
        compare(new=""" a="1", b=~'x|y' ,c!="say \\"no\\"" """, requests='hits{route!="/x"}', window="1h30m"),
        compare(errors="e", error_rate_max_ratio=0.0, latency=None, quantiles=None),
        compare(
            quantiles=[
                {"quantile": 0.0, "max_ratio": 1, "slack_seconds": 0},
                {"quantile": 1, "max_ratio": 0, "slack_seconds": 1},
            ]
        ),
        {"type": "queue", "host": "h", "queue": "q", "late_seconds": 0.0},
        {"type": "rabbitmq", "url": "http://h:1", "queue": "q", "consumers_min": 0},
        {"type": "s3", "url": "https://h/prefix", "bucket": "a.b-c_d", "access_key": "k", "secret_key": "s"},
        {"type": "tls", "host": "h", "port": 1, "days_left_min": 0},
        {"type": "event_bus", "url": "http://h/federate?match[]=x"},
    ],
)
def test_a_good_check_is_not(check: dict[str, Any]) -> None:
    (spec,) = checks.prepare([{"name": "good", **check}])
    assert checks.target(spec)
    assert checks.cure(spec)


def test_every_type_can_be_asked_and_every_key_be_given() -> None:
    """One entry in each table: a type that somebody added halfway would fail at the moment it is needed."""
    own = {"container", "event_bus"}
    assert set(checks.PROBES) | own == set(checks.KEYS)
    assert {kind for _type, kind, _keys in checks.required()} == set(checks.KEYS)
    assert {key for keys in checks.KEYS.values() for key in keys} | set(checks.COMMON) == set(OPTIONS)
    for table in (checks.RULES, checks.TARGETS, checks.CURES):
        assert set(table) <= set(checks.KEYS)
    for kind, keys in checks.KEYS.items():
        assert kind in checks.TARGETS or {"host", "port"} <= set(keys), kind


def test_the_examples_are_good_checks() -> None:
    tree = ast.parse((REPOSITORY / "plugins" / "modules" / "health_gate.py").read_text())
    texts = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    tasks = yaml.safe_load(ast.literal_eval(texts["EXAMPLES"]))
    given = [check for task in tasks for check in checks.prepare(task["lastro.platform.health_gate"]["checks"])]
    assert {check["type"] for check in given} == set(checks.KEYS) - {"tcp", "command"}
