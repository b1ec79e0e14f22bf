# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Compose v2, called as the program that it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

# Where people, Docker's packages and distributions put the Compose plugin, in the order in which the client looks for it.
# It runs on its own, so a `docker` client that comes first in PATH and knows no plugins does not matter.
PLUGIN_FOLDERS = (
    "/root/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_STANDALONE = "/usr/bin/docker-compose"


def binary(folders: Iterable[str] = PLUGIN_FOLDERS, standalone: str = _STANDALONE) -> str:
    """The path of the Compose program."""
    for path in (f"{folder}/docker-compose" for folder in folders):
        if os.access(path, os.X_OK):
            return path
    if os.access(standalone, os.X_OK) and _is_v2(standalone):
        return standalone
    raise PlatformError(
        "Docker Compose v2 is not installed on this host", "The role lastro.platform.docker installs it."
    )


def _is_v2(program: str) -> bool:
    """Not the Python program that had this name before; one that does not even say its version is none to rely on either."""
    done = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stdout.strip().removeprefix("v").startswith("1.")


def run(project: str, directory: str, file: str, *arguments: str, over: str = "", timeout: float | None = None) -> str:
    """Run `compose <arguments>` for a project and return what it printed; a failure is an error with its last lines.

    `over` is a second Compose file, as text, whose values count more than those of the first.
    """
    command = [binary(), "--project-name", project, "--project-directory", directory, "--file", file]
    command += ["--file", "-"] if over else []
    # Variables were resolved before: nothing of this host's environment or of a stray .env may change a stack.
    command += ["--env-file", "/dev/null", "--ansi", "never", "--progress", "plain", *arguments]
    done = subprocess.run(
        command,
        env=environment(),
        input=over,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PlatformError(f"docker compose {arguments[0]} failed for {project}: " + " | ".join(lines[-6:]))
    return done.stdout


def environment() -> dict[str, str]:
    """What Compose gets of this host's environment."""
    kept = {key: os.environ[key] for key in ("HOME", "DOCKER_CONFIG") if key in os.environ}
    return {**kept, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
