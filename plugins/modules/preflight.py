#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look at a host once, and say everything that stands in the way
description:
  - Reads what a deploy needs to know about a host, in one go and instead of gathering facts, and returns it as the fact
    C(platform_host).
  - Fails with one line a problem and its cure, all of them together, before anything is changed.
  - It runs on a bare host, with or without Docker, with or without an init system.
  - With O(platform_id) a host without problems keeps whose O(state_directory) it is; nothing else is changed. In check mode it only
    says whether it would (RV(unclaimed)), so that a deploy can look at all of its hosts before it changes the first.
  - Where a host can't be reached, has no Python or no room for a module, the failure says so with its cure.
version_added: 0.1.0
author:
  - Lastro maintainers (@lastro)
attributes:
  check_mode:
    support: full
    description: Reads and fails as it does otherwise.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: Changes nothing once the host knows its platform.
options:
  state_directory:
    description: Where the platform keeps its files; disk space is looked at here and where Docker keeps its own.
    type: path
    required: true
  disk_free_gb:
    description: Free space needed in GiB, in both places.
    type: float
    default: 6
  memory_mb:
    description: Memory needed in MiB. A tenth less is accepted, as the kernel keeps some for itself.
    type: int
    default: 2048
  ports:
    description: TCP ports that the platform will listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port, or several.
        type: list
        elements: int
        required: true
      address:
        description: The address it will listen on.
        type: str
        default: 0.0.0.0
      owner:
        description: The Compose project the port is for. A container of that project may hold it already.
        type: str
        default: ""
  platform:
    description:
      - Name of the platform. With it also the directories are looked at in which Compose projects of that name (C(shop-postgres) of
        C(shop)) have their files; where one of them is another platform's, the host is refused.
    type: str
    default: ""
  platform_id:
    description:
      - What tells this platform from every other one, whatever their names. Kept in O(state_directory) by the first run; a
        directory of another one is refused.
    type: str
    default: ""
  controller_time:
    description: The controller's clock, in seconds since 1970. The host's is not compared when not given.
    type: float
  clock_skew_seconds:
    description: How far the host's clock may be from O(controller_time).
    type: float
    default: 60
  reachable:
    description: Services that have to accept a TCP connection from this host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What to call it.
        type: str
        required: true
      host:
        description: Name or address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
"""

EXAMPLES = r"""
- name: Look at the host
  lastro.platform.preflight:
    state_directory: /var/lib/lastro/demo
    platform_id: demo-3f9a
    controller_time: "{{ now(utc=true).timestamp() }}"
    ports:
      - {port: 5432, address: 172.30.77.1, owner: demo-postgres}
    reachable:
      - {name: the managed Redis, host: redis.internal, port: 6379}

- name: Use what it found
  ansible.builtin.debug:
    msg: "{{ ansible_facts.platform_host.distribution }} {{ ansible_facts.platform_host.version }}"
"""

RETURN = r"""
ansible_facts:
  description: What the host is like.
  returned: always
  type: dict
  contains:
    platform_host:
      description: The readings.
      type: dict
      sample:
        distribution: debian
        version: "12"
        codename: bookworm
        architecture: x86_64
        python: /usr/bin/python3
        python_version: 3.11.2
        memory_bytes: 4106530816
        cpus: 2
        disk_free_bytes: {"/var/lib/docker": 21474836480, "/var/lib/lastro/demo": 21474836480}
        init: systemd
        fence: 41
        proxy: {colour: blue, routes: [{service: web, hosts: [], path: /, health: /health, ports: {blue: [18000], green: [18256]}}]}
        stacks: [app-blue, postgres, proxy]
        docker:
          installed: true
          running: true
          version: "20.10.24"
          root: /var/lib/docker
          projects: [shop-blue, shop-postgres]
          digests: ["sha256:b43d2dcbbdb1f9e1582e3a0f37e53bf79038522ccffb56a25858969d7a9b6c11"]
unclaimed:
  description: Whether the host did not know yet whose O(state_directory) it is.
  returned: always
  type: bool
  sample: false
problems:
  description: What stands in the way.
  returned: always
  type: list
  elements: dict
  sample: []
  contains:
    problem:
      description: What is wrong.
      type: str
    cure:
      description: What to do about it.
      type: str
"""

import os
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _preflight, _preflight_readings

SYSTEM = ("distribution", "version", "codename", "architecture", "python", "python_version", "init")
FACTS = (*SYSTEM, "memory_bytes", "cpus", "docker", "fence", "proxy", "stacks")

PORT = {
    "port": {"type": "list", "elements": "int", "required": True},
    "address": {"type": "str", "default": "0.0.0.0"},  # looked at, not listened on  # nosec B104
    "owner": {"type": "str", "default": ""},
}
TARGET = {name: {"type": kind, "required": True} for name, kind in (("name", "str"), ("host", "str"), ("port", "int"))}


def facts_of(readings: dict[str, Any]) -> dict[str, Any]:
    """The readings that other tasks may use."""
    free = {path: disk["free_bytes"] for path, disk in readings["disks"].items()}
    return {**{name: readings[name] for name in FACTS}, "disk_free_bytes": free}


def claim(state_directory: str, platform_id: str) -> None:
    """Keep whose directory this is."""
    os.makedirs(state_directory, mode=0o755, exist_ok=True)
    path = os.path.join(state_directory, _preflight.IDENTITY)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(f"{platform_id}\n")
    os.replace(f"{path}.new", path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_directory": {"type": "path", "required": True},
            "disk_free_gb": {"type": "float", "default": 6},
            "memory_mb": {"type": "int", "default": 2048},
            "ports": {"type": "list", "elements": "dict", "default": [], "options": PORT},
            "reachable": {"type": "list", "elements": "dict", "default": [], "options": TARGET},
            "platform": {"type": "str", "default": ""},
            "platform_id": {"type": "str", "default": ""},
            "controller_time": {"type": "float"},
            "clock_skew_seconds": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    ports = [{**wanted, "port": port} for wanted in options["ports"] for port in wanted["port"]]
    readings = _preflight_readings.take(options["platform"], options["state_directory"], ports, options["reachable"])
    limits = _preflight.Limits(options["disk_free_gb"], options["memory_mb"], options["clock_skew_seconds"])
    controller = _preflight.Controller(options["controller_time"], options["platform_id"])
    found = _preflight.problems(readings, limits, ports, controller)
    unclaimed = bool(options["platform_id"]) and not readings["owners"][options["state_directory"]]
    result = {
        "unclaimed": unclaimed,
        "ansible_facts": {"platform_host": facts_of(readings)},
        "problems": [asdict(problem) for problem in found],
    }
    if found:
        module.fail_json(msg="\n".join(str(problem) for problem in found), **result)
    if unclaimed and not module.check_mode:
        claim(options["state_directory"], options["platform_id"])
    module.exit_json(changed=unclaimed, **result)


if __name__ == "__main__":
    main()
