# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Compose v2, called as the program that it is."""

from __future__ import annotations

import os
import subprocess

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

# Where distributions, Docker's packages and people put the Compose plugin. It runs on its own, so a `docker`
# client that comes first in PATH and knows no plugins does not matter.
_PLACES = (
    "/usr/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/local/lib/docker/cli-plugins/docker-compose",
    "/usr/local/libexec/docker/cli-plugins/docker-compose",
    "/usr/bin/docker-compose",
)


def binary() -> str:
    """The path of the Compose program."""
    for path in _PLACES:
        if os.access(path, os.X_OK):
            return path
    raise PlatformError(
        "Docker Compose v2 is not installed on this host", "The role lastro.platform.docker installs it."
    )


def run(project: str, directory: str, file: str, *arguments: str, timeout: float | None = None) -> str:
    """Run `compose <arguments>` for a project and return what it printed; a failure is an error with its last lines."""
    command = [binary(), "--project-name", project, "--project-directory", directory, "--file", file]
    # Variables were resolved before: nothing of this host's environment or of a stray .env may change a stack.
    command += ["--env-file", "/dev/null", "--ansi", "never", "--progress", "plain", *arguments]
    environment = {key: os.environ[key] for key in ("HOME", "DOCKER_CONFIG") if key in os.environ}
    environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PlatformError(f"docker compose {arguments[0]} failed for {project}: " + " | ".join(lines[-6:]))
    return done.stdout
