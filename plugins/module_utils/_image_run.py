# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the module `images`: what its options ask for, against one Engine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _release_record
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._image_build import (
    SILENCE_SECONDS,
    Workshop,
    certificates,
    check_disk,
    exclusive,
    host_sources,
    proxy_environment,
    registry_probe,
    run_steps,
)
from ansible_collections.lastro.platform.plugins.module_utils._image_ca import ca_differs, ca_file, write_ca
from ansible_collections.lastro.platform.plugins.module_utils._image_context import context_hash
from ansible_collections.lastro.platform.plugins.module_utils._image_inspect import inspect_images
from ansible_collections.lastro.platform.plugins.module_utils._image_keep import Old, superseded
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import (
    Access,
    Registry,
    require,
)
from ansible_collections.lastro.platform.plugins.module_utils._images import (
    Image,
    Reference,
    Step,
    from_registry,
    parse_image,
    plan,
    recipe_hashes,
    refuse_passwords,
    select,
)
from ansible_collections.lastro.platform.plugins.module_utils._progress import Progress


class Wanted:
    """What the options ask for, and what the Engine lacks of it."""

    def __init__(self, params: dict[str, Any], socket: str) -> None:
        self.params = params
        self.engine = Engine(socket, timeout=SILENCE_SECONDS)
        self.listing: list[dict[str, Any]] = []
        self.probe = registry_probe(socket)
        images = [parse_image(item) for item in params["images"]]
        self.source, self.access = params["source"], None
        if params["registry"] and self.source == "pull":
            address = params["registry"].partition("/")[0]
            password = params["registry_password"] or ""
            self.access = Access(address, params["registry_user"], password, params["registry_ca"])
            wanted = select(images, params["only"])[1]
            images = from_registry(images, wanted, params["local"], params["registry"], params["digests"])
            # What is left with a recipe is what cannot come from the registry.
            self.source = "auto"
        images = [_with_hash(image) for image in images]
        for image in images:
            refuse_passwords({**params["build_args"], **image.build_args})
        self.images, self.names = select(images, params["only"])
        suites = [image.bootstrap for image in self.images.values() if image.bootstrap]
        self.sources = params["package_sources"] or (host_sources(suites[0]) if suites else [])
        self.certificates = certificates(params["extra_ca"])
        self.hashes = recipe_hashes(self.images, self.sources, self.certificates, params["revision"])

    def steps(self, without_engine: bool) -> list[Step]:
        """The plan, from one look at the Engine."""

        def nobody(_reference: Reference) -> None:
            return None

        try:
            self.listing = self.engine.get("/images/json")
        except EngineError as error:
            if error.status or not without_engine:
                raise
            return plan(self.images, self.names, self.hashes, [], self.source, nobody)
        return plan(self.images, self.names, self.hashes, self.listing, self.source, self.probe)

    def require(self, steps: list[Step]) -> None:
        """Fail where the registry does not let this host in, or lacks what is missing here."""
        if self.access:
            ours = {step.name: self.images[step.name].upstream for step in steps if step.action == "pull"}
            address = self.access.address
            require(Registry(self.access), {name: one for name, one in ours.items() if one and one.registry == address})

    def changes(self, steps: list[Step]) -> list[str]:
        """What would be done, a line each; nothing is removed in a run that brings nothing."""
        lines = [f"{step.name}: {step.action}, {step.why}\n" for step in steps if step.action != "none"]
        if self.access and ca_differs(self.access):
            lines.append(f"{ca_file(self.access)}: the CA of the registry\n")
        if any(step.action != "none" for step in steps):
            lines += [f"{old.name}: removed, {self.params['keep']} newer releases are kept\n" for old in self._old()]
        return lines

    def _old(self) -> list[Old]:
        """The releases that this run makes superfluous; those it brings count already."""
        keep, releases = self.params["keep"], self.params["releases"]
        if not (keep and releases and self.listing):
            return []
        containers = self.engine.get("/containers/json", all="true")
        # However many releases failed since, what can be gone back to stays.
        named = {*self.params["digests"], *_release_record.images(self.params["state_directory"] or "")}
        return superseded(self.listing, containers, releases, named, keep)

    def make(self) -> tuple[list[str], list[Step], dict[str, float]]:
        """Pull and build what is missing; what was done, the steps taken and the seconds of each."""
        progress = Progress(self.params["progress"] or os.devnull)
        with exclusive(self.params["work_dir"], progress) as work:
            # Another run may have done it while this one waited for the lock.
            steps = self.steps(without_engine=False)
            changes = self.changes(steps)
            check_disk(self.engine, self.params["free_bytes"])
            if self.access and ca_differs(self.access):
                write_ca(self.access)
            arguments = {**proxy_environment(), **self.params["build_args"]}
            workshop = Workshop(
                self.engine,
                self.images,
                self.hashes,
                self.sources,
                self.certificates,
                arguments,
                work,
                progress,
                self.access,
            )
            old = self._old()
            seconds = run_steps(steps, lambda name: self.images[name].bases, workshop.act)
            for one in old if seconds else []:
                self._remove(one, progress)
            return changes, steps, seconds

    def _remove(self, old: Old, progress: Progress) -> None:
        for reference in old.references:
            try:
                self.engine.delete(f"/images/{reference}")
            except EngineError as error:
                # A container was made from it in the meantime.
                if error.status != 409:
                    raise
        progress.say(old.name, "removed: newer releases are kept")

    def report(
        self, steps: list[Step], seconds: dict[str, float], done: bool, probing: bool
    ) -> dict[str, dict[str, Any]]:
        """What is returned for each image; with the identities as read back. `probing` may make containers."""
        after = {step.name: step for step in self.steps(without_engine=True)} if seconds else {}
        result: dict[str, dict[str, Any]] = {}
        wanted: dict[str, str] = {}
        for step in steps:
            state = after.get(step.name, step)
            entry = {"id": state.id, "source": state.source, "action": step.action, "why": step.why}
            result[step.name] = {**entry, "seconds": seconds.get(step.name, 0.0)}
            if self.images[step.name].inspect and (done or step.action == "none"):
                wanted[step.name] = state.id
        present = {entry["Id"] for entry in self.listing}
        if wanted:
            found = inspect_images(self.engine, wanted, present, self.params["work_dir"], probing)
            return {name: {**entry, **found.get(name, {})} for name, entry in result.items()}
        return result


def _with_hash(image: Image) -> Image:
    if image.context and not image.context_hash:
        return replace(image, context_hash=context_hash(Path(image.context)))
    return image
