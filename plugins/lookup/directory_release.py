# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
name: directory_release
short_description: Name a release after the content of a directory
version_added: 0.1.0
description:
  - Hashes what an image build would get of a directory on the controller (C(.dockerignore) applied).
  - For development, where an edit is a release. In stage and prod a release is named by people.
options:
  _terms:
    description: Directories.
    required: true
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Show the release of this directory
  ansible.builtin.debug:
    msg: "{{ lookup('lastro.platform.directory_release', playbook_dir) }}"
"""

RETURN = r"""
_raw:
  description: C(dev-) and the first 12 digits of the hash.
  type: list
  elements: str
  sample: [dev-0123456789ab]
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.lastro.platform.plugins.module_utils._image_context import context_hash


class LookupModule(LookupBase):
    """Hash directories of the controller."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        for path in terms:
            if not Path(path).is_dir():
                raise AnsibleLookupError(
                    f"{path} is not a directory. Correct app_compose_file, or give -e app_release=NAME."
                )
        return [f"dev-{context_hash(Path(path))[:12]}" for path in terms]
