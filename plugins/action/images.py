# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module `images`: application directories, and progress while it works.

One execution of the module says what is missing. Only when something is, contexts travel and the module runs in the
background, so that its progress can be shown.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_context import context_hash, write_context
from ansible_collections.lastro.platform.plugins.plugin_utils._background import BackgroundAction

MODULE = "lastro.platform.images"

display = Display()


class ActionModule(BackgroundAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        pulled = bool(arguments.get("registry")) and arguments.get("source") == "pull"
        try:
            arguments["images"] = [self._located(item, pulled) for item in arguments.get("images") or []]
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}
        looking = bool(self._task.check_mode)
        seen = self._execute_module(MODULE, {**arguments, "plan_only": not looking}, task_vars=task_vars)
        if seen.get("failed") or not seen.get("changed") or looking or arguments.get("plan_only"):
            return {**result, **seen}
        missing = [name for name, image in seen["images"].items() if image["action"] == "build"]
        folder = self.work_folder()
        try:
            arguments["images"] = [self._sent(item, folder, missing) for item in arguments["images"]]
            made = self.followed(MODULE, arguments, folder, task_vars)
        finally:
            self._remove_tmp_path(folder, force=True)
        return {**result, **made, "diff": made.get("diff") or seen.get("diff")}

    def _located(self, item: dict[str, Any], pulled: bool) -> dict[str, Any]:
        """The item with the content hash of its directory on the controller, which the module compares.

        An image that is pulled whatever the directory holds is not hashed.
        """
        if not item.get("context_local"):
            return item
        # A relative path is meant from the playbook, as everywhere in Ansible.
        directory = self._loader.path_dwim(item["context_local"])
        content = "" if pulled else context_hash(Path(directory))
        return {**item, "context_local": directory, "context": directory, "context_hash": content}

    def _sent(self, item: dict[str, Any], folder: str, missing: list[str]) -> dict[str, Any]:
        """The item with its context on the host; a directory of the host itself is used where it is."""
        local = item.pop("context_local", None)
        if not local or item["name"] not in missing or self._connection.transport == "local":
            return item
        target = self._connection._shell.join_path(folder, f"{item['context_hash']}.tar")
        with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
            write_context(local, {}, (), tar)
            tar.flush()
            display.display(f"{item['name']}: sending {Path(tar.name).stat().st_size / 2**20:.1f} MiB")
            self._transfer_file(tar.name, target)
        self._fixup_perms2([folder, target])
        return {**item, "context": target}
