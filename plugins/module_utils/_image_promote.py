# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promotion: have images in a registry, and know the digest that each local name means there.

Pushed from the Engine that built them, or copied from another registry. Only the copy keeps a digest for sure: an Engine
compresses layers again when it pushes what it pulled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_keep import repository
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import (
    PARALLEL,
    TRANSFER_SECONDS,
    Access,
    Registry,
)
from ansible_collections.lastro.platform.plugins.module_utils._images import RECIPE_LABEL
from ansible_collections.lastro.platform.plugins.module_utils._progress import Progress

HEADER = """\
---
# Which digest each image name means in this environment. Written by playbooks/promote.yml: commit it with what it deploys.
# Releases are in the order they were promoted. One that will never be deployed again may be taken out by hand.
"""
UNKNOWN = "known after the push"


@dataclass(frozen=True)
class Promotion:
    """What to do for one image: `none`, `push` or `copy`, why, and its digest in the registry where that is known."""

    name: str
    action: str
    why: str
    digest: str = ""


@dataclass(frozen=True)
class Place:
    """A registry and the path in it below which images have their names, empty for none."""

    access: Access
    path: str = ""

    @classmethod
    def of(cls, address: str, user: str, password: str | None, ca: str) -> Place:
        """From the options of a module; `address` may carry the path."""
        host, _slash, path = address.partition("/")
        return cls(Access(host, user, password or "", ca), path.strip("/"))

    def repository(self, name: str) -> str:
        """The repository of a local name, as the registry's API has it."""
        return "/".join(part for part in (self.path, name.rpartition(":")[0]) if part)

    def client(self) -> Registry:
        """A client for one thread, patient enough for layers."""
        return Registry(self.access, TRANSFER_SECONDS)


@dataclass(frozen=True)
class Built:
    """An image of the Engine: its ID, and the hash of the recipe it was built from, empty for a pulled one."""

    id: str
    recipe: str = ""


@dataclass(frozen=True)
class Held:
    """An image of the registry: its digest, that of its configuration (the ID an Engine gives it), and its recipe."""

    digest: str
    config: str = ""
    recipe: str = ""

    def is_same(self, image: Built) -> bool:
        """Whether it is that image. Two machines build one recipe to two IDs: the first one pushed is kept."""
        return image.id in (self.config, self.digest) or (bool(image.recipe) and image.recipe == self.recipe)


def decide_push(name: str, image: Built | None, recorded: Held | None, tagged: Held | None) -> Promotion:
    """What to do for an image of the Engine, which has yet to be built where there is none (in check mode).

    `recorded` is what the registry holds for the digest known so far, `tagged` what it holds for the tag.
    """
    if image is None:
        return Promotion(name, "push", "it has yet to be built")
    if recorded and recorded.is_same(image):
        return Promotion(name, "none", "the registry holds it", recorded.digest)
    if tagged and tagged.is_same(image):
        return Promotion(name, "none", "the registry holds it, its digest was not written down", tagged.digest)
    other = recorded or tagged
    return Promotion(
        name, "push", "the registry holds another image of this name" if other else "the registry lacks it"
    )


def decide_copy(name: str, digest: str, held: bool) -> Promotion:
    """What to do for an image of another registry, where it has this digest."""
    if held:
        return Promotion(name, "none", "the registry holds it", digest)
    return Promotion(name, "copy", "the registry lacks it", digest)


def source_digests(names: Iterable[str], known: Mapping[str, str], registry: str) -> dict[str, str]:
    """The digests to be copied; a name that was never promoted there is refused."""
    names = list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise PlatformError(
            f"{', '.join(unknown)} was never promoted to the registry {registry}: its inventory has no digest",
            "Promote it there first, with the same release.",
        )
    return {name: known[name] for name in names}


def digests_text(digests: Mapping[str, str]) -> str:
    """The file of the inventory that says which digest a name means: by image, its tags in the order they came."""
    lines = [f"  {name}: {digest}\n" for name, digest in sorted(digests.items(), key=lambda item: repository(item[0]))]
    return HEADER + ("images_digests:\n" + "".join(lines) if lines else "images_digests: {}\n")


class Promoter:
    """Promotes to one registry, from an Engine or from another registry."""

    def __init__(self, engine: Engine, target: Place, source: Place | None, progress: Progress) -> None:
        self.engine, self.target, self.source, self.progress = engine, target, source, progress

    def plan(
        self, names: list[str], recorded: Mapping[str, str], given: Mapping[str, str], building: bool
    ) -> list[Promotion]:
        """What to do for each name. `building`: an image that the Engine lacks is one that a real run would have built."""
        Registry(self.target.access).ping()
        if self.source:
            Registry(self.source.access).ping()
            wanted = source_digests(names, given, self.source.access.address)
            return _each(names, lambda name: decide_copy(name, wanted[name], self._held(name, wanted[name])))
        images = self._images(building)
        absent = [name for name in names if name not in images]
        if absent and not building:
            raise PlatformError(
                f"This Engine has no image {', '.join(absent)}", "Build it first, as playbooks/promote.yml does."
            )

        def decide(name: str) -> Promotion:
            known = self._look(name, recorded[name]) if name in recorded else None
            return decide_push(name, images.get(name), known, self._look(name, name.rpartition(":")[2]))

        return _each(names, decide)

    def act(self, plan: Iterable[Promotion]) -> dict[str, str]:
        """Push and copy; the digest of each name, as the registry has it afterwards."""
        plan = list(plan)
        digests = _each(plan, lambda one: one.digest if one.action == "none" else self._promote(one))
        return {one.name: digest for one, digest in zip(plan, digests, strict=True)}

    def _promote(self, one: Promotion) -> str:
        self.progress.say(one.name, f"{one.action}: {one.why}")
        digest = self._copy(one, self.source) if self.source else self._push(one.name)
        if not self._held(one.name, digest):
            raise PlatformError(
                f"{one.name} was sent to the registry {self.target.access.address}, which does not hold {digest} afterwards",
                "Read the registry's log, then run again.",
            )
        self.progress.say(one.name, f"done: {digest}")
        return digest

    def _copy(self, one: Promotion, source: Place) -> str:
        origin, client = source.repository(one.name), source.client()
        manifest = client.manifest(origin, one.digest)
        if manifest is None:
            raise PlatformError(
                f"The registry {source.access.address} does not hold {origin}@{one.digest}",
                "Correct its inventory's images_digests, or promote it there again.",
            )
        tag = one.name.rpartition(":")[2]
        travelled = self.target.client().copy_from(client, origin, self.target.repository(one.name), manifest, tag)
        self.progress.say(one.name, f"{travelled / 2**20:.0f} MiB copied")
        return manifest.digest

    def _push(self, name: str) -> str:
        """Push from the Engine; its name for the registry is there only meanwhile."""
        tag = name.rpartition(":")[2]
        repository = f"{self.target.access.address}/{self.target.repository(name)}"
        digest = ""
        try:
            self.engine.post(f"/images/{name}/tag", repo=repository, tag=tag)
            for event in self.engine.stream(
                f"/images/{repository}/push", None, self.target.access.engine_header(), tag=tag
            ):
                if "error" in event:
                    raise PlatformError(f"{name} could not be pushed to {repository}: {event['error']}", _PUSH_CURE)
                digest = (event.get("aux") or {}).get("Digest") or digest
                if event.get("status") in ("Pushed", "Layer already exists"):
                    self.progress.say(name, f"layer {event.get('id', '')}: {event['status'].lower()}")
        except EngineError as error:
            raise PlatformError(f"{name} could not be pushed to {repository}: {error.problem}", _PUSH_CURE) from error
        except (OSError, HTTPException) as error:
            raise PlatformError(f"{name}: the push to {repository} was cut off: {error!r}", _PUSH_CURE) from error
        finally:
            self.engine.delete(f"/images/{repository}:{tag}")
        return digest

    def _images(self, building: bool) -> dict[str, Built]:
        try:
            listing: list[dict[str, Any]] = self.engine.get("/images/json")
        except EngineError as error:
            if error.status or not building:
                raise
            return {}
        return {
            tag: Built(entry["Id"], (entry.get("Labels") or {}).get(RECIPE_LABEL, ""))
            for entry in listing
            for tag in entry.get("RepoTags") or []
        }

    def _look(self, name: str, reference: str) -> Held | None:
        client, repository = self.target.client(), self.target.repository(name)
        manifest = client.manifest(repository, reference)
        if manifest is None:
            return None
        labels = client.labels(repository, manifest)
        return Held(manifest.digest, manifest.config, labels.get(RECIPE_LABEL, ""))

    def _held(self, name: str, digest: str) -> bool:
        return self.target.client().holds(self.target.repository(name), digest)


_PUSH_CURE = "Read the registry's log and look at its free disk, then run again: what is there is not sent twice."


def _each(items: list[Any], act: Callable[[Any], Any]) -> list[Any]:
    """Act on all at the same time; the first failure ends it."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(act, items))
