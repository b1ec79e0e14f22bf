# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to start a release again: what its colour was made from, kept on every host of the application (docs/decisions/ledger.md)."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _ledger
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
)

FOLDER = "releases"


def file_of(release: str) -> str:
    """The name of a release's record. Whatever a release is called, it is a file of its own in that folder."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", release)[:100]
    mark = (
        ""
        if plain == release and not release.startswith(".")
        else f"-{hashlib.sha256(release.encode()).hexdigest()[:12]}"
    )
    return f"{FOLDER}/r-{plain}{mark}.json"


def keep(directory: str, release: str, source: Mapping[str, Any], number: int) -> bool:
    """Write the record of a release, and let go of all but so many, the last ones. Whether anything changed."""
    place = StackDirectory(directory)
    text = json.dumps({"release": release, "source": source}, sort_keys=True)
    file = ManagedFile(file_of(release), text.encode(), 0o600, 0, 0)
    changed = bool(place.differs(file))
    place.ensure(ManagedDirectory(FOLDER, 0o700, 0, 0))
    if changed:
        place.write(file)
    else:
        # The newest by its time is the last that was released.
        os.utime(os.path.join(directory, file.path))
    others = sorted(
        (f"{FOLDER}/{name}" for name in os.listdir(os.path.join(directory, FOLDER)) if name.endswith(".json")),
        key=lambda path: os.stat(os.path.join(directory, path)).st_mtime,
    )
    others.remove(file.path)
    for path in others[: max(0, len(others) + 1 - number)] if number else []:
        place.remove(path)
    return changed


def _records(directory: str) -> list[dict[str, Any]]:
    folder = os.path.join(directory, FOLDER)
    found = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [json.loads(_read(os.path.join(folder, name))) for name in found if name.endswith(".json")]


def kept(directory: str) -> list[str]:
    """The releases of which there is a record."""
    return [record["release"] for record in _records(directory)]


def images(directory: str) -> set[str]:
    """The images without which those releases could not start again."""
    return {name for record in _records(directory) for name in record["source"]["images"]}


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def recall(directory: str, release: str, engine: Engine, ignore_migrations: bool, project: str = "") -> dict[str, Any]:
    """`release` and its `source`: the release that is named, else the last good one. PlatformError where it can't come back.

    What serves is what the containers of `project` say, those of the colour that serves; only where there are none, the ledger.
    """
    ledger = _ledger.read(directory)
    if ledger.problem:
        raise PlatformError(
            f"The ledger {directory}/{_ledger.FILE} of this host was tampered with: {ledger.problem}",
            "Compare it with another host's, and put back what is right; then roll back.",
        )
    serving = _running(engine, project) or _ledger.kept(ledger.entries)
    wanted = release or _ledger.last_good(ledger.entries, serving)
    there = kept(directory)
    known = f"Kept here: {', '.join(there) or 'none'}."
    if not wanted:
        raise PlatformError(
            f"There is nothing to roll back to: no release was kept before {serving or 'this one'}", known
        )
    if wanted == serving:
        raise PlatformError(f"Release {wanted} serves already", f"Name another one: -e release=…. {known}")
    if wanted not in there:
        raise PlatformError(
            f"This host has no record of release {wanted}", f"{known} Deploy it instead: -e app_release={wanted}"
        )
    stand_in_the_way = _ledger.one_way(ledger.entries, wanted)
    if stand_in_the_way and not ignore_migrations:
        raise PlatformError(
            f"Since release {wanted} the database was migrated in ways that it may not bear: {', '.join(stand_in_the_way)}"
            " (contract, or of a class that is not known)",
            "Code rolls back, the schema does not: deploy a corrected release. If you know that this one runs on it: -e release_ignore_migrations=true",
        )
    source = json.loads(_read(os.path.join(directory, file_of(wanted))))["source"]
    _require_images(engine, wanted, source["images"])
    text = json.dumps([source["text"], source["files"]], sort_keys=True)
    return {
        "release": wanted,
        "source": source,
        "serving": serving,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
    }


def _running(engine: Engine, project: str) -> str:
    """The release of the containers of a Compose project; empty where it has none."""
    found = engine.containers(com__docker__compose__project=project) if project else []
    return next((one["Labels"]["lastro.release"] for one in found if one["Labels"].get("lastro.release")), "")


def _require_images(engine: Engine, release: str, images: Mapping[str, Mapping[str, Any]]) -> None:
    """Every image is on this host, and is the very one that the release ran."""
    wrong = []
    for name, image in images.items():
        try:
            found = engine.get(f"/images/{name}/json")["Id"]
        except EngineError as error:
            if error.status != 404:
                raise
            found = ""
        if found != image["id"]:
            wrong.append(f"{name} is {'another image by now' if found else 'not here any more'}")
    if wrong:
        raise PlatformError(
            f"Release {release} can't start again: {', '.join(wrong)}", f"Deploy it instead: -e app_release={release}"
        )
