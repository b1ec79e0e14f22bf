#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: platform_absent
short_description: Remove a platform from a host
version_added: 0.1.0
description:
  - Stops and removes all containers and networks of a platform and the files of its stacks.
  - Keeps volumes, secrets, records of migrations and images, so that the next deploy finds its data again, unless O(data=true).
  - Fails before anything is removed, in check mode too, where O(state_directory) is another platform's, or where the Engine does not
    answer although it has containers or volumes of the platform. What runs without its Engine would outlive its secrets.
attributes:
  check_mode:
    support: full
    description: Names what would go.
  diff_mode:
    support: none
    description: What goes is returned.
  idempotent:
    support: full
    description: A second run removes nothing.
options:
  platform:
    description: Name of the platform.
    type: str
    required: true
  platform_id:
    description: What tells this platform from every other one, whatever their names, as M(lastro.platform.preflight) keeps it on the host.
    type: str
    default: ""
  state_directory:
    description: Directory of the platform's files. Its subdirectories C(secrets) and C(migrations) are data.
    type: path
    required: true
  data:
    description: Also remove volumes, secrets and records of migrations. Nothing brings them back.
    type: bool
    default: false
  docker_root:
    description: Where the Engine keeps its data; looked at when it does not answer. By default what C(daemon.json) says.
    type: path
extends_documentation_fragment:
  - lastro.platform.engine
  - lastro.platform.lease
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Remove what runs and keep the data
  lastro.platform.platform_absent:
    platform: shop
    platform_id: shop-prod-7f3c
    state_directory: /var/lib/lastro/shop
"""

RETURN = r"""
containers:
  description: Names of the containers that went, or would go.
  returned: always
  type: list
  elements: str
  sample: [shop-redis-redis-1]
networks:
  description: Names of the networks that went.
  returned: always
  type: list
  elements: str
  sample: [shop, shop-blue_default]
volumes:
  description: Names of the volumes that went; empty unless O(data=true).
  returned: always
  type: list
  elements: str
  sample: [shop_postgres_data]
paths:
  description: Directories that went.
  returned: always
  type: list
  elements: str
  sample: [/var/lib/lastro/shop/redis]
kept:
  description: Volumes and directories with data that stay.
  returned: always
  type: list
  elements: str
  sample: [shop_postgres_data, /var/lib/lastro/shop/secrets]
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _docker_root, _lease, _ledger, _preflight
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._preflight_readings import platform_of
from ansible_collections.lastro.platform.plugins.module_utils._stack_engine import PROJECT, remove_containers
from ansible_collections.lastro.platform.plugins.module_utils._status import is_network_of, part

# Without the data these mean nothing, and the data nothing without them.
KEPT = ("migrations", "releases", "secrets")
# What says who did what, and what keeps a late run out; they go when the data does.
FILES = (_ledger.FILE, _lease.FILE, _lease.LOCK)


def require_own(state: str, platform_id: str) -> None:
    """Refuse the directory of another platform: a copied inventory has the same names."""
    problem = _preflight.belongs_to_another(state, platform_of(state), platform_id)
    if problem:
        raise PlatformError(
            f"{problem}. Nothing was removed", f"Use the inventory of that platform. {_preflight.rename(state)}"
        )


def require_nothing_left(root: Path, platform: str, silent: EngineError) -> None:
    """Refuse an Engine that does not answer but has something: its containers may run all the same (live-restore)."""
    left = [f"volume {name}" for name in _docker_root.volumes_on_disk(root) if name.startswith(f"{platform}_")]
    left += [f"container {name[:12]}" for name in _docker_root.containers_on_disk(root)]
    if left:
        raise PlatformError(
            f"{silent.problem}. {root} holds {', '.join(left)}. Nothing was removed",
            "Start the Engine first (`service docker start`). Where it was removed for good, move that directory away.",
        )


def _is_of(container: dict[str, Any], platform: str, state: str) -> bool:
    """Whether it is of one of the platform's Compose projects, or left behind by a check of files in its directory."""
    labels = container["Labels"] or {}
    if PROJECT in labels:
        return part(labels[PROJECT], platform) is not None
    mounts = [mount.get("Source") or "" for mount in container["Mounts"]]
    return "lastro.purpose" in labels and any(source.startswith(f"{state}/") for source in mounts)


def _find(engine: Engine, params: dict[str, Any]) -> tuple[dict[str, str], list[str], list[str]]:
    """(container names by ID, networks, volumes) of the platform; nothing where there is no Engine."""
    platform = params["platform"]
    try:
        listed = engine.containers()
        networks = engine.get("/networks")
        volumes = engine.get("/volumes")["Volumes"] or []
    except EngineError as error:
        if error.status:
            raise
        require_nothing_left(Path(params["docker_root"] or _docker_root.configured_root()), platform, error)
        return {}, [], []
    for place in sorted(_preflight.directories(listed, platform)):
        require_own(place, params["platform_id"])
    mine = [c for c in listed if _is_of(c, platform, params["state_directory"])]
    return (
        {c["Id"]: c["Names"][0].lstrip("/") for c in mine},
        sorted(n["Name"] for n in networks if is_network_of(n["Name"], platform)),
        sorted(v["Name"] for v in volumes if v["Name"].startswith(f"{platform}_")),
    )


def _directories(state: str) -> list[str]:
    return [entry.path for entry in os.scandir(state) if entry.is_dir()] if os.path.isdir(state) else []


def remove(engine: Engine, params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Name what goes and what stays; unless `check`, remove it: containers, then networks, then data."""
    state, data = params["state_directory"], params["data"]
    require_own(state, params["platform_id"])
    containers, networks, volumes = _find(engine, params)
    directories = sorted(_directories(state))
    stays = [] if data else [path for path in directories if os.path.basename(path) in KEPT]
    files = [path for name in FILES if os.path.exists(path := os.path.join(state, name))]
    paths = [path for path in directories if path not in stays] + (files if data else [])
    gone = volumes if data else []
    if not check:
        remove_containers(engine, containers)
        for kind, names in (("networks", networks), ("volumes", gone)):
            for name in names:
                engine.delete(f"/{kind}/{name}")
        for path in paths:
            os.unlink(path) if path in files else shutil.rmtree(path)
        # Whose directory it is matters as long as there is anything in it, or volumes of it.
        if os.path.isdir(state) and not set(os.listdir(state)) - {_preflight.IDENTITY} and volumes == gone:
            shutil.rmtree(state)
    return {
        "changed": bool(containers or networks or gone or paths),
        "containers": sorted(containers.values()),
        "networks": networks,
        "volumes": gone,
        "paths": paths,
        "kept": [] if data else [*volumes, *stays, *(path for path in files if path.endswith(_ledger.FILE))],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "platform": {"type": "str", "required": True},
            "platform_id": {"type": "str", "default": ""},
            "state_directory": {"type": "path", "required": True},
            "data": {"type": "bool", "default": False},
            "docker_root": {"type": "path"},
            "engine": {"type": "path", "default": "/var/run/docker.sock"},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        with held(module.params["lease"], module.check_mode):
            result = remove(Engine(module.params["engine"]), module.params, module.check_mode)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error}. The files belong to root: run with become, on a disk that can be written; then run again."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
