# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases of an application are kept, on a host and in the inventory's digests: pure functions.

Every release is a new tag of the same repository; what the application does not name is none of our business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Old:
    """A release that can go, and all references by which the Engine holds its image."""

    name: str
    references: tuple[str, ...]


def repository(name: str) -> str:
    """The name of an image without its tag."""
    return name.rpartition(":")[0]


def superseded(
    listing: Iterable[Mapping[str, Any]],
    containers: Iterable[Mapping[str, Any]],
    releases: Collection[str],
    named: Collection[str],
    keep: int,
) -> list[Old]:
    """What may be removed from a host on which `releases` are wanted: all but the newest `keep` of each image.

    `listing` and `containers` are the Engine's lists. What a container was made from stays, a stopped one too: it may be
    the colour to go back to. So does what is in `named`, the inventory's digests.
    """
    entries = {tag: entry for entry in listing for tag in entry.get("RepoTags") or []}
    used = {container["ImageID"] for container in containers}
    going: list[str] = []
    for wanted in sorted({repository(name) for name in releases}):
        current = [name for name in releases if repository(name) == wanted]
        others = [name for name in entries if repository(name) == wanted and name not in current]
        others.sort(key=lambda name: (entries[name]["Created"], name), reverse=True)
        going += others[max(keep - len(current), 0) :]
    free = [name for name in going if name not in named and entries[name]["Id"] not in used]
    return [Old(name, _references(entries[name], name, free)) for name in free]


def _references(entry: Mapping[str, Any], name: str, free: Collection[str]) -> tuple[str, ...]:
    """The image goes with its last reference: those by digest only when no other name stands for it."""
    whole = all(tag in free for tag in entry["RepoTags"])
    return (*(entry.get("RepoDigests") or [] if whole else []), name)


def remembered(
    recorded: Mapping[str, str], promoted: Mapping[str, str], releases: Collection[str], keep: int
) -> dict[str, str]:
    """The digests to write down, in the order they were promoted: of the images in `releases` the last `keep`, 0 for all."""
    found = {name: digest for name, digest in recorded.items() if name not in promoted} | dict(promoted)
    for wanted in {repository(name) for name in releases} if keep else ():
        names = [name for name in found if repository(name) == wanted]
        for name in names[:-keep]:
            # What is promoted now is deployed next, however many it is.
            if name not in promoted:
                del found[name]
    return found
