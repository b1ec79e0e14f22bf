# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `image_promote` with real registries: pushed once, copied with the same digest, written into the inventory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lastro.platform.plugins.module_utils._image_ca import ca_file
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import (
    INDEX_TYPES,
    Access,
    Manifest,
    Registry,
)

from tests.integration.images_support import ENGINE, image_of, recipe, remove_images
from tests.integration.registry_support import PASSWORD, forget, have_image, options, pretender, says, tls_registry
from tests.support import REPOSITORY, run_module

Promote = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Access, Access]]:
    """That of one environment and that of the next."""
    have_image()
    folders = tmp_path_factory.mktemp("stage"), tmp_path_factory.mktemp("prod")
    with tls_registry(folders[0]) as stage, tls_registry(folders[1]) as prod:
        yield stage, prod


@pytest.fixture
def promote(registries: tuple[Access, Access]) -> Promote:
    """The module alone, to the first registry."""

    def call(*names: str, check: bool = False, **more: Any) -> dict[str, Any]:
        common = {"images": names, "digests_file": "/nowhere", **options(registries[0])}
        return run_module("image_promote", {**common, **more}, check=check)

    return call


def build(name: str, tmp_path: Path, *lines: str) -> str:
    """An image of the Engine, built without the layers of an earlier one; its ID."""
    result = run_module("images", {"images": [recipe(name, *lines)], "work_dir": str(tmp_path / "work")})
    assert not result.get("failed"), result
    return str(result["images"][name]["id"])


def test_pushed_once(prefix: str, registries: tuple[Access, Access], promote: Promote, tmp_path: Path) -> None:
    names = [f"{prefix}/{name}:1" for name in "ab"]
    planned = promote(names[0], check=True)
    assert planned["images"][names[0]] == {"action": "push", "why": "it has yet to be built", "digest": ""}
    assert f"This Engine has no image {names[0]}. Build it first" in promote(names[0])["msg"]
    for name in names:
        build(name, tmp_path, f"RUN echo {name} > /a")
    forget(registries[0])
    assert promote(*names, check=True)["changed"] is True
    assert not ca_file(registries[0]).exists()
    pushed = promote(*names)
    assert {image["action"] for image in pushed["images"].values()} == {"push"}
    digests = {name: image["digest"] for name, image in pushed["images"].items()}
    for name in names:
        held = Registry(registries[0]).manifest(name.partition(":")[0], digests[name])
        local = image_of(name)
        assert held and local  # noqa: PT018 -- narrows both for the type checker
        assert held.config == local["Id"]
        assert local["RepoTags"] == [name], "the name for the push is gone"
    again = promote(*names, digests=digests)
    assert again["changed"] is False
    assert {name: image["digest"] for name, image in again["images"].items()} == digests
    lost = promote(*names)
    assert lost["changed"] is False
    assert lost["images"][names[0]]["why"] == "the registry holds it, its digest was not written down"
    for result in (planned, pushed, again):
        assert PASSWORD not in json.dumps(result)


def test_the_same_recipe_built_elsewhere_keeps_the_digest(prefix: str, promote: Promote, tmp_path: Path) -> None:
    name, lines = f"{prefix}/a:1", ["RUN head -c 16 /dev/urandom > /a"]
    first = build(name, tmp_path, *lines)
    digest = promote(name)["images"][name]["digest"]
    remove_images(prefix)
    assert build(name, tmp_path, *lines) != first
    again = promote(name, digests={name: digest})
    assert (again["changed"], again["images"][name]["digest"]) == (False, digest)
    build(name, tmp_path, *lines, "RUN echo more > /b")
    changed = promote(name, digests={name: digest})
    assert changed["images"][name]["why"] == "the registry holds another image of this name"
    assert changed["images"][name]["digest"] != digest


def test_copied_to_the_next_environment_with_the_same_digest(
    prefix: str, registries: tuple[Access, Access], promote: Promote, tmp_path: Path
) -> None:
    stage, prod = registries
    name, repository = f"{prefix}/a:1", f"{prefix}/a"
    build(name, tmp_path, "RUN head -c 3000000 /dev/urandom > /a")
    digests = {name: promote(name)["images"][name]["digest"]}
    remove_images(prefix)
    onward = {**options(prod), **options(stage, "source_registry"), "source_digests": digests}
    assert promote(name, check=True, **onward)["images"][name]["action"] == "copy"
    assert not Registry(prod).holds(repository, digests[name])
    copied = promote(name, **onward)
    assert copied["images"][name] == {"action": "copy", "why": "the registry lacks it", "digest": digests[name]}
    assert not ca_file(prod).exists(), "no Engine is needed for a copy"
    there, here = (
        Registry(stage).manifest(repository, digests[name]),
        Registry(prod).manifest(repository, digests[name]),
    )
    assert there
    assert there == here == Registry(prod).manifest(repository, "1")
    assert promote(name, **onward)["changed"] is False
    pulled = run_module(
        "images",
        {
            **{"images": [recipe(name)], "source": "pull", "digests": digests, "work_dir": str(tmp_path / "work")},
            **options(prod),
        },
    )
    assert pulled["images"][name]["action"] == "pull"
    refused = promote(name, **{**onward, "source_digests": {}})
    assert f"{name} was never promoted to the registry {stage.address}" in refused["msg"]
    unknown = promote(name, **{**onward, "source_digests": {name: "sha256:" + "0" * 64}})
    assert f"The registry {stage.address} does not hold {repository}@sha256:000" in unknown["msg"]


def test_an_index_of_several_platforms_is_copied_whole(
    prefix: str, registries: tuple[Access, Access], promote: Promote, tmp_path: Path
) -> None:
    stage, prod = registries
    name, repository = f"{prefix}/a:1", f"{prefix}/a"
    build(name, tmp_path, "RUN echo a > /a")
    inner = promote(name)["images"][name]["digest"]
    manifest = Registry(stage).manifest(repository, inner)
    assert manifest
    entry = {"mediaType": manifest.kind, "digest": inner, "size": len(manifest.body)}
    platform = {"architecture": "amd64", "os": "linux"}
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": [{**entry, "platform": platform}]})
    digest = "sha256:" + hashlib.sha256(body.encode()).hexdigest()
    index = Manifest(digest, INDEX_TYPES[0], body.encode())
    Registry(stage).copy_from(Registry(stage), repository, repository, index)
    onward = {**options(prod), **options(stage, "source_registry"), "source_digests": {name: digest}}
    assert promote(name, **onward)["images"][name]["digest"] == digest
    assert Registry(prod).manifest(repository, digest) == index
    assert Registry(prod).holds(repository, inner)


def test_a_target_that_is_not_well_is_told_before_a_push(prefix: str, promote: Promote, tmp_path: Path) -> None:
    name = f"{prefix}/a:1"
    build(name, tmp_path, "LABEL a=b")
    with pretender(tmp_path, says(503)) as access:
        result = promote(name, **options(access))
    assert result["msg"].startswith(f"The registry {access.address} answers 503 to /v2/. Read its log")
    assert "refuses the user platform (401)" in promote(name, registry_password="wrong")["msg"]


def test_the_inventory_is_written(prefix: str, registries: tuple[Access, Access], tmp_path: Path) -> None:
    name, file = f"{prefix}/a:1", tmp_path / "inventory" / "group_vars" / "all" / "digests.yml"
    build(name, tmp_path, "RUN echo a > /a")
    kept = {"lastro/reference_app:1.4.1": "sha256:" + "1" * 64}
    file.parent.mkdir(parents=True)
    superseded = {f"{prefix}/a:0": "sha256:" + "2" * 64}
    file.write_text(yaml.safe_dump({"images_digests": {**kept, **superseded}}))
    arguments = tmp_path / "arguments.json"
    task = {"images": [name], "digests_file": str(file), "releases": [name], "keep": 1, **options(registries[0])}
    tasks = [{"name": "Promote", "lastro.platform.image_promote": task}]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    arguments.write_text(json.dumps([play]))

    def ansible(*more: str) -> str:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", *more),
                *("--diff", "-e", f"ansible_python_interpreter={sys.executable}", str(arguments)),
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    planned = ansible("--check")
    assert f"+  {name}: known after the push" in planned
    assert f"{name}: push, the registry lacks it" in planned
    assert f"-  {prefix}/a:0: " in planned
    assert yaml.safe_load(file.read_text()) == {"images_digests": {**kept, **superseded}}
    shown = ansible("-vvv")
    digests = yaml.safe_load(file.read_text())["images_digests"]
    assert Registry(registries[0]).holds(f"{prefix}/a", digests[name])
    assert digests == {**kept, name: digests[name]}
    assert f"localhost: {name} " in shown
    assert f"done: {digests[name]}" in shown
    assert "changed=0" in ansible()
    assert ENGINE.find(f"/images/{registries[0].address}/{prefix}/a:1/json") is None
