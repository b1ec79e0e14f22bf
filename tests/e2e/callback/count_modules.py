# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a line for every module that Ansible executes on a host, facts and those inside action plugins included."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: count_modules
type: aggregate
short_description: Count module executions
description: Appends the name of each executed module to the file named by COUNT_MODULES_FILE.
"""

_execute = ActionBase._execute_module


def _counted(self: Any, module_name: str | None = None, *args: Any, **kwargs: Any) -> Any:
    with open(os.environ["COUNT_MODULES_FILE"], "a", encoding="utf-8") as handle:
        handle.write(f"{module_name or self._task.action}\n")
    return _execute(self, module_name, *args, **kwargs)


class CallbackModule(CallbackBase):
    """Callbacks load before the workers that execute modules are forked, so those run the counted method."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "count_modules"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        ActionBase._execute_module = _counted
