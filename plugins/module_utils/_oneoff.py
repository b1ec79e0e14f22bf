# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that run once where the application is: in a container of its image, or with an interpreter of this host."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _compose_cli
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_engine import PROJECT
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import COMPOSE, ManagedFile, StackDirectory

# What the compiler of applications puts before a command whose secrets are exported from files: sh -c SCRIPT lastro-env.
EXPORTING = "lastro-env"
LAST_LINES = 40
POLL_SECONDS = 0.5
STOP_SECONDS = 30
# Between making a container and starting it there are moments; this long only a killed run leaves it so.
ABANDONED_SECONDS = 60


@dataclass(frozen=True)
class Done:
    """How a command ended. `timed_out` ones were stopped."""

    code: int
    output: str
    errors: str
    timed_out: bool = False

    def tail(self) -> str:
        """The last lines of what it said."""
        lines = [line for line in f"{self.output}\n{self.errors}".splitlines() if line.strip()]
        return "\n".join(lines[-LAST_LINES:])


class Local:
    """Programs of this host, as a user's own virtual environment."""

    def __init__(self, directory: str, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}

    def run(self, command: Sequence[str], text: str, seconds: float) -> Done:
        """Run it without a shell; `text` is its standard input."""
        try:
            return _run(command, text, seconds, self.environment, self.directory)
        except OSError as error:
            raise PlatformError(
                f"{command[0]} can't be run in {self.directory}: {error.strerror}", "Correct the command."
            ) from error

    def wait_for_others(self, seconds: float) -> None:
        """A program that a killed run left behind can't be told from any other: the lock in the database keeps it apart."""


class Container:
    """One-off containers of a service in a project whose files are there already."""

    def __init__(self, engine: Engine, project: str, directory: str, service: str, spec: Mapping[str, Any]) -> None:
        self.engine = engine
        self.project = project
        self.directory = StackDirectory(directory)
        self.service = service
        self.spec = spec

    def run(self, command: Sequence[str], text: str, seconds: float) -> Done:
        """Run it in a container that is gone afterwards; `text` is its standard input."""
        # Of its own: a run that looks while another one works must not stand in its way, nor take its place.
        mark = secrets.token_hex(4)
        name, file = f"{self.project}-{self.service}-run-{mark}", f"oneoff-{mark}.yaml"
        run = {"entrypoint": _escaped(entrypoint(self.spec, command)), "command": [], "pull_policy": "never"}
        override = {"services": {self.service: run}}
        self.directory.write(ManagedFile(file, json.dumps(override).encode(), 0o600, 0, 0))
        place = self.directory.path
        files = ["--file", os.path.join(place, COMPOSE), "--file", os.path.join(place, file)]
        program = [_compose_cli.binary(), "--project-name", self.project, "--project-directory", place, *files]
        program += ["--env-file", "/dev/null", "--ansi", "never", "--progress", "quiet"]
        program += ["run", "--rm", "--no-TTY", "--no-deps", "--name", name, self.service]
        try:
            done = _run(program, text, seconds, _compose_cli.environment(), None)
        finally:
            self.directory.remove(file)
        if done.timed_out:
            self._stop(name)
        return done

    def wait_for_others(self, seconds: float) -> None:
        """Wait for what a killed run left running: broken off in the middle it would help nobody."""
        deadline = time.monotonic() + seconds
        while running := self._running():
            if time.monotonic() >= deadline:
                raise PlatformError(
                    f"The container {running[0]} of an earlier run still runs after {seconds:.0f} s",
                    f"See `docker logs {running[0]}`; end it (`docker stop`) only where it hangs. Then run again.",
                )
            time.sleep(POLL_SECONDS)

    def _running(self) -> list[str]:
        """One-off containers of this service. What a run that was killed made and never started is removed."""
        running = []
        for found in self.engine.containers(**{PROJECT.replace(".", "__"): self.project}):
            name = found["Names"][0].lstrip("/")
            if not name.startswith(f"{self.project}-{self.service}-run-"):
                continue
            if found["State"] == "running":
                running.append(name)
            elif time.time() - found["Created"] > ABANDONED_SECONDS:
                self.engine.delete(f"/containers/{name}", force="true")
        return running

    def _stop(self, name: str) -> None:
        patient = Engine(self.engine.path, timeout=STOP_SECONDS + 30)
        if patient.find(f"/containers/{name}/json"):
            patient.post(f"/containers/{name}/stop?t={STOP_SECONDS}")


def entrypoint(spec: Mapping[str, Any], command: Sequence[str]) -> list[str]:
    """The command in the place of the service's own; secrets that are exported for that one are for this one, too."""
    given = list(spec.get("entrypoint") or [])
    exporting = given[:4] if len(given) > 3 and given[3] == EXPORTING else []
    return [*exporting, *command]


def _run(
    command: Sequence[str], text: str, seconds: float, environment: Mapping[str, str], directory: str | None
) -> Done:
    """A program with `text` on its standard input; one that takes longer than `seconds` is ended."""
    try:
        done = subprocess.run(
            list(command),
            cwd=directory,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Done(-1, _text(error.stdout), _text(error.stderr), timed_out=True)
    return Done(done.returncode, done.stdout, done.stderr)


def _escaped(words: Sequence[str]) -> list[str]:
    return [word.replace("$", "$$") for word in words]


def _text(stream: Any) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""
