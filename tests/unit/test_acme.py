# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _acme as acme
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._tls import Wanted, create_ca, issue
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
URL = "https://acme.example/directory"
WINDOW = timedelta(days=30)


def signed(left: float, lives: float = 90, names: tuple[str, ...] = ("a.example",), url: str = URL) -> acme.Signed:
    """One that ends in so many days."""
    begin = NOW + timedelta(days=left - lives)
    ca = create_ca("ca", begin - timedelta(days=1), 4000)
    pair = issue(Wanted("a", "a", frozenset(names), frozenset()), ca, begin, int(lives))
    return acme.Signed(url, pair.pem().certificate or b"", pair.pem().key or b"", pair)


def pem(key: Any) -> bytes:
    private: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private


@pytest.mark.parametrize(
    ("there", "names", "why"),
    [
        (None, ["a.example"], "there is none"),
        (None, [], ""),
        (signed(60), ["a.example"], ""),
        (signed(31), ["a.example"], ""),
        (signed(29), ["a.example"], "it ends on 2026-12-29"),
        (signed(-1), ["a.example"], "it ends on 2026-11-29"),
        (signed(60), ["a.example", "b.example"], "it is for a.example"),
        (signed(60, names=("a.example", "b.example")), ["a.example"], "it is for a.example, b.example"),
        (
            signed(60, url="https://staging.example/directory"),
            ["a.example"],
            "it comes from https://staging.example/directory",
        ),
        # Of one that lives for six days the window is three.
        (signed(6, lives=6), ["a.example"], ""),
        (signed(4, lives=6), ["a.example"], ""),
        (signed(2, lives=6), ["a.example"], "it ends on 2026-12-02"),
    ],
)
def test_why_one_is_ordered(there: acme.Signed | None, names: list[str], why: str) -> None:
    assert acme.why_order(there, names, URL, NOW, WINDOW) == why


def test_one_that_is_over_is_not_handed_out() -> None:
    assert acme.material(signed(1), NOW)["not_after"] == "2026-12-01T12:00:00Z"
    assert acme.material(signed(-1), NOW) == {}
    assert acme.material(None, NOW) == {}


def test_the_thumbprint_is_that_of_the_key() -> None:
    """The key of RFC 7517, A.2."""
    private = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE="
    number = int.from_bytes(base64.urlsafe_b64decode(private))
    key = ec.derive_private_key(number, ec.SECP256R1())
    assert acme.thumbprint(pem(key), "here") == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
    assert acme.thumbprint(acme.create_account(), "here") != acme.thumbprint(acme.create_account(), "here")


@pytest.mark.parametrize(
    "damaged",
    [b"", b"nonsense", pem(rsa.generate_private_key(65537, 2048)), pem(ec.generate_private_key(ec.SECP384R1()))],
)
def test_a_damaged_account_is_refused_and_not_replaced(damaged: bytes) -> None:
    with pytest.raises(PlatformError, match=r"account's key /acme/account.key can't be used.*Bring it back"):
        acme.thumbprint(damaged, "/acme/account.key")
