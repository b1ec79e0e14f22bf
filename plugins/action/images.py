# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module `images`: application directories, and progress while it works.

One execution of the module says what is missing. Only when something is, contexts travel and the module runs in the
background, so that its progress can be shown.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_context import context_hash, write_context

MODULE = "lastro.platform.images"
STATUS = "ansible.legacy.async_status"
LIMIT_SECONDS = 7200
# Each look costs a round trip to the host; a person sees no difference below a second.
LOOK_SECONDS = 1.0

display = Display()


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            arguments["images"] = [self._located(item) for item in arguments.get("images") or []]
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}
        looking = bool(self._task.check_mode)
        seen = self._execute_module(MODULE, {**arguments, "plan_only": not looking}, task_vars=task_vars)
        if seen.get("failed") or not seen.get("changed") or looking or arguments.get("plan_only"):
            return {**result, **seen}
        missing = [name for name, image in seen["images"].items() if image["action"] == "build"]
        host = (task_vars or {}).get("inventory_hostname", "")
        folder = self._make_tmp_path()
        # The run in the background removes its own folder when it ends; this one has to stay until it was read.
        self._connection._shell.tmpdir = None
        try:
            arguments["images"] = [self._sent(item, folder, missing) for item in arguments["images"]]
            progress = self._connection._shell.join_path(folder, "progress")
            made = self._follow({**arguments, "progress": progress}, progress, host, task_vars)
        finally:
            self._remove_tmp_path(folder, force=True)
        return {**result, **made, "diff": made.get("diff") or seen.get("diff")}

    def _located(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item with the content hash of its directory on the controller, which the module compares."""
        if not item.get("context_local"):
            return item
        # A relative path is meant from the playbook, as everywhere in Ansible.
        directory = self._loader.path_dwim(item["context_local"])
        return {**item, "context_local": directory, "context": directory, "context_hash": context_hash(Path(directory))}

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

    def _follow(
        self, arguments: dict[str, Any], progress: str, host: str, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Run the module in the background to its end, showing what it writes to its progress file."""
        self._task.async_val = LIMIT_SECONDS
        started: dict[str, Any] = self._execute_module(MODULE, arguments, task_vars=task_vars, wrap_async=True)
        self._task.async_val = 0
        if started.get("failed") or "ansible_job_id" not in started:
            return started
        job = {"jid": started["ansible_job_id"], "_async_dir": self.get_shell_option("async_dir", "~/.ansible_async")}
        shown, deadline = 0, time.monotonic() + LIMIT_SECONDS
        while True:
            status = self._execute_module(STATUS, {**job, "mode": "status"}, task_vars=task_vars)
            shown = self._show(progress, shown, host)
            if status.get("finished") or (status.get("failed") and "started" not in status):
                self._execute_module(STATUS, {**job, "mode": "cleanup"}, task_vars=task_vars)
                return {
                    key: value for key, value in status.items() if key not in ("started", "finished", "results_file")
                }
            if time.monotonic() > deadline:
                return {"failed": True, "msg": f"Images were not ready after {LIMIT_SECONDS} s. Run again: it goes on."}
            time.sleep(LOOK_SECONDS)

    def _show(self, progress: str, shown: int, host: str) -> int:
        """Print what came to the progress file since the last look; how many bytes of it are shown now."""
        answer = self._low_level_execute_command(f"tail -c +{shown + 1} {shlex.quote(progress)} 2>/dev/null || true")
        text, newline, _ = answer["stdout"].rpartition("\n")
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # A banner of the login shell.
            display.display(f"{host}: {event['image']} {event['seconds']:>4} s  {event['text']}")
        return shown + len((text + newline).encode())
