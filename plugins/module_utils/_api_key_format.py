# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys as text: `<prefix>_<environment>_<id>_<secret><checksum>`. Nothing here touches a database."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_BYTES = 32
# What 32 bytes, and a CRC-32, take in base 62.
SECRET_LENGTH, CHECKSUM_LENGTH = 43, 6
ID_LENGTH = 12
LAST = 4
_PREFIX = re.compile(r"[a-z][a-z0-9]{1,14}")
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9]{1,9}")
PEPPER_BYTES = 32


@dataclass(frozen=True)
class Key:
    """A key in its parts."""

    prefix: str
    environment: str
    id: str
    secret: str

    def __str__(self) -> str:
        body = f"{self.prefix}_{self.environment}_{self.id}_{self.secret}"
        return body + checksum(body)

    def __repr__(self) -> str:
        # A traceback shows it.
        return f"Key({self.prefix}_{self.environment}_{self.id}_…)"


def generate(prefix: str, environment: str, random: Callable[[int], bytes]) -> Key:
    """A new key. `random` gives bytes that nobody can guess (`secrets.token_bytes`)."""
    check_names(prefix, environment)
    number = int.from_bytes(random(9), "big")
    return Key(
        prefix,
        environment,
        base62(number, ID_LENGTH + 1)[-ID_LENGTH:],
        base62(int.from_bytes(random(SECRET_BYTES), "big"), SECRET_LENGTH),
    )


def parse(text: str) -> Key:
    """The key that a text is; a wrong checksum is refused. No message shows the text."""
    parts = text.split("_")
    if len(parts) != 4 or len(parts[3]) != SECRET_LENGTH + CHECKSUM_LENGTH or len(parts[2]) != ID_LENGTH:
        raise PlatformError("This is no key of this format", "It is <prefix>_<environment>_<id>_<secret and checksum>.")
    key = Key(parts[0], parts[1], parts[2], parts[3][:SECRET_LENGTH])
    if not hmac.compare_digest(str(key).encode(), text.encode()):
        raise PlatformError(
            f"The checksum of the key {key.prefix}_{key.environment}_{key.id}_… is wrong", "It was cut or mistyped."
        )
    return key


def check_names(prefix: str, environment: str) -> None:
    """Refuse parts that could not be told from others again."""
    if not _PREFIX.fullmatch(prefix):
        raise PlatformError(
            f"{prefix!r} can't be the prefix of keys", "Use 2 to 15 lower-case letters and digits, a letter first."
        )
    if not _ENVIRONMENT.fullmatch(environment):
        raise PlatformError(
            f"{environment!r} can't be the environment of keys",
            "Use 2 to 10 lower-case letters and digits, a letter first.",
        )


def pattern(prefix: str) -> str:
    """The regular expression that finds keys of a prefix, for scanners of secrets. They know the checksum's place, not its rule."""
    length = SECRET_LENGTH + CHECKSUM_LENGTH
    return rf"\b{re.escape(prefix)}_[a-z][a-z0-9]{{1,9}}_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{length}}}\b"


def checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def base62(number: int, length: int) -> str:
    digits = []
    for _place in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    if number:
        raise ValueError("the number does not fit")
    return "".join(reversed(digits))


def peppered(pepper: bytes, key: str) -> str:
    """The hash of a key under a pepper that is not in the database, or under the one salt that an application has for all keys."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()


def pepper_from(text: str, version: int) -> bytes:
    """A pepper as it is kept: 32 bytes in hex."""
    try:
        pepper = bytes.fromhex(text.strip())
    except ValueError:
        pepper = b""
    if len(pepper) != PEPPER_BYTES:
        raise PlatformError(
            f"Pepper {version} is not {PEPPER_BYTES} bytes in hex",
            f"Make one with `openssl rand -hex {PEPPER_BYTES}`; keep the old ones as long as keys use them.",
        )
    return pepper
