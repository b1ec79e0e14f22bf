# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""To whom the login of a registry is given, and what is made of answers that are none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from email.message import Message
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import (
    MANIFEST_TYPES,
    Access,
    Manifest,
    Registry,
)

HOST = "registry.example.com"
BLOB = {"digest": "sha256:" + "b" * 64, "size": 1}
MANIFEST = Manifest("sha256:" + "a" * 64, MANIFEST_TYPES[0], json.dumps({"config": BLOB}).encode())


class Wire:
    """What a socket gives: the bytes of one answer."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.raw)


def answer(status: int, body: bytes = b"", length: int | None = None, **headers: str) -> HTTPResponse:
    lines = {"Content-Length": str(len(body) if length is None else length), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    response = HTTPResponse(Wire(f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + body))  # type: ignore[arg-type]
    response.begin()
    return response


class Opener:
    """Answers requests by a function, and remembers to which URL which login went."""

    def __init__(self, says: Callable[[Request], HTTPResponse]) -> None:
        self.says = says
        self.asked: list[tuple[str, str, str]] = []

    def open(self, request: Request, timeout: float) -> HTTPResponse:
        assert timeout
        self.asked.append((request.get_method(), request.full_url, request.get_header("Authorization", "")))
        response = self.says(request)
        if response.status >= 400:
            headers = Message()
            for name, value in response.headers.items():
                headers[name] = value
            raise HTTPError(request.full_url, response.status, "x", headers, None)
        return response


def registry(says: Callable[[Request], HTTPResponse], address: str = HOST) -> tuple[Registry, Opener]:
    made, opener = Registry(Access(address, "platform", "word")), Opener(says)
    made._opener = opener  # type: ignore[assignment]
    return made, opener


def uploads_to(location: str, challenge: str = "") -> Callable[[Request], HTTPResponse]:
    """A registry that lacks a blob and takes it at `location`, where a challenge may wait."""

    def says(request: Request) -> HTTPResponse:
        path = request.full_url.partition(HOST)[2]
        if request.get_method() == "HEAD":
            return answer(404)
        if request.get_method() == "POST":
            return answer(202, **({"Location": location} if location else {}))
        if challenge and "/upload" in request.full_url:
            return answer(401, WWW_Authenticate=challenge)
        return answer(201 if path else 200, b"{}")

    return says


def copy(location: str, challenge: str = "", address: str = HOST) -> list[tuple[str, str, str]]:
    target, opener = registry(uploads_to(location, challenge), address)
    source, _opener = registry(lambda _request: answer(200, b"x"))
    target.copy_from(source, "t/a", "t/a", MANIFEST)
    return opener.asked


@pytest.mark.parametrize(
    ("location", "given"),
    [
        ("/v2/t/a/upload?state=1", True),
        (f"https://{HOST}/v2/t/a/upload?state=1", True),
        (f"https://{HOST}:443/upload", True),
        (f"https://{HOST.upper()}/upload", True),
        (f"https://{HOST}:444/upload", False),
        ("https://storage.example.com/upload?signature=1", False),
        (f"https://{HOST}.example.net/upload", False),
        (f"https://{HOST}@other.example.com/upload", False),
        ("//other.example.com/upload", False),
    ],
)
def test_an_upload_elsewhere_goes_without_the_login(location: str, given: bool) -> None:
    [(_method, url, login)] = [one for one in copy(location) if "/upload?" in one[1]]
    assert "digest=sha256" in url
    assert bool(login) is given


@pytest.mark.parametrize(
    "location", [f"http://{HOST}/upload", "http://other.example.com/upload?token=t", "ftp://x/upload"]
)
def test_an_upload_in_clear_is_refused_before_anything_is_sent(location: str) -> None:
    target, opener = registry(uploads_to(location))
    source, _opener = registry(lambda _request: answer(200, b"x"))
    with pytest.raises(
        PlatformError, match=rf"The registry {HOST} sends us on to .*/upload, which is not encrypted"
    ) as told:
        target.copy_from(source, "t/a", "t/a", MANIFEST)
    assert "token" not in str(told.value)
    assert all(url.startswith(f"https://{HOST}/") for _method, url, _login in opener.asked)


def test_nobody_else_may_ask_for_a_login() -> None:
    target, opener = registry(
        uploads_to(
            "https://other.example.com/upload?key=k", 'Bearer realm="https://other.example.com/token",service="r"'
        )
    )
    source, _opener = registry(lambda _request: answer(200, b"x"))
    with pytest.raises(PlatformError, match="401") as told:
        target.copy_from(source, "t/a", "t/a", MANIFEST)
    assert "key=k" not in str(told.value)
    assert [login for _method, url, login in opener.asked if "other.example.com" in url] == [""]


def test_an_upload_without_a_place() -> None:
    with pytest.raises(PlatformError, match="begins an upload and does not say where"):
        copy("")


CALLS: dict[str, Callable[[Registry], Any]] = {
    "manifest": lambda one: one.manifest("t/a", "1"),
    "configuration": lambda one: one.configuration("t/a", MANIFEST),
    "tags": lambda one: one.tags("t/a"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("body", "length", "words"),
    [
        (b'{"tags": [', 100, "broke off in the middle of an answer.*Check the network"),
        (b"<html>", None, "something else than JSON about t/a.*Check the address in images_registry"),
        (b"[]", None, "something else than JSON about t/a"),
        (b"\xff", None, "something else than JSON about t/a"),
    ],
)
def test_half_an_answer_and_none(call: Callable[[Registry], Any], body: bytes, length: int | None, words: str) -> None:
    one, _opener = registry(lambda _request: answer(200, body, length, Content_Type=MANIFEST_TYPES[0]))
    with pytest.raises(PlatformError, match=rf"The registry {HOST} .*{words}"):
        call(one)
