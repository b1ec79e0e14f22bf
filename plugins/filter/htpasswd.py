# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: htpasswd
author: Lastro maintainers (@lastro)
version_added: 0.1.0
short_description: A line of an htpasswd file, with bcrypt
description:
  - The same password, user and O(scope) give the same line, so a second run changes nothing.
  - The salt comes from O(user) and O(scope) and not from the password, whose hash must not be tried by way of its salt.
  - bcrypt is the C library's on Linux, elsewhere the Python package C(bcrypt). Unlike the filter C(password_hash) of
    ansible-core 2.19 it needs no C(passlib).
positional: user, scope
options:
  _input:
    description: The password, at most 72 bytes.
    type: str
    required: true
  user:
    description: The user.
    type: str
    required: true
  scope:
    description: What the login is for. Equal passwords of two scopes have different hashes.
    type: str
    required: true
"""

EXAMPLES = r"""
line: "{{ registry_password | lastro.platform.htpasswd('platform', 'shop-registry') }}"
"""

RETURN = r"""
_value:
  description: User and hash.
  type: str
  sample: platform:$2b$08$91b560d34d12686629c89.ypQg6qLGrUpysQZcaxPZele7xVxlC2.
"""

import ctypes
import ctypes.util
import hashlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ansible.errors import AnsibleFilterError

# A server hashes with every request, and a pull is dozens: at 10 that is a second of CPU an image. Apache's own default is 5.
COST = 8
BYTES_MAX = 72


def htpasswd(password: str, user: str, scope: str) -> str:
    """The filter."""
    secret = password.encode()
    if not user or ":" in user:
        raise AnsibleFilterError(f"'{user}' cannot be a user of an htpasswd file. Choose a name without a colon.")
    if len(secret) > BYTES_MAX:
        raise AnsibleFilterError(
            f"The password of {user} has more than {BYTES_MAX} bytes. bcrypt ignores the rest: shorten it."
        )
    # 22 characters of bcrypt's alphabet; the last one carries two bits only.
    salt = hashlib.sha256(f"{scope}\0{user}".encode()).hexdigest()[:21] + "."
    setting = f"$2b${COST:02}${salt}".encode()
    try:
        return f"{user}:{_hash(secret, setting).decode()}"
    except ImportError as error:
        raise AnsibleFilterError(
            f"This controller knows no bcrypt ({error}). Install the Python package bcrypt beside ansible-core."
        ) from error


def _hash(secret: bytes, setting: bytes) -> bytes:
    library = ctypes.util.find_library("crypt")
    if library:
        crypt = ctypes.CDLL(library).crypt
        crypt.argtypes, crypt.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_char_p
        hashed: bytes = crypt(secret, setting) or b""
        # A C library without bcrypt answers with nothing, or with a text that no hash begins with.
        if hashed.startswith(b"$2b$"):
            return hashed
    return bytes(import_module("bcrypt").hashpw(secret, setting))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"htpasswd": htpasswd}
