# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build takes from its host: package sources, CA certificates, and mmdebstrap itself."""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import Mock, call

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._image_build import (
    bootstrap_command,
    certificates,
    site_files,
)
from ansible_collections.lastro.platform.plugins.module_utils._image_inspect import has_shell
from ansible_collections.lastro.platform.plugins.module_utils._images import debian_sources

DEB822 = """\
# comment
Types: deb deb-src
URIs: http://mirror.example.com/debian/
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.example.com/debian-security
# in between
Suites: bookworm-security
Components:
  main
  contrib

Types: deb
Enabled: no
URIs: http://off.example.com/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example.com/node
Suites: nodistro
Components: main
"""
ONE_LINE = """\
# deb http://commented.example.com/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example.com/debian bookworm main contrib  # ours
deb-src http://mirror.example.com/debian bookworm main
deb http://mirror.example.com/debian bookworm-updates main
deb http://universe.example.com/debian bookworm contrib
deb\thttp://security.example.com/debian-security bookworm-security main
"""
WANTED_SOURCES = [
    "http://mirror.example.com/debian trixie main",
    "http://mirror.example.com/debian trixie-updates main",
    "http://security.example.com/debian-security trixie-security main",
]


@pytest.mark.parametrize(
    ("texts", "codename", "wanted"),
    [
        ({"a.sources": DEB822}, "bookworm", WANTED_SOURCES),
        ({"sources.list": ONE_LINE}, "bookworm", WANTED_SOURCES),
        ({"a.sources": DEB822, "sources.list": ONE_LINE}, "bookworm", WANTED_SOURCES),
        ({"sources.list": ONE_LINE}, "noble", []),
        ({"sources.list": "deb http://m/debian stable main"}, "trixie", ["http://m/debian trixie main"]),
        ({}, "bookworm", []),
    ],
)
def test_package_sources_come_from_the_host(texts: dict[str, str], codename: str, wanted: list[str]) -> None:
    assert debian_sources(texts, codename, "trixie") == wanted


def test_certificates_are_split_into_single_files() -> None:
    def pem(text: str) -> str:
        return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"

    found = certificates(
        f"comment\n{pem('one')}\n{pem('two')}\n-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----"
    )
    assert sorted(found.values()) == [pem("one") + "\n", pem("two") + "\n"]
    assert all(name.endswith(".crt") for name in found), "update-ca-certificates reads only .crt"
    assert certificates("none") == {}


def test_site_files_lie_as_in_the_image() -> None:
    files = site_files(["http://m/debian trixie main"], {"a.crt": "PEM"})
    assert files["site/usr/local/share/ca-certificates/a.crt"] == "PEM"
    assert (
        "URIs: http://m/debian\nSuites: trixie\nComponents: main\n"
        in files["site/etc/apt/sources.list.d/debian.sources"]
    )
    assert site_files([], {}) == {}


def test_bootstrap_leaves_nothing_mounted_and_dies_with_its_parent() -> None:
    command = bootstrap_command("trixie", ["http://m/debian trixie main"], Path("/w/rootfs.tar"))
    assert command[:4] == ["setpriv", "--pdeathsig", "KILL", "unshare"]
    assert {"--mount", "--pid", "--kill-child"} <= set(command)
    assert command[-3:-1] == ["trixie", "/w/rootfs.tar"]
    assert command[-1].startswith("deb [signed-by=/usr/share/keyrings/")
    assert command[-1].endswith("] http://m/debian trixie main")


def test_an_inspection_removes_what_a_killed_one_left_and_no_probe_in_use() -> None:
    engine = Mock()
    engine.containers.return_value = [
        {"Id": "left", "Created": int(time.time()) - 3600},
        {"Id": "in-use", "Created": int(time.time())},
    ]
    engine.post.return_value = {"Id": "own"}
    engine.exists.return_value = True
    assert has_shell(engine, "shop/web:1") is True
    assert engine.delete.mock_calls == [call("/containers/left", force=1), call("/containers/own", force=1)]
