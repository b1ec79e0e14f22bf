# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be deleted from a registry: a mistake here cannot be undone."""

from __future__ import annotations

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._registry_prune import Tag, eligible, to_delete, unwanted


def tag(name: str, *parts: str, digest: str = "", created: str = "") -> Tag:
    """A tag whose image was made in the order of the names."""
    return Tag(name, digest or f"d{name}", created or f"2026-01-0{name[0]}T00:00:00Z", parts)


FOUR = [tag(name) for name in "1234"]


@pytest.mark.parametrize(
    ("tags", "named", "keep", "going", "deleted"),
    [
        (FOUR, [], 2, "21", ["d2", "d1"]),
        (FOUR, [], 4, "", []),
        (FOUR, [], 9, "", []),
        (FOUR, ["d1"], 1, "32", ["d3", "d2"]),
        # Another name of an image that stays: deleting its digest would delete both.
        ([tag("1", digest="d4"), *FOUR[1:]], [], 1, "32", ["d3", "d2"]),
        ([tag("1", digest="d2"), *FOUR[1:]], ["d2"], 1, "3", ["d3"]),
        # An index goes with its parts, but for those that another one stands for, or that are named themselves.
        ([tag("1", "a", "b"), tag("2", "b", "c")], [], 1, "1", ["d1", "a"]),
        ([tag("1", "a", "b"), tag("2")], ["b"], 1, "1", ["d1", "a"]),
        ([tag("1", "a"), tag("2", "a"), tag("3")], [], 1, "21", ["d2", "a", "d1"]),
        # A part that was tagged for itself.
        ([tag("1", "d3"), tag("3")], [], 1, "1", ["d1"]),
        ([tag("1", digest="a"), tag("2", "a")], [], 1, "", []),
        ([tag("1", "a"), tag("2", digest="a"), tag("3")], ["d1"], 1, "", []),
        # An image that does not say when it was made is the oldest.
        ([tag("1"), Tag("9", "d9")], [], 1, "9", ["d9"]),
        ([], ["d1"], 1, "", []),
    ],
)
def test_what_goes(tags: list[Tag], named: list[str], keep: int, going: str, deleted: list[str]) -> None:
    found = unwanted(tags, named, keep)
    assert "".join(tag.name for tag in found) == going
    assert to_delete(found, tags, named) == deleted


def test_what_a_collection_says() -> None:
    assert eligible("a/b\n\n4 blobs marked, 3 blobs and 0 manifests eligible for deletion\nblob eligible …") == 3
    with pytest.raises(PlatformError, match="said nothing of blobs: configuration error"):
        eligible("configuration error")
