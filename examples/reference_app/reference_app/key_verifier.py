# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys of the table lastro_api_keys, for any framework: `verify` with a cursor of psycopg; committing is up to the caller."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SHAPE = re.compile(r"([a-z][a-z0-9]{1,14}_([a-z][a-z0-9]{1,9})_([0-9A-Za-z]{12})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")
FIND = """
SELECT id, hash, pepper_version, tenant, scopes, last_used IS NULL OR last_used < now() - interval '1 minute'
  FROM lastro_api_keys
 WHERE (key_id = %s OR hash = ANY (%s)) AND revoked IS NULL AND (expires IS NULL OR expires > now())
"""
# At most one write a minute and key. The first use of a key is what the one before it may be waiting for to end.
USE = """
WITH used AS (
  UPDATE lastro_api_keys SET last_used = now(), first_used = COALESCE(first_used, now())
   WHERE id = %s AND (last_used IS NULL OR last_used < now() - interval '1 minute')
  RETURNING key_id, first_used = now() AS first)
UPDATE lastro_api_keys old SET expires = LEAST(old.expires, now() + make_interval(secs => old.retire_seconds))
  FROM used WHERE used.first AND old.replaced_by = used.key_id AND old.retire_seconds IS NOT NULL
"""


@dataclass(frozen=True)
class Caller:
    tenant: str
    scopes: tuple[str, ...]


def verify(cursor: Any, peppers: Mapping[int, bytes], environment: str, key: str) -> Caller | None:
    """Whose key this is, None for one that is not good. `peppers` by version; 0 is the salt of keys made before."""
    shape = SHAPE.fullmatch(key)
    if shape and (shape[2] != environment or checksum(shape[1]) != shape[4]):
        return None
    hashes = {
        version: hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest() for version, pepper in peppers.items()
    }
    cursor.execute(FIND, (shape[3] if shape else None, list(hashes.values())))
    for row, stored, version, tenant, scopes, write in cursor.fetchall():
        if version in hashes and hmac.compare_digest(stored, hashes[version]):
            if write:
                cursor.execute(USE, (row,))
            return Caller(tenant, tuple(scopes))
    return None


def checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    return "".join(ALPHABET[number // 62**place % 62] for place in range(5, -1, -1))
