# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the module `api_key` on the controller: look, stage in the sink, have the host commit, finish the sink, tell consumers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import check_names
from ansible_collections.lastro.platform.plugins.module_utils._api_key_host import COMMIT_WITHIN_SECONDS
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import seconds_of
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils import _key_material as material
from ansible_collections.lastro.platform.plugins.plugin_utils._key_document import (
    Entry,
    keys_of,
    label_of,
    pending_of,
)
from ansible_collections.lastro.platform.plugins.plugin_utils._key_notices import message_of
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import Sink

# No run can commit after the first; what is left of the second is for a host that stood still.
ABANDONED_SECONDS = COMMIT_WITHIN_SECONDS + 300
# Runs a phase of the module on the host: the phase and what it needs to know.
Execute = Callable[[str, dict[str, Any]], dict[str, Any]]


class HostFailed(PlatformError):
    """The host's half failed. `undone` says that it knows that it changed nothing."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        super().__init__(str(result.get("msg", "The module failed")))
        self.result = result
        self.undone = bool(result.get("undone"))


class KeyRun:
    """What the options ask for, done once."""

    def __init__(
        self,
        params: Mapping[str, Any],
        execute: Execute,
        sink: Sink | None,
        random: Callable[[int], bytes],
        tell: Callable[[dict[str, Any]], list[str]],
        check: bool,
    ) -> None:
        self.params = params
        self.state = params["state"]
        self._execute = execute
        self.sink = sink
        self.random = random
        # Tells consumers; what failed comes back.
        self._tell = tell
        self.check = check
        self.place = ""
        self.table: str | None = None
        self.hasher = material.Hasher(params["peppers"], params["salt"])
        self.result: dict[str, Any] = {
            "changed": False,
            "keys": [],
            "lost": [],
            "schema": [],
            "notices": [],
            "warnings": [],
        }
        self.seconds = {"generate": 0.0, "sink": 0.0, "statements": 0.0, "runs": 0.0}

    def run(self) -> dict[str, Any]:
        """The result; after a failure what is known of it is in `result` too."""
        makes = self.state in ("present", "rotated")
        if makes and (self.sink is None or not (self.params["prefix"] and self.params["environment"])):
            raise PlatformError(f"state: {self.state} makes keys", "Give `sink`, `prefix` and `environment`.")
        if makes or self.state == "imported":
            self.hasher.version(None)
        if makes:
            # A name that no key can have is refused before anything is looked at.
            check_names(self.params["prefix"], self.params["environment"])
        if self.state == "imported" and self.params["environment"]:
            check_names(self.params["prefix"] or "any", self.params["environment"])
        looked = self.look()
        if self.state in ("present", "rotated", "imported"):
            self.hasher.refuse_missing(looked["peppers"])
        getattr(self, f"_{self.state}")(looked)
        return self.result

    def host(self, phase: str, request: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        done = self._execute(phase, {**request, "scheme": self.hasher.scheme})
        self.seconds["runs"] += time.perf_counter() - began
        if done.get("failed"):
            raise HostFailed(done)
        self.seconds["statements"] += done["statement_seconds"]
        return done

    def ref(self, key_id: str, row: str) -> str:
        """What names a key in the sink: its own id; its row where the table has no column for that."""
        return f"{self.place}{row}" if self.place else key_id

    # Looking, and ending what a run before began.

    def look(self) -> dict[str, Any]:
        pending = pending_of(self._sink("read")) if self.sink else {}
        request = {
            "hashes": [entry.get("hash", "") for entry in pending.values()],
            "replaced": [entry["old_row"] for entry in pending.values() if entry.get("old_row")],
        }
        looked = self.host("look", request)
        self.result["schema"] = looked["schema"]
        if looked["schema"] and not self.check:
            self.result["changed"] = True
            self.result["healed"] = self.host("prepare", {})["healed"]
            looked = self.host("look", request)
        elif looked["schema"]:
            self.result["changed"] = True
        self.place, self.table = looked["place"], looked.get("table")
        self.result["peppers"] = looked["peppers"]
        self.result["notices"] += looked["notices"]
        # Several tables may share a sink, and a standby may not have seen yet what was committed.
        if self.sink and self.state != "listed":
            self.settle(
                {name: entry for name, entry in pending.items() if entry.get("table") in (None, looked.get("table"))},
                looked,
            )
        return looked

    def settle(self, pending: Mapping[str, Entry], looked: Mapping[str, Any]) -> None:
        """Staged keys that are in the database are finished; those that nobody can commit any more are discarded."""
        known = {
            entry["id"]: {**entry, "ref": self.ref(entry["id"], looked["known"][entry["hash"]])}
            for entry in pending.values()
            if entry.get("hash") in looked["known"]
        }
        before = looked["now"] - ABANDONED_SECONDS
        old = {name for name, entry in pending.items() if name not in known and entry.get("staged", 0) < before}
        if known or old:
            self.result["changed"] = True
        if (known or old) and not self.check:
            entries = list(known.values())
            self._sink("finish", entries, self._dead(entries), old)
            # The run that died had told nobody.
            replacing = [entry for entry in entries if entry.get("replaces")]
            self._tell_of("rotated", [settled_key(entry, looked["ends"]) for entry in replacing])
        self.result["settled"] = {
            "finished": sorted(known),
            "discarded": sorted(old),
            "waiting": sorted(set(pending) - set(known) - old),
        }

    # The states.

    def _listed(self, looked: Mapping[str, Any]) -> None:
        self.result["keys"] = looked["keys"]

    def _present(self, looked: Mapping[str, Any]) -> None:
        self.result["keys"] = looked["keys"]
        if looked["keys"] and self.sink:
            held = {entry.get("ref") for entry in keys_of(self._sink("read")).values()}
            absent = [key["id"] for key in looked["keys"] if self.ref(key["id"], key["row"]) not in held]
            if absent:
                self.result["notices"].append(
                    f"The sink does not have {', '.join(absent)}; rotate where a plain key is needed."
                )
        if looked["keys"]:
            self._say_scopes(looked["keys"])
            return
        wanted = {name: self.params[name] for name in ("name", "tenant", "scopes")}
        if self.check:
            self.result["changed"] = True
        else:
            self._made([wanted], looked["now"])

    def _say_scopes(self, keys: list[dict[str, Any]]) -> None:
        wanted = set(self.params["scopes"])
        for key in keys:
            has = key.get("scopes", [])
            has = has.split() if isinstance(has, str) else has
            if wanted and set(has) != wanted:
                self.result["notices"].append(
                    f"{key['id']} may do {', '.join(has) or 'nothing'}, and a key keeps that; revoke it to have another issued."
                )

    def _rotated(self, looked: Mapping[str, Any]) -> None:
        due = looked["due"]
        if self.check:
            self.result["changed"] |= bool(due)
            self.result["keys"] = due
        elif due:
            self._made([{**key, "ref": self.ref(key["id"], key["row"])} for key in due], looked["now"])
            self._tell_of(self.state, self.result["keys"])

    def _made(self, wanted: list[dict[str, Any]], now: float) -> None:
        """Make keys, have them committed, and leave in the sink what was."""
        began = time.perf_counter()
        entries = material.issue(
            wanted, self.params["prefix"], self.params["environment"], self.hasher, self.random, now
        )
        for entry in entries:
            entry["table"] = self.table
        self.seconds["generate"] += time.perf_counter() - began
        ids = [entry["id"] for entry in entries]
        try:
            self._sink("stage", entries)
            done = self.host("apply", {"keys": [material.for_database(entry) for entry in entries], "looked": now})
        except HostFailed as failed:
            if not failed.undone:
                raise PlatformError(
                    f"{failed.problem.rstrip('.')}. Nobody knows whether it was committed",
                    "The new keys stay staged in the sink. Run again when the server is back: it finishes what was committed.",
                ) from failed
            self._discard(ids)
            raise
        except PlatformError:
            self._discard(ids)
            raise
        self._finish(wanted, entries, done)

    def _finish(self, wanted: list[dict[str, Any]], entries: list[Entry], done: Mapping[str, Any]) -> None:
        won, lost, shown = [], [], []
        for old, entry in zip(wanted, entries, strict=True):
            row = done["won"].get(entry["hash"])
            if row is None:
                lost.append((old.get("id", ""), entry["id"]))
                continue
            won.append({**entry, "ref": self.ref(entry["id"], row)})
            shown.append(self._shown(old, entry, row, done.get("ends", {})))
        self.result["keys"] = shown
        self.result["lost"] = [old for old, _new in lost if old]
        self.result["changed"] |= bool(won)
        if lost:
            self.result["notices"].append(f"Another run did it first: {len(lost)} of {len(entries)}.")
        if not won:
            self._discard([new for _old, new in lost])
            return
        try:
            self._sink("finish", won, self._dead(won), [new for _old, new in lost])
        except PlatformError as error:
            raise PlatformError(
                f"The keys are in the database, and the sink was not finished: {error}",
                "It has them as pending. Run again when it is back: that finishes it.",
            ) from error

    def _dead(self, won: list[Entry]) -> set[str]:
        """Keys of the sink whose place those that were issued anew take: consumers look for them by name, and no good one had it."""
        labels = {label_of(entry) for entry in won if not entry.get("replaces")}
        held = keys_of(self._sink("read")).items() if labels else ()
        return {entry["ref"] for label, entry in held if label in labels and entry.get("ref")}

    def _shown(self, old: Mapping[str, Any], entry: Entry, row: str, ends: Mapping[str, Any]) -> dict[str, Any]:
        new = material.for_database(entry)
        shown = {"id": entry["id"], "row": row, "prefix": new["prefix"], "last4": new["last4"]}
        shown |= {name: old[name] for name in ("name", "tenant", "scopes") if old.get(name)}
        if "id" not in old:
            return shown
        shown |= {"replaces": old["id"], "old_ends": ends.get(old["row"])}
        retire = seconds_of(self.params["retire_on_first_use"], "retire_on_first_use")
        return shown if retire is None else {**shown, "retire_after_first_use_seconds": int(retire)}

    def _revoked(self, looked: Mapping[str, Any]) -> None:
        due = looked["due"]
        self.result["keys"] = due
        self.result["changed"] |= bool(due)
        if self.check or not due:
            return
        ended = set(self.host("apply", {"rows": [key["row"] for key in due]})["rows"])
        self.result["keys"] = [key for key in due if key["row"] in ended]
        self.result["lost"] = [key["id"] for key in due if key["row"] not in ended]
        # They do not work any more, whatever becomes of the sink.
        self._tell_of(self.state, self.result["keys"])
        if self.sink:
            try:
                self._sink("finish", [], {self.ref(key["id"], key["row"]) for key in self.result["keys"]})
            except PlatformError as error:
                raise PlatformError(
                    f"The keys are revoked, and the sink still has them: {error}",
                    "Remove them there when it is back; a key that is issued by the same name takes their place.",
                ) from error

    def _pruned(self, looked: Mapping[str, Any]) -> None:
        self.result["keys"] = looked["due"]
        self.result["changed"] |= bool(looked["due"])
        if looked["due"] and not self.check:
            rows = set(self.host("apply", {})["rows"])
            self.result["keys"] = [key for key in looked["due"] if key["row"] in rows]

    def _imported(self, looked: Mapping[str, Any]) -> None:
        keys = material.imported(self._entries(), self.params["environment"] or "", self.hasher, self.random)
        hashes = [each for key in keys for each in key["hashes"]]
        known = self.host("look", {"hashes": hashes})["known"] if keys else {}
        new = [key for key in {key["hash"]: key for key in keys}.values() if known.keys().isdisjoint(key.pop("hashes"))]
        self.result["changed"] |= bool(new)
        if new and not self.check:
            won = self.host("apply", {"keys": new, "looked": looked["now"]})["won"]
            new = [{**key, "row": won[key["hash"]]} for key in new if key["hash"] in won]
        self.result["keys"] = [
            {
                "id": key["key_id"],
                **{name: key[name] for name in ("row", "prefix", "name", "tenant", "scopes") if key.get(name)},
            }
            for key in new
        ]

    def _entries(self) -> list[Mapping[str, Any]]:
        entries: list[Mapping[str, Any]] = list(self.params["hashes"])
        if self.params["import_file"]:
            entries += material.read_import(self.params["import_file"])
        if self.params["import_sink"]:
            if self.sink is None:
                raise PlatformError("`import_sink` is given without a `sink`", "Give it.")
            entries += keys_of(self._sink("read")).values()
        return entries

    # What is between.

    def _sink(self, method: str, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return getattr(self.sink, method)(*arguments)
        finally:
            self.seconds["sink"] += time.perf_counter() - began

    def _discard(self, ids: list[str]) -> None:
        try:
            self._sink("discard", ids)
        except PlatformError as error:
            self.result["warnings"].append(
                f"Staged keys that were not committed may still be in the sink: {error} A run after {ABANDONED_SECONDS // 60} minutes removes them."
            )

    def _tell_of(self, state: str, keys: list[dict[str, Any]]) -> None:
        if keys:
            self.result["warnings"] += self._tell(message_of(state, keys))


def settled_key(entry: Entry, ends: Mapping[str, Any]) -> dict[str, Any]:
    """What consumers may know of a key that an earlier run committed."""
    told = {name: entry[name] for name in ("id", "name", "tenant") if entry.get(name)}
    if entry.get("old_row") in ends:
        told["old_ends"] = ends[entry["old_row"]]
    return {**told, "prefix": material.for_database(entry)["prefix"], "replaces": entry["replaces"].rsplit("#")[-1]}
