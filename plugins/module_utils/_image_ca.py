# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA of a registry, where the Engine looks for it."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.lastro.platform.plugins.module_utils._image_registry import Access

# The Engine reads the CA of a registry from here at every pull and push, without a restart.
CERTIFICATES = Path("/etc/docker/certs.d")


def ca_file(access: Access, directory: Path = CERTIFICATES) -> Path:
    """Where the Engine looks for the registry's CA."""
    return directory / access.address / "ca.crt"


def ca_differs(access: Access, directory: Path = CERTIFICATES) -> bool:
    """Whether the Engine does not know the registry's CA yet."""
    file = ca_file(access, directory)
    return bool(access.ca) and not (file.is_file() and file.read_text() == access.ca)


def write_ca(access: Access, directory: Path = CERTIFICATES) -> None:
    """Have the Engine trust the registry, by rename: it may be reading."""
    file = ca_file(access, directory)
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = file.with_name(f".ca.{os.getpid()}")
    temporary.write_text(access.ca)
    temporary.chmod(0o644)
    temporary.replace(file)
