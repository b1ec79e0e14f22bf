# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the CA decides: what is issued, why, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._tls import (
    Material,
    Wanted,
    check_may_begin,
    check_terms,
    create_ca,
    issue,
    load_ca,
    wanted_from,
    why_issue,
)
from cryptography import x509

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
CA = create_ca("Test CA", NOW, 3650)
WANTED = Wanted("postgres", "postgres", frozenset({"localhost"}), frozenset({"172.30.77.1"}))
ISSUED = issue(WANTED, CA, NOW, 365).pem()
OTHER = issue(WANTED, create_ca("Test CA", NOW, 3650), NOW, 365).pem()
NONE = Material(None, None)


def changed(**values: Any) -> Wanted:
    return Wanted(**{**WANTED.__dict__, **values})


@pytest.mark.parametrize(
    ("found", "wanted", "days_later", "why"),
    [
        (ISSUED, WANTED, 0, ""),
        (ISSUED, WANTED, 334, ""),
        (ISSUED, WANTED, 336, "expires"),
        (ISSUED, WANTED, 400, "expires"),
        (NONE, WANTED, 0, "does not exist"),
        (ISSUED, changed(dns=frozenset({"localhost", "db"})), 0, "names changed"),
        (ISSUED, changed(ips=frozenset()), 0, "names changed"),
        (ISSUED, changed(common_name="db"), 0, "names changed"),
        (OTHER, WANTED, 0, "not signed by this CA"),
        (Material(ISSUED.key, None), WANTED, 0, "do not belong together"),
        (Material(OTHER.key, ISSUED.certificate), WANTED, 0, "do not belong together"),
        (Material(b"", ISSUED.certificate), WANTED, 0, "do not belong together"),
        (Material(ISSUED.key, b"-----BEGIN CERTIFICATE-----\nAA\n"), WANTED, 0, "do not belong together"),
    ],
)
def test_why_a_certificate_is_issued(found: Material, wanted: Wanted, days_later: int, why: str) -> None:
    reason = why_issue(found, wanted, CA, NOW + timedelta(days=days_later), MONTH)
    assert why in reason
    assert bool(reason) is bool(why)


def test_a_certificate_that_lives_as_long_as_the_ca_is_not_renewed_for_nothing() -> None:
    near_its_end = NOW + timedelta(days=3640)
    found = issue(WANTED, CA, near_its_end, 365)
    assert found.not_after == CA.not_after
    assert why_issue(found.pem(), WANTED, CA, near_its_end, MONTH) == ""


@pytest.mark.parametrize(
    ("found", "issued", "days_later", "problem"),
    [
        (NONE, True, 0, "key is missing"),
        (Material(None, CA.pem().certificate), False, 0, "key is missing"),
        (Material(CA.pem().key, None), True, 0, "damaged"),
        (Material(b"nonsense", CA.pem().certificate), True, 0, "damaged"),
        (Material(ISSUED.key, CA.pem().certificate), True, 0, "damaged"),
        (CA.pem(), True, 3651, "expired"),
    ],
)
def test_a_ca_that_is_not_whole_is_refused(found: Material, issued: bool, days_later: int, problem: str) -> None:
    with pytest.raises(PlatformError, match=problem) as error:
        load_ca(found, issued, "/secrets/tls", NOW + timedelta(days=days_later))
    assert "/secrets/tls" in error.value.cure


@pytest.mark.parametrize("found", [NONE, Material(CA.pem().key, None)])
def test_where_nothing_was_issued_a_ca_may_be_made(found: Material) -> None:
    assert load_ca(found, False, "/secrets/tls", NOW) is None


def test_a_ca_is_not_begun_where_another_is_in_use() -> None:
    with pytest.raises(PlatformError, match="shop-postgres on data1, shop-redis on data2") as error:
        check_may_begin("/secrets/tls", ["shop-postgres on data1", "shop-redis on data2"])
    assert "tls_new_ca=true" in error.value.cure
    check_may_begin("/secrets/tls", [])


def test_a_whole_ca_is_loaded() -> None:
    loaded = load_ca(CA.pem(), True, "/secrets/tls", NOW)
    assert loaded is not None
    assert loaded.certificate == CA.certificate


def test_what_the_certificates_say_of_themselves() -> None:
    leaf = x509.load_pem_x509_certificate(ISSUED.certificate or b"")
    constraints = CA.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    purposes = [usage.dotted_string for usage in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
    assert purposes == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert authority == CA.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@pytest.mark.parametrize(
    ("certificates", "problem"),
    [
        ([{"name": "ca"}], "cannot be the name"),
        ([{"name": "../postgres"}], "cannot be the name"),
        ([{"name": "a"}, {"name": "a"}], "asked for twice"),
        ([{"name": "a", "ips": ["localhost"]}], "`ips` of the certificate `a`"),
        ([{"name": "a", "dns": ["two words"]}], "is no DNS name"),
    ],
)
def test_what_cannot_be_asked_for(certificates: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(PlatformError, match=problem):
        wanted_from(certificates)


def test_addresses_are_compared_as_addresses() -> None:
    wanted = wanted_from([{"name": "a", "common_name": None, "ips": ["0:0::1"], "dns": ["*.example.com"]}])
    assert wanted == [Wanted("a", "a", frozenset({"*.example.com"}), frozenset({"::1"}))]


@pytest.mark.parametrize("terms", [(30, 30), (30, 0), (0, -1), (30, 31)])
def test_terms_that_would_renew_at_every_run_are_refused(terms: tuple[int, int]) -> None:
    with pytest.raises(PlatformError, match="renew_before_days"):
        check_terms(*terms)
