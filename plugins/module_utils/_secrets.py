# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that a host makes for itself: what to create, what to repair, what to refuse."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

MODE = 0o400
DIRECTORY_MODE = 0o700
# In check mode nothing is created, but templates that use the secret have to render.
PLACEHOLDER = "check-mode-placeholder-of-"
_LETTERS_AND_DIGITS = string.ascii_letters + string.digits
# Characters that need no quoting in a URL, a shell or a configuration file.
_MARKS = "-_."
_NAME = re.compile(r"[a-z][a-z0-9_]*")
MINIMUM_LENGTH = 16
FORMATS = ("token", "hex", "password")


@dataclass(frozen=True)
class SecretFile:
    """What stands where a secret's file belongs."""

    mode: int
    uid: int
    gid: int
    size: int = 1
    regular: bool = True


@dataclass
class Plan:
    """Names whose file is to be created, and those whose mode or owner is to be repaired."""

    create: list[str] = field(default_factory=list)
    repair: list[str] = field(default_factory=list)


def plan(
    directory: str,
    wanted: Iterable[str],
    found: Mapping[str, SecretFile],
    known: frozenset[str] | None,
    data: Sequence[str],
    owner: tuple[int, int],
) -> Plan:
    """Decide, or refuse with every reason at once.

    `known` are the names recorded when they were created (None: no record); `data` names what exists
    that was made with the secrets. A name that is recorded and gone, while data exists, must never be
    made anew: the data would be locked in. A name that was never recorded is simply new.
    """
    result = Plan()
    lost: list[str] = []
    refused: list[str] = []
    for name in wanted:
        file = found.get(name)
        if file is None:
            (lost if data and (known is None or name in known) else result.create).append(name)
        elif not file.regular:
            refused.append(f"{directory}/{name} is not a regular file")
        elif not file.size:
            refused.append(f"The secret file {directory}/{name} is empty")
        elif file.mode != MODE or (file.uid, file.gid) != owner:
            result.repair.append(name)
    if refused:
        raise PlatformError(
            "; ".join(refused),
            f"Put the file back from your backup of {directory}; only where no data was ever made with it, "
            "remove it, and the next run creates it.",
        )
    if lost:
        files = ", ".join(f"{directory}/{name}" for name in lost)
        raise PlatformError(
            f"Missing, while data exists that was made with it ({', '.join(data)}): {files}. Nothing was generated",
            f"Restore {'it' if len(lost) == 1 else 'them'} from your backup of {directory}; or, where the data may go, "
            "remove it with `make destroy DATA=yes` and deploy again.",
        )
    return result


def settings_of(names: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The option `names`, with defaults. What is no dictionary may be a password, so a refusal does not show it."""
    wanted: dict[str, dict[str, object]] = {}
    for name, how in names.items():
        if how is not None and not isinstance(how, Mapping):
            raise PlatformError(
                f"The description of the secret {name} is no dictionary",
                f"Write `{name}: {{}}`, or what it takes, as `{name}: {{format: hex, length: 64}}`. The value is made here.",
            )
        wanted[name] = {"format": "token", "length": 32, **(how or {})}
    return wanted


def check_names(names: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse what cannot be a file's name, is too short to be a secret or is misspelt."""
    for name, how in names.items():
        if not _NAME.fullmatch(name):
            raise PlatformError(
                f"{name!r} cannot be the name of a secret",
                "Use lower-case letters, digits and underscores, a letter first.",
            )
        length = how["length"]
        if not isinstance(length, int) or length < MINIMUM_LENGTH:
            raise PlatformError(
                f"The secret {name} would have {length} characters", f"Ask for {MINIMUM_LENGTH} at least."
            )
        if how["format"] not in FORMATS:
            raise PlatformError(f"The secret {name} has the format {how['format']!r}", "Use token, hex or password.")
        unknown = sorted(set(how) - {"format", "length"})
        if unknown:
            raise PlatformError(
                f"The secret {name} has the unknown setting {', '.join(unknown)}", "It takes length and format."
            )


def generate(form: str, length: int, choice: Callable[[str], str]) -> str:
    """A value of `length` characters; `choice` picks one (from the system's random source, except in tests)."""
    if form == "hex":
        return "".join(choice("0123456789abcdef") for _place in range(length))
    if form == "token":
        return "".join(choice(_LETTERS_AND_DIGITS) for _place in range(length))
    # One of each class for programs that insist, letters at both ends so that no tool reads it as an option.
    classes = [string.ascii_lowercase, string.ascii_uppercase, string.digits, _MARKS]
    middle = "".join(choice(classes[at % 4]) for at in range(4))
    rest = "".join(choice(_LETTERS_AND_DIGITS + _MARKS) for _place in range(length - 6))
    return choice(string.ascii_letters) + middle + rest + choice(string.ascii_letters)


def placeholder(name: str) -> str:
    """What stands for a secret that check mode did not create."""
    return PLACEHOLDER + name
