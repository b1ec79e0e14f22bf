#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_prune
short_description: Delete images from a registry that nobody will deploy, and free their space
version_added: 0.1.0
description:
  - Looks at the repositories that O(digests) names, and at no other. Deletes every tag of theirs that is neither named by its
    digest nor among the newest O(keep) of its repository, then lets the registry collect what no image uses.
  - Runs on the host of the registry. Nothing may be promoted to it at the same time, as the collection takes layers away whose
    image is not complete yet.
  - Deletes for good. A registry that several inventories promote to must not be pruned with the digests of one of them.
  - An image whose tag was pushed over has no tag and stays.
extends_documentation_fragment:
  - lastro.platform.registry
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Names what would go.
  diff_mode:
    support: full
    description: Names what goes.
  idempotent:
    support: full
    description: A second run deletes nothing.
options:
  registry:
    description: The registry, as C(host:port) or C(host:port/path).
    type: str
    required: true
  digests:
    description: The digests that stay, by the local name of their image, as in C(images_digests).
    type: dict
    required: true
  keep:
    description: How many of the newest images of each repository stay besides, whoever built them. At least 1.
    type: int
    default: 5
  container:
    description: Name of the registry's container on this host.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep what is deployed and the newest five of each image
  lastro.platform.registry_prune:
    registry: 10.0.0.9:5000
    registry_user: platform
    registry_password: "{{ platform_secrets.registry_password }}"
    registry_ca: "{{ platform_tls.ca }}"
    digests: "{{ images_digests }}"
    container: shop-registry-registry-1
"""

RETURN = r"""
removed:
  description: The images that went, or in check mode would go.
  returned: success
  type: list
  elements: str
  sample: [lastro/reference_app:1.3.0]
blobs:
  description: How many layers and configurations were freed; in check mode those that no image uses already.
  returned: success
  type: int
  sample: 7
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._engine import SOCKET, Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_promote import Place
from ansible_collections.lastro.platform.plugins.module_utils._registry_prune import Pruner

# A collection reads every manifest of the registry.
COLLECT_SECONDS = 900.0


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "registry_user": {"type": "str", "default": ""},
            "registry_password": {"type": "str", "no_log": True},
            "registry_ca": {"type": "str", "default": ""},
            "digests": {"type": "dict", "required": True},
            "keep": {"type": "int", "default": 5},
            "container": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["keep"] < 1:
            raise PlatformError(
                f"keep is {params['keep']}", "Give 1 or more: the newest image is the next to be deployed."
            )
        place = Place.of(*(params[f"registry{part}"] for part in ("", "_user", "_password", "_ca")))
        pruner = Pruner(place, Engine(SOCKET, timeout=COLLECT_SECONDS), params["container"])
        plan = pruner.plan(params["digests"], params["keep"])
        blobs = pruner.collect(really=False)
        if (plan or blobs) and not module.check_mode:
            pruner.delete(plan)
            blobs = pruner.collect(really=True)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    removed = [f"{name}:{tag.name}" for name, (tags, _digests) in plan.items() for tag in tags]
    lines = "".join(f"{name}\n" for name in removed)
    module.exit_json(changed=bool(plan or blobs), removed=removed, blobs=blobs, diff={"before": lines, "after": ""})


if __name__ == "__main__":
    main()
