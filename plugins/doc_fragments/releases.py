# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that keeps some releases and lets go of older ones."""

from __future__ import annotations


class ModuleDocFragment:
    """Which images have releases, and how many of them are kept."""

    DOCUMENTATION = r"""
options:
  releases:
    description: Names of images of which each release is a new tag, as those of an application.
    type: list
    elements: str
    default: []
  keep:
    description: How many releases of each image in O(releases) are kept, the last ones; V(0) keeps all.
    type: int
    default: 0
"""
