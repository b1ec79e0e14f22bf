#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: platform_status
short_description: Read what runs of a platform on one host
version_added: 0.1.0
description:
  - Reads the platform's containers and volumes from the Engine, in one look.
  - With O(probes) also runs a command in a container of each service named, which proves that the service does its work.
attributes:
  check_mode:
    support: full
    description: Reads only; probes are not run.
  diff_mode:
    support: none
    description: Nothing is changed.
  idempotent:
    support: full
    description: Nothing is changed.
options:
  platform:
    description: Name of the platform.
    type: str
    required: true
  colour:
    description: The colour that serves; containers of the other one are marked idle.
    type: str
    choices: [blue, green]
  state_directory:
    description: Directory of the platform's files, for the ledger, the lease, and what M(lastro.platform.migrate_seed) kept of its runs.
    type: path
  probes:
    description: Commands to run inside a container of a service of the serving colour.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: Service of the application.
        type: str
        required: true
      command:
        description: Command and its arguments.
        type: list
        elements: str
        required: true
extends_documentation_fragment:
  - lastro.platform.engine
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Read what runs
  lastro.platform.platform_status:
    platform: shop
    colour: blue
"""

RETURN = r"""
services:
  description: A row for each service, its containers counted.
  returned: success
  type: list
  elements: dict
  sample:
    - {group: blue, service: web, running: 2, total: 2, state: healthy, image: "shop/web:1.4.2", release: 1.4.2, addresses: ["10.0.0.5:18000"]}
volumes:
  description: Names of the platform's volumes.
  returned: success
  type: list
  elements: str
  sample: [shop_postgres_data]
jobs:
  description: How the last migrations and seeds ended.
  returned: success
  type: list
  elements: dict
  sample: [{service: migrate, state: exited 0, release: 1.4.2}]
probes:
  description: Result of each probe.
  returned: success
  type: list
  elements: dict
  sample: [{service: worker, ok: true, answer: "job done in 0.2 s"}]
ledger:
  description: The last releases by the host's ledger, the release that it says serves, and what is wrong with the ledger.
  returned: success
  type: dict
  sample:
    releases: [{at: 1796231703.2, event: release, state: open, release: 1.4.2, colour: green, who: ana, where: "ci-7", seconds: 41.2, run: 2026…, why: ""}]
    kept: 1.4.2
    problem: ""
changing:
  description: The run that has the lease, in words; empty where none has.
  returned: success
  type: str
  sample: run 42 (release of 1.4.2, by ana from ci-7, since 2026-11-30 17:21:06 UTC)
trying:
  description: The release that this host's proxy serves provisionally, in words; empty where it tries none.
  returned: success
  type: str
  sample: 1.4.2 (green) to 25 % of the clients, until 2026-11-30 17:23:06 UTC unless it is kept; then blue again
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _ledger
from ansible_collections.lastro.platform.plugins.module_utils._checks_host import with_secrets
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import read as read_lease
from ansible_collections.lastro.platform.plugins.module_utils._migration_record import records
from ansible_collections.lastro.platform.plugins.module_utils._proxy_provisional import pending
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import StackDirectory
from ansible_collections.lastro.platform.plugins.module_utils._status import jobs, part, rows

# How many of the last releases are shown, and what of each.
RELEASES = 5
SHOWN = ("at", "event", "state", "release", "colour", "who", "where", "seconds", "run", "why")
NO_LEDGER: dict[str, Any] = {"releases": [], "kept": "", "problem": ""}


def _containers(engine: Engine, platform: str) -> list[dict[str, Any]]:
    found = engine.get("/containers/json", all="true", filters={"label": ["com.docker.compose.project"]})
    return [c for c in found if part(c["Labels"]["com.docker.compose.project"], platform)]


def _probe(engine: Engine, containers: list[dict[str, Any]], project: str, probe: dict[str, Any]) -> dict[str, Any]:
    for container in containers:
        labels = container["Labels"]
        here = labels["com.docker.compose.project"] == project and labels.get("lastro.service") == probe["service"]
        if here and container["State"] == "running":
            found = engine.get(f"/containers/{container['Id']}/json")
            code, output = engine.run(container["Id"], with_secrets(found, probe["command"]))
            lines = output.strip().splitlines()
            return {"service": probe["service"], "ok": code == 0, "answer": lines[-1][:200] if lines else ""}
    return {"service": probe["service"], "ok": False, "answer": "no container of it runs"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "platform": {"type": "str", "required": True},
            "colour": {"type": "str", "choices": ["blue", "green"]},
            "state_directory": {"type": "path"},
            "probes": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "service": {"type": "str", "required": True},
                    "command": {"type": "list", "elements": "str", "required": True},
                },
            },
            "engine": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    platform, colour = module.params["platform"], module.params["colour"]
    engine = Engine(module.params["engine"])
    try:
        containers = _containers(engine, platform)
        volumes = [entry["Name"] for entry in engine.get("/volumes")["Volumes"] or []]
        wanted = [] if module.check_mode else module.params["probes"]
        probes = [_probe(engine, containers, f"{platform}-{colour}", probe) for probe in wanted]
        directory = module.params["state_directory"]
        kept = records(Path(directory, "migrations")) if directory else []
        ledger, changing, trying = past(directory) if directory else ({}, "", "")
    except EngineError as error:
        if not (module.check_mode and error.status == 0):
            module.fail_json(msg=str(error))
        containers, volumes, probes, kept, ledger, changing, trying = [], [], [], [], {}, "", ""
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        services=rows(containers, platform, colour),
        volumes=sorted(name for name in volumes if name.startswith(f"{platform}_")),
        jobs=jobs(containers, platform, kept),
        probes=probes,
        ledger={**NO_LEDGER, **ledger},
        changing=changing,
        trying=trying,
    )


def past(directory: str) -> tuple[dict[str, Any], str, str]:
    """What the host keeps of the releases; and in words, which run changes the platform now, and which release its proxy tries. Empty where none."""
    found, lease = _ledger.read(directory), read_lease(directory)
    releases = _ledger.releases(found.entries)
    shown = [{key: one.get(key, "") for key in SHOWN} for one in releases[-RELEASES:]]
    ledger = {"releases": shown, "kept": _ledger.kept(found.entries), "problem": found.problem}
    switch = pending(StackDirectory(f"{directory}/proxy"))
    return ledger, lease.said() if lease and lease.holds(time.time()) else "", switch.said() if switch else ""


if __name__ == "__main__":
    main()
