# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole deploy against one `docker compose up --detach --wait` of the same seven containers.

The platform of the benchmark has a name, a network and ports of its own: a running dev platform is not touched.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._compose_cli import binary

from tests.support import REPOSITORY, run_module

NAME = "ltbench"
ADDRESS = "172.30.78.1"
STATE = Path("/var/lib/lastro") / NAME
VARIABLES = {
    "platform_name": NAME,
    "platform_subnet": "172.30.78.0/24",
    "platform_private_address": ADDRESS,
    "platform_checks": [],
    "proxy_http_port": 8180,
    "proxy_https_port": 8543,
    "app_port_base": 28000,
}


def play() -> None:
    command = ["ansible-playbook", "playbooks/deploy.yml", "-i", "inventories/dev", "-e", json.dumps(VARIABLES)]
    done = subprocess.run(
        [str(REPOSITORY / ".venv/bin" / command[0]), *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]


def destroy() -> None:
    gone = run_module("platform_absent", {"platform": NAME, "state_directory": str(STATE), "data": True})
    assert not gone.get("failed"), gone


class Peer:
    """The same containers as one plain Compose project: same images, commands, files, health checks and start order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Not shutil: owners have to stay, and there are sockets among the files.
        subprocess.run(["cp", "-a", str(STATE), str(directory / "state")], check=True)
        services: dict[str, Any] = {}
        volumes: dict[str, Any] = {}
        for part in ("postgres", "redis", "proxy", "app-blue"):
            stack = json.loads((STATE / part / "compose.yaml").read_text())
            for name, spec in stack["services"].items():
                services[name] = self._service(spec, part)
            volumes.update({f"{part}-{name}": {} for name in stack.get("volumes") or {}})
        for name in services:
            if name.startswith("web") or name == "worker":
                services[name]["depends_on"] = {
                    "postgres": {"condition": "service_healthy"},
                    "redis": {"condition": "service_healthy"},
                }
        network = {"ipam": {"config": [{"subnet": VARIABLES["platform_subnet"], "gateway": ADDRESS}]}}
        compose = {"services": services, "volumes": volumes, "networks": {"default": network}}
        (directory / "compose.yaml").write_text(json.dumps(compose, indent=1))
        self._use_superuser(directory / "state")

    def _service(self, spec: dict[str, Any], part: str) -> dict[str, Any]:
        kept = {key: value for key, value in spec.items() if key not in ("labels", "x-platform", "depends_on")}
        if "network_mode" not in kept:
            kept["networks"] = {"default": {}}
        kept["volumes"] = [self._mount(entry, part) for entry in spec.get("volumes", [])]
        return kept

    def _mount(self, entry: Any, part: str) -> Any:
        """Folders lie in the copy; a volume gets the part before its name, as two parts may call theirs `data`."""
        if not isinstance(entry, str):
            return entry
        return f"{self.directory}/state/{part}/{entry[2:]}" if entry.startswith("./") else f"{part}-{entry}"

    @staticmethod
    def _use_superuser(state: Path) -> None:
        """The peer's database has only the user that initdb makes."""
        password = (state / "postgres/secrets/superuser_password").read_text()
        url = f"postgresql+psycopg2://postgres:{password}@postgres:5432/postgres?sslmode=require"
        for path in state.glob("app-*/secrets/*/DATABASE_URL"):
            path.write_text(url)

    def compose(self, *words: str) -> None:
        command = [binary(), "--project-name", f"{NAME}-peer", "--file", str(self.directory / "compose.yaml"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def up(self) -> None:
        self.compose("up", "--detach", "--wait")

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "10")


def benchmarks(timed: Callable[..., list[float]], report: Callable[..., None]) -> None:
    destroy()
    with tempfile.TemporaryDirectory(prefix="lt-bench-") as folder:
        cold = timed(play, before=destroy)
        noop = timed(play)
        peer = Peer(Path(folder))
        destroy()
        try:
            peer_cold = timed(peer.up, before=peer.down)
            peer_noop = timed(peer.up)
        finally:
            peer.down()
    what = "peer: docker compose up --detach --wait, 7 containers"
    report("deploy_noop", noop, peer_noop, what)
    report("deploy_cold", cold, peer_cold, what + "; ours also migrates, seeds and gates")
