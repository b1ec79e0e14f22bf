# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is, when it is right, and what has to be done: tables, no Engine."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_build import (
    build_error,
    run_steps,
)
from ansible_collections.lastro.platform.plugins.module_utils._images import (
    RECIPE_LABEL,
    Image,
    Reference,
    Step,
    arguments,
    declared_args,
    is_unreachable,
    parse_image,
    parse_reference,
    plan,
    recipe_hashes,
    refuse_passwords,
    select,
)

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def image(name: str, *bases: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "from": list(bases), "dockerfile": f"FROM x\n# {name}", **options}


CATALOGUE = [
    image("t/app:1", "t/python:1"),
    image("t/python:1", "t/base:1", upstream=f"python:3@{DIGEST}"),
    image("t/base:1", "t/debian:1"),
    {"name": "t/debian:1", "upstream": f"debian:1@{DIGEST}", "bootstrap": "trixie"},
]


def ordered(
    only: list[str] | None = None, items: list[dict[str, Any]] | None = None
) -> tuple[dict[str, Image], list[str]]:
    return select([parse_image(item) for item in items or CATALOGUE], only)


def hashes(items: list[dict[str, Any]], sources: str = "m", pem: str = "c", revision: str = "") -> dict[str, str]:
    return recipe_hashes(ordered(items=items)[0], [sources], {"a.crt": pem}, revision)


def listed(name: str, recipe: str | None = None, digest: str | None = None) -> dict[str, Any]:
    return {
        "Id": f"id-{name}",
        "RepoTags": [name],
        "RepoDigests": [f"x@{digest}"] if digest else None,
        "Labels": {RECIPE_LABEL: recipe} if recipe else None,
    }


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"redis:8@{DIGEST}", Reference("docker.io", "redis", DIGEST)),
        (f"library/redis@{DIGEST}", Reference("docker.io", "library/redis", DIGEST)),
        (f"registry.example.com/a/b:1@{DIGEST}", Reference("registry.example.com", "registry.example.com/a/b", DIGEST)),
        (f"127.0.0.1:5000/b@{DIGEST}", Reference("127.0.0.1:5000", "127.0.0.1:5000/b", DIGEST)),
        (f"localhost/b@{DIGEST}", Reference("localhost", "localhost/b", DIGEST)),
    ],
)
def test_reference(text: str, wanted: Reference) -> None:
    assert parse_reference(text) == wanted


@pytest.mark.parametrize("text", ["redis:8", "redis", f"redis@{DIGEST[:-1]}", f"redis 8@{DIGEST}", ""])
def test_reference_without_a_digest_is_refused(text: str) -> None:
    with pytest.raises(PlatformError, match="has no digest"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": "redis"}, "not an image name with a tag"),
        ({"name": "t/x:1"}, "neither an upstream nor a recipe"),
        ({"name": "t/x:1", "upstream": "redis:8"}, "has no digest"),
    ],
)
def test_image_that_cannot_be_had_is_refused(item: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        parse_image(item)


def test_bases_come_first_and_only_what_is_wanted() -> None:
    images, wanted = ordered(["t/python:1"])
    assert list(images) == ["t/debian:1", "t/base:1", "t/python:1"]
    assert wanted == ["t/python:1"]


@pytest.mark.parametrize(
    ("items", "only", "message"),
    [
        ([image("t/a:1", "t/b:1"), image("t/b:1", "t/a:1")], None, "t/a:1 → t/b:1 → t/a:1"),
        ([image("t/a:1", "t/gone:1")], None, "t/gone:1, which t/a:1 is built from, is not in the list"),
        ([image("t/a:1")], ["t/z:1"], "t/z:1 is not in the list"),
    ],
)
def test_lists_that_cannot_be_ordered_are_refused(
    items: list[dict[str, Any]], only: list[str] | None, message: str
) -> None:
    with pytest.raises(PlatformError, match=message):
        ordered(only, items)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"dockerfile": "FROM y"}, True),
        ({"files": {"a": "b"}}, True),
        ({"build_args": {"A": "b"}}, True),
        ({"labels": {"a": "b"}}, True),
        ({"context": "/somewhere", "context_hash": "1"}, True),
        ({"context": "/elsewhere"}, False),
        ({"inspect": True}, False),
        ({"upstream": f"a:1@{DIGEST}"}, False),
    ],
)
def test_recipe_hash_follows_the_recipe_and_nothing_else(change: dict[str, Any], changed: bool) -> None:
    before = hashes([image("t/a:1"), image("t/b:1", "t/a:1")])
    after = hashes([image("t/a:1", **change), image("t/b:1", "t/a:1")])
    assert (before["t/a:1"] != after["t/a:1"]) is changed
    assert (before["t/b:1"] != after["t/b:1"]) is changed, "what stands on it must follow"


@pytest.mark.parametrize(
    ("host", "changed"),
    [
        ({"sources": "other"}, {"t/debian:1", "t/base:1", "t/top:1"}),
        ({"revision": "2026-11"}, {"t/debian:1", "t/base:1", "t/top:1"}),
        ({"pem": "other"}, {"t/base:1", "t/top:1"}),
    ],
)
def test_recipe_hash_follows_what_the_host_adds(host: dict[str, str], changed: set[str]) -> None:
    items = [
        image("t/plain:1"),
        {"name": "t/debian:1", "bootstrap": "trixie"},
        image("t/base:1", "t/debian:1", site=True),
        image("t/top:1", "t/base:1"),
    ]
    before, after = hashes(items), hashes(items, **host)
    assert {name for name in before if before[name] != after[name]} == changed


RECIPES = hashes(CATALOGUE)


PULLED, BUILT = [listed("t/python:1", digest=DIGEST)], [listed("t/python:1", RECIPES["t/python:1"])]


@pytest.mark.parametrize(
    ("source", "answers", "listing", "wanted", "actions"),
    [
        # The actions are those for debian, base, python and app; an empty one: not needed.
        ("auto", True, [], "t/app:1", ["", "", "pull", "build"]),
        ("auto", False, [], "t/app:1", ["build", "build", "build", "build"]),
        ("auto", None, [], "t/app:1", ["pull or build", "build", "pull or build", "build"]),
        ("build", True, [], "t/app:1", ["build", "build", "build", "build"]),
        ("pull", False, [], "t/base:1", ["pull", "build", "", ""]),
        # A pulled and a built Python are both right where the source is auto.
        ("auto", False, PULLED, "t/python:1", ["", "", "none", ""]),
        ("auto", True, BUILT, "t/python:1", ["", "", "none", ""]),
        ("build", True, PULLED, "t/python:1", ["build", "build", "build", ""]),
        ("pull", True, BUILT, "t/python:1", ["", "", "pull", ""]),
        ("auto", True, [listed("t/python:1", digest=OTHER)], "t/python:1", ["", "", "pull", ""]),
        ("auto", False, [listed("t/python:1", "old")], "t/python:1", ["build", "build", "build", ""]),
        # A tag moved by hand to an image of no recipe.
        ("build", False, [listed("t/python:1")], "t/python:1", ["build", "build", "build", ""]),
    ],
)
def test_plan(
    source: str, answers: bool | None, listing: list[dict[str, Any]], wanted: str, actions: list[str]
) -> None:
    images, names = ordered([wanted])
    taken = {step.name: step.action for step in plan(images, names, RECIPES, listing, source, lambda _: answers)}
    assert [taken.get(f"t/{name}:1", "") for name in ("debian", "base", "python", "app")] == actions


def test_bases_of_what_is_right_are_not_needed() -> None:
    images, wanted = ordered(["t/app:1"])
    steps = plan(images, wanted, RECIPES, [listed("t/app:1", RECIPES["t/app:1"])], "build", lambda _: False)
    assert steps == [Step("t/app:1", "none", "its recipe is unchanged", "id-t/app:1", "built")]


def test_the_registry_is_not_asked_where_nothing_is_missing() -> None:
    def never(_: Reference) -> bool:
        pytest.fail("the registry was asked")

    images, wanted = ordered(["t/python:1"])
    plan(images, wanted, RECIPES, [listed("t/python:1", digest=DIGEST)], "auto", never)
    plan(images, wanted, RECIPES, [], "build", never)


@pytest.mark.parametrize(
    ("listing", "source", "why"),
    [
        ([], "auto", "there is no such image, and no registry answers as docker.io"),
        ([listed("t/python:1", "old")], "build", "its recipe changed"),
        ([listed("t/python:1")], "build", "it was not built from a recipe"),
        ([listed("t/python:1", digest=OTHER)], "pull", "its digest is not the upstream's"),
        ([listed("t/python:1", RECIPES["t/python:1"])], "pull", "it was built here, and is to be pulled"),
    ],
)
def test_every_step_says_why(listing: list[dict[str, Any]], source: str, why: str) -> None:
    images, wanted = ordered(["t/python:1"])
    steps = plan(images, wanted, RECIPES, listing, source, lambda _: False)
    assert {step.name: step.why for step in steps}["t/python:1"] == why


def test_an_image_without_a_recipe_cannot_be_built() -> None:
    images, wanted = ordered(items=[{"name": "t/a:1", "upstream": f"a@{DIGEST}"}])
    with pytest.raises(PlatformError, match="has no recipe"):
        plan(images, wanted, {"t/a:1": "x"}, [], "build", lambda _: True)


@pytest.mark.parametrize(
    ("message", "unreachable"),
    [
        ('Get "https://registry.example.com/v2/": dial tcp: lookup registry.example.com: no such host', True),
        ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', True),
        ('Get "https://r/v2/": net/http: request canceled while waiting (Client.Timeout exceeded)', True),
        ('Get "https://r/v2/": net/http: TLS handshake timeout', True),
        ("error parsing HTTP 403 response body: invalid character '<' looking for beginning of value", True),
        ("received unexpected HTTP status: 503 Service Unavailable", True),
        ("manifest unknown: manifest unknown", False),
        ("pull access denied for x, repository does not exist or may require 'docker login'", False),
        ("unauthorized: authentication required", False),
        ("toomanyrequests: You have reached your pull rate limit", False),
        ("x509: certificate signed by unknown authority", False),
        ("no space left on device", False),
    ],
)
def test_a_registry_that_says_no_did_answer(message: str, unreachable: bool) -> None:
    assert is_unreachable(message) is unreachable


def test_site_arguments_go_only_where_they_are_declared() -> None:
    text = "ARG PIP_INDEX_URL=x\nFROM a\n arg Other\n# ARG NO\nRUN ARG\n"
    assert declared_args(text) == {"PIP_INDEX_URL", "Other"}
    given = {"PIP_INDEX_URL": "p", "NO": "n", "https_proxy": "h", "RELEASE": "site"}
    own = Image("t/a:1", build_args={"RELEASE": "own"})
    assert arguments(own, text, given) == {"PIP_INDEX_URL": "p", "https_proxy": "h", "RELEASE": "own"}


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("https://user:word@pypi.example.com/simple", True),
        ("https://:word@pypi.example.com/simple", True),
        ("https://pypi.example.com:8443/simple/@scope", False),
        ("http://user@pypi.example.com/", False),
        ("me:you@there", False),
    ],
)
def test_a_password_in_a_build_argument_is_refused(value: str, refused: bool) -> None:
    if not refused:
        refuse_passwords({"PIP_INDEX_URL": value})
        return
    with pytest.raises(PlatformError, match="PIP_INDEX_URL holds a password") as caught:
        refuse_passwords({"PIP_INDEX_URL": value})
    assert "word@" not in str(caught.value)


def test_failure_names_image_step_and_the_last_lines() -> None:
    output = [f"line {number}" for number in range(60)] + ["(Reading database ... 5%", "\x1b[91mE: broken\x1b[0m"]
    message = str(
        build_error("t/a:1", "step 2/3: RUN x", output, "The command '/bin/sh -c x' returned a non-zero code: 100")
    )
    assert message.startswith(
        "t/a:1 could not be built, at step 2/3: RUN x: the command returned a non-zero code: 100. Correct"
    )
    lines = message.splitlines()
    assert lines[1] == "line 21"
    assert lines[40] == "E: broken"


def test_independent_steps_run_together_and_dependent_ones_in_order() -> None:
    both = Barrier(2, timeout=5)
    log: list[str] = []

    def act(step: Step) -> None:
        if step.name in ("b", "c"):
            both.wait()
        log.append(step.name)

    bases = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("a",)}
    steps = [Step(name, "none" if name == "e" else "build", "") for name in bases]
    seconds = run_steps(steps, lambda name: bases[name], act)
    assert log[0] == "a"
    assert log[-1] == "d"
    assert set(seconds) == {"a", "b", "c", "d"}


def test_after_a_failure_nothing_new_is_begun() -> None:
    begun: list[str] = []

    def act(step: Step) -> None:
        begun.append(step.name)
        raise PlatformError("broken")

    with pytest.raises(PlatformError, match="broken"):
        run_steps([Step("a", "build", ""), Step("b", "build", "")], lambda name: ("a",) if name == "b" else (), act)
    assert begun == ["a"]
