# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module `image_promote`: the inventory's digests, and progress while it works.

The file is written here, so that it belongs to whoever called and not to root.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._image_keep import remembered
from ansible_collections.lastro.platform.plugins.module_utils._image_promote import UNKNOWN, digests_text
from ansible_collections.lastro.platform.plugins.plugin_utils._background import BackgroundAction

MODULE = "lastro.platform.image_promote"


class ActionModule(BackgroundAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments, looking = dict(self._task.args), bool(self._task.check_mode)
        file = Path(self._loader.path_dwim(arguments["digests_file"]))
        source = arguments.get("source_digests_file")
        try:
            recorded = read_digests(file)
            arguments["digests"] = recorded
            if source:
                arguments["source_digests"] = read_digests(Path(self._loader.path_dwim(source)))
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}
        made = self._execute_module(MODULE, {**arguments, "plan_only": not looking}, task_vars=task_vars)
        if made.get("changed") and not made.get("failed") and not looking:
            folder = self.work_folder()
            try:
                made = self.followed(MODULE, arguments, folder, task_vars)
            finally:
                self._remove_tmp_path(folder, force=True)
        if made.get("failed"):
            return {**result, **made}
        promoted = {name: image["digest"] or UNKNOWN for name, image in made["images"].items()}
        releases, keep = arguments.get("releases") or [], int(arguments.get("keep") or 0)
        digests = remembered(recorded, promoted, releases, keep)
        written = digests_text(digests) != digests_text(recorded)
        if written and not looking:
            try:
                write_digests(file, digests)
            except PlatformError as error:
                return {**result, "failed": True, "msg": str(error)}
        diff = {"before_header": str(file), "after_header": str(file)}
        diff.update(before=digests_text(recorded), after=digests_text(digests))
        return {**result, **made, "changed": made["changed"] or written, "diff": [made.get("diff") or {}, diff]}


def read_digests(file: Path) -> dict[str, str]:
    """The digests that an inventory's file holds; none where there is no file yet."""
    if not file.exists():
        return {}
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise PlatformError(f"{file} is no YAML: {error}", "Take it from version control again.") from error
    digests = content.get("images_digests") or {} if isinstance(content, dict) else None
    if not isinstance(digests, dict) or set(content) - {"images_digests"}:
        raise PlatformError(
            f"{file} holds more than images_digests", "Move the rest to another file: this one is written as a whole."
        )
    return {str(name): str(digest) for name, digest in digests.items()}


def write_digests(file: Path, digests: dict[str, str]) -> None:
    """Write the file by rename: a deploy may be reading it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(digests_text(digests))
        temporary.replace(file)
    except OSError as error:
        raise of_the_host(error, str(file)) from error
