# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the releases' proof says of hosts after all the runs that were killed."""

from __future__ import annotations

import pytest

from tests.proof.releases_kills import grown

BEFORE = {"app1": {"containers": 6, "images": 16}, "edge1": {"containers": 1, "images": 14}}


@pytest.mark.parametrize(
    ("host", "what", "number", "expected"),
    [
        ("app1", "images", 16, {}),
        ("app1", "images", 15, {}),
        ("app1", "images", 17, {"app1: images": [16, 17]}),
        ("edge1", "containers", 2, {"edge1: containers": [1, 2]}),
    ],
)
def test_only_more_than_before_is_told(host: str, what: str, number: int, expected: dict[str, list[int]]) -> None:
    assert grown(BEFORE, {**BEFORE, host: {**BEFORE[host], what: number}}) == expected
