# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sink of API keys holds: the keys that are current, and those that were staged and not committed yet.

`keys` and `pending` are entries by label. What else is in a document belongs to somebody else and is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

Entry = dict[str, Any]
Document = dict[str, Any]
# What only a key that is not committed yet has.
_STAGING = ("hash", "pepper_version", "staged", "replaces", "old_row", "table")


def pending_of(document: Mapping[str, Any]) -> dict[str, Entry]:
    return dict(document.get("pending") or {})


def keys_of(document: Mapping[str, Any]) -> dict[str, Entry]:
    return dict(document.get("keys") or {})


def staged(document: Document, entries: Iterable[Entry]) -> Document:
    """The document with new keys beside those that are current."""
    return {
        **document,
        "keys": keys_of(document),
        "pending": pending_of(document) | {entry["id"]: entry for entry in entries},
    }


def discarded(document: Document, ids: Collection[str]) -> Document:
    """The document without keys that were staged and are not in the database."""
    pending = {name: entry for name, entry in pending_of(document).items() if name not in ids}
    return {**document, "keys": keys_of(document), "pending": pending}


def finished(document: Document, entries: Iterable[Entry], gone: Collection[str] = ()) -> Document:
    """The document with keys that the database has in the place of those they replace; those that are gone go here too. A `ref` names a row."""
    pending = pending_of(document)
    # What another run finished already may have been replaced since, and must not come back.
    entries = [entry for entry in entries if entry["id"] in pending]
    away = {entry["replaces"] for entry in entries if entry.get("replaces")} | set(gone)
    keys = {label: entry for label, entry in keys_of(document).items() if entry.get("ref") not in away}
    for entry in entries:
        kept = {name: value for name, value in entry.items() if name not in _STAGING and value not in (None, "", [])}
        label = label_of(entry)
        # Two keys may have one name; then the second goes by its id.
        taken = label in keys and keys[label].get("id") != entry["id"]
        keys[entry["id"] if taken else label] = kept
    left = pending.keys() - {entry["id"] for entry in entries}
    return {**document, "keys": keys, "pending": {name: entry for name, entry in pending.items() if name in left}}


def label_of(entry: Mapping[str, Any]) -> str:
    """Under which name a consumer finds its key; the same before and after a rotation."""
    return (
        "/".join(part for part in (str(entry.get("tenant") or ""), entry["name"]) if part)
        if entry.get("name")
        else str(entry["id"])
    )


def as_lines(document: Mapping[str, Any]) -> str:
    """One line of JSON a key."""
    lines = [
        json.dumps({"label": label, "state": state, **entry}, ensure_ascii=False)
        for state, entries in (("current", keys_of(document)), ("pending", pending_of(document)))
        for label, entry in entries.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def from_lines(text: str) -> Document:
    """What `as_lines` wrote. ValueError where it is something else."""
    document: Document = {"keys": {}, "pending": {}}
    for line in filter(str.strip, text.split("\n")):
        entry = json.loads(line)
        if not isinstance(entry, dict) or "label" not in entry or entry.get("state") not in ("current", "pending"):
            raise ValueError("a line is no key")
        where = document["keys" if entry.pop("state") == "current" else "pending"]
        where[entry.pop("label")] = entry
    return document


# What JSON may hold as it is, and YAML neither reads nor keeps.
_UNWRITTEN = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
# The names in YAML, where other variables may stand beside.
YAML_NAMES = {"keys": "api_keys", "pending": "api_keys_pending"}


def as_yaml(document: Mapping[str, Any]) -> str:
    """A mapping that may be used as a file of variables; each key is one line, JSON being YAML."""
    parts = ["---\n"]
    for name, value in document.items():
        if name not in YAML_NAMES:
            parts.append(f"{_json(name)}: {_json(value)}\n")
            continue
        lines = [f"  {_json(label)}: {_json(entry)}\n" for label, entry in value.items()]
        parts += [f"{YAML_NAMES[name]}:\n", *lines] if lines else [f"{YAML_NAMES[name]}: {{}}\n"]
    return "".join(parts)


def _json(value: Any) -> str:
    return _UNWRITTEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def from_yaml(content: Any) -> Document:
    """The document in a mapping that was read. ValueError where it is something else."""
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ValueError("it is no mapping")
    names: dict[Any, str] = {shown: name for name, shown in YAML_NAMES.items()}
    document: Document = {names.get(name, str(name)): value for name, value in content.items()}
    for name in YAML_NAMES:
        part = document.setdefault(name, {}) or {}
        if not isinstance(part, dict) or not all(isinstance(entry, dict) and "id" in entry for entry in part.values()):
            raise ValueError(f"its {YAML_NAMES[name]} are no keys")
        document[name] = part
    return document
