# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `stack` against community.docker's docker_compose_v2, as a task of a playbook each, and what each of them sees."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine

from tests.support import REPOSITORY, random_name

SERVICE = {
    "image": "lastro/base:trixie",
    "command": ["sleep", "infinity"],
    "init": True,
    "restart": "unless-stopped",
    "healthcheck": {"test": ["CMD", "true"], "interval": "1s"},
}
SERVICES = {f"s{number}": SERVICE for number in range(7)}
# What happens to a running project, and whether the next run says and repairs it.
DRIFT: dict[str, Callable[[Engine, str], Any]] = {
    "removed": lambda engine, name: engine.delete(f"/containers/{name}-s1-1", force="true"),
    "stopped": lambda engine, name: engine.post(f"/containers/{name}-s1-1/stop", t=0),
    "paused": lambda engine, name: engine.post(f"/containers/{name}-s1-1/pause"),
    "made by hand": lambda engine, name: _by_hand(engine, name),  # noqa: PLW0108 - defined below
}


def _by_hand(engine: Engine, name: str) -> None:
    engine.delete(f"/containers/{name}-s1-1", force="true")
    made = engine.post("/containers/create", {"Image": SERVICE["image"], "Cmd": ["sleep", "60"]}, name=f"{name}-s1-1")
    engine.post(f"/containers/{made['Id']}/start")


class Side:
    """One of the two modules on a project of its own."""

    def __init__(self, module: str, folder: Path) -> None:
        self.name = random_name("lt-bench-")
        self.module = module
        self.folder = folder / self.name
        self.folder.mkdir()

    def arguments(self, services: dict[str, Any]) -> dict[str, Any]:
        if self.module == "lastro.platform.stack":
            return {"project": self.name, "directory": str(self.folder), "compose": {"services": services}}
        return {
            "project_name": self.name,
            "definition": {"services": services},
            "remove_orphans": True,
            "wait": True,
            "wait_timeout": 60,
        }

    def run(self, services: dict[str, Any] | None = None, check: bool = False, **more: Any) -> dict[str, Any]:
        """One task in a playbook of its own; its result."""
        task = {"name": "Run it", self.module: {**self.arguments(services or SERVICES), **more}, "register": "done"}
        show = {
            "name": "Show it",
            "ansible.builtin.copy": {"content": "{{ done | to_json }}", "dest": str(self.folder / "result")},
        }
        task["ignore_errors"] = True
        play = {
            "name": "Measure",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "tasks": [task, {**show, "check_mode": False}],
        }
        path = self.folder / "play.yml"
        path.write_text(json.dumps([play]))
        command = [
            str(REPOSITORY / ".venv/bin/ansible-playbook"),
            "-i",
            "localhost,",
            str(path),
            *(["--check"] if check else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        result: dict[str, Any] = json.loads((self.folder / "result").read_text())
        return result


def benchmarks(timed: Callable[..., list[float]], report: Callable[..., None]) -> None:
    engine = Engine()
    with tempfile.TemporaryDirectory(prefix="lt-bench-") as folder:
        ours = Side("lastro.platform.stack", Path(folder))
        peer = Side("community.docker.docker_compose_v2", Path(folder))
        try:
            for side in (ours, peer):
                assert not side.run().get("failed")
            report(
                "stack_noop",
                timed(ours.run),
                timed(peer.run),
                "peer: docker_compose_v2, 7 services, one task and its playbook",
            )
            check = lambda side: timed(lambda: side.run(check=True))  # noqa: E731 - the same line for both sides
            report("stack_check", check(ours), check(peer), "peer: docker_compose_v2 in check mode")
            seen = {side.module: _seen(engine, side) for side in (ours, peer)}
        finally:
            for side in (ours, peer):
                side.run(state="absent")
    target = REPOSITORY / "build" / "bench" / "stack_drift.json"
    target.write_text(json.dumps(seen, indent=1) + "\n")
    for module, found in seen.items():
        print(f"{module}: " + ", ".join(f"{what}: {'yes' if yes else 'NO'}" for what, yes in found.items()), flush=True)


def _seen(engine: Engine, side: Side) -> dict[str, bool]:
    """For each kind of drift whether check mode announces it, a run repairs it, and nothing is left to do afterwards."""
    found: dict[str, bool] = {}
    for what, damage in DRIFT.items():
        damage(engine, side.name)
        found[f"{what}: check mode says so"] = bool(side.run(check=True).get("changed"))
        repaired = side.run()
        state = (engine.find(f"/containers/{side.name}-s1-1/json") or {}).get("State", {})
        found[f"{what}: repaired"] = (
            not repaired.get("failed") and state.get("Status") == "running" and not side.run()["changed"]
        )
        engine.delete(f"/containers/{side.name}-s1-1", force="true")
        side.run()
    broken = {**SERVICES, "s6": {**SERVICE, "command": ["sh", "-c", "echo the reason; exit 3"], "restart": "no"}}
    message = str(side.run(broken).get("msg", ""))
    found["diagnosis: service, exit code and log in the message"] = all(
        part in message for part in ("s6", "3", "the reason")
    )
    side.run()
    return found
