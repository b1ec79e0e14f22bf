# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a bucket: one request by the S3 protocol, signed here."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import (
    Spec,
    Wrong,
    ask,
    refused,
    require_endpoint,
)

EMPTY = hashlib.sha256(b"").hexdigest()
_MEANING = {
    301: "the bucket is in another region",
    307: "the bucket is in another region",
    403: "the key is refused or has no right to the bucket, or this host's clock is wrong",
    404: "there is no such bucket",
}


def require_s3(spec: Spec) -> None:
    require_endpoint(spec)
    if not re.fullmatch(r"[\w.-]+", spec["bucket"], re.ASCII):
        raise refused(spec, f"there can be no bucket {spec['bucket']!r}", "Use letters, digits, dots and hyphens.")


def probe_s3(spec: Spec, seconds: float, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """Whether the bucket is there and this key may use it."""
    url = f"{spec['url'].rstrip('/')}/{quote(spec['bucket'])}"
    login = (spec["access_key"], spec["secret_key"], spec["region"])
    reply = ask(spec, url, seconds, signed("HEAD", url, login, now()), "HEAD")
    if reply.status != 200:
        meaning = _MEANING.get(reply.status)
        raise Wrong(f"status {reply.status}" + (f": {meaning}" if meaning else ", wanted 200"))
    return f"bucket {spec['bucket']} is there"


def signed(
    method: str, url: str, login: tuple[str, str, str], now: datetime, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers of a request without query and body, signed with AWS Signature Version 4."""
    key, secret, region = login
    parts = urlsplit(url)
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"Host": parts.netloc, "x-amz-content-sha256": EMPTY, "x-amz-date": moment, **(more or {})}
    lowered = sorted((name.lower(), value.strip()) for name, value in headers.items())
    names = ";".join(name for name, _value in lowered)
    listed = "".join(f"{name}:{value}\n" for name, value in lowered)
    request = "\n".join((method, parts.path or "/", "", listed, names, EMPTY))
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request", text):
        signature = hmac.digest(signature, part.encode(), "sha256")
    credential = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature.hex()}"
    return {**headers, "Authorization": credential}
