# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module `preflight`, and speak for a host on which it could not run.

It is the first to reach a host. Where there is no way in or no Python, Ansible says so without a cure.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.lastro.platform.plugins.plugin_utils import _contact


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        try:
            result: dict[str, Any] = self._execute_module(task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            # Without its cause, which Ansible would print a second time.
            raise AnsibleConnectionFailure(str(_contact.no_connection(str(error)))) from None
        problem = _contact.not_run(result) if result.get("failed") else None
        return {"failed": True, "msg": str(problem)} if problem else result
