# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: firewall_rules
short_description: The ports that a host opens, and to whom, from the groups it is in
version_added: 0.1.0
author: Lastro maintainers (@lastro-dev)
description:
  - Picks the services whose C(group) is among the host's own groups, and turns the groups that may use them into addresses.
  - A service that no host may use is left out.
options:
  _input:
    description:
      - The services, each with C(group) (who offers it), C(port) (a number or a range, none for VRRP), C(from) (names of the groups
        that may use it; everybody when left out), C(protocol) and C(comment).
    type: list
    elements: dict
    required: true
  group_names:
    description: The groups of the host.
    type: list
    elements: str
    required: true
  groups:
    description: All groups with the names of their hosts.
    type: dict
    required: true
  addresses:
    description: The address of each host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what this host opens
  ansible.builtin.debug:
    msg: "{{ services | lastro.platform.firewall_rules(group_names, groups, addresses) }}"
  vars:
    services:
      - {group: redis, port: 6379, from: [app, monitoring], comment: Redis}
    addresses: "{{ dict(groups.all | zip(groups.all | map('extract', hostvars, 'platform_private_address'))) }}"
"""

RETURN = r"""
_value:
  description: Rules as the module M(lastro.platform.firewall) takes them.
  type: list
  elements: dict
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lastro.platform.plugins.module_utils._firewall import EVERYWHERE


def firewall_rules(
    services: Sequence[Mapping[str, Any]],
    group_names: Collection[str],
    groups: Mapping[str, Sequence[str]],
    addresses: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The rules of a host that is in the groups `group_names`."""
    rules = []
    for service in services:
        if service["group"] not in group_names:
            continue
        clients = service.get("from")
        if clients is None:
            sources = list(EVERYWHERE)
        else:
            hosts = sorted({host for group in clients for host in groups.get(group, ())})
            sources = [_address(host, addresses) for host in hosts]
        if sources:
            ports = {} if service.get("port") is None else {"port": str(service["port"])}
            rule = {"protocol": service.get("protocol") or "tcp", "from": sources}
            rules.append({**ports, **rule, "comment": service.get("comment") or ""})
    return rules


def _address(host: str, addresses: Mapping[str, str]) -> str:
    if not addresses.get(host):
        raise AnsibleFilterError(
            f"The host {host} has no platform_private_address, so no firewall can tell it from a stranger. "
            f"Set it in host_vars/{host}.yml or beside the host in hosts.yml."
        )
    return addresses[host]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"firewall_rules": firewall_rules}
