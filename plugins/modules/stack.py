#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: stack
short_description: Reconcile one Docker Compose project and its files on one host
version_added: 0.1.0
description:
  - Brings one Compose project to the state that is described, with one call for all its services, files and directories.
  - What is right already is not touched. With nothing to do no Compose process is started at all, the Engine is asked once.
  - Files are written by rename. A service that reads a changed file is recreated, or told to reload where
    C(x-platform.reload) says how. The module records what each service has loaded after it did so; a run that was killed
    between writing and reloading is completed by the next.
  - Drift that is seen and repaired is a container that is missing, extra, stopped, unhealthy, created by hand, of another image ID or
    of another definition; a managed file of other content, mode or owner; a missing network or volume. Containers of services that are no longer
    described are removed. Everything else (a network that a running container was disconnected from by hand, changed
    cgroup limits, files inside volumes) is out of scope.
  - Compose's own configuration hash is not used. A new version of Compose or of the Engine recreates nothing.
attributes:
  check_mode:
    support: full
    description: Says for each service what would happen and why. Compose is never called.
  diff_mode:
    support: full
    description: Shows the Compose file and the files, of secret files a digest; and service by service what is done and why.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  project:
    description: Name of the Compose project.
    type: str
    required: true
  directory:
    description: Directory of the stack on the host. Relative binds in O(compose) and paths of O(files) are relative to it.
    type: path
    required: true
  compose:
    description:
      - The Compose file as a dict. A C($) in it is passed literally, variables are not expanded.
      - "C(x-platform: {one_shot: true}) in a service says that its good state is to have ended with 0 (a migration).
        It runs again only when its definition, image or files change, or when it had failed. One that a killed run left running
        is not touched but waited for, as one that was started, and how it ends counts."
      - "C(x-platform: {create: true}) in an external volume creates it where it is missing. Its name is C(name), else its key."
      - "C(x-platform.reload) in a service is a list of C({files: [patterns], signal: NAME | [NAMES]}) or
        C({files: [patterns], command: [words]}); files that match need no recreation of the container."
      - Required for O(state=present).
    type: dict
  directories:
    description: Directories that containers write to, made before the containers.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path relative to O(directory).
        type: str
        required: true
      mode:
        description: Octal mode as a string.
        type: str
        default: "0755"
      owner:
        description: Numeric C(uid:gid).
        type: str
        default: "0:0"
  hold:
    description:
      - Services that are not recreated while they run (databases). What would have been done is returned in RV(pending).
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) runs the project, V(stopped) stops its containers and keeps them.
      - V(started) starts the containers that V(stopped) kept, as they are, and waits until they are healthy. It fails where there are none.
      - V(absent) removes containers, networks and managed files, and keeps volumes unless O(remove_volumes=true).
      - V(stopped) and V(absent) fail where the Engine does not answer although the host has one, as containers may run on without it.
        In check mode nothing runs there, as M(lastro.platform.docker_engine) would have started the Engine.
    type: str
    choices: [present, started, stopped, absent]
    default: present
  wait_timeout:
    description: Seconds that a service may take until it runs and is healthy, a one-shot until it has ended.
    type: float
    default: 120
  tail:
    description: With O(state=stopped), how many of the last log lines of each container are returned.
    type: int
    default: 0
  remove_volumes:
    description: With O(state=absent), also remove the project's volumes and everything below O(directory).
    type: bool
    default: false
extends_documentation_fragment:
  - lastro.platform.engine
  - lastro.platform.lease
  - lastro.platform.project_files
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Run a cache
  lastro.platform.stack:
    project: shop-cache
    directory: /var/lib/lastro/shop/cache
    compose:
      services:
        redis:
          image: lastro/redis:8
          user: "999:999"
          command: [redis-server, /etc/redis/redis.conf]
          volumes: ["./config:/etc/redis:ro"]
          healthcheck: {test: [CMD, redis-cli, ping], interval: 2s}
    files:
      - path: config/redis.conf
        content: |
          maxmemory 64mb
          maxmemory-policy allkeys-lru

- name: Remove it and its data
  lastro.platform.stack:
    project: shop-cache
    directory: /var/lib/lastro/shop/cache
    state: absent
    remove_volumes: true
"""

RETURN = r"""
logs:
  description: The last log lines of each container before it was stopped, by its name.
  returned: with O(state=stopped)
  type: dict
  sample: {shop-green-web-1-1: "2026-11-30T17:21:06Z listening"}
services:
  description:
    - What happened (in check mode, what would happen) to each service, and why.
    - Its C(cause) is V(version) where something else is described than runs, V(damage) where what runs is broken.
    - A one-shot that still runs has C(action) V(none) and C(why) V(it still runs and is waited for); waiting does not count as changed.
  returned: always
  type: dict
  sample: {web: {action: recreate, why: its definition changed, cause: version}}
pending:
  description: Services on hold that a recreation is waiting for.
  returned: always
  type: list
  elements: dict
  sample: [{service: postgres, why: its definition changed}]
files:
  description: Files and directories written or removed, and why (V(new), V(content), V(mode), V(owner), V(gone)).
  returned: always
  type: list
  elements: dict
  sample: [{path: config/redis.conf, why: content}]
containers:
  description: Name, ID, service, state and health of each container of the project as last seen.
  returned: always
  type: list
  elements: dict
  sample: [{name: shop-cache-redis-1, id: 4c01db0b339c, service: redis, state: running, health: healthy}]
elapsed_seconds:
  description: Time spent inside the module.
  returned: always
  type: float
  sample: 0.04
"""

import time

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._module import UnloggedModule
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import FILES_SPEC, PLACE_SPEC, secret_texts
from ansible_collections.lastro.platform.plugins.module_utils._stack_run import StackRun


def main() -> None:
    module = UnloggedModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "compose": {"type": "dict"},
            "files": FILES_SPEC,
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**PLACE_SPEC, "mode": {"type": "str", "default": "0755"}},
            },
            "hold": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "started", "stopped", "absent"], "default": "present"},
            "wait_timeout": {"type": "float", "default": 120},
            "remove_volumes": {"type": "bool", "default": False},
            "tail": {"type": "int", "default": 0},
            "engine": {"type": "path", "default": "/var/run/docker.sock"},
            "lease": LEASE_SPEC,
        },
        required_if=[("state", "present", ["compose"])],
        supports_check_mode=True,
    )
    module.no_log_values.update(secret_texts(module.params["files"]))
    started = time.monotonic()
    try:
        with held(module.params["lease"], module.check_mode):
            run = StackRun(module.params, Engine(module.params["engine"]), module.check_mode)
            result = run.result()
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(elapsed_seconds=round(time.monotonic() - started, 3), **result)


if __name__ == "__main__":
    main()
