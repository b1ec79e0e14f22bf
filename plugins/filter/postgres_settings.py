# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: postgres_settings
author: Lastro maintainers (@lastro)
version_added: 0.1.0
short_description: Settings of a PostgreSQL server from its memory, CPUs and connections
description:
  - The lines of C(postgresql.conf) as a dictionary, values quoted. What is given wins over what is derived.
positional: memory_mb
options:
  _input:
    description: "Settings that win, as C({work_mem: 32MB})."
    type: dict
    required: true
  memory_mb:
    description: Memory the server may use, in MiB.
    type: int
    required: true
  max_connections:
    description: How many connections it takes.
    type: int
    default: 100
  cpus:
    description: How many CPUs it may use.
    type: float
    default: 1
"""

EXAMPLES = r"""
settings: "{{ {'log_min_duration_statement': '500ms'} | lastro.platform.postgres_settings(2048, max_connections=50) }}"
"""

RETURN = r"""
_value:
  description: Names and quoted values.
  type: dict
  sample: {max_connections: "50", shared_buffers: "'512MB'"}
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._postgres_settings import settings


def postgres_settings(
    overrides: Mapping[str, Any], memory_mb: int, max_connections: int = 100, cpus: float = 1
) -> dict[str, str]:
    """The filter; variables may come as strings."""
    try:
        return settings(int(memory_mb), int(max_connections), float(cpus), overrides)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"postgres_settings": postgres_settings}
