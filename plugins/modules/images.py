#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: images
short_description: Have the images a host needs, pulled by digest or built from recipes
version_added: 0.1.0
description:
  - Each image has one local name, whatever its source. It is right when it carries the digest of its upstream, or when its
    label C(lastro.recipe) is the hash of its recipe (text, files, arguments, context, and the recipes it stands on).
  - What is missing is pulled or built, independent images at the same time. A name appears only when its image is complete.
  - With O(registry) and O(source=pull) every image comes from that registry by the digest in O(digests), and nothing is built. Before
    anything is changed, and in check mode too, the registry is asked whether it lets this host in and holds what is missing.
  - Where nothing is missing the module asks the Engine one question, the list of its images. What O(images[].inspect) asks for is found
    once for each image ID, with a container that is made and never started, and remembered in O(work_dir).
  - Where something was pulled or built, releases of O(releases) that O(keep) does not cover are removed from this host. The
    one wanted now is counted; what a container was made from, what is in O(digests) and what is kept in O(state_directory) stays besides.
  - The action plugin of the same name shows progress, and transfers O(images[].context_local) only when it changed.
extends_documentation_fragment:
  - lastro.platform.lease
  - lastro.platform.registry
  - lastro.platform.releases
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description:
      - Says for each image what would be done and why. A host without an Engine is no error then.
      - Makes no container. Of an image that no run has inspected yet, C(shell) is left out then.
  diff_mode:
    support: full
    description: Says for each image what is done and why, and which CA the Engine is given.
  idempotent:
    support: full
    description: A second run asks the Engine for the list of its images, once, and changes nothing.
options:
  images:
    description: The images known, in any order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Local name with a tag, as C(lastro/redis:8).
        type: str
        required: true
      upstream:
        description: Where it is pulled from, as C(name:tag@sha256:…). Without it the image is always built.
        type: str
      from:
        description: Names of the images, of this list, that its recipe stands on.
        type: list
        elements: str
        default: []
      bootstrap:
        description: The Debian suite this image is made of with mmdebstrap, from the package mirror of the host.
        type: str
      dockerfile:
        description: The recipe's text. Without it, the C(Dockerfile) of the context.
        type: str
      files:
        description: Further files of the build by path. A text that begins with C(#!) becomes executable.
        type: dict
      site:
        description: Adds the host's package sources and O(extra_ca) to the build below C(site/), as they lie below C(/).
        type: bool
        default: false
      context:
        description: Build context on the host, a directory or the tar of one. Its C(.dockerignore) is honoured.
        type: str
      context_local:
        description: Build context on the controller, a directory. It travels only when its content changed.
        type: str
      context_hash:
        description: Content hash of the context; computed where it is not given.
        type: str
      build_args:
        description: Build arguments. They can be read in the image's history, so a password is refused.
        type: dict
      labels:
        description: Labels of the built image.
        type: dict
      inspect:
        description: Return entrypoint, command, user and whether there is a shell.
        type: bool
        default: false
  registry:
    description:
      - Registry of the platform, as C(host:port) or C(host:port/path). With O(source=pull) the images are pulled from it, as
        C(registry/name@digest), and get their local names.
    type: str
    default: ""
  digests:
    description: Digest of each local name in the registry, as C({"lastro/redis:8" = "sha256:…"}); C(playbooks/promote.yml) writes them.
    type: dict
    default: {}
  local:
    description: Names of images that are made here although there is a registry, as its own. They are had as with O(source=auto).
    type: list
    elements: str
    default: []
  only:
    description: Names of the images this host needs; all of O(images) when left out. What they stand on is built when needed.
    type: list
    elements: str
  source:
    description:
      - V(pull) pulls every image that has an upstream, and fails where that is not possible.
      - V(build) builds every image.
      - V(auto) pulls, and builds where no registry answers. A registry that refuses is a failure.
    type: str
    choices: [auto, pull, build]
    default: auto
  extra_ca:
    description:
      - CA certificates that go into the certificate store of images with O(images[].site), for sites behind an inspecting
        proxy. V(auto) takes those of the host in C(/usr/local/share/ca-certificates), V(none) takes none, anything else
        is PEM text.
    type: str
    default: auto
  package_sources:
    description:
      - Debian package sources for builds, each as C(URI SUITE main). When empty, the host's own, for the suite of the
        image that has O(images[].bootstrap).
    type: list
    elements: str
    default: []
  build_args:
    description: Build arguments of the site, as C(PIP_INDEX_URL), given to every Dockerfile that declares them.
    type: dict
    default: {}
  revision:
    description: Any text. A new one has every image built again, with the packages of the day.
    type: str
    default: ""
  free_bytes:
    description: Free space that has to be there before anything is pulled or built.
    type: int
    default: 3221225472
  state_directory:
    description:
      - Directory of the platform's files. The images of the releases that M(lastro.platform.release_record) keeps there stay on the host, too, however many
        failed since.
    type: path
  work_dir:
    description: Directory on the host for the lock, for temporary files, and for what was found out about images.
    type: path
    default: /var/lib/lastro/.images
  plan_only:
    description: Only say what is missing, as check mode does, but fail without an Engine, and inspect images that are there.
    type: bool
    default: false
  progress:
    description: File to which lines about the progress are appended, each a JSON object.
    type: path
"""

EXAMPLES = r"""
- name: Have Redis from its upstream, or built where no registry answers
  lastro.platform.images:
    images:
      - name: lastro/debian:trixie
        bootstrap: trixie
      - name: lastro/redis:8
        upstream: redis:8.0.2@sha256:b43d2dcbbdb1f9e1582e3a0f37e53bf79038522ccffb56a25858969d7a9b6c11
        from: [lastro/debian:trixie]
        dockerfile: |
          FROM lastro/debian:trixie
          RUN apt-get update && apt-get install -y --no-install-recommends redis-server
    only: [lastro/redis:8]

- name: Have what was promoted, by digest from the platform's registry
  lastro.platform.images:
    images:
      - name: lastro/redis:8
        dockerfile: FROM lastro/debian:trixie
    source: pull
    registry: 10.0.0.9:5000
    registry_user: platform
    registry_password: "{{ platform_secrets.registry_password }}"
    registry_ca: "{{ platform_tls.ca }}"
    digests:
      lastro/redis:8: sha256:b43d2dcbbdb1f9e1582e3a0f37e53bf79038522ccffb56a25858969d7a9b6c11

- name: Build the application from a directory of the controller
  lastro.platform.images:
    images:
      - name: lastro/reference_app:v1
        context_local: "{{ playbook_dir }}/../examples/reference_app"
        build_args: {RELEASE: v1}
        inspect: true
"""

RETURN = r"""
ansible_facts:
  description: The fact C(platform_images), the same as RV(images), for roles that come later in the play.
  returned: success
  type: dict
images:
  description: The images looked at, by name; those others stand on only where they were needed.
  returned: success
  type: dict
  contains:
    id:
      description: Image ID, empty in check mode while there is no image.
      type: str
    source:
      description: V(pulled) or V(built).
      type: str
    action:
      description: V(none), V(pull) or V(build), and V(pull or build) in check mode without an Engine.
      type: str
    why:
      description: The reason for the action.
      type: str
    seconds:
      description: How long it took.
      type: float
    entrypoint:
      description: The image's ENTRYPOINT, with O(images[].inspect).
      type: list
    cmd:
      description: The image's CMD, with O(images[].inspect).
      type: list
    user:
      description: The image's USER, with O(images[].inspect).
      type: str
    shell:
      description: Whether there is a C(/bin/sh), with O(images[].inspect); left out in check mode where it is not known yet.
      type: bool
  sample:
    lastro/redis:8: {id: "sha256:0123", source: built, action: none, why: its recipe is unchanged, seconds: 0.0}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._engine import SOCKET
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._image_run import Wanted
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, require


def argument_spec() -> dict[str, Any]:
    text: dict[str, Any] = {"type": "str"}
    flag: dict[str, Any] = {"type": "bool", "default": False}
    names: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
    image = {
        "name": {"type": "str", "required": True},
        **dict.fromkeys(("upstream", "bootstrap", "dockerfile", "context", "context_local", "context_hash"), text),
        **{key: {"type": "dict"} for key in ("files", "build_args", "labels")},
        **dict.fromkeys(("site", "inspect"), flag),
        "from": names,
    }
    empty: dict[str, Any] = {"type": "str", "default": ""}
    return {
        "images": {"type": "list", "elements": "dict", "required": True, "options": image},
        **dict.fromkeys(("registry", "registry_user", "registry_ca", "revision"), empty),
        "registry_password": {"type": "str", "no_log": True},
        "digests": {"type": "dict", "default": {}},
        "only": {"type": "list", "elements": "str"},
        **dict.fromkeys(("local", "package_sources", "releases"), names),
        "keep": {"type": "int", "default": 0},
        "source": {"type": "str", "choices": ["auto", "pull", "build"], "default": "auto"},
        "extra_ca": {"type": "str", "default": "auto"},
        "build_args": {"type": "dict", "default": {}},
        "free_bytes": {"type": "int", "default": 3 * 2**30},
        "state_directory": {"type": "path"},
        "work_dir": {"type": "path", "default": "/var/lib/lastro/.images"},
        "plan_only": flag,
        "progress": {"type": "path"},
        "lease": LEASE_SPEC,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        wanted = Wanted(module.params, SOCKET)
        looking = module.check_mode or module.params["plan_only"]
        steps = wanted.steps(without_engine=module.check_mode)
        wanted.require(steps)
        changes = wanted.changes(steps)
        seconds: dict[str, float] = {}
        if changes and not looking:
            require(module.params["lease"], check_mode=False)
            changes, steps, seconds = wanted.make()
        images = wanted.report(steps, seconds, done=not looking, probing=not module.check_mode)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, module.params["work_dir"])))
    module.exit_json(
        changed=bool(changes),
        images=images,
        ansible_facts={"platform_images": images},
        diff={"before": "", "after": "".join(changes)},
    )


if __name__ == "__main__":
    main()
