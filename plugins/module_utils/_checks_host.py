# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of this host: containers and programs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import Absent, Spec, Wrong
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError


def probe_container(spec: Spec, engine: Engine) -> str:
    """Running, healthy where it has a health check, not restarted too often, and a command in it ends well where one is given."""
    try:
        found = engine.find(f"/containers/{quote(spec['container'], safe='')}/json")
    except EngineError as error:
        raise (Wrong if error.status else Absent)(str(error)) from error
    if found is None:
        raise Absent(f"there is no container {spec['container']}")
    state, restarts = found["State"], found["RestartCount"]
    health = (state.get("Health") or {}).get("Status", "none")
    answer = f"{state['Status']}, health {health}, {restarts} restarts"
    if state["Status"] != "running":
        raise Wrong(f"the container is {state['Status']} (exit code {state['ExitCode']}), wanted running", answer)
    if health not in ("none", "healthy"):
        log = (state["Health"].get("Log") or [{}])[-1].get("Output", "").strip()
        raise Wrong(f"the container is {health}" + (f": {log}" if log else ""), answer)
    if spec["restarts_max"] is not None and restarts > spec["restarts_max"]:
        killed = ", the last time for want of memory" if state.get("OOMKilled") else ""
        raise Wrong(f"the container restarted {restarts} times{killed}, allowed are {spec['restarts_max']}", answer)
    return _inside(spec["command"], found, engine) if spec["command"] else answer


def _inside(command: list[str], container: Mapping[str, Any], engine: Engine) -> str:
    """Run a command in a container; the last line that it printed."""
    try:
        code, output = engine.run(container["Id"], with_secrets(container, command))
    except EngineError as error:
        raise Wrong(f"{command[0]} did not end in time" if error.status == 504 else str(error)) from error
    last = ([line for line in output.splitlines() if line.strip()] or [""])[-1].strip()
    if code:
        raise Wrong(f"{' '.join(command)} ended with {code}: {last}", f"rc {code} {last}")
    return f"rc 0 {last}"


def with_secrets(container: Mapping[str, Any], command: list[str]) -> list[str]:
    """The command behind the same wrapper as the container's own, so that it has the secrets that one has."""
    entrypoint = container["Config"].get("Entrypoint") or []
    return [*entrypoint[:4], *command] if "lastro-env" in entrypoint[:4] else command


def probe_command(spec: Spec, seconds: float) -> str:
    """A program, without a shell and without standard input."""
    try:
        done = subprocess.run(
            spec["argv"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise Absent(f"{spec['argv'][0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"no end after {seconds:g} s") from error
    answer = f"rc {done.returncode} {done.stdout.strip()}"
    if done.returncode != spec["rc"]:
        raise Wrong(f"rc {done.returncode}, wanted {spec['rc']}: {done.stderr.strip()}", answer)
    if spec["stdout_matches"] is not None and not re.search(spec["stdout_matches"], done.stdout):
        raise Wrong(f"stdout does not match {spec['stdout_matches']!r}", answer)
    return answer
