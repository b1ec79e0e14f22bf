# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys as text."""

from __future__ import annotations

import re
import secrets

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import (
    ALPHABET,
    base62,
    generate,
    parse,
    pattern,
    pepper_from,
    peppered,
)
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from hypothesis import given
from hypothesis import strategies as st

RANDOM = st.binary(min_size=41, max_size=41)


def fixed(content: bytes):  # type: ignore[no-untyped-def]
    """The same bytes again and again."""
    return lambda length: (content * 2)[:length]


@given(RANDOM, st.sampled_from(["dev", "stage", "prod"]))
def test_a_key_is_read_as_it_was_made(content: bytes, environment: str) -> None:
    key = generate("shop", environment, fixed(content))
    assert parse(str(key)) == key
    assert re.fullmatch(pattern("shop"), str(key))
    assert not re.search(pattern("other"), str(key))


@given(RANDOM, st.integers(0, 70), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(content: bytes, place: int, character: str) -> None:
    text = str(generate("shop", "dev", fixed(content)))
    place %= len(text)
    if text[place] == character:
        return
    with pytest.raises(PlatformError):
        parse(text[:place] + character + text[place + 1 :])


@given(RANDOM)
def test_no_message_shows_a_key(content: bytes) -> None:
    key = generate("shop", "dev", fixed(content))
    with pytest.raises(PlatformError) as caught:
        parse(str(key)[:-1] + ("0" if str(key)[-1] != "0" else "1"))
    assert key.secret not in str(caught.value)
    assert key.secret not in repr(key)


def test_two_keys_are_two() -> None:
    keys = {str(generate("shop", "prod", secrets.token_bytes)) for _ in range(1000)}
    assert len(keys) == 1000
    assert len({key.split("_")[2] for key in keys}) == 1000


@pytest.mark.parametrize("text", ["", "shop", "shop_dev_x_y", "a_b_c_d_e", "sk_live_" + "0" * 12])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(PlatformError, match="no key of this format"):
        parse(text)


@pytest.mark.parametrize(
    ("prefix", "environment"),
    [("Shop", "dev"), ("s", "dev"), ("a_b", "dev"), ("shop", "Dev"), ("shop", "a_b"), ("shop", "")],
)
def test_parts_that_could_not_be_told_apart(prefix: str, environment: str) -> None:
    with pytest.raises(PlatformError, match="can't be the"):
        generate(prefix, environment, secrets.token_bytes)


@given(st.integers(0, 2**256 - 1))
def test_every_secret_fits(number: int) -> None:
    assert len(base62(number, 43)) == 43


def test_hashes_are_those_of_the_standard() -> None:
    # RFC 4231, case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert peppered(b"Jefe", "what do ya want for nothing?") == expected


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "0" * 63, "0" * 66])
def test_a_pepper_of_another_length(text: str) -> None:
    with pytest.raises(PlatformError, match="Pepper 2 is not 32 bytes in hex"):
        pepper_from(text, 2)
