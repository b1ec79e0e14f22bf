# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module `release_record`, and lay out what it recalls on the controller, as the user's own files were."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        result: dict[str, Any] = self._execute_module(task_vars=task_vars)
        # At -vvv Ansible shows what a module was given, which are the user's files.
        result.pop("invocation", None)
        source = result.get("source")
        if result.get("failed") or not source:
            return result
        # Ansible removes that directory when it ends.
        folder = Path(tempfile.mkdtemp(prefix="release-", dir=constants.DEFAULT_LOCAL_TMP))
        lay_out(source, folder)
        kept = {key: value for key, value in source.items() if key not in ("text", "files")}
        # Values of the Compose file's variables are nobody's business either.
        return {**result, "source": kept, "compose_file": str(folder / source["name"]), "_ansible_no_log": True}


def lay_out(source: Mapping[str, Any], folder: Path) -> None:
    """The Compose file and what it reads, with the modes that they had."""
    (folder / source["name"]).write_text(source["text"], encoding="utf-8")
    for path, file in source["files"].items():
        place = Path(os.path.normpath(folder / path))
        if folder not in place.parents:
            raise ValueError(f"{path} is not beside the Compose file")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(base64.b64decode(file["content"]))
        place.chmod(0o700 if file["executable"] else 0o600)
