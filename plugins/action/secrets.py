# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module `secrets` and hide what it found.

`no_log` on a task hides its failure too, and the failure of this module is what an operator has to read.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The values travel in the result of the module: censor it, unless it failed (then it holds none)."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        # The connection prints what a module wrote at -vvv unless it is told not to.
        self._play_context.no_log = True
        result: dict[str, Any] = self._execute_module(task_vars=task_vars)
        result["_ansible_no_log"] = not result.get("failed")
        return result
