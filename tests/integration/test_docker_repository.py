# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker from a repository laid out as Docker's own, on a bare nested host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import host as lab
from tests.lab.image import Variant
from tests.support import REPOSITORY, random_name

FOLDER = "/srv/docker"
URL = "http://127.0.0.1:8099"


@pytest.fixture(scope="module")
def host() -> Iterator[lab.Host]:
    name = random_name("lt-repository-")
    try:
        made = lab.up(name, Variant("trixie", "systemd", False))
        script = (REPOSITORY / "tests/integration/docker_repository.sh").read_text()
        made.run("bash", "-s", FOLDER, stdin=script)
        serve = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", FOLDER, "8099")
        made.run("systemd-run", "--quiet", *serve)
        yield made
    finally:
        lab.down(name)


def install(host: lab.Host, key: str) -> dict[str, Any]:
    """What the module says when it is to install from the repository, trusting a key."""
    asked = {
        "source": "docker",
        "repository_url": URL,
        "repository_key": host.run("cat", f"{FOLDER}/{key}.asc").stdout,
    }
    words = ("all", "-i", f"{host.name},", "-c", "community.docker.docker", "-m", "lastro.platform.docker_engine")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible"), *words, "-a", json.dumps(asked)],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.json"},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    result: dict[str, Any] = answer["plays"][0]["tasks"][0]["hosts"][host.name]
    return result


def test_packages_signed_by_somebody_else_are_not_installed(host: lab.Host) -> None:
    refused = install(host, "theirs")
    assert refused["failed"]
    assert "apt-get" in refused["msg"]
    assert "package sources" in refused["msg"]
    assert host.run("sh", "-c", "command -v dockerd", check=False).returncode != 0


def test_the_engine_comes_from_the_repository_once(host: lab.Host) -> None:
    done = install(host, "ours")
    assert done.get("changed"), done
    found = host.run("dpkg-query", "-W", "-f", "${Package} ", "docker-ce", "docker-ce-cli", "docker-compose-plugin")
    assert found.stdout.split() == ["docker-ce", "docker-ce-cli", "docker-compose-plugin"]
    assert host.run("sh", "-c", "dpkg-query -W docker.io", check=False).returncode != 0
    host.run("docker", "compose", "version")
    assert host.run("docker", "version", "--format", "{{.Server.Version}}").stdout.strip()
    assert install(host, "ours")["changed"] is False
