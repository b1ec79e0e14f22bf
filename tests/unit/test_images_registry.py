# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from the platform's registry: what is taken from it, what its answers mean, and how it is trusted."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_ca import ca_differs, ca_file, write_ca
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Access,
    Manifest,
    Registry,
    refusal,
    repository_of,
    token_of,
    token_url,
    unreachable,
)
from ansible_collections.lastro.platform.plugins.module_utils._images import (
    Step,
    from_registry,
    parse_image,
    parse_reference,
    plan,
    select,
)

DIGEST = "sha256:" + "a" * 64
REGISTRY = "10.0.0.9:5000"
IMAGES = [
    {"name": "t/debian:1", "upstream": f"debian@{DIGEST}", "bootstrap": "trixie"},
    {"name": "t/base:1", "from": ["t/debian:1"], "dockerfile": "FROM t/debian:1"},
    {"name": "t/redis:8", "from": ["t/base:1"], "dockerfile": "FROM t/base:1", "upstream": f"redis@{DIGEST}"},
    {"name": "t/registry:2", "from": ["t/base:1"], "dockerfile": "FROM t/base:1"},
    {"name": "t/app:r1", "from": ["t/base:1"], "context": "/app", "inspect": True},
]


def taken(wanted: list[str], local: list[str], digests: dict[str, str], registry: str = REGISTRY) -> dict[str, Any]:
    found = from_registry([parse_image(item) for item in IMAGES], wanted, local, registry, digests)
    return {image.name: image for image in found}


@pytest.mark.parametrize(
    ("wanted", "local", "pulled", "made"),
    [
        (["t/redis:8", "t/app:r1"], [], ["t/redis:8", "t/app:r1"], []),
        (["t/registry:2"], ["t/registry:2"], [], ["t/debian:1", "t/base:1", "t/registry:2"]),
        (["t/redis:8", "t/registry:2"], ["t/registry:2"], ["t/redis:8"], ["t/debian:1", "t/base:1", "t/registry:2"]),
        # What a local image stands on is not pulled besides: it would have another recipe.
        (["t/base:1", "t/registry:2"], ["t/registry:2"], [], ["t/debian:1", "t/base:1", "t/registry:2"]),
        (["t/redis:8"], ["t/registry:2"], ["t/redis:8"], []),
        ([], ["t/registry:2"], [], []),
    ],
)
def test_what_comes_from_the_registry(wanted: list[str], local: list[str], pulled: list[str], made: list[str]) -> None:
    images = taken(wanted, local, dict.fromkeys(pulled, DIGEST))
    assert sorted(images) == sorted(pulled + made)
    for name in pulled:
        repository = name.partition(":")[0]
        assert images[name].upstream == parse_reference(f"{REGISTRY}/{repository}@{DIGEST}")
        assert not images[name].buildable, "a host builds nothing that the registry has"
        assert not images[name].bases
    assert images == {} or all(images[name].buildable for name in made)


def test_what_comes_from_the_registry_is_inspected_as_before() -> None:
    assert taken(["t/app:r1"], [], {"t/app:r1": DIGEST})["t/app:r1"].inspect


@pytest.mark.parametrize(
    ("registry", "digests", "message"),
    [
        (REGISTRY, {"t/redis:8": DIGEST}, r"has no digest for t/app:r1, which .* playbooks/promote.yml"),
        (REGISTRY, {}, r"has no digest for t/redis:8, t/app:r1, which"),
        (REGISTRY, {"t/redis:8": "sha256:1", "t/app:r1": DIGEST}, r"t/redis@sha256:1' has no digest"),
        ("registry", {"t/redis:8": DIGEST, "t/app:r1": DIGEST}, r"'registry' is not the address .* host:port"),
    ],
)
def test_images_without_a_digest_are_refused(registry: str, digests: dict[str, str], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        taken(["t/redis:8", "t/app:r1"], [], digests, registry)


@pytest.mark.parametrize(
    ("listing", "action", "why"),
    [
        ([], "pull", "there is no such image"),
        ([{"RepoDigests": [f"elsewhere/x@{DIGEST}"]}], "none", "its digest is the upstream's"),
        ([{"RepoDigests": None}], "pull", "its digest is not the upstream's"),
        ([{"Labels": {"lastro.recipe": "1"}}], "pull", "it was built here, and is to be pulled"),
    ],
)
def test_an_image_of_the_registry_is_right_by_its_digest_alone(
    listing: list[dict[str, Any]], action: str, why: str
) -> None:
    images, names = select(taken(["t/redis:8"], [], {"t/redis:8": DIGEST}).values(), ["t/redis:8"])
    entries = [{"Id": "i", "RepoTags": ["t/redis:8"], **entry} for entry in listing]
    [step] = plan(images, names, {"t/redis:8": "1"}, entries, "auto", lambda _: False)
    assert step == Step("t/redis:8", action, why, *(("i", "pulled") if action == "none" else ()))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(f"10.0.0.9:5000/lastro/redis@{DIGEST}", "lastro/redis"), (f"r.example.com/a/b/c:1@{DIGEST}", "a/b/c")],
)
def test_repository(text: str, wanted: str) -> None:
    assert repository_of(parse_reference(text)) == wanted


@pytest.mark.parametrize(
    ("challenge", "wanted"),
    [
        ("", ""),
        ('Basic realm="registry"', ""),
        (
            'Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push"',
            "https://auth.example.com/token?service=r&scope=repository%3Aa%2Fb%3Apull%2Cpush",
        ),
        ('bearer realm="https://auth.example.com/t"', "https://auth.example.com/t"),
        # The password would travel in clear.
        ('Bearer realm="http://auth.example.com/token",service="r"', ""),
    ],
)
def test_where_a_token_is_had(challenge: str, wanted: str) -> None:
    assert token_url(challenge) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [(b'{"token": "t"}', "t"), (b'{"access_token": "a"}', "a"), (b"{}", ""), (b"[]", ""), (b"<html>", "")],
)
def test_token(answer: bytes, wanted: str) -> None:
    assert token_of(answer) == wanted


@pytest.mark.parametrize(
    ("status", "path", "cause", "cure"),
    [
        (401, "/v2/", "refuses the user platform (401)", "the password of the registry in the inventory"),
        (403, "/v2/", "refuses the user platform (403)", "the password"),
        (404, "/v2/", "is no image registry (404)", "images_registry"),
        (429, "/v2/a/manifests/1", "limits how often", "Wait"),
        (500, "/v2/a/manifests/1", "answers 500 to /v2/a/manifests/1", "disk is full"),
        (503, "/v2/", "answers 503", "Read its log on that host"),
        (400, "/v2/a/manifests/1", "answers 400", "Read its log on that host"),
    ],
)
def test_what_a_refusal_says(status: int, path: str, cause: str, cure: str) -> None:
    error = refusal(Access(REGISTRY, "platform", "word"), status, path)
    assert error.problem.startswith(f"The registry {REGISTRY} ")
    assert cause in error.problem
    assert cure in error.cure
    assert error.status == status
    assert "word" not in str(error).replace("password", "")


def test_a_refusal_without_a_login_says_so() -> None:
    assert "refuses a request without a login (401)" in str(refusal(Access(REGISTRY), 401, "/v2/"))


def distrust() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "IP address mismatch"
    return error


@pytest.mark.parametrize(
    ("error", "cause", "cure"),
    [
        (URLError(ConnectionRefusedError(111, "refused")), "nothing listens there", "role lastro.platform.registry"),
        (URLError(TimeoutError()), "does not answer within 5 s", "firewalls"),
        (TimeoutError(), "does not answer within 5 s", "firewalls"),
        (URLError(socket.gaierror(-2, "unknown")), "cannot resolve", "DNS"),
        (URLError(distrust()), "not trusted: IP address mismatch", "images_registry_ca"),
        (URLError(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), "does not speak TLS", "certificate"),
        (ConnectionResetError(104, "reset"), "cannot be asked: [Errno 104] reset", "that it runs"),
    ],
)
def test_what_a_silence_says(error: Exception, cause: str, cure: str) -> None:
    told = unreachable(REGISTRY, error, 5.0)
    assert told.problem.startswith(f"The registry {REGISTRY} ")
    assert cause in told.problem
    assert cure in told.cure


def test_a_host_that_is_new_learns_who_opens_the_registry_s_firewall() -> None:
    told = unreachable(REGISTRY, TimeoutError(), 5.0)
    assert "new in the inventory is let in by `playbooks/promote.yml`, which opens the registry's firewall" in told.cure
    assert "the machine that promotes by `firewall_extra_rules` in the inventory's group_vars/registry.yml" in told.cure


def test_a_login_for_the_engine_and_for_the_registry() -> None:
    access = Access(REGISTRY, "platform", "wört")
    held = json.loads(base64.urlsafe_b64decode(access.engine_header()["X-Registry-Auth"]))
    assert held == {"username": "platform", "password": "wört", "serveraddress": REGISTRY}
    assert base64.b64decode(access.basic().removeprefix("Basic ")).decode() == "platform:wört"
    assert "wört" not in repr(access)
    assert Access(REGISTRY).basic() == ""
    assert json.loads(base64.urlsafe_b64decode(Access(REGISTRY).engine_header()["X-Registry-Auth"])) == {}


def test_a_ca_that_is_none_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"The CA given for the registry 10.0.0.9:5000 is no certificate.*PEM"):
        Registry(Access(REGISTRY, ca="-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"))


@pytest.mark.parametrize(
    ("kind", "content", "config", "blobs", "parts"),
    [
        (
            MANIFEST_TYPES[0],
            {"config": {"digest": "c", "size": 1}, "layers": [{"digest": "l", "size": 2}]},
            "c",
            ["c", "l"],
            [],
        ),
        (INDEX_TYPES[0], {"manifests": [{"digest": "one"}, {"digest": "two"}]}, "", [], ["one", "two"]),
    ],
)
def test_manifest(kind: str, content: dict[str, Any], config: str, blobs: list[str], parts: list[str]) -> None:
    manifest = Manifest(DIGEST, kind, json.dumps(content).encode())
    assert (manifest.config, [blob["digest"] for blob in manifest.blobs], manifest.parts) == (config, blobs, parts)


def test_the_engine_is_given_the_ca_once(tmp_path: Path) -> None:
    access = Access(REGISTRY, ca="PEM one\n")
    assert ca_differs(access, tmp_path)
    write_ca(access, tmp_path)
    assert not ca_differs(access, tmp_path)
    assert ca_file(access, tmp_path) == tmp_path / REGISTRY / "ca.crt"
    assert ca_file(access, tmp_path).stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / REGISTRY).iterdir()] == ["ca.crt"]
    assert ca_differs(Access(REGISTRY, ca="PEM two\n"), tmp_path), "a renewed CA has to reach the Engine"
    assert not ca_differs(Access("10.0.0.10:5000"), tmp_path), "a public one is trusted already"
