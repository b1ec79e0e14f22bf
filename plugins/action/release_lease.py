# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module `release_lease` for whoever runs Ansible, and take the lease of a run of this machine that is dead."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.lastro.platform.plugins.plugin_utils import _controller

display = Display()


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        # A task runs in a process of its own, a child of the one that the operator started.
        arguments = {**self._task.args, "holder": _controller.holder(os.environ, os.getppid())}
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        held = result.get("held_by") or {}
        if not (result.get("failed") and _controller.is_dead(held.get("holder", {}).get("process"))):
            return result
        display.v(f"Run {held['number']} was started on this machine and is dead: its lease is taken over.")
        arguments["take_over"] = held["number"]
        return self._execute_module(module_args=arguments, task_vars=task_vars)  # type: ignore[no-any-return]
