# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Engine that does not answer keeps on disk: a stopped Engine must not look like a host without data.

Loads in Python 3.8, see `_preflight.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError

SETTINGS = Path("/etc/docker/daemon.json")
DEFAULT = "/var/lib/docker"


def configured_root(settings: Path = SETTINGS) -> str:
    """Where an Engine that cannot be asked keeps its data."""
    try:
        return str(json.loads(settings.read_text()).get("data-root") or DEFAULT)
    except (OSError, ValueError, AttributeError):
        return DEFAULT


def volumes(engine: Engine, root: Path) -> list[str]:
    """The names of all volumes; from the disk where the Engine is not there."""
    try:
        return [str(volume["Name"]) for volume in engine.get("/volumes")["Volumes"] or ()]
    except EngineError as error:
        if error.status:
            raise
        return volumes_on_disk(root)


def volumes_on_disk(root: Path) -> list[str]:
    """The names of the volumes below an Engine's directory."""
    return _directories(root / "volumes")


def containers_on_disk(root: Path) -> list[str]:
    """The IDs of the containers below an Engine's directory."""
    return _directories(root / "containers")


def _directories(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
