# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real registry: what is named and what is new can be pulled afterwards, the rest is gone from the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import Access, Registry

from tests.integration.images_support import ENGINE, recipe, remove_images
from tests.integration.registry_support import PASSWORD, have_image, options, tls_registry
from tests.support import random_name, run_module

# Each release brings a layer of its own of this size.
LAYER_BYTES = 2**20


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Access]:
    have_image()
    with tls_registry(tmp_path / "registry") as access:
        yield access


def container_of(access: Access) -> str:
    port = int(access.address.rpartition(":")[2])
    [found] = [c for c in ENGINE.get("/containers/json") if port in [p.get("PublicPort") for p in c["Ports"]]]
    return str(found["Names"][0]).lstrip("/")


def held_bytes(container: str) -> int:
    code, output = ENGINE.run(container, ["du", "-sb", "/var/lib/registry"])
    assert code == 0, output
    return int(output.split()[0])


def push(access: Access, names: list[str], work: Path) -> dict[str, str]:
    # The name is part of the recipe, else the Engine gives the layer it has.
    layer = f"RUN head -c {LAYER_BYTES} /dev/urandom > /release # "
    built = run_module("images", {"images": [recipe(name, layer + name) for name in names], "work_dir": str(work)})
    assert not built.get("failed"), built
    pushed = run_module("image_promote", {"images": names, "digests_file": "/nowhere", **options(access)})
    assert not pushed.get("failed"), pushed
    return {name: image["digest"] for name, image in pushed["images"].items()}


def test_what_nobody_names_goes_with_its_space(prefix: str, registry: Access, tmp_path: Path) -> None:
    names = [f"{prefix}/app:{release}" for release in "1234"]
    digests: dict[str, str] = {}
    for name in names:
        # One after the other: what counts is when an image was made.
        digests |= push(registry, [name], tmp_path / "work")
    digests |= push(registry, [f"{prefix}/other:1"], tmp_path / "work")
    container = container_of(registry)

    def prune(check: bool = False, keep: int = 2, **more: Any) -> dict[str, Any]:
        kept = {names[0]: digests[names[0]]}
        arguments = {"digests": kept, "keep": keep, "container": container, **options(registry), **more}
        result = run_module("registry_prune", arguments, check=check)
        assert PASSWORD not in json.dumps(result)
        return result

    before = held_bytes(container)
    planned = prune(check=True)
    assert (planned["changed"], planned["removed"]) == (True, [names[1]]), planned
    assert held_bytes(container) == before
    done = prune()
    assert (done["changed"], done["removed"], done["blobs"] > 0) == (True, [names[1]], True), done
    assert held_bytes(container) < before - LAYER_BYTES // 2
    client = Registry(registry)
    assert client.tags(f"{prefix}/app") == ["1", "3", "4"]
    # What stays is whole: its layers are there, too.
    remove_images(prefix)
    for name in (names[0], names[2], names[3], f"{prefix}/other:1"):
        reference = f"{registry.address}/{name.partition(':')[0]}"
        pulled = list(
            ENGINE.stream("/images/create", None, registry.engine_header(), fromImage=reference, tag=digests[name])
        )
        assert not [event for event in pulled if "error" in event], pulled
    again = prune()
    assert (again["changed"], again["removed"], again["blobs"]) == (False, [], 0), again
    # A run that was killed between deleting and collecting is finished by the next one.
    client.delete(f"{prefix}/app", digests[names[2]])
    assert (prune(check=True)["changed"], prune()["changed"], prune()["changed"]) == (True, True, False)
    assert "keep is 0. Give 1 or more" in prune(keep=0)["msg"]
    assert f"refuses the user {registry.user} (401)" in prune(registry_password="wrong")["msg"]
    assert "No such container" in prune(container=random_name())["msg"]
