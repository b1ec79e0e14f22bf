# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that an ACME server signs: whether one is to be ordered and why (pure), the account, and what lies on disk.

Chain and key are one file, so that they change in one moment. An order has its own key until it is done: `order.key` and `order.crt` are taken
up by whichever run finds them, the one that ordered or the next.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _tls
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._tls import Material, Pair, Store

if not _tls.CRYPTOGRAPHY_ERROR:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

ACCOUNT, CERTIFICATE, NAMES = "account.key", "certificate.pem", "names"
ORDER = "order"
_KEY = re.compile(rb"-----BEGIN (?:EC )?PRIVATE KEY-----.+?-----END (?:EC )?PRIVATE KEY-----\n?", re.DOTALL)
_DNS = re.compile(r"((?!-)[a-z0-9-]{1,63}\.)*[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Signed:
    """A certificate with its chain and key, and the directory of the ACME server that signed it."""

    url: str
    chain: bytes
    key: bytes
    pair: Pair

    @property
    def names(self) -> frozenset[str]:
        return _tls.names_of(self.pair.certificate)[1]

    def text(self) -> bytes:
        """As it lies on disk; PEM lets a line of text go before it."""
        return f"# {self.url}\n".encode() + self.chain.rstrip() + b"\n" + self.key


def check(url: str, contact: str, terms_agreed: bool, names: Sequence[str]) -> None:
    """Refuse what no ACME server would take, before anybody asks one."""
    if not re.fullmatch(r"https://[^\s/]+/\S*", url):
        raise PlatformError(
            f"`{url}` is no directory of an ACME server",
            "Set tls_acme_directory to its https:// URL, for example https://acme-v02.api.letsencrypt.org/directory.",
        )
    if not terms_agreed:
        raise PlatformError(
            f"Nobody agreed to the terms of the ACME server {url}",
            "Read them (`meta.termsOfService` at that URL), then set tls_acme_terms_agreed: true.",
        )
    if contact and not re.fullmatch(r"[^\s@,]+@[^\s@,]+", contact):
        raise PlatformError(f"tls_acme_contact is `{contact}`, which is no e-mail address", "Correct or empty it.")
    if wild := sorted(name for name in names if "*" in name):
        raise PlatformError(
            f"tls_acme_names has {', '.join(wild)}, and an ACME server signs a wildcard for whoever can write to its DNS only, which no proxy answers",
            "Name each host, or order that certificate elsewhere and give it as proxy_tls_certificate and proxy_tls_key.",
        )
    if wrong := sorted(name for name in names if not _DNS.fullmatch(name)):
        raise PlatformError(
            f"tls_acme_names has {', '.join(wrong)}, which is no DNS name",
            "Give names in lower case, for example shop.example.com, and no addresses.",
        )


def why_order(held: Signed | None, names: Sequence[str], url: str, now: datetime, renew_before: timedelta) -> str:
    """Why a certificate has to be ordered, empty where the one there will do or nobody says for which names."""
    if not names:
        return ""
    if held is None:
        return "there is none"
    if held.names != frozenset(names):
        return f"it is for {', '.join(sorted(held.names))}"
    if held.url != url:
        return f"it comes from {held.url}"
    # Of one that lives shorter than the window allows for, half its life is the window: no run orders what it has just got.
    begin, end = _tls.not_before(held.pair.certificate), held.pair.not_after
    if end - now < min(renew_before, (end - begin) / 2):
        return f"it ends on {end:%Y-%m-%d}"
    return ""


def create_account() -> bytes:
    """The key of a new account."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def thumbprint(account: bytes, place: str) -> str:
    """What tells the account from every other one (RFC 7638): with the token it is the answer to a challenge."""
    try:
        key = serialization.load_pem_private_key(account, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not of the curve P-256")
    except (ValueError, TypeError) as error:
        raise PlatformError(
            f"The ACME account's key {place} can't be used: {error}",
            "Bring it back from the backup of the platform's secrets. Or remove it: the next run opens a new account.",
        ) from error
    point = key.public_key().public_numbers()
    jwk = {"crv": "P-256", "kty": "EC", "x": _base64(point.x.to_bytes(32)), "y": _base64(point.y.to_bytes(32))}
    return _base64(hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def held_in(store: Store) -> Signed | None:
    """The certificate that is there; None where there is none, or what is there is no use."""
    content = store.content(CERTIFICATE) or b""
    label, _newline, pem = content.partition(b"\n")
    key = _KEY.search(pem)
    return _signed(label.decode(errors="replace").removeprefix("# "), _KEY.sub(b"", pem), key[0] if key else None)


def ordered_in(store: Store, url: str, names: Sequence[str], now: datetime) -> Signed | None:
    """What an order brought that nobody has taken up yet, where it is what is wanted."""
    signed = _signed(url, store.content(f"{ORDER}.crt"), store.content(f"{ORDER}.key"))
    return signed if signed and is_good(signed, now) and signed.names == frozenset(names) else None


def _signed(url: str, chain: bytes | None, key: bytes | None) -> Signed | None:
    pair = _tls.load_pair(Material(key, chain))
    return Signed(url, chain or b"", key or b"", pair) if pair else None


def is_good(signed: Signed, now: datetime) -> bool:
    """Whether clients take it now."""
    return signed.pair.not_after > now


def take_up(store: Store, signed: Signed) -> None:
    """Have the certificate of an order be the one that is handed out. A kill in between has the next run do it again."""
    store.replace(CERTIFICATE, signed.text())
    store.remove(f"{ORDER}.crt", f"{ORDER}.csr", f"{ORDER}.key")


def material(signed: Signed | None, now: datetime) -> Mapping[str, Any]:
    """As templates get it; empty where no client would take it."""
    if signed is None or not is_good(signed, now):
        return {}
    end = signed.pair.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"certificate": signed.chain.decode(), "key": signed.key.decode(), "not_after": end}
