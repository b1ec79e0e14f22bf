# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to a platform's releases: a file of JSON lines that only grows, each line with the hash of the one before.

A record for people and audits (docs/decisions/ledger.md). What serves is never read from it; which release to go back to is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FILE = "ledger.jsonl"
FIRST = "0" * 64


@dataclass(frozen=True)
class Ledger:
    """The entries of a host up to the first that is not what was written, and what is wrong there; empty where nothing is."""

    entries: list[dict[str, Any]]
    problem: str = ""


# What an entry of each kind has to say, besides its run.
EVENTS = {
    "release": {"outcome", "release"},
    "rollback": {"outcome", "release"},
    "closed": {"closes"},
    "migrated": {"migrations"},
}


def lacking(entry: Mapping[str, Any]) -> str:
    """Why this is no entry; empty where it is one."""
    if entry.get("event") not in EVENTS:
        return f"event is {entry.get('event')!r}, and has to be one of {', '.join(EVENTS)}"
    missing = sorted(
        name for name in {"run", *EVENTS[entry["event"]]} if entry.get(name) in (None, [], "") and name != "release"
    )
    if missing:
        return f"{', '.join(missing)} is missing"
    return "" if entry.get("outcome", "kept") in ("kept", "failed") else "outcome is neither kept nor failed"


def _text(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hash(entry: Mapping[str, Any]) -> str:
    """Of everything in a line but the hash itself; the hash of the line before is part of it."""
    return hashlib.sha256(_text({key: value for key, value in entry.items() if key != "hash"}).encode()).hexdigest()


def verified(lines: Iterable[str]) -> Ledger:
    """Read the lines, and see that each follows from the one before."""
    entries: list[dict[str, Any]] = []
    previous = FIRST
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError(line)
        except ValueError:
            return Ledger(entries, f"line {number} is not an entry")
        if entry.get("n") != number:
            return Ledger(entries, f"line {number} says that it is entry {entry.get('n')}: lines were removed or added")
        if entry.get("previous") != previous:
            return Ledger(entries, f"line {number} does not follow from line {number - 1}: one of them was changed")
        if entry.get("hash") != _hash(entry):
            return Ledger(entries, f"line {number} was changed after it was written")
        previous = entry["hash"]
        entries.append(entry)
    return Ledger(entries)


def read(directory: str) -> Ledger:
    """The ledger of this host. A line that a crash left unfinished was never an entry."""
    try:
        with open(os.path.join(directory, FILE), encoding="utf-8", newline="\n") as file:
            whole, _newline, _torn = file.read().rpartition("\n")
    except FileNotFoundError:
        return Ledger([])
    except UnicodeDecodeError:
        return Ledger([], "it is not text")
    return verified(whole.split("\n") if whole else [])


def append(directory: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry, safely on disk when this returns. To a ledger that was tampered with, too, which stays so for everybody to see."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    handle = os.open(os.path.join(directory, FILE), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.read()
        whole = before.rfind(b"\n") + 1
        if whole < len(before):
            file.truncate(whole)
        lines = before[:whole].splitlines()
        entry = {"at": round(time.time(), 3), **content, "n": len(lines) + 1, "previous": _last_hash(lines)}
        entry["hash"] = _hash(entry)
        file.write(f"{_text(entry)}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    return entry


def _last_hash(lines: list[bytes]) -> str:
    """What the last line says of itself; of a line that says nothing its own hash, so that it can't be exchanged later."""
    if not lines:
        return FIRST
    try:
        return str(json.loads(lines[-1])["hash"])
    except (ValueError, KeyError, TypeError):
        return hashlib.sha256(lines[-1]).hexdigest()


def releases(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The releases and rollbacks, oldest first, each with its `state`: failed, open or closed."""
    found: list[dict[str, Any]] = []
    for entry in entries:
        if entry["event"] == "closed":
            for one in found:
                if one["run"] == entry["closes"]:
                    one["state"] = "closed"
        elif entry["event"] in ("release", "rollback"):
            state = "failed" if entry["outcome"] == "failed" else "closed" if entry.get("closed") else "open"
            found.append({**entry, "state": state})
    return found


def last(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`run`, `release` and `state` of the newest release or rollback; empty strings where there is none."""
    found: dict[str, Any] = next(reversed(releases(entries)), {})
    return {name: found.get(name, "") for name in ("run", "release", "state")}


def kept(entries: Iterable[Mapping[str, Any]]) -> str:
    """The release that was kept last; empty where none was."""
    return next((one["release"] for one in reversed(releases(entries)) if one["state"] != "failed"), "")


def last_good(entries: Iterable[Mapping[str, Any]], serving: str) -> str:
    """The newest release that was kept, does not serve now, and was not left by a rollback since; empty where there is none."""
    kept: list[str] = []
    for one in releases(entries):
        if one["state"] == "failed" or not one["release"]:
            continue
        if one["event"] == "rollback":
            left = (one.get("before") or {}).get("release")
            kept = [release for release in kept if release != left]
        kept.append(one["release"])
    return next((release for release in reversed(kept) if release != serving), "")


def one_way(entries: Iterable[Mapping[str, Any]], release: str) -> list[str]:
    """The migrations since a release was last deployed that its program may not bear: contract, or of an unknown class. As `service revision`.

    A run that died left nothing but what it had written down at once, `migrated`, before it went on.
    """
    since: list[str] = []
    for entry in entries:
        if entry["event"] == "release" and entry["release"] == release and entry["outcome"] == "kept":
            since = []
            continue
        since += [
            f"{migration['service']} {step['id']}"
            for migration in entry.get("migrations") or []
            for step in migration["applied"]
            if {"contract", "unknown"} & set(step["classes"])
        ]
    return list(dict.fromkeys(since))
