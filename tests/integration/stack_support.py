# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the module `stack` share: a stack of two services that can be described, run and looked at."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine

from tests.support import REPOSITORY, random_name, run_module

MODULE = REPOSITORY / "plugins" / "modules" / "stack.py"
# What a module needs of its environment when it is run by itself.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")}
IMAGE = "lastro/base:trixie"
ENGINE = Engine()
# Stays up, and writes down every SIGUSR2 it gets: what a program that reloads looks like.
LOOP = 'trap "cat /config/live >> /state/reloads" USR2; trap "exit 0" TERM; while :; do sleep 0.1 & wait $!; done'


class Lab:
    """One stack of two services, and the arguments that describe it."""

    def __init__(self, directory: Path) -> None:
        self.project = random_name()
        self.directory = directory / "stack"
        self.reset()

    def reset(self) -> None:
        """Describe the stack as every test finds it."""
        service = {
            "image": IMAGE,
            "command": ["sh", "-c", LOOP],
            "restart": "unless-stopped",
            "stop_grace_period": "2s",
            "healthcheck": {"test": ["CMD", "true"], "interval": "500ms"},
        }
        self.args: dict[str, Any] = {
            "project": self.project,
            "directory": str(self.directory),
            "compose": {
                "services": {
                    "web": {
                        **service,
                        "depends_on": {"data": {"condition": "service_healthy"}},
                        "volumes": ["./config:/config:ro", "./state:/state"],
                        "environment": {"PRICE": "5$abc ${HOME}"},
                        "x-platform": {"reload": [{"files": ["config/live"], "signal": "USR2"}]},
                    },
                    "data": {**service, "volumes": ["data:/data"]},
                },
                "volumes": {"data": {"name": f"{self.project}_data"}},
            },
            "files": [
                {"path": "config/fixed", "content": "one\n"},
                {"path": "config/live", "content": "one\n"},
            ],
            "directories": [{"path": "state", "mode": "0777"}],
            "wait_timeout": 30,
        }

    def run(self, check: bool = False, **changes: Any) -> dict[str, Any]:
        return run_module("stack", {**self.args, **changes}, check=check, diff=True)

    def remove(self) -> None:
        gone = run_module("stack", {**self.args, "state": "absent", "remove_volumes": True})
        assert not gone.get("failed"), gone

    def changed(self) -> dict[str, Any]:
        """A copy of the arguments, to be changed by a test."""
        return copy.deepcopy(self.args)

    def containers(self) -> dict[str, str]:
        """Container IDs by service."""
        return {entry["Labels"]["com.docker.compose.service"]: entry["Id"] for entry in self.listed()}

    def listed(self) -> list[dict[str, Any]]:
        return ENGINE.containers(com__docker__compose__project=self.project)

    def inspect(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = ENGINE.get(f"/containers/{self.containers()[service]}/json")
        return found


def settled(lab: Lab) -> None:
    """A run without anything to do, which is what must follow every repair."""
    again = lab.run()
    assert again["changed"] is False, again


def killed(args: dict[str, Any], until: Callable[[], bool]) -> None:
    """A run that is killed as soon as `until` says so."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(MODULE)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=ENVIRONMENT
    )
    try:
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())
        process.stdin.close()
        deadline = time.monotonic() + 30
        while not until():
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


def programs(args: dict[str, Any], trace: Path, check: bool = False) -> str:
    """What programs a run starts, written down by the interpreter itself."""
    code = (
        "import os, runpy, subprocess, sys\n"
        "def hook(event, args):\n"
        "    if event == 'subprocess.Popen': open(os.environ['TRACE'], 'a').write(str(args[0]) + '\\n')\n"
        "sys.addaudithook(hook)\n"
        "runpy.run_path(os.environ['MODULE'], run_name='__main__')\n"
    )
    trace.write_text("")
    subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**args, "_ansible_check_mode": check}}),
        # The module takes its first argument for a file of parameters, so these come by environment.
        env={**ENVIRONMENT, "TRACE": str(trace), "MODULE": str(MODULE)},
        capture_output=True,
        text=True,
        check=False,
    )
    return trace.read_text()
