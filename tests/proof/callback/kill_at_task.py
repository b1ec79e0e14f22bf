# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the run by SIGKILL as a task begins: nothing is tidied up, as when the machine that deploys loses its power."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_at_task
type: aggregate
short_description: Kill the run at a task
description: KILL_AT_TASK is its number, from 1 on; 0 kills none. KILL_FOLDER gets the files C(tasks), the names of all that began, and
  C(acting), the numbers of those that did something on a host.
"""

# What the controller does by itself.
CONTROLLER = {
    "set_fact",
    "fail",
    "assert",
    "debug",
    "validate_argument_spec",
    "include_tasks",
    "include_role",
    "import_role",
}


class CallbackModule(CallbackBase):
    """Counts tasks as they begin."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at_task"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.folder = Path(os.environ["KILL_FOLDER"])

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """At the boundary: all tasks before are done on all hosts, this one has not begun anywhere."""
        self.number += 1
        with (self.folder / "tasks").open("a") as file:
            file.write(f"{task.get_name()}\n")
        if self.number == int(os.environ["KILL_AT_TASK"]):
            os.kill(os.getpid(), signal.SIGKILL)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Not called where a task was skipped."""
        if result._task.action.rpartition(".")[2] not in CONTROLLER:
            with (self.folder / "acting").open("a") as file:
                file.write(f"{self.number}\n")
