# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a registry need not hold any longer. Whoever asks names digests; the newest of each image stay besides."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_promote import Place

CONFIGURATION = "/etc/docker/registry/config.yml"


@dataclass(frozen=True)
class Tag:
    """A tag of one repository: its digest, when the image was made (RFC 3339), and the digests an index stands for."""

    name: str
    digest: str
    created: str = ""
    parts: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.digest, *self.parts)


def unwanted(tags: Iterable[Tag], named: Collection[str], keep: int) -> list[Tag]:
    """The tags that may go: neither named by digest nor among the newest `keep`, nor another name of one that stays."""
    newest_first = sorted(tags, key=lambda tag: (tag.created, tag.name), reverse=True)
    staying = [tag for at, tag in enumerate(newest_first) if at < keep or tag.digest in named]
    kept = {digest for tag in staying for digest in tag.digests}
    return [tag for tag in newest_first if tag.digest not in kept]


def to_delete(going: Iterable[Tag], tags: Iterable[Tag], named: Collection[str]) -> list[str]:
    """The manifests to delete: an index before what it stands for, and that only where no other tag stands for it too."""
    going = list(going)
    kept = {*named, *(digest for tag in tags if tag not in going for digest in tag.digests)}
    return [digest for digest in dict.fromkeys(d for tag in going for d in tag.digests) if digest not in kept]


def eligible(output: str) -> int:
    """How many blobs a garbage collection frees, or in a dry run would free, from what it printed."""
    found = re.search(r"(\d+) blobs? and \d+ manifests? eligible for deletion", output)
    if not found:
        raise PlatformError(
            f"The garbage collection said nothing of blobs: {output[-500:]}", "Read the registry's log."
        )
    return int(found[1])


class Pruner:
    """Prunes one registry: over its API, and by the program in its container."""

    def __init__(self, place: Place, engine: Engine, container: str) -> None:
        self.place, self.engine, self.container = place, engine, container
        self.client = place.client()

    def plan(self, digests: Mapping[str, str], keep: int) -> dict[str, tuple[list[Tag], list[str]]]:
        """For each repository, among those that `digests` names, the tags that go and the manifests to delete."""
        self.client.ping()
        named = set(digests.values())
        found = {}
        for name in sorted({self.place.repository(name) for name in digests}):
            tags = [self._tag(name, tag) for tag in self.client.tags(name)]
            going = unwanted(tags, named, keep)
            if going:
                found[name] = (going, to_delete(going, tags, named))
        return found

    def _tag(self, name: str, tag: str) -> Tag:
        manifest = self.client.manifest(name, tag)
        if manifest is None:
            raise PlatformError(f"The tag {name}:{tag} went while it was read", "Run again when nobody else prunes.")
        parts = manifest.parts
        # Those of an index are made together.
        image = (self.client.manifest(name, parts[0]) if parts else manifest) or manifest
        created = str(self.client.configuration(name, image).get("created", ""))
        return Tag(tag, manifest.digest, created, tuple(parts))

    def delete(self, plan: Mapping[str, tuple[list[Tag], list[str]]]) -> None:
        for name, (_tags, digests) in plan.items():
            for digest in digests:
                self.client.delete(name, digest)

    def collect(self, really: bool) -> int:
        """Free the space of what no manifest names; how many blobs that are. Nothing may be pushed meanwhile."""
        command = ["registry", "garbage-collect", *([] if really else ["--dry-run"]), CONFIGURATION]
        code, output = self.engine.run(self.container, command)
        if code != 0:
            raise PlatformError(
                f"The garbage collection in {self.container} ended with {code}: {output[-500:]}",
                "Read the registry's log and look at its free disk, then run again: nothing is half done.",
            )
        return eligible(output)
