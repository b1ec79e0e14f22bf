# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of every module that changes something of a platform."""

from __future__ import annotations


class ModuleDocFragment:
    """Which run it is that changes something."""

    DOCUMENTATION = r"""
options:
  lease:
    description:
      - Which run this is, as M(lastro.platform.release_lease) returned it. Nothing is changed where a newer run was on the host, or
        another one has the lease. playbooks/deploy.yml gives it to all of its tasks, by C(module_defaults) of the action group
        C(lastro.platform.changes).
      - Without it nobody is asked.
    type: dict
    suboptions:
      directory:
        description: The platform's directory on the host.
        type: path
        required: true
      run:
        description: What tells this run from every other one.
        type: str
        required: true
      number:
        description: The number of the run.
        type: int
        required: true
"""
