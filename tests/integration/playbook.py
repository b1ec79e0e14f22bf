# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks against this machine, which stands for every host of an inventory: what is decided from what several of them said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}


def play(
    folder: Path,
    playbook: str | Sequence[Mapping[str, Any]],
    groups: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    variables: Mapping[str, Any],
    *arguments: str,
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection (by name) or plays; `hosts` are variables by host, `variables` those of all hosts."""
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "children": groups, "vars": {**LOCAL, **variables}}}))
    if isinstance(playbook, str):
        path = REPOSITORY / "playbooks" / f"{playbook}.yml"
    else:
        path = folder / "playbook.json"
        path.write_text(json.dumps(playbook))
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(path), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
