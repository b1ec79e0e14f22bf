# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a colour is made from besides the Compose file: values of the inventory, and the files beside the Compose file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import short_digest

# Modes of copied files: everybody may read them, and run what can be run on the controller.
_READ, _RUN = "0444", "0555"


@dataclass(frozen=True)
class Inputs:
    """What comes in from outside the Compose file."""

    secrets: Mapping[str, str]
    # For services that set none.
    pids_limit: int
    secrets_for: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # What is known of each image by name: entrypoint, cmd, user, shell. None before the first image is there.
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ca: str = ""
    read: Callable[[str], bytes] = lambda path: b""
    list_files: Callable[[str], list[str]] = lambda path: []
    executable: Callable[[str], bool] = lambda path: False


@dataclass(frozen=True)
class Copy:
    """Files of the module `stack`, and the path to mount to see them."""

    path: str
    files: list[dict[str, Any]]


class UserFiles:
    """The files of the user's tree that one service reads; `error` makes a refusal that names the service."""

    def __init__(self, inputs: Inputs, error: Callable[..., Exception]) -> None:
        self.inputs = inputs
        self.error = error

    def text(self, path: str, key: str) -> str:
        return self._decoded(path, self._read(path, key), key)

    def is_there(self, path: str, key: str) -> bool:
        try:
            self.inputs.read(self._inside(path, key))
        except FileNotFoundError:
            return False
        except OSError:
            # It is there, and reading it says what is wrong.
            return True
        return True

    def copy(self, source: str, key: str) -> Copy:
        """A file or a directory of the user's tree."""
        self._inside(source, key)
        inner = self.inputs.list_files(source)
        if inner:
            return self._frozen({name: self._found(os.path.join(source, name), key) for name in inner}, key)
        return self._frozen_file(os.path.basename(os.path.normpath(source)), self._found(source, key), key)

    def given(self, name: str, content: str, key: str) -> Copy:
        """A file whose content stands in the Compose file."""
        return self._frozen_file(name, (_READ, content.encode()), key)

    def _frozen_file(self, name: str, found: tuple[str, bytes], key: str) -> Copy:
        folder = self._frozen({name: found}, key)
        return Copy(f"{folder.path}/{name}", folder.files)

    def _frozen(self, found: Mapping[str, tuple[str, bytes]], key: str) -> Copy:
        """A folder named by the digest of its files (mode and content by name), so what a container sees never changes."""
        # Names, modes and contents apart: `a` with `bc` is not `ab` with `c`.
        folder = f"files/{short_digest(repr(sorted(found.items())).encode())}"
        files = [
            {"path": f"{folder}/{name}", "content": self._decoded(name, content, key), "mode": mode, "frozen": True}
            for name, (mode, content) in found.items()
        ]
        return Copy(folder, files)

    def _found(self, path: str, key: str) -> tuple[str, bytes]:
        content = self._read(path, key)
        return _RUN if self.inputs.executable(self._inside(path, key)) else _READ, content

    def _decoded(self, path: str, content: bytes, key: str) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise self.error(
                f"needs {os.path.basename(path)}, which is not text",
                "Put it into the image, or into a named volume.",
                key,
            ) from None

    def _read(self, path: str, key: str) -> bytes:
        try:
            return self.inputs.read(self._inside(path, key))
        except IsADirectoryError as error:
            raise self.error(f"needs {path}, an empty directory", "Mount a named volume instead.", key) from error
        except OSError as error:
            raise self.error(f"needs {path}: {error.strerror}", "Create it, or take the entry out.", key) from error

    def _inside(self, path: str, key: str) -> str:
        normal = os.path.normpath(path)
        if normal.startswith(("/", "~")) or normal.split(os.sep)[0] == "..":
            raise self.error(
                f"needs {path}, outside the directory of the Compose file", "Move it beside the file.", key
            )
        return normal
