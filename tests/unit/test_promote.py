# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promotion: what has to be sent, what is written down, and the login of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.lastro.platform.plugins.action.image_promote import read_digests, write_digests
from ansible_collections.lastro.platform.plugins.filter.htpasswd import _hash, htpasswd
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_promote import (
    Built,
    Held,
    Place,
    Promotion,
    decide_copy,
    decide_push,
    digests_text,
    source_digests,
)

NAME = "lastro/redis:8"
HELD = Held("sha256:m", "sha256:c", "recipe")
OTHER = Held("sha256:m2", "sha256:c2", "recipe2")
PULLED = Held("sha256:m3", "sha256:c3")


@pytest.mark.parametrize(
    ("image", "recorded", "tagged", "action", "why", "digest"),
    [
        (None, None, None, "push", "it has yet to be built", ""),
        (Built("sha256:c", "recipe"), HELD, HELD, "none", "the registry holds it", "sha256:m"),
        # Built again on another machine: the recipe is the same, the ID is not.
        (Built("sha256:x", "recipe"), HELD, HELD, "none", "the registry holds it", "sha256:m"),
        # An Engine with containerd's image store has the manifest's digest as its ID.
        (Built("sha256:m", ""), PULLED, None, "push", "the registry holds another image of this name", ""),
        (Built("sha256:m3", ""), PULLED, None, "none", "the registry holds it", "sha256:m3"),
        (Built("sha256:c3", ""), None, PULLED, "none", "the registry holds it, its digest was not written down", "sha256:m3"),
        # The tag moved on, the digest written down is still right.
        (Built("sha256:c", "recipe"), HELD, OTHER, "none", "the registry holds it", "sha256:m"),
        # The digest written down is gone or old, the tag is right.
        (Built("sha256:c", "recipe"), OTHER, HELD, "none", "the registry holds it, its digest was not written down", "sha256:m"),
        (Built("sha256:c", "recipe"), None, None, "push", "the registry lacks it", ""),
        (Built("sha256:c", "recipe"), OTHER, OTHER, "push", "the registry holds another image of this name", ""),
        # No recipe on either side proves nothing.
        (Built("sha256:x", ""), PULLED, PULLED, "push", "the registry holds another image of this name", ""),
    ],
)  # fmt: skip
def test_what_is_pushed(
    image: Built | None, recorded: Held | None, tagged: Held | None, action: str, why: str, digest: str
) -> None:
    assert decide_push(NAME, image, recorded, tagged) == Promotion(NAME, action, why, digest)


@pytest.mark.parametrize(("held", "action"), [(True, "none"), (False, "copy")])
def test_what_is_copied(held: bool, action: str) -> None:
    decided = decide_copy(NAME, "sha256:m", held)
    assert (decided.action, decided.digest) == (action, "sha256:m")


def test_only_what_was_promoted_before_can_be_copied() -> None:
    known = {NAME: "sha256:1", "lastro/app:1": "sha256:2"}
    assert source_digests([NAME], known, "10.1.0.9:5000") == {NAME: "sha256:1"}
    with pytest.raises(PlatformError, match=r"lastro/app:2 was never promoted to the registry 10.1.0.9:5000.*first"):
        source_digests([NAME, "lastro/app:2"], known, "10.1.0.9:5000")


@pytest.mark.parametrize(
    ("address", "host", "repository"),
    [
        ("10.0.0.9:5000", "10.0.0.9:5000", "lastro/redis"),
        ("r.example.com/team", "r.example.com", "team/lastro/redis"),
        ("r.example.com/team/shop/", "r.example.com", "team/shop/lastro/redis"),
    ],
)
def test_where_an_image_lies(address: str, host: str, repository: str) -> None:
    place = Place.of(address, "platform", None, "")
    assert (place.access.address, place.repository(NAME)) == (host, repository)


def test_digests_are_sorted_yaml_that_says_whose_it_is(tmp_path: Path) -> None:
    digests = {"lastro/redis:8": "sha256:" + "1" * 64, "lastro/app:1.4.2": "sha256:" + "2" * 64}
    text = digests_text(digests)
    assert yaml.safe_load(text) == {"images_digests": digests}
    assert text.index("lastro/app") < text.index("lastro/redis")
    assert "playbooks/promote.yml" in text
    assert max(map(len, text.splitlines())) < 160
    assert yaml.safe_load(digests_text({})) == {"images_digests": {}}
    file = tmp_path / "group_vars" / "all" / "digests.yml"
    assert read_digests(file) == {}
    write_digests(file, digests)
    assert read_digests(file) == digests
    assert [path.name for path in file.parent.iterdir()] == ["digests.yml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images_digests: {}\nplatform_name: x\n", "holds more than images_digests"),
        ("- a\n", "holds more than images_digests"),
        ("images_digests: [a]\n", "holds more than images_digests"),
        ("images_digests: {\n", "is no YAML"),
    ],
)
def test_a_file_that_is_not_ours_is_not_written_over(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "digests.yml").write_text(text)
    with pytest.raises(PlatformError, match=message):
        read_digests(tmp_path / "digests.yml")


def test_bcrypt_is_bcrypt() -> None:
    """A vector of the algorithm's own test suite."""
    hashed = _hash(b"U*U", b"$2b$05$CCCCCCCCCCCCCCCCCCCCC.")
    assert hashed == b"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


def test_an_htpasswd_line_stays_the_same_and_tells_nothing_of_the_password() -> None:
    line = htpasswd("word", "platform", "shop-registry")
    assert line == htpasswd("word", "platform", "shop-registry")
    assert line.startswith("platform:$2b$08$")
    other = htpasswd("another", "platform", "shop-registry")
    salt, hashed = slice(0, 38), slice(38, None)
    assert (line[salt], line[hashed] == other[hashed]) == (other[salt], False), (
        "the salt does not depend on the password"
    )
    assert line[salt] != htpasswd("word", "platform", "other-registry")[salt]


@pytest.mark.parametrize(
    ("password", "user", "message"),
    [
        ("w" * 73, "platform", "more than 72 bytes"),
        ("w", "a:b", "'a:b' cannot be a user"),
        ("w", "", "cannot be a user"),
    ],
)
def test_a_login_that_the_registry_would_not_understand_is_refused(password: str, user: str, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        htpasswd(password, user, "x")


def test_digests_that_cannot_be_written_are_a_failure_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match=rf"{tmp_path}/file.*Remove the cause named there"):
        write_digests(tmp_path / "file" / "digests.yml", {})
