# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases stay: on a host by age and use, in the inventory by the order of their promotion."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._image_keep import remembered, superseded
from ansible_collections.lastro.platform.plugins.module_utils._image_promote import digests_text

APP, OTHER = "lastro/app", "lastro/other"


def entry(created: int, *tags: str, digests: tuple[str, ...] = ()) -> dict[str, Any]:
    """An image of the Engine's list; its ID tells when it was made."""
    return {"Id": f"sha256:{created}", "Created": created, "RepoTags": list(tags), "RepoDigests": list(digests)}


FIVE = [entry(number, f"{APP}:{number}") for number in range(1, 6)]


@pytest.mark.parametrize(
    ("listing", "used", "releases", "named", "keep", "going"),
    [
        # The one wanted counts, whether it is there yet or not.
        (FIVE, [], [f"{APP}:5"], [], 2, [f"{APP}:3", f"{APP}:2", f"{APP}:1"]),
        (FIVE, [], [f"{APP}:6"], [], 2, [f"{APP}:4", f"{APP}:3", f"{APP}:2", f"{APP}:1"]),
        (FIVE, [], [f"{APP}:6"], [], 5, [f"{APP}:1"]),
        (FIVE, [], [f"{APP}:6"], [], 6, []),
        # To go back to the oldest removes neither it nor the newest.
        (FIVE, [], [f"{APP}:1"], [], 3, [f"{APP}:3", f"{APP}:2"]),
        (FIVE, [], [f"{APP}:5"], [], 1, [f"{APP}:4", f"{APP}:3", f"{APP}:2", f"{APP}:1"]),
        # Two images of one repository are wanted.
        (FIVE, [], [f"{APP}:5", f"{APP}:4"], [], 1, [f"{APP}:3", f"{APP}:2", f"{APP}:1"]),
        # What a container uses and what the digests name stays, and takes nobody's place.
        (FIVE, ["sha256:1"], [f"{APP}:5"], [], 2, [f"{APP}:3", f"{APP}:2"]),
        (FIVE, [], [f"{APP}:5"], [f"{APP}:2"], 2, [f"{APP}:3", f"{APP}:1"]),
        # Nobody else's images are touched, and no nameless ones.
        (
            [*FIVE, entry(0, f"{OTHER}:1"), entry(0, "lastro/app-b:1"), {"Id": "x", "RepoTags": None}],
            [],
            [f"{APP}:5"],
            [],
            5,
            [],
        ),
        ([], [], [f"{APP}:1"], [], 1, []),
        (FIVE, [], [], [], 1, []),
    ],
)
def test_what_goes_from_a_host(
    listing: list[dict[str, Any]], used: list[str], releases: list[str], named: list[str], keep: int, going: list[str]
) -> None:
    containers = [{"ImageID": image} for image in used]
    assert [old.name for old in superseded(listing, containers, releases, named, keep)] == going


def test_an_image_goes_with_its_last_name_and_its_digests() -> None:
    digest, shared = f"r:5000/{APP}@sha256:1", f"r:5000/{APP}@sha256:2"
    listing = [
        entry(1, f"{APP}:1", digests=(digest,)),
        entry(2, f"{APP}:2", f"{APP}:2-again", digests=(shared,)),
        entry(3, f"{APP}:3", f"{OTHER}:1", digests=(shared,)),
    ]
    found = {old.name: old.references for old in superseded(listing, [], [f"{APP}:4"], [], 1)}
    assert found == {
        f"{APP}:1": (digest, f"{APP}:1"),
        f"{APP}:2": (shared, f"{APP}:2"),
        f"{APP}:2-again": (shared, f"{APP}:2-again"),
        # Something else is called by this image's name, and pulled by its digest.
        f"{APP}:3": (f"{APP}:3",),
    }


def named(*tags: int | str, image: str = APP) -> dict[str, str]:
    return {f"{image}:{tag}": f"sha256:{tag}" for tag in tags}


@pytest.mark.parametrize(
    ("recorded", "promoted", "keep", "left"),
    [
        (named(1, 2, 3), named(4), 3, named(2, 3, 4)),
        (named(1, 2, 3), named(4), 0, named(1, 2, 3, 4)),
        (named(1, 2, 3), named(4), 9, named(1, 2, 3, 4)),
        # What is promoted again is the newest; promoted twice changes nothing.
        (named(1, 2, 3), named(1), 2, named(3, 1)),
        (named(3, 1), named(1), 2, named(3, 1)),
        (named(10, 9), named(11), 2, named(9, 11)),
        # Everything that is promoted now stays.
        (named(1, 2), named(3, 4), 1, named(3, 4)),
        # Components have no releases.
        ({**named(16, 17, image=OTHER), **named(1)}, named(2), 1, {**named(16, 17, image=OTHER), **named(2)}),
        ({}, named(1), 1, named(1)),
    ],
)
def test_what_the_inventory_remembers(
    recorded: dict[str, str], promoted: dict[str, str], keep: int, left: dict[str, str]
) -> None:
    found = remembered(recorded, promoted, [f"{APP}:any"], keep)
    assert list(found.items()) == list(left.items())


def test_the_order_of_releases_survives_the_file() -> None:
    lines = digests_text({**named("8", image="lastro/redis"), **named("2.10", "2.9")}).splitlines()[-3:]
    assert [line.split(": ")[0].strip() for line in lines] == [f"{APP}:2.10", f"{APP}:2.9", "lastro/redis:8"]
