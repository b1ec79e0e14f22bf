# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module `release_watch` on every host until one of them has seen enough: the others need not look on, as all go back together.

Each host's task is a process of its own, a child of the one that the operator started. They share its temporary directory, so the first that fails
leaves a note there, and the others have their module end.
"""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

LOOK_SECONDS = 0.2
# The module is under way by then, so that a second command does not meet it while it starts.
BEGUN_SECONDS = 2.0

display = Display()


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        note = Path(constants.DEFAULT_LOCAL_TMP) / f"release-watch-{self._task._uuid}"
        # On the host, where it does not outlive a reboot.
        stop = f"/run/lastro-watch-{self._task._uuid}-{os.getpid()}"
        over, told = threading.Event(), threading.Event()
        listener = threading.Thread(target=self._listen, args=(note, stop, over, told), daemon=True)
        listener.start()
        try:
            done: dict[str, Any] = self._execute_module(
                module_args={**self._task.args, "stop_file": stop}, task_vars=task_vars
            )
        except AnsibleConnectionFailure:
            note.touch()
            raise
        finally:
            over.set()
            listener.join()
        if done.get("failed"):
            note.touch()
        if told.is_set():
            self._low_level_execute_command(f"rm -f {shlex.quote(stop)}")
        return done

    def _listen(self, note: Path, stop: str, over: threading.Event, told: threading.Event) -> None:
        """Have the module on this host end where another one's has failed. Where that cannot be said it ends by its time."""
        wait = BEGUN_SECONDS
        while not over.wait(wait):
            wait = LOOK_SECONDS
            if note.exists():
                told.set()
                try:
                    done = self._low_level_execute_command(f"touch {shlex.quote(stop)}")
                    problem = done["stderr"] if done["rc"] else ""
                except AnsibleError as error:
                    problem = str(error)
                if problem:
                    display.v(f"The watch goes on to its end: {problem}")
                return
