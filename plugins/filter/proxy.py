# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: proxy
short_description: Shape routes for the proxy's configuration
version_added: 0.1.0
author: Lastro maintainers (@lastro-dev)
description:
  - Turns routes and hosts into the rules in the order in which they are tried and the backends of both colours with all
    their slots.
options:
  _input:
    description: The routes, as the role lastro.platform.proxy takes them in O(ignore:proxy_routes).
    type: list
    elements: dict
    required: true
  app_hosts:
    description: The hosts that run the application, each with C(name) and C(address).
    type: list
    elements: dict
    required: true
  before:
    description:
      - The C(colour) that serves and the C(routes) of its release. Where the services differ, this colour keeps its own routes.
    type: dict
"""

EXAMPLES = r"""
- name: Show the backends
  ansible.builtin.debug:
    msg: "{{ proxy_routes | lastro.platform.proxy(proxy_app_hosts) }}"
"""

RETURN = r"""
_value:
  description: C(routes) of each colour; C(rules), a list of C(host), C(path), C(service) and, where the colours differ, C(colour);
    C(backends), each with C(name), C(health), C(timeout_seconds) and C(servers); and C(static), the services of which a file that one
    colour lacks is looked for in the other, with the colours that have them.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import model


def proxy(
    routes: Sequence[Mapping[str, Any]], app_hosts: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    try:
        return model(routes, app_hosts, before)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"proxy": proxy}
