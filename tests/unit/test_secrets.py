# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is created, repaired and refused, as a table."""

from __future__ import annotations

import string

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _secrets
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._secrets import Plan, SecretFile

OWNER = (0, 0)
GOOD = SecretFile(0o400, 0, 0)
DATA = ["volume lastro_postgres_data"]


def plan(
    found: dict[str, SecretFile], known: set[str] | None, data: list[str], wanted: tuple[str, ...] = ("a", "b")
) -> Plan:
    return _secrets.plan("/s", wanted, found, None if known is None else frozenset(known), data, OWNER)


@pytest.mark.parametrize(
    ("found", "known", "data", "create", "repair"),
    [
        pytest.param({}, None, [], ["a", "b"], [], id="first deploy"),
        pytest.param({"a": GOOD}, None, [], ["b"], [], id="first deploy killed half-way"),
        pytest.param({"a": GOOD, "b": GOOD}, {"a", "b"}, DATA, [], [], id="nothing to do"),
        pytest.param({"a": GOOD, "b": GOOD}, None, DATA, [], [], id="record lost, files there"),
        pytest.param({"a": GOOD}, {"a"}, DATA, ["b"], [], id="name added by an upgrade"),
        pytest.param({"a": GOOD}, {"a", "b"}, [], ["b"], [], id="gone, but no data was made with it"),
        pytest.param({"a": SecretFile(0o644, 0, 0), "b": GOOD}, {"a", "b"}, DATA, [], ["a"], id="readable by others"),
        pytest.param({"a": GOOD, "b": SecretFile(0o400, 33, 0)}, {"a", "b"}, DATA, [], ["b"], id="wrong owner"),
        pytest.param({"a": GOOD, "b": SecretFile(0o400, 0, 33)}, {"a", "b"}, DATA, [], ["b"], id="wrong group"),
    ],
)
def test_plan(
    found: dict[str, SecretFile], known: set[str] | None, data: list[str], create: list[str], repair: list[str]
) -> None:
    assert plan(found, known, data) == Plan(create, repair)


def test_a_secret_that_is_gone_while_data_exists_is_refused() -> None:
    with pytest.raises(PlatformError) as caught:
        plan({"a": GOOD}, {"a", "b"}, DATA)
    assert str(caught.value) == (
        "Missing, while data exists that was made with it (volume lastro_postgres_data): /s/b. Nothing was generated. "
        "Restore it from your backup of /s; or, where the data may go, remove it with `make destroy DATA=yes` "
        "and deploy again."
    )


def test_a_wiped_directory_does_not_look_like_a_first_deploy_while_data_exists() -> None:
    with pytest.raises(PlatformError, match=r"/s/a, /s/b\. Nothing was generated\. Restore them"):
        plan({}, None, DATA)


@pytest.mark.parametrize("data", [[], DATA])
def test_an_empty_file_is_refused(data: list[str]) -> None:
    with pytest.raises(PlatformError, match=r"^The secret file /s/b is empty\. Put the file back from your backup"):
        plan({"a": GOOD, "b": SecretFile(0o400, 0, 0, size=0)}, {"a", "b"}, data)


def test_something_that_is_no_file_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"^/s/a is not a regular file; The secret file /s/b is empty\."):
        plan({"a": SecretFile(0o777, 0, 0, 0, False), "b": SecretFile(0o400, 0, 0, 0)}, None, [])


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        (None, {"format": "token", "length": 32}),
        ({}, {"format": "token", "length": 32}),
        ({"format": "hex"}, {"format": "hex", "length": 32}),
        ({"length": 64}, {"format": "token", "length": 64}),
    ],
)
def test_what_is_not_said_takes_the_defaults(how: object, settings: dict[str, object]) -> None:
    assert _secrets.settings_of({"salt": how}) == {"salt": settings}


@pytest.mark.parametrize("how", ["hunter2hunter2hunter2", 64, ["hex"], True, ""])
def test_a_description_that_is_no_dictionary_is_refused_and_not_shown(how: object) -> None:
    with pytest.raises(PlatformError) as caught:
        _secrets.settings_of({"salt": how})
    assert str(caught.value) == (
        "The description of the secret salt is no dictionary. Write `salt: {}`, or what it takes, as "
        "`salt: {format: hex, length: 64}`. The value is made here."
    )


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("../etc/shadow", {"length": 32}, "cannot be the name of a secret"),
        (".index.json", {"length": 32}, "cannot be the name of a secret"),
        ("short", {"length": 8}, "would have 8 characters. Ask for 16 at least."),
        ("word", {"length": "many"}, "would have many characters"),
        (
            "form",
            {"length": 32, "format": "rot13"},
            "has the format 'rot13'. Use token, hex or password.",
        ),
        ("typo", {"lenght": 64, "length": 32}, "The secret typo has the unknown setting lenght"),
    ],
)
def test_names_and_lengths_that_are_refused(name: str, how: dict[str, object], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        _secrets.check_names({name: {"format": "token", **how}})


def test_generated_values_keep_their_alphabet_and_length() -> None:
    picks = iter(range(10_000))

    def choice(alphabet: str) -> str:
        return alphabet[next(picks) % len(alphabet)]

    for _ in range(50):
        assert set(_secrets.generate("hex", 64, choice)) <= set("0123456789abcdef")
        assert _secrets.generate("token", 48, choice).isalnum()
        password = _secrets.generate("password", 16, choice)
        assert len(password) == 16
        assert password[0].isalpha()
        for alphabet in (string.ascii_lowercase, string.ascii_uppercase, string.digits, "-_."):
            assert set(password) & set(alphabet)


def test_placeholders_are_marked() -> None:
    assert _secrets.placeholder("api_key_salt") == "check-mode-placeholder-of-api_key_salt"
