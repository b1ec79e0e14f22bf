# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of every module that speaks to the Docker Engine."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the Engine listens."""

    DOCUMENTATION = r"""
options:
  engine:
    description: Unix socket of the Docker Engine.
    type: path
    default: /var/run/docker.sock
"""
