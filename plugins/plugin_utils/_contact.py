# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the first module could not run on a host at all, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

_CONNECTION = (
    (
        r"Permission denied|Too many authentication failures",
        "The host takes none of the keys offered. Give the right one in `ansible_ssh_private_key_file` (and the user it belongs to in "
        "`ansible_user`), or add its public half to that user's authorized_keys on the host.",
    ),
    (
        r"Host key verification failed",
        "Compare the key that the host shows with the one it was given (its console prints it), and put that one into known_hosts. "
        "Where the host was not installed anew, somebody else may be answering.",
    ),
    (r"Could not resolve hostname", "Correct `ansible_host` of this host."),
)
_NO_ANSWER = (
    "See that the host is on, that `ansible_host` is its address, and that this machine is let through to its SSH port."
)


def no_connection(message: str) -> PlatformError:
    """What a connection that failed means, from what Ansible says of it."""
    cure = next((cure for pattern, cure in _CONNECTION if re.search(pattern, message)), _NO_ANSWER)
    return PlatformError(message.rstrip(". \n"), cure)


def not_run(result: Mapping[str, Any]) -> PlatformError | None:
    """What keeps a host from running modules, None where a module ran and spoke for itself."""
    said = f"{result.get('module_stdout', '')}\n{result.get('module_stderr', '')}"
    if re.search(r"No space left on device|No usable temporary directory", said):
        return PlatformError(
            "The disk is full: there is no room even for the module that would look at the host",
            "Free some (`df -h` shows where; `docker system df` what Docker holds), or enlarge the disk.",
        )
    if missing := re.search(r"(\S*python\S*): (?:command not found|not found|No such file or directory)", said):
        return PlatformError(
            f"There is no Python at {missing[1]}",
            "Install one (`apt-get install python3`), or set `ansible_python_interpreter` of this host to a Python of 3.11 or later.",
        )
    return None
