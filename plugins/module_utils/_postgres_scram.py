# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 as Postgres stores it: a password is compared and set without ever being part of a statement."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import stringprep
import unicodedata

ITERATIONS = 4096  # Postgres' own default (scram_iterations)
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What Postgres stores for a password, and takes in place of it."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepare(password), salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored)}:{_base64(_hmac(salted, b'Server Key'))}"


def matches(password: str, stored: str | None) -> bool:
    """Whether a stored verifier belongs to the password; md5 and missing ones never do, and so get replaced."""
    found = _VERIFIER.fullmatch(stored or "")
    if found is None:
        return False
    wanted = verifier(password, base64.b64decode(found[2]), int(found[1]))
    return hmac.compare_digest(wanted, found[0])


def _prepare(password: str) -> bytes:
    """SASLprep (RFC 4013); like Postgres, a password it does not allow is taken as it is."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    right_to_left = [stringprep.in_table_d1(char) for char in normal]
    mixed = any(right_to_left) and (
        any(map(stringprep.in_table_d2, normal)) or not (right_to_left[0] and right_to_left[-1])
    )
    if not normal or mixed or any(prohibited(char) for char in normal for prohibited in _PROHIBITED):
        return password.encode()
    return normal.encode()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
