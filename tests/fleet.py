# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory of several hosts in the lab, and what an operator does with it."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from tests.lab import network
from tests.lab.lab import Lab
from tests.support import REPOSITORY

VAULT = REPOSITORY / "tests/vault-password"
# What a scanner tries: every port that anything of the platform or of Docker listens on, and a few more.
PORTS = [22, 53, 80, 111, 443, 2375, 2376, 2377, 4789, 5000, 5432, 6379, 7946, 8080, 8404, 8432, 8443, 9090, 9100]
WATCH_SECONDS = 0.05
WATCH = {"proxy_watch_seconds": 3, "proxy_watch_requests_min": 10}


class Fleet:
    """A lab with the platform's inventory; `proxy` and `registry` are names of its hosts."""

    def __init__(self, lab: Lab, proxy: str, registry: str) -> None:
        self.lab = lab
        self.proxy = lab.addresses[proxy]
        self.registry = lab.addresses[registry]
        self.controller = network.gateway(network.subnet(lab.name))
        self.digests = lab.access.overlay / "group_vars/all/digests.yml"
        self.digests.parent.mkdir(parents=True, exist_ok=True)

    def play(self, playbook: str, *arguments: str, check: bool = True, **variables: Any) -> str:
        return self._run(playbook, arguments, variables, check).stdout

    def refused(self, *arguments: str, **variables: Any) -> dict[str, str]:
        """What each host says on which a deploy fails, where it has to fail before it changes anything."""
        done = self.attempt("deploy", *arguments, **variables)
        assert done.returncode, done.stdout[-3000:]
        assert set(changes(done.stdout).values()) == {0}, done.stdout[-3000:]
        return failures(done.stdout)

    def told(self, variables: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
        """Arguments that give hosts other variables for one run: an inventory after those of the lab."""
        folder = self.lab.access.folder / "told"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "host_vars").mkdir(parents=True)
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {host: {} for host in variables}}}))
        for host, values in variables.items():
            (folder / "host_vars" / f"{host}.json").write_text(json.dumps(values))
        return "-i", str(folder)

    def joining(self, stranger: str, *groups: str, **variables: Any) -> tuple[str, str]:
        """Arguments that add a host of the lab which is in no inventory to groups."""
        address = self.lab.addresses[stranger]
        folder = self.lab.access.folder / "joining"
        folder.mkdir(exist_ok=True)
        # For a host of this second folder the inventory's own directory is another one.
        compose_file = {"app_compose_file": str(REPOSITORY / "examples/reference_app/compose.yaml")}
        hosts = {stranger: {**self.lab.access.variables(stranger, address), **compose_file, **variables}}
        (folder / "hosts.json").write_text(json.dumps({group: {"hosts": hosts} for group in groups}))
        return "-i", str(folder)

    def attempt(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """A playbook that may fail."""
        return self._run(playbook, arguments, variables, check=False)

    def _run(
        self, playbook: str, arguments: Sequence[str], variables: Mapping[str, Any], check: bool
    ) -> subprocess.CompletedProcess[str]:
        given = {
            "app_release": "one",
            "images_digests_file": str(self.digests),
            # Of the inventory's own watch only the time is spared.
            **WATCH,
            "firewall_extra_rules": [{"port": 5000, "from": [self.controller], "comment": "promotion"}],
            **variables,
        }
        # None is for what the inventory is to say, or nobody.
        given = {name: value for name, value in given.items() if value is not None}
        words = ["--vault-password-file", str(VAULT), "-e", json.dumps(given), *arguments]
        return self.lab.run_playbook(f"playbooks/{playbook}.yml", *words, check=check, timeout=1500)

    def get(self, path: str, proxy: str = "") -> Any:
        """What a proxy answers, the first one where none is named."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://{self.lab.addresses[proxy] if proxy else self.proxy}{path}"
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return json.load(answer)

    def served(self, *proxies: str) -> set[str]:
        """The releases that answer by way of these proxies, each asked for several times: one where all agree."""
        return {self.get("/version", proxy)["release"] for proxy in proxies for _ in range(3)}

    def answers(self, path: str) -> bool:
        try:
            self.get(path)
        except OSError:
            return False
        return True

    def serves(self, path: str = "/ready", seconds: float = 90) -> None:
        """Until it answers: what a user waits for after a host came back."""
        deadline = time.monotonic() + seconds
        while not self.answers(path):
            assert time.monotonic() < deadline, f"{path} is not served after {seconds:g} s"
            time.sleep(0.5)

    def open_ports(self, host: str, ports: list[int]) -> set[int]:
        """What `scanner`, a host in no group, finds open."""
        scan = (
            "import socket,sys\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "def knock(port):\n"
            "    with socket.socket() as s:\n"
            "        s.settimeout(1)\n"
            f"        return port if s.connect_ex(('{self.lab.addresses[host]}', port)) == 0 else None\n"
            "print(*filter(None, ThreadPoolExecutor(128).map(knock, map(int, sys.argv[1:]))))\n"
        )
        done = self.lab.host("scanner").run("python3", "-c", scan, *map(str, ports))
        return {int(port) for port in done.stdout.split()}

    def forget(self) -> None:
        """The machine that promoted trusts the lab's registry no longer."""
        shutil.rmtree(Path("/etc/docker/certs.d") / f"{self.registry}:5000", ignore_errors=True)


class Watch:
    """A light load: somebody who asks for the version all the time, one proxy after the other, and keeps what was answered."""

    def __init__(self, fleet: Fleet, *proxies: str) -> None:
        self.fleet = fleet
        self.proxies = proxies or ("",)
        self.requests = 0
        self.releases: list[str] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.wait(WATCH_SECONDS):
            proxy = self.proxies[self.requests % len(self.proxies)]
            self.requests += 1
            try:
                release = self.fleet.get("/version", proxy)["release"]
            except OSError as error:
                self.failures.append(str(error))
            else:
                if release not in self.releases[-1:]:
                    self.releases.append(release)


def changes(output: str) -> dict[str, int]:
    """Tasks that changed something, by host."""
    recap = output.partition("PLAY RECAP")[2]
    return {name: int(count) for name, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", recap, re.MULTILINE)}


def failures(output: str) -> dict[str, str]:
    """What failed tasks and unreachable hosts say, by host."""
    blocks = re.findall(r"^fatal: \[(\S+)\]: [A-Z]+! => *\n((?:(?: {4}.*)?\n)+)", output, re.MULTILINE)
    return {host: str(yaml.safe_load(dedent(block))["msg"]) for host, block in blocks}
