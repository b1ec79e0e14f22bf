# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh machine for the first deploy: bare Debian with Python, git and make, and a clone of the working tree."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.artefacts.build import tracked
from tests.lab import host as lab
from tests.lab.image import Variant
from tests.support import REPOSITORY, random_name

CLONE = "/home/operator/platform"
SECRETS = "/var/lib/lastro/lastro/secrets"
SETUP = """
user=$1 clone=$2
apt-get update -qq
export DEBIAN_FRONTEND=noninteractive
apt-get install -qqy --no-install-recommends git make curl >/dev/null
if [ "$user" != root ]; then
  apt-get install -qqy --no-install-recommends sudo >/dev/null
  useradd --create-home --shell /bin/bash "$user"
  echo "$user ALL=(ALL) NOPASSWD: ALL" > "/etc/sudoers.d/$user"
  chown -R "$user" "$clone"
fi
rm -rf /var/lib/apt/lists/*
"""


class Machine:
    """A bare nested host with a clone in it, and who works there."""

    def __init__(self, host: lab.Host, user: str = "root") -> None:
        self.host = host
        self.user = user

    def run(self, command: str, timeout: float = 900, check: bool = True) -> str:
        """Run a shell command in the clone; what it printed, both streams."""
        done = self.attempt(command, timeout)
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
        return done.stdout

    def attempt(self, command: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """The same, whatever it ends with."""
        where = ["--user", self.user, "--workdir", CLONE]
        return subprocess.run(
            ["/usr/bin/docker", "exec", *where, self.host.name, "bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def copy_clone(self, target: str) -> None:
        """What git would give a new user, with changes that are not committed yet; a file that nobody added is missing."""
        files = "\0".join(sorted(tracked())).encode()
        tar = subprocess.Popen(
            ["tar", "--create", "--null", "--files-from=-", "--ignore-failed-read"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        unpack = [
            "/usr/bin/docker",
            "exec",
            "-i",
            self.host.name,
            "bash",
            "-c",
            f"mkdir -p {target} && tar -xC {target} --no-same-owner",
        ]
        receive = subprocess.Popen(unpack, stdin=tar.stdout)
        assert tar.stdin
        tar.stdin.write(files)
        tar.stdin.close()
        assert tar.wait() == 0
        assert receive.wait() == 0

    def play(self, arguments: str = "", timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """`ansible-playbook playbooks/deploy.yml`, as README gives it."""
        return self.attempt(f".venv/bin/ansible-playbook playbooks/deploy.yml -i inventories/dev {arguments}", timeout)

    def get(self, path: str, port: int = 8080) -> Any:
        return json.loads(self.run(f"curl -fsS http://localhost:{port}{path}"))

    def secrets(self) -> dict[str, str]:
        """Every secret that the first deploy made, by file."""
        text = self.run(f"cd {SECRETS} && for f in *; do [ -f $f ] && printf '%s %s\\n' $f \"$(cat $f)\"; done; true")
        found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line and not line.startswith("."))
        return {name: value for name, value in found.items() if len(value) >= 16}

    def secrets_in(self, text: str) -> list[str]:
        """Which of them stand in a text."""
        return [name for name, value in self.secrets().items() if value in text]


@contextlib.contextmanager
def fresh_machine(suite: str = "trixie", user: str = "root") -> Iterator[Machine]:
    """A bare host with git, make and a clone; gone at the end. Whoever is not root may use sudo, without a password."""
    name = random_name("lt-e2e-")
    made = Machine(lab.up(name, Variant(suite, "systemd", False)), user)
    try:
        made.copy_clone(CLONE)
        made.host.run("sh", "-ec", SETUP, "setup", user, CLONE)
        yield made
    finally:
        lab.down(name)


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    # While working: E2E_HOST names a fresh machine made by hand, so that single tests can be run again.
    kept = os.environ.get("E2E_HOST")
    if kept:
        yield Machine(lab.Host(kept))
        return
    with fresh_machine() as made:
        yield made
