# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action plugin whose module works for minutes: it runs in the background, and what it reports is shown meanwhile."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

STATUS = "ansible.legacy.async_status"
LIMIT_SECONDS = 7200
# Each look costs a round trip to the host; a person sees no difference below a second.
LOOK_SECONDS = 1.0

display = Display()


class BackgroundAction(ActionBase):
    """Has `followed`: the module's result, like that of `_execute_module`."""

    _supports_check_mode = True
    _supports_async = False

    def work_folder(self) -> str:
        """A folder on the host that stays until the caller removes it.

        The run in the background removes Ansible's own when it ends, before the last lines were read.
        """
        folder: str = self._make_tmp_path()
        self._connection._shell.tmpdir = None
        return folder

    def followed(
        self,
        module: str,
        arguments: dict[str, Any],
        folder: str,
        task_vars: dict[str, Any] | None,
        limit: int = LIMIT_SECONDS,
    ) -> dict[str, Any]:
        """Run the module in the background to its end, showing what it writes to its progress file."""
        progress = self._connection._shell.join_path(folder, "progress")
        self._task.async_val = limit
        started: dict[str, Any] = self._execute_module(
            module, {**arguments, "progress": progress}, task_vars=task_vars, wrap_async=True
        )
        self._task.async_val = 0
        if started.get("failed") or "ansible_job_id" not in started:
            return started
        job = {"jid": started["ansible_job_id"], "_async_dir": self.get_shell_option("async_dir", "~/.ansible_async")}
        host = (task_vars or {}).get("inventory_hostname", "")
        shown, deadline = 0, time.monotonic() + limit
        while True:
            status = self._execute_module(STATUS, {**job, "mode": "status"}, task_vars=task_vars)
            shown = self._show(progress, shown, host)
            if status.get("finished") or (status.get("failed") and "started" not in status):
                self._execute_module(STATUS, {**job, "mode": "cleanup"}, task_vars=task_vars)
                return {
                    key: value for key, value in status.items() if key not in ("started", "finished", "results_file")
                }
            if time.monotonic() > deadline:
                return {
                    "failed": True,
                    "msg": f"{module} had not ended after {limit} s and goes on. Run again: it is waited for.",
                }
            time.sleep(LOOK_SECONDS)

    def _show(self, progress: str, shown: int, host: str) -> int:
        """Print what came to the progress file since the last look; how many bytes of it are shown now."""
        answer = self._low_level_execute_command(f"tail -c +{shown + 1} {shlex.quote(progress)} 2>/dev/null || true")
        text, newline, _rest = answer["stdout"].rpartition("\n")
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # A banner of the login shell.
            display.display(f"{host}: {event['about']} {event['seconds']:>4} s  {event['text']}")
        return shown + len((text + newline).encode())
