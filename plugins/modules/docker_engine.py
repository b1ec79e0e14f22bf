#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine
short_description: A Docker Engine with Compose v2, its configuration and the platform's network
version_added: 0.1.0
description:
  - Installs what a host lacks of Docker Engine, client, Compose v2 and iptables, merges settings into
    C(/etc/docker/daemon.json), starts the Engine, and creates the platform's network. Everything in one execution.
  - What can be known not to end well is refused before anything is changed.
  - Parts that are there already are kept, whoever installed them, unless they are too old. The oldest supported are
    Engine 20.10 and Compose 2.20.
  - Works with systemd, with init scripts, and where nothing starts services at all.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Says item by item what would be done and why, also on a host without Docker and without python3-apt.
  diff_mode:
    support: full
    description: Shows the configuration and apt's files; and item by item what is done and why.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  source:
    description:
      - Where missing packages come from.
      - V(distribution) takes the distribution's packages. Debian 12 gets Compose from Debian 13, with a source that is
        pinned to that one package, on the mirror the host is configured with.
      - V(docker) takes them from the apt repository in O(repository_url).
      - V(none) installs nothing and only checks.
    type: str
    choices: [distribution, docker, none]
    default: distribution
  repository_url:
    description: For O(source=docker), URL of Docker's apt repository for this distribution, or of a mirror of it.
    type: str
  repository_key:
    description: For O(source=docker), the repository's public signing key, ASCII-armoured.
    type: str
  log_driver:
    description:
      - Log driver of containers. When not given, the one in C(daemon.json) is kept, and V(json-file) is set where there
        is none.
    type: str
  log_max_size:
    description: Size at which a container's log is rotated. For the log drivers C(json-file) and C(local).
    type: str
    default: 20m
  log_max_files:
    description: Number of log files kept for a container. For the log drivers C(json-file) and C(local).
    type: int
    default: 5
  live_restore:
    description: Whether containers run on while the Engine restarts. Never set on a member of a swarm.
    type: bool
    default: true
  address_pools:
    description: Address pools for networks that name no subnet. The Engine's own when empty.
    type: list
    elements: dict
    default: []
    suboptions:
      base:
        description: A network.
        type: str
        required: true
      size:
        description: Prefix length of each network taken from it.
        type: int
        required: true
  registry_mirrors:
    description: URLs of mirrors of the public registry.
    type: list
    elements: str
    default: []
  options:
    description: More keys of C(daemon.json), taken as they are, last.
    type: dict
    default: {}
  restart:
    description:
      - Whether a running Engine may be restarted for settings it does not take over by a reload. Otherwise
        RV(pending) says what waits. With O(live_restore) containers survive a restart.
    type: bool
    default: false
  network:
    description: Name of the platform's bridge network. None is made when not given.
    type: str
  subnet:
    description: Subnet of the network, as C(172.30.77.0/24). The Engine's choice when not given.
    type: str
  gateway:
    description: Address of this host in the network. The first of O(subnet) when not given.
    type: str
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Run Docker with the platform's network
  lastro.platform.docker_engine:
    network: shop
    subnet: 172.30.77.0/24

- name: Only check an Engine that somebody else looks after
  lastro.platform.docker_engine:
    source: none
    log_driver: local
    restart: false
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: C(repair), C(install), C(write), C(enable), C(start), C(reload), C(restart), C(create) or C(replace).
      type: str
      returned: always
    item:
      description: The package, file, service or network.
      type: str
      returned: always
    why:
      description: The reason.
      type: str
      returned: always
  sample: [{action: install, item: docker.io, why: no Docker Engine on this host}]
pending:
  description: What waits for a restart of the Engine, and why. Empty when nothing does.
  returned: always
  type: str
  sample: "The Engine runs with an older daemon.json (changed: log-opts)"
engine_version:
  description: Version of the running Engine. None where there is none yet.
  returned: always
  type: str
  sample: 26.1.5
compose_version:
  description: Version of the Compose plugin. None where there is none yet.
  returned: always
  type: str
  sample: 2.26.1-4
init:
  description: What starts services on the host.
  returned: always
  type: str
  sample: systemd
network:
  description: The platform's network. Empty when none was asked for, or in check mode where it does not exist.
  returned: always
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: when it exists
    subnet:
      description: Its subnet.
      type: str
      returned: when it exists
    gateway:
      description: The host's address in it.
      type: str
      returned: when it exists
  sample: {name: shop, subnet: 172.30.77.0/24, gateway: 172.30.77.1}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._docker_reconcile import reconcile
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held

POOL = {"base": {"type": "str", "required": True}, "size": {"type": "int", "required": True}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"choices": ["distribution", "docker", "none"], "default": "distribution"},
            "repository_url": {},
            "repository_key": {"no_log": False},
            "log_driver": {},
            "log_max_size": {"default": "20m"},
            "log_max_files": {"type": "int", "default": 5},
            "live_restore": {"type": "bool", "default": True},
            "address_pools": {"type": "list", "elements": "dict", "default": [], "options": POOL},
            "registry_mirrors": {"type": "list", "elements": "str", "default": []},
            "options": {"type": "dict", "default": {}},
            "restart": {"type": "bool", "default": False},
            "network": {},
            "subnet": {},
            "gateway": {},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        with held(module.params["lease"], module.check_mode):
            result = reconcile(module)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, "/etc")))
    if result["pending"]:
        module.warn(f"{result['pending']}. Restart pending: set docker_restart to true when it suits you.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
