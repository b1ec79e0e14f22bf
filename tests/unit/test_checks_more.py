# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of metrics, buckets, certificates and queues decide, without a server."""

from __future__ import annotations

import datetime
import io
import math
import re
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._checks_base import Wrong, one_line, short
from ansible_collections.lastro.platform.plugins.module_utils._checks_event_bus import Growth, values_of
from ansible_collections.lastro.platform.plugins.module_utils._checks_prometheus import comparison, judge
from ansible_collections.lastro.platform.plugins.module_utils._checks_rabbitmq import judge as judge_queue
from ansible_collections.lastro.platform.plugins.module_utils._checks_redis import _commands, _flat
from ansible_collections.lastro.platform.plugins.module_utils._checks_s3 import signed
from ansible_collections.lastro.platform.plugins.module_utils._checks_tls import ends_at
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PAGE = """\
# HELP event_bus_dlq Jobs that failed for good.
# TYPE event_bus_dlq gauge
event_bus_dlq 3
event_bus_dlq{queue="a b",text="a \\" } quote"} 4.5 1795414441735
event_bus_dlq_total 99
event_bus_dlq{queue="big"} 1e+06
"""


def test_a_page_of_metrics() -> None:
    assert values_of(PAGE, "event_bus_dlq") == {
        "event_bus_dlq": 3,
        'event_bus_dlq{queue="a b",text="a \\" } quote"}': 4.5,
        'event_bus_dlq{queue="big"}': 1e6,
    }


@pytest.mark.parametrize(
    "page", ["", "# event_bus_dlq 1\n", "event_bus_dlq\n", "event_bus_dlq_x 1\n", "event_bus_dlq NaN\n"]
)
def test_a_page_without_the_metric(page: str) -> None:
    with pytest.raises(Wrong, match="no data"):
        values_of(page, "event_bus_dlq")


@pytest.mark.parametrize(
    ("rounds", "growth"),
    [
        ([{"a": 7}], 0),
        ([{"a": 7}, {"a": 7}], 0),
        ([{"a": 7}, {"a": 9}], 2),
        # What has grown stays grown.
        ([{"a": 7}, {"a": 9}, {"a": 9}], 2),
        # A reset counts from zero, before and after.
        ([{"a": 7}, {"a": 9}, {"a": 1}], 3),
        ([{"a": 7}, {"a": 0}, {"a": 2}], 2),
        # Each series by itself; one that comes later begins at zero, one that went away keeps what it grew.
        ([{"a": 7, "b": 1}, {"a": 8, "b": 4}], 3),
        ([{"a": 7}, {"a": 7, "b": 5}], 5),
        ([{"a": 7}, {"a": 9}, {"b": 0}], 2),
    ],
)
def test_growth(rounds: list[dict[str, float]], growth: float) -> None:
    counted = Growth()
    assert [counted.feed(values) for values in rounds][-1] == growth


@pytest.mark.parametrize(
    ("values", "sign", "threshold", "worst", "good"),
    [
        ([1, 2, 3], ">", 0, "1", True),
        ([1, 2, 3], ">", 1, "1", False),
        ([1, 2, 3], ">=", 1, "1", True),
        ([1, 2, 3], "<", 4, "3", True),
        ([1, 2, 3], "<=", 2, "3", False),
        ([2, 2], "==", 2, "2", True),
        ([2, 9, -1], "==", 2, "9", False),
        ([1, 3], "!=", 2, "1", True),
        ([1, 2], "!=", 2, "2", False),
        ([1, math.nan, 3], "!=", 2, "nan", False),
        ([math.nan, -9], ">", 0, "nan", False),
        ([math.inf], ">", 0, "inf", True),
        ([-math.inf, 1], ">", 0, "-inf", False),
        ([1000000.5], ">", 1e6, "1000000.5", True),
    ],
)
def test_judge(values: list[float], sign: str, threshold: float, worst: str, good: bool) -> None:
    series = [({"at": str(place)}, value) for place, value in enumerate(values)]
    if good:
        answer = judge(series, sign, threshold)
    else:
        with pytest.raises(Wrong, match=re.escape(f"wanted {sign} {threshold:.10g}")) as caught:
            judge(series, sign, threshold)
        answer = caught.value.answer
    assert f" is {worst}" in answer


def test_the_query_of_a_comparison() -> None:
    spec = {
        "new": 'c="g"',
        "old": 'c="b"',
        "requests": 'hits{p!="/h"}',
        "errors": 'hits{s=~"5.."}',
        "latency": "took",
        "quantiles": [{"quantile": 0.5}],
        "window": "5m",
    }
    parts = comparison(spec).split(" or ")
    assert len(parts) == 8
    assert parts[0] == 'label_replace(count(hits{p!="/h"}), "figure", "requests known", "", "")'
    assert parts[1] == 'label_replace(count(hits), "figure", "errors known", "", "")'
    assert 'label_replace(sum(increase(hits{p!="/h", c="g"}[5m])), "figure", "new requests", "", "")' in parts
    assert 'label_replace(sum(increase(hits{s=~"5..", c="b"}[5m])), "figure", "old errors", "", "")' in parts
    assert 'histogram_quantile(0.5, sum by (le) (rate(took_bucket{c="g"}[5m])))' in parts[4]


@pytest.mark.parametrize(
    ("queue", "limits", "error"),
    [
        ({"messages": 3, "consumers": 1}, (3, 1), ""),
        (
            {"messages": 4, "consumers": 0},
            (3, 1),
            "4 messages wait or are worked, allowed are 3; 0 consumers, wanted are 1",
        ),
        ({"messages": 4, "consumers": 0}, (None, None), ""),
        ({"consumers": 0}, (3, None), "no data"),
        ({}, (None, None), "no data"),
    ],
)
def test_a_queue_of_rabbitmq(queue: dict[str, int], limits: tuple[int | None, int | None], error: str) -> None:
    spec = {"queue": "orders", "length_max": limits[0], "consumers_min": limits[1]}
    if not error:
        assert "orders: " in judge_queue(spec, queue)
        return
    with pytest.raises(Wrong, match=error):
        judge_queue(spec, queue)


def test_a_signature_that_amazon_has_published() -> None:
    """The example "GET Object" of the S3 API reference (Signature Calculations for the Authorization Header)."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    moment = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    login = ("AKIAIOSFODNN7EXAMPLE", secret, "us-east-1")
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    headers = signed("GET", url, login, moment, {"Range": "bytes=0-9"})
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    assert secret not in str(headers)


def certificate(ends: datetime.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 60) for _each in range(5)])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(datetime.datetime(2000, 1, 1))
    return made.not_valid_after(ends).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "ends",
    [
        datetime.datetime(2026, 12, 31, 23, 59, 59),
        datetime.datetime(2049, 12, 31),
        # From 2050 on the year has four digits.
        datetime.datetime(2050, 1, 1),
        datetime.datetime(9999, 12, 31, 23, 59, 59),
    ],
)
def test_when_a_certificate_ends(ends: datetime.datetime) -> None:
    assert ends_at(certificate(ends)) == ends.replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize("damaged", [b"", b"\x30", b"\x30\x03\x02\x01\x00", b"garbage", b"\x30\x84\xff\xff\xff\xff"])
def test_what_is_no_certificate(damaged: bytes) -> None:
    with pytest.raises(Wrong, match="cannot be read"):
        ends_at(damaged)


class Stream(io.BytesIO):
    """Answers that stand ready, and what was written."""

    def __init__(self, answers: bytes) -> None:
        super().__init__(answers)
        self.written = b""

    def write(self, data: Any) -> int:
        self.written += bytes(data)
        return len(data)


def test_several_commands_in_one_go() -> None:
    stream = Stream(b":3\r\n*2\r\n$-1\r\n$2\r\nhi\r\n+OK\r\n")
    assert _commands(stream, ("LLEN", "x"), ("HMGET", "y", "a", "b"), ("PING",)) == [3, [None, "hi"], "OK"]
    assert stream.written.count(b"*") == 3
    assert _flat([3, [None, "hi"], "OK"]) == "3  hi OK"


def test_one_line_for_people() -> None:
    assert one_line("a\x1b[31m\tb\n\u202ec") == "a [31m b c"
    assert short("x" * 300) == "x" * 199 + "…"
