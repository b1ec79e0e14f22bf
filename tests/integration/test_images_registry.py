# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `images` against a platform's registry with TLS and a login: pulled by digest, and refused before a change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _release_record
from ansible_collections.lastro.platform.plugins.module_utils._image_ca import ca_file
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import (
    MANIFEST_TYPES,
    Access,
    Registry,
    require,
)
from ansible_collections.lastro.platform.plugins.module_utils._images import parse_reference

from tests.integration.images_support import ENGINE, LABEL, image_of, recipe, remove_images
from tests.integration.registry_support import (
    PASSWORD,
    certificate,
    closed_port,
    forget,
    have_image,
    options,
    pretender,
    says,
    tls_registry,
    wants_token,
)
from tests.support import random_name, run_module

DIGEST = "sha256:" + "0" * 64

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    have_image()
    with tls_registry(tmp_path_factory.mktemp("registry")) as access:
        yield access


@pytest.fixture
def run(tmp_path: Path, registry: Access) -> Run:
    """The module, as a host of stage or prod calls it."""

    def call(images: list[dict[str, Any]], digests: dict[str, str], check: bool = False, **more: Any) -> dict[str, Any]:
        common = {"source": "pull", "work_dir": str(tmp_path / "work"), **options(registry)}
        return run_module("images", {"images": images, "digests": digests, **common, **more}, check=check)

    forget(registry)
    return call


@pytest.fixture
def promoted(prefix: str, registry: Access, tmp_path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """An image that is in the registry and nowhere else, and its digest."""
    image = recipe(f"{prefix}/thing:1", f"RUN echo {prefix} > /thing", inspect=True)
    built = run_module("images", {"images": [image], "work_dir": str(tmp_path / "work")})
    assert not built.get("failed"), built
    file = str(tmp_path / "digests.yml")
    pushed = run_module("image_promote", {"images": [image["name"]], "digests_file": file, **options(registry)})
    assert not pushed.get("failed"), pushed
    remove_images(prefix)
    return image, {image["name"]: pushed["images"][image["name"]]["digest"]}


def test_pull_by_digest_then_nothing_to_do(
    prefix: str, registry: Access, promoted: tuple[dict[str, Any], dict[str, str]], run: Run
) -> None:
    image, digests = promoted
    name = image["name"]
    planned = run([image], digests, check=True)
    assert (planned["changed"], planned["images"][name]["action"]) == (True, "pull")
    assert image_of(name) is None
    assert not ca_file(registry).exists()
    made = run([image], digests)
    assert not made.get("failed"), made["msg"]
    assert made["images"][name]["action"] == "pull"
    assert made["images"][name]["shell"] is True
    assert made["diff"]["after"].splitlines() == [
        f"{name}: pull, there is no such image",
        f"{ca_file(registry)}: the CA of the registry",
    ]
    pulled = image_of(name)
    assert pulled
    assert pulled["RepoTags"] == [name]
    assert pulled["RepoDigests"] == [f"{registry.address}/{prefix}/thing@{digests[name]}"]
    # The password would be refused: whoever has everything does not ask the registry.
    again = run([image], digests, registry_password="wrong")
    assert (again["changed"], again["images"][name]["source"]) == (False, "pulled")
    for result in (planned, made, again):
        assert PASSWORD not in json.dumps(result)


def test_superseded_releases_go_when_a_new_one_comes(prefix: str, registry: Access, run: Run, tmp_path: Path) -> None:
    """Those pulled by digest go whole, and what a stopped container was made from or the digests name stays."""
    images = {tag: recipe(f"{prefix}/app:{tag}", f"RUN echo {tag} > /release") for tag in "12345"}
    names = {tag: image["name"] for tag, image in images.items()}
    digests: dict[str, str] = {}
    for name, image in zip(names.values(), images.values(), strict=True):
        made = run_module("images", {"images": [image], "work_dir": str(tmp_path / "work")})
        assert not made.get("failed"), made
        pushed = run_module("image_promote", {"images": [name], "digests_file": "/nowhere", **options(registry)})
        digests[name] = pushed["images"][name]["digest"]
    remove_images(prefix)

    def release(tag: str, *more: str, **options_: Any) -> dict[str, Any]:
        given = {names[one]: digests[names[one]] for one in (tag, *more)}
        result = run([images[tag]], given, releases=[names[tag]], **options_)
        assert not result.get("failed"), result
        return result

    def left() -> set[str]:
        listed = ENGINE.get("/images/json", filters={"label": [f"{LABEL}={prefix}"]})
        assert all(image["RepoTags"] for image in listed), "an image without a name was left"
        return {name.rpartition(":")[2] for image in listed for name in image["RepoTags"]}

    for tag in "1234":
        release(tag)
    container = ENGINE.post("/containers/create", {"Image": names["1"], "Cmd": ["true"]}, name=random_name())["Id"]
    try:
        planned = release("5", "2", keep=2, check=True)
        assert f"{names['3']}: removed, 2 newer releases are kept" in planned["diff"]["after"]
        assert left() == set("1234")
        # What can be gone back to.
        _release_record.keep(str(tmp_path), "3", {"images": {names["3"]: {}}}, 5)
        kept = release("5", "2", keep=2, check=True, state_directory=str(tmp_path))
        assert "removed" not in kept["diff"]["after"]
        made = release("5", "2", keep=2)
        assert made["diff"]["after"] == planned["diff"]["after"]
        assert left() == set("1245")
        # Only a new release takes old ones away: a run that has nothing to do stays one.
        assert release("5", keep=1)["changed"] is False
        assert left() == set("1245")
    finally:
        ENGINE.delete(f"/containers/{container}", force=1)


def test_an_image_built_here_is_replaced_by_the_promoted_one(
    promoted: tuple[dict[str, Any], dict[str, str]], run: Run, tmp_path: Path
) -> None:
    image, digests = promoted
    run_module("images", {"images": [image], "work_dir": str(tmp_path / "work")})
    before = image_of(image["name"])
    made = run([image], digests)
    assert made["images"][image["name"]]["why"] == "it was built here, and is to be pulled"
    after = image_of(image["name"])
    assert before and after and before["Id"] != after["Id"]  # noqa: PT018 -- narrows both for the type checker


def test_nothing_is_built_but_what_is_local(prefix: str, run: Run) -> None:
    images = [recipe(f"{prefix}/own:1", "LABEL a=b"), recipe(f"{prefix}/other:1", "LABEL a=b")]
    made = run(images, {}, only=[f"{prefix}/own:1"], local=[f"{prefix}/own:1"])
    assert made["images"][f"{prefix}/own:1"]["action"] == "build"
    refused = run(images, {}, local=[f"{prefix}/own:1"])
    assert f"images_digests has no digest for {prefix}/other:1, which come from the registry" in refused["msg"]
    assert image_of(f"{prefix}/other:1") is None


def test_a_host_that_needs_nothing_does_nothing(prefix: str, run: Run) -> None:
    images = [recipe(f"{prefix}/a:1", "LABEL a=b")]
    result = run(images, {}, only=[], registry_ca="")
    assert (result["changed"], result["images"]) == (False, {})


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "does not hold what images_digests names: "),
        ({"registry_password": "wrong"}, "refuses the user platform (401). Check the user and the password"),
        ({"registry_user": ""}, "refuses a request without a login (401)."),
        ({"registry_ca": ""}, "shows a certificate that is not trusted: "),
    ],
)
def test_a_registry_that_refuses_stops_before_any_change(
    prefix: str, registry: Access, run: Run, change: dict[str, str], message: str, check: bool
) -> None:
    name = f"{prefix}/thing:1"
    # The other image could be built at once: nothing may be begun.
    images = [recipe(name, "LABEL a=b"), recipe(f"{prefix}/own:1", "LABEL a=b")]
    result = run(images, {name: DIGEST}, check=check, local=[f"{prefix}/own:1"], **change)
    assert result["failed"]
    assert result["msg"].startswith(f"The registry {registry.address} ")
    assert message in result["msg"]
    assert "\n" not in result["msg"]
    assert PASSWORD not in json.dumps(result)
    assert image_of(f"{prefix}/own:1") is None
    assert not ca_file(registry).exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (says(500), "answers 500 to /v2/. Read its log on that host"),
        (says(200, b"<html>"), "answers with text/html where a manifest was asked for. Check the address"),
        (says(404), "is no image registry (404). Check the address"),
        (says(429), "limits how often it may be asked (429). Wait"),
    ],
)
def test_a_server_that_is_no_healthy_registry(prefix: str, run: Run, tmp_path: Path, answer: Any, message: str) -> None:
    with pretender(tmp_path, answer) as access:
        result = run([recipe(f"{prefix}/a:1")], {f"{prefix}/a:1": DIGEST}, check=True, **options(access))
    assert result["failed"]
    assert result["msg"].startswith(f"The registry {access.address} {message}")


def test_a_server_without_tls(prefix: str, run: Run, tmp_path: Path) -> None:
    with pretender(tmp_path, says(200), plain=True) as access:
        result = run([recipe(f"{prefix}/a:1")], {f"{prefix}/a:1": DIGEST}, check=True, **options(access))
    assert f"The registry {access.address} does not speak TLS" in result["msg"]


def test_a_silent_registry_is_told_from_one_that_is_down(prefix: str, run: Run, tmp_path: Path) -> None:
    image, digests = recipe(f"{prefix}/a:1"), {f"{prefix}/a:1": DIGEST}
    with pretender(tmp_path, None) as access:
        begun = time.monotonic()
        silent = run([image], digests, check=True, **options(access))
        assert time.monotonic() - begun < 8, "asked more than once, which takes five seconds each time"
    assert f"The registry {access.address} does not answer within 5 s. Check the firewalls" in silent["msg"]
    assert "A host that is new in the inventory is let in by `playbooks/promote.yml`" in silent["msg"]
    down = run([image], digests, check=True, registry=closed_port())
    assert "is down: nothing listens there. Start it" in down["msg"]


def test_another_ca_is_not_trusted_by_client_and_engine(
    promoted: tuple[dict[str, Any], dict[str, str]], registry: Access, run: Run, tmp_path: Path
) -> None:
    image, digests = promoted
    other = certificate(tmp_path / "other", "127.0.0.1")[0]
    assert "is not trusted" in run([image], digests, registry_ca=other)["msg"]
    # Without the CA the Engine itself refuses: it is what the module writes that makes the pull possible.
    with pytest.raises(Exception, match=r"x509|certificate"):
        ENGINE.get(f"/distribution/{registry.address}/x@{DIGEST}/json")
    assert run([image], digests)["changed"] is True
    ca_file(registry).write_text(other)
    renewed = run([image], digests)
    assert renewed["diff"]["after"] == f"{ca_file(registry)}: the CA of the registry\n"
    assert ca_file(registry).read_text() == registry.ca


def test_a_registry_that_wants_a_token(tmp_path: Path) -> None:
    with pretender(tmp_path, wants_token(MANIFEST_TYPES[0])) as access:
        wanted = {"t/a:1": parse_reference(f"{access.address}/t/a@{DIGEST}")}
        require(Registry(access), wanted)
        with pytest.raises(Exception, match=r"refuses the user platform \(401\)"):
            require(Registry(replace(access, password="wrong")), wanted)
