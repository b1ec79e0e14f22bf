# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys as the controller has them: made, hashed, read from where they come, and the rules by which scanners find them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import (
    ALPHABET,
    ID_LENGTH,
    LAST,
    generate,
    parse,
    pattern,
    pepper_from,
    peppered,
)
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import PRODUCTION
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import LOADER, private_file

Entry = dict[str, Any]
# Version 0 of the pepper is the salt of applications that have one for all keys.
SALT = 0
SHORTEST = 32
WORD = r"\b"
# By it a file of rules is known as ours.
RULES_TITLE = "API keys"
_ENTRY_FIELDS = ("key", "hash", "name", "tenant", "scopes", "expires", "environment", "pepper_version")


class Hasher:
    """Hashes keys under peppers by version."""

    def __init__(self, peppers: Mapping[Any, Any], salt: str | None) -> None:
        self._peppers: dict[int, bytes] = {}
        for name, text in peppers.items():
            if not str(name).isdecimal() or int(name) == SALT:
                raise PlatformError(
                    "A pepper has a version that is no number from 1 on", "Write `peppers` as {1: …, 2: …}."
                )
            self._peppers[int(name)] = pepper_from(str(text), int(name))
        if salt is not None and not salt.strip():
            raise PlatformError("The salt is empty", "Give the one that the application has, or leave `salt` out.")
        if salt:
            self._peppers[SALT] = salt.encode()
        self.newest = max(self._peppers, default=None)

    def hashes(self, key: str) -> list[str]:
        """The key under every version that is given."""
        return [peppered(pepper, key) for pepper in self._peppers.values()]

    @property
    def scheme(self) -> str:
        return "" if self.newest is None else "salt" if self.newest == SALT else "pepper"

    def hash(self, key: str, version: int | None = None) -> str:
        return peppered(self._peppers[self.version(version)], key)

    def version(self, version: int | None) -> int:
        if self.newest is None:
            raise PlatformError(
                "There is nothing to hash keys with", "Give `peppers`, or the `salt` of the application."
            )
        if version is not None and version not in self._peppers:
            raise PlatformError(f"There is no pepper of version {version}", "Give it in `peppers` (0 is `salt`).")
        return self.newest if version is None else version

    def refuse_missing(self, used: Mapping[str, int]) -> None:
        """No pepper may go that good keys need: they could not be verified any more."""
        missing = [version for version, number in used.items() if number and int(version) not in self._peppers]
        if missing:
            raise PlatformError(
                f"Pepper {missing[0]} is not given, and {used[missing[0]]} good keys hold on to it",
                "Give it beside the newer one until they were rotated (`salt` is version 0). Nothing was changed.",
            )


def issue(
    wanted: Iterable[Mapping[str, Any]],
    prefix: str,
    environment: str,
    hasher: Hasher,
    random: Callable[[int], bytes],
    now: float,
) -> list[Entry]:
    """A new key for each; where it replaces one it has that one's row, and the `ref` that names it in the sink."""
    made = []
    for old in wanted:
        key = generate(prefix, environment, random)
        text = str(key)
        made.append(
            {
                "id": key.id,
                "key": text,
                "hash": hasher.hash(text),
                "pepper_version": hasher.newest,
                "name": old.get("name", ""),
                "tenant": str(old.get("tenant", "")),
                "scopes": old.get("scopes", []),
                "replaces": old.get("ref"),
                "old_row": old.get("row"),
                "staged": now,
            }
        )
    return made


def for_database(entry: Entry) -> dict[str, Any]:
    """What the host gets of a new key: everything but the key."""
    parts = entry["key"].split("_")
    scopes = entry["scopes"].split() if isinstance(entry["scopes"], str) else list(entry["scopes"])
    kept = {"hash": entry["hash"], "pepper_version": entry["pepper_version"], "row": entry["old_row"]}
    kept |= {"name": entry["name"], "tenant": entry["tenant"], "scopes": scopes}
    return {"key_id": entry["id"], "prefix": "_".join(parts[:2]), "last4": entry["key"][-LAST:], **kept}


def read_import(path: str) -> list[Entry]:
    """Entries of a file that only its owner can read: a YAML list, or JSON lines."""
    content = private_file(Path(path))
    if content is None:
        raise PlatformError(f"There is no file {path}", "Correct `import_file`.")
    try:
        entries = _entries_of(path, content.decode())
    except (ValueError, yaml.YAMLError):
        # The error itself may show what stands there.
        entries = None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PlatformError(f"{path} is no list of keys", "Write one JSON object a line, or a YAML list.")
    for number, entry in enumerate(entries, 1):
        unknown = sorted(set(entry) - set(_ENTRY_FIELDS))
        if unknown or not (entry.get("key") or entry.get("hash")):
            what = f"has {unknown[0]}, which no entry has" if unknown else "has neither `key` nor `hash`"
            raise PlatformError(f"Entry {number} of {path} {what}", f"An entry has {', '.join(_ENTRY_FIELDS)}.")
    return entries


def _entries_of(path: str, text: str) -> Any:
    if Path(path).suffix in (".yml", ".yaml"):
        return yaml.load(text, Loader=LOADER)  # a safe loader  # nosec B506
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def imported(
    entries: Iterable[Mapping[str, Any]], environment: str, hasher: Hasher, random: Callable[[int], bytes]
) -> list[dict[str, Any]]:
    """Existing keys as the database gets them, by whatever format; no message shows one."""
    found = []
    for number, entry in enumerate(entries, 1):
        key = str(entry.get("key") or "")
        named = f"Key {number} ({entry.get('name') or 'without a name'})"
        ours = _parsed(key)
        made_for = ours.environment if ours else str(entry.get("environment") or "")
        if environment in PRODUCTION:
            _refuse_for_production(key, made_for, environment, named)
        version = _checked_version(entry.get("pepper_version"), hasher, named)
        if not (key or entry.get("hash")):
            raise PlatformError(f"{named} has neither `key` nor `hash`", "Give one. Nothing was changed.")
        scopes = entry.get("scopes") or []
        if not isinstance(scopes, str) and any(" " in str(one) for one in scopes):
            raise PlatformError(f"A scope of {named} has a blank in it", "A scope is one word. Nothing was changed.")
        hashed = hasher.hash(key, version) if key else _checked_hash(str(entry["hash"]), named)
        found.append(
            {
                # A key that was hashed under an older pepper is there already, and may have been revoked since.
                "hashes": hasher.hashes(key) if key else [hashed],
                "key_id": ours.id if ours else _new_id(random),
                "hash": hashed,
                "prefix": f"{ours.prefix}_{ours.environment}" if ours else "",
                "last4": key[-LAST:],
                "pepper_version": version,
                "name": str(entry.get("name") or ""),
                "tenant": str(entry.get("tenant") or ""),
                "scopes": scopes.split() if isinstance(scopes, str) else [str(one) for one in scopes],
                "expires": str(entry["expires"]) if entry.get("expires") else None,
            }
        )
    return found


def _parsed(key: str) -> Any:
    try:
        return parse(key)
    except PlatformError:
        return None


def _refuse_for_production(key: str, made_for: str, environment: str, named: str) -> None:
    if made_for and made_for != environment:
        raise PlatformError(
            f"{named} was made for {made_for}, and this is {environment}", "Issue one for it. Nothing was changed."
        )
    if key and len(key) < SHORTEST:
        raise PlatformError(
            f"{named} has fewer than {SHORTEST} characters, as keys of dev have, and this is {environment}",
            "Issue one for it. Nothing was changed.",
        )


def _checked_version(version: Any, hasher: Hasher, named: str) -> int:
    if version is not None and not str(version).isdecimal():
        raise PlatformError(f"The `pepper_version` of {named} is no number", "It is one of those in `peppers`, or 0.")
    return hasher.version(None if version is None else int(version))


def _checked_hash(text: str, named: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise PlatformError(f"The hash of {named} is no HMAC-SHA256 in hex", "It has 64 digits.")
    return text.lower()


def _new_id(random: Callable[[int], bytes]) -> str:
    """An id for a key that has none in its text."""
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in random(ID_LENGTH))


def scanner_rules(prefix: str) -> str:
    """A configuration of gitleaks, with what GitHub's custom patterns take in its comments."""
    found = pattern(prefix)
    return (
        f"# Finds API keys of {prefix}. gitleaks: gitleaks detect --config <this file>\n"
        "# GitHub secret scanning: Settings, Code security, Custom patterns, New pattern:\n"
        f"#   Pattern name:   {prefix} API key\n"
        f"#   Secret format:  {found.removeprefix(WORD).removesuffix(WORD)}\n"
        "#   Before secret:  \\A|[^0-9A-Za-z_]\n"
        "#   After secret:   \\z|[^0-9A-Za-z_]\n"
        f'title = "{RULES_TITLE}"\n\n'
        # Without it gitleaks knows this one rule only.
        "[extend]\nuseDefault = true\n\n"
        f'[[rules]]\nid = "{prefix}-api-key"\ndescription = "API key of {prefix}"\n'
        f"regex = '''{found}'''\nkeywords = [\"{prefix}_\"]\n"
    )
