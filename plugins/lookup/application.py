# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
name: application
short_description: What a Compose file means to the platform
version_added: 0.1.0
description:
  - Reads the application's Compose file on the controller and returns what other roles need to know of it, as images, routes and ports.
  - Refuses what can't run in two colours, naming file and line.
options:
  _terms:
    description: Path of the Compose file.
    required: true
extends_documentation_fragment:
  - lastro.platform.application
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Show the routes of an application
  ansible.builtin.debug:
    msg: "{{ lookup('lastro.platform.application', 'compose.yaml', platform='shop', address='10.0.0.5', release='1.4.2').routes }}"
"""

RETURN = r"""
_raw:
  description: Images (items of the module M(lastro.platform.images)), routes, replicas, secrets, provided services, what is dropped.
  type: list
  elements: dict
  sample:
    - release: 1.4.2
      routes: [{service: web, hosts: [], path: /, health: /health, ports: {blue: [18000], green: [18256]}}]
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import load, outline

_OPTIONS = (
    "platform", "address", "release", "environment", "env", "port_base", "replicas_max", "replicas", "profiles", "allow_privileged",
)  # fmt: skip


class LookupModule(LookupBase):
    """Read Compose files on the controller."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        arguments = {name: self.get_option(name) for name in _OPTIONS}
        try:
            return [outline(*load({"compose_file": path, **arguments})) for path in terms]
        except PlatformError as error:
            raise AnsibleLookupError(str(error)) from error
