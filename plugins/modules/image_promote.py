#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_promote
short_description: Have images in a registry and write down their digests
version_added: 0.1.0
description:
  - Pushes images of this host's Engine to a registry, or copies them from another registry with the digest they have there.
  - What the registry holds already is not sent. An image is the same when its ID is, or when it was built from the same recipe,
    on whatever machine.
  - The action plugin of the same name reads and writes O(digests_file) on the controller, and shows progress. The digest of
    a name that is not promoted now stays in the file, unless it is one of O(releases) and O(keep) others were promoted later.
extends_documentation_fragment:
  - lastro.platform.registry
  - lastro.platform.releases
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Says what would be sent and which digests would change. An image that is not built yet is no error then.
  diff_mode:
    support: full
    description: Shows what is sent, and the file of the digests before and after.
  idempotent:
    support: full
    description: An image that the registry has is not sent again.
options:
  images:
    description: Local names with a tag, as C(lastro/redis:8).
    type: list
    elements: str
    required: true
  registry:
    description: The registry to promote to, as C(host:port) or C(host:port/path). It has to speak TLS.
    type: str
    required: true
  digests_file:
    description: File of the inventory, on the controller, that holds C(images_digests) and nothing else. It is written by rename.
    type: str
    required: true
  source_registry:
    description: Registry to copy from, instead of pushing what the Engine has.
    type: str
    default: ""
  source_registry_user:
    description: User of O(source_registry).
    type: str
    default: ""
  source_registry_password:
    description: Password of O(source_registry_user).
    type: str
  source_registry_ca:
    description: CA of the certificate of O(source_registry), PEM.
    type: str
    default: ""
  source_digests_file:
    description: File like O(digests_file) of the inventory that O(source_registry) belongs to.
    type: str
    default: ""
  digests:
    description: What O(digests_file) says now; the action plugin fills it in.
    type: dict
    default: {}
  source_digests:
    description: What O(source_digests_file) says; the action plugin fills it in.
    type: dict
    default: {}
  plan_only:
    description: Only say what would be done, as check mode does, but fail where an image is missing.
    type: bool
    default: false
  progress:
    description: File to which lines about the progress are appended, each a JSON object.
    type: path
"""

EXAMPLES = r"""
- name: Push what this machine built, and write down the digests
  lastro.platform.image_promote:
    images: [lastro/redis:8, lastro/reference_app:1.4.2]
    registry: 10.0.0.9:5000
    registry_user: platform
    registry_password: "{{ platform_secrets.registry_password }}"
    registry_ca: "{{ platform_tls.ca }}"
    digests_file: inventories/stage/group_vars/all/digests.yml

- name: Bring to prod what was proven in stage, bit for bit
  lastro.platform.image_promote:
    images: [lastro/reference_app:1.4.2]
    registry: 10.0.0.9:5000
    registry_user: platform
    registry_password: "{{ platform_secrets.registry_password }}"
    registry_ca: "{{ platform_tls.ca }}"
    digests_file: inventories/prod/group_vars/all/digests.yml
    source_registry: 10.1.0.9:5000
    source_registry_user: platform
    source_registry_password: "{{ stage_registry_password }}"
    source_registry_ca: "{{ stage_registry_ca }}"
    source_digests_file: inventories/stage/group_vars/all/digests.yml
"""

RETURN = r"""
images:
  description: What was done for each name.
  returned: success
  type: dict
  contains:
    action:
      description: V(none), V(push) or V(copy).
      type: str
    why:
      description: The reason.
      type: str
    digest:
      description: Its digest in the registry; empty in check mode where only a push will tell.
      type: str
  sample:
    lastro/redis:8: {action: push, why: the registry lacks it, digest: "sha256:0123"}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._engine import SOCKET, Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._image_build import SILENCE_SECONDS
from ansible_collections.lastro.platform.plugins.module_utils._image_ca import ca_differs, ca_file, write_ca
from ansible_collections.lastro.platform.plugins.module_utils._image_promote import Place, Promoter
from ansible_collections.lastro.platform.plugins.module_utils._progress import Progress


def argument_spec() -> dict[str, Any]:
    spec: dict[str, Any] = {
        "images": {"type": "list", "elements": "str", "required": True},
        "digests_file": {"type": "str", "required": True},
        "source_digests_file": {"type": "str", "default": ""},
        "digests": {"type": "dict", "default": {}},
        "source_digests": {"type": "dict", "default": {}},
        "releases": {"type": "list", "elements": "str", "default": []},
        "keep": {"type": "int", "default": 0},
        "plan_only": {"type": "bool", "default": False},
        "progress": {"type": "path"},
    }
    for registry in ("registry", "source_registry"):
        spec[registry] = {"type": "str", "default": ""}
        spec[f"{registry}_user"] = {"type": "str", "default": ""}
        spec[f"{registry}_password"] = {"type": "str", "no_log": True}
        spec[f"{registry}_ca"] = {"type": "str", "default": ""}
    spec["registry"] = {"type": "str", "required": True}
    return spec


def place(params: dict[str, Any], registry: str) -> Place:
    return Place.of(*(params[f"{registry}{part}"] for part in ("", "_user", "_password", "_ca")))


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    looking = module.check_mode or params["plan_only"]
    try:
        target = place(params, "registry")
        source = place(params, "source_registry") if params["source_registry"] else None
        progress = Progress(params["progress"] or os.devnull)
        promoter = Promoter(Engine(SOCKET, timeout=SILENCE_SECONDS), target, source, progress)
        plan = promoter.plan(params["images"], params["digests"], params["source_digests"], building=module.check_mode)
        changes = [f"{one.name}: {one.action}, {one.why}\n" for one in plan if one.action != "none"]
        # Only a push goes through the Engine, which then has to trust the registry.
        distrusted = source is None and ca_differs(target.access)
        if distrusted:
            changes.append(f"{ca_file(target.access)}: the CA of the registry\n")
        if distrusted and not looking:
            write_ca(target.access)
        digests = {one.name: one.digest for one in plan} if looking else promoter.act(plan)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, "/etc/docker/certs.d")))
    module.exit_json(
        changed=bool(changes),
        images={one.name: {"action": one.action, "why": one.why, "digest": digests[one.name]} for one in plan},
        diff={"before": "", "after": "".join(changes)},
    )


if __name__ == "__main__":
    main()
