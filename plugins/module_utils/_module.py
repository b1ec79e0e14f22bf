# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module class for arguments that hold secrets somewhere inside."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


class UnloggedModule(AnsibleModule):
    """Writes nothing of its arguments to the system log.

    Ansible logs them while the module is constructed, before a secret inside a list of files can be registered; the
    constructor's own `no_log` is overruled by what the task says.
    """

    def _log_invocation(self) -> None:
        """Nothing: the run's own output tells what was done."""
