# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How images start, and whether they have a shell; what was found once is remembered by image ID, as that never changes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine

FILE = "inspected.json"
FOUND = {"entrypoint", "cmd", "user", "shell"}
LEFT_BEHIND_SECONDS = 600


def inspect_images(
    engine: Engine, wanted: Mapping[str, str], present: Collection[str], work_dir: str, probing: bool
) -> dict[str, dict[str, Any]]:
    """What is known of the images `wanted`, name → ID; `present` are the IDs of all images of the host.

    Without `probing`, as in check mode, nothing is made: an image never looked at before comes without `shell`.
    """
    file = Path(work_dir) / FILE
    known = remembered(file)
    found = {name: known.get(image) or _started(engine, image) for name, image in wanted.items()}
    if not probing:
        return found
    for name in (name for name, one in found.items() if "shell" not in one):
        found[name]["shell"] = has_shell(engine, wanted[name])
    kept = {image: one for image, one in known.items() if image in present}
    kept.update((wanted[name], one) for name, one in found.items())
    if kept != known:
        remember(file, kept)
    return found


def remembered(file: Path) -> dict[str, dict[str, Any]]:
    """What earlier runs found, by image ID; nothing where the file is missing, torn, or of another version."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {image: one for image, one in entries if isinstance(one, dict) and set(one) == FOUND}


def remember(file: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the file by rename. Of two runs at once the last one wins; what is lost is found again."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
    part.replace(file)


def has_shell(engine: Engine, image: str) -> bool:
    """Whether an image has a shell. Only a container's files can be asked for; it is never started."""
    for probe in engine.containers(lastro__probe="shell"):
        # What a killed run left; a younger one may be in use by another platform's run.
        if probe["Created"] < time.time() - LEFT_BEHIND_SECONDS:
            engine.delete(f"/containers/{probe['Id']}", force=1)
    body = {"Image": image, "Entrypoint": [], "Cmd": ["true"], "Labels": {"lastro.probe": "shell"}}
    container = engine.post("/containers/create", body)["Id"]
    try:
        return engine.exists(f"/containers/{container}/archive?path=/bin/sh")
    finally:
        engine.delete(f"/containers/{container}", force=1)


def _started(engine: Engine, image: str) -> dict[str, Any]:
    """How an image starts."""
    config = engine.get(f"/images/{image}/json")["Config"]
    return {
        "entrypoint": config.get("Entrypoint") or [],
        "cmd": config.get("Cmd") or [],
        "user": config.get("User") or "",
    }
