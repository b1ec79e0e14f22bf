# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a port: whether somebody accepts, and how long the certificate there lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    Absent,
    Spec,
    Wrong,
    connected,
    left_of,
    reach,
    refused,
    tls_context,
)

DAY = 86400
# Tags of DER.
_VERSION, _UTC_TIME = 0xA0, 0x17


def probe_tcp(spec: Spec, seconds: float) -> str:
    """Whether somebody accepts a connection."""
    with closing(connected(spec, seconds)):
        return "connected"


def require_tls(spec: Spec) -> None:
    if spec["days_left_min"] < 0:
        raise refused(spec, f"days_left_min is {spec['days_left_min']}", "Give 0 or more; 0 refuses what has ended.")


def probe_tls(spec: Spec, seconds: float, now: Callable[[], float] = time.time) -> str:
    """How long the server's certificate lasts; a certificate that is refused is named with its last day too."""
    began = time.monotonic()
    try:
        ends = ends_at(_certificate(spec, seconds, spec["validate_certs"]))
    except Wrong as error:
        raise Wrong(f"{error}{_last_day(spec, left_of(seconds, began))}") from error
    days = int((ends.timestamp() - now()) // DAY)
    answer = f"the certificate ends on {ends:%Y-%m-%d}, in {days} days"
    if days < spec["days_left_min"]:
        raise Wrong(f"{answer}, wanted are {spec['days_left_min']}", answer)
    return answer


def _last_day(spec: Spec, seconds: float) -> str:
    """The day on which a certificate ends that was refused, as far as it is shown at all."""
    try:
        return f" (it ends on {ends_at(_certificate(spec, seconds, False)):%Y-%m-%d})"
    except (Absent, Wrong, OSError):
        return ""


def _certificate(spec: Spec, seconds: float, verify: bool) -> bytes:
    """The certificate that the server shows, in DER."""
    context, name = tls_context(verify, spec["ca"]), spec["server_name"] or spec["host"]
    with closing(connected(spec, seconds)) as plain:
        speak = partial(context.wrap_socket, plain, server_hostname=name)
        with closing(reach(speak, f"{spec['host']}:{spec['port']}")) as encrypted:
            found: bytes = encrypted.getpeercert(binary_form=True)
    return found


def ends_at(certificate: bytes) -> datetime:
    """When a certificate in DER ends. The standard library tells it only of certificates that it trusts."""
    try:
        content = _parts(_parts(certificate)[0][1])[0][1]
        fields = _parts(content)
        # [version,] serial number, algorithm, issuer, validity, …
        validity = fields[4 if fields[0][0] == _VERSION else 3][1]
        kind, moment = _parts(validity)[1]
        form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(moment.decode("ascii"), form).replace(tzinfo=UTC)
    except (IndexError, ValueError) as error:
        raise Wrong("the server shows a certificate that cannot be read") from error


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of a sequence: tag and content of each."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        found.append((tag, der[at : at + length]))
        at += length
    return found
