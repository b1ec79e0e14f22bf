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
  - Where nothing is missing the module asks the Engine one question.
  - The action plugin of the same name shows progress, and transfers O(images[].context_local) only when it changed.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Says for each image what would be done and why. A host without an Engine is no error then.
  diff_mode:
    support: full
  idempotent:
    support: full
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
  only:
    description: Names of the images this host needs; all of O(images) when empty. What they stand on is built when needed.
    type: list
    elements: str
    default: []
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
  work_dir:
    description: Directory on the host for the lock and for temporary files.
    type: path
    default: /var/lib/lastro/.images
  plan_only:
    description: Only say what is missing, as check mode does, but fail without an Engine.
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
      description: Whether there is a C(/bin/sh), with O(images[].inspect).
      type: bool
  sample:
    lastro/redis:8: {id: "sha256:0123", source: built, action: none, why: its recipe is unchanged, seconds: 0.0}
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_build import (
    SILENCE_SECONDS,
    Progress,
    Workshop,
    certificates,
    check_disk,
    exclusive,
    host_sources,
    inspect_image,
    proxy_environment,
    registry_probe,
    run_steps,
)
from ansible_collections.lastro.platform.plugins.module_utils._image_context import context_hash
from ansible_collections.lastro.platform.plugins.module_utils._images import (
    Image,
    Reference,
    Step,
    parse_image,
    plan,
    recipe_hashes,
    refuse_passwords,
    select,
)


class Wanted:
    """What the options ask for, and what the Engine lacks of it."""

    def __init__(self, params: dict[str, Any], socket: str) -> None:
        self.params = params
        self.engine = Engine(socket, timeout=SILENCE_SECONDS)
        self.probe = registry_probe(socket)
        images = [_with_hash(parse_image(item)) for item in params["images"]]
        for image in images:
            refuse_passwords({**params["build_args"], **image.build_args})
        self.images, self.names = select(images, params["only"])
        suites = [image.bootstrap for image in self.images.values() if image.bootstrap]
        self.sources = params["package_sources"] or (host_sources(suites[0]) if suites else [])
        self.certificates = certificates(params["extra_ca"])
        self.hashes = recipe_hashes(self.images, self.sources, self.certificates, params["revision"])

    def steps(self, without_engine: bool) -> list[Step]:
        """The plan, from one look at the Engine."""

        def nobody(_: Reference) -> None:
            return None

        try:
            listing, probe = self.engine.get("/images/json"), self.probe
        except EngineError as error:
            if error.status or not without_engine:
                raise
            return plan(self.images, self.names, self.hashes, [], self.params["source"], nobody)
        return plan(self.images, self.names, self.hashes, listing, self.params["source"], probe)

    def make(self) -> tuple[list[Step], dict[str, float]]:
        """Pull and build what is missing; the steps taken and the seconds of each."""
        progress = Progress(self.params["progress"] or os.devnull)
        with exclusive(self.params["work_dir"], progress) as work:
            # Another run may have done it while this one waited for the lock.
            steps = self.steps(without_engine=False)
            check_disk(self.engine, self.params["free_bytes"])
            arguments = {**proxy_environment(), **self.params["build_args"]}
            workshop = Workshop(
                self.engine, self.images, self.hashes, self.sources, self.certificates, arguments, work, progress
            )
            return steps, run_steps(steps, lambda name: self.images[name].bases, workshop.act)

    def report(self, steps: list[Step], seconds: dict[str, float], done: bool) -> dict[str, dict[str, Any]]:
        """What is returned for each image; with the identities as read back."""
        after = {step.name: step for step in self.steps(without_engine=True)} if seconds else {}
        result = {}
        for step in steps:
            state = after.get(step.name, step)
            entry = {"id": state.id, "source": state.source, "action": step.action, "why": step.why}
            result[step.name] = {**entry, "seconds": seconds.get(step.name, 0.0)}
            if self.images[step.name].inspect and (done or step.action == "none"):
                result[step.name].update(inspect_image(self.engine, step.name))
        return result


def _with_hash(image: Image) -> Image:
    if image.context and not image.context_hash:
        return replace(image, context_hash=context_hash(Path(image.context)))
    return image


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
    return {
        "images": {"type": "list", "elements": "dict", "required": True, "options": image},
        "only": names,
        "source": {"type": "str", "choices": ["auto", "pull", "build"], "default": "auto"},
        "extra_ca": {"type": "str", "default": "auto"},
        "package_sources": names,
        "build_args": {"type": "dict", "default": {}},
        "revision": {"type": "str", "default": ""},
        "free_bytes": {"type": "int", "default": 3 * 2**30},
        "work_dir": {"type": "path", "default": "/var/lib/lastro/.images"},
        "plan_only": flag,
        "progress": {"type": "path"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        wanted = Wanted(module.params, "/var/run/docker.sock")
        looking = module.check_mode or module.params["plan_only"]
        steps = wanted.steps(without_engine=module.check_mode)
        seconds: dict[str, float] = {}
        if not looking and any(step.action != "none" for step in steps):
            steps, seconds = wanted.make()
        images = wanted.report(steps, seconds, done=not looking)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    after = [f"{step.name}: {step.action}, {step.why}\n" for step in steps if step.action != "none"]
    module.exit_json(
        changed=bool(after),
        images=images,
        ansible_facts={"platform_images": images},
        diff={"before": "", "after": "".join(after)},
    )


if __name__ == "__main__":
    main()
