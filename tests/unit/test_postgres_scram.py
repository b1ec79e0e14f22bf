# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM verifiers as Postgres makes them."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._postgres_scram import matches, verifier

# RFC 7677, section 3: user "user", password "pencil".
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_the_example_of_the_rfc() -> None:
    assert verifier("pencil", SALT) == PENCIL


@pytest.mark.parametrize(
    ("password", "stored", "same"),
    [
        ("pencil", PENCIL, True),
        ("pencil", verifier("pencil", b"another salt", 100), True),
        ("Pencil", PENCIL, False),
        ("", PENCIL, False),
        ("pencil", None, False),
        ("pencil", "", False),
        ("pencil", "md5" + "0" * 32, False),
        ("pencil", PENCIL + "$", False),
    ],
)
def test_a_password_is_compared_with_its_verifier(password: str, stored: str | None, same: bool) -> None:
    assert matches(password, stored) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u00aa", "a"),  # compatibility form
        ("I\u00adX", "IX"),  # soft hyphen is mapped to nothing
        ("a\u00a0b", "a b"),  # any space is a space
        ("\u2168", "IX"),
    ],
)
def test_passwords_are_prepared_as_rfc_4013_says(one: str, other: str) -> None:
    assert verifier(one, SALT) == verifier(other, SALT)


def test_what_rfc_4013_forbids_is_taken_as_it_is() -> None:
    assert verifier("\u00aa\u0007", SALT) != verifier("a\u0007", SALT)
