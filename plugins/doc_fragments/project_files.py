# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a Compose project; their argument spec is in plugins/module_utils/_stack_files.py."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module writes beside a Compose file."""

    DOCUMENTATION = r"""
options:
  files:
    description: Files that the module manages. A file that is taken off this list is removed, once no service waits for a restart.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path relative to O(directory).
        type: str
        required: true
      content:
        description: Content of the file.
        type: str
        required: true
      mode:
        description: Octal mode as a string. V(0400) for a secret, else V(0644).
        type: str
      owner:
        description: Numeric C(uid:gid).
        type: str
        default: "0:0"
      secret:
        description: The content is kept out of every output; the file's directory gets mode 0700.
        type: bool
        default: false
      frozen:
        description:
          - The path carries the content's digest, so its content never changes. Such a file may be mounted by itself.
        type: bool
        default: false
"""
