# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a stack manages on its host, and the record of what each service has loaded of them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

RECORD = ".stack.json"
COMPOSE = "compose.yaml"
_NEW = ".new"
PLACE_SPEC: dict[str, Any] = {"path": {"type": "str", "required": True}, "owner": {"type": "str", "default": "0:0"}}
# The option `files` of a module; documented in plugins/doc_fragments/project_files.py.


def secret_texts(files: Iterable[Mapping[str, Any]]) -> set[str]:
    """What no output may show: secret files whole, and each of their lines.

    Not the empty or blank content of check mode: hiding that would hide every letter.
    """
    contents = [entry["content"] for entry in files if entry["secret"]]
    lines = (line.strip() for content in contents for line in (content, *content.splitlines()))
    return {line for line in lines if len(line) >= SHORTEST_HIDDEN}


SHORTEST_HIDDEN = 8
FILES_SPEC: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        **PLACE_SPEC,
        # Secrets among them are registered one by one: no_log here would blank every word of a config.
        "content": {"type": "str", "required": True, "no_log": False},
        "mode": {"type": "str"},
        "secret": {"type": "bool", "default": False, "no_log": False},
        "frozen": {"type": "bool", "default": False},
    },
}


@dataclass(frozen=True)
class ManagedFile:
    """A file as it should be; `path` is relative to the stack's directory."""

    path: str
    content: bytes
    mode: int
    uid: int
    gid: int
    secret: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class ManagedDirectory:
    """A directory that containers write to, or that keeps secrets from other users of the host."""

    path: str
    mode: int
    uid: int
    gid: int


def parse_file(entry: Mapping[str, Any]) -> ManagedFile:
    """A `files` entry of the module."""
    path = os.path.normpath(entry["path"])
    _inside(path)
    if path in (RECORD, COMPOSE):
        raise PlatformError(f"The file {path} is kept by the module itself", "Give the file another name.")
    uid, gid = parse_owner(path, entry.get("owner"))
    mode = entry.get("mode") or ("0400" if entry.get("secret") else "0644")
    parsed = parse_mode(path, mode)
    if entry.get("secret") and parsed & 0o077:
        raise PlatformError(f"The secret file {path} would be readable by others (mode {mode})", "Use 0400 or 0600.")
    return ManagedFile(path, entry["content"].encode(), parsed, uid, gid, bool(entry.get("secret")))


def parse_directory(entry: Mapping[str, Any]) -> ManagedDirectory:
    """A `directories` entry of the module."""
    path = os.path.normpath(entry["path"])
    _inside(path)
    uid, gid = parse_owner(path, entry.get("owner"))
    return ManagedDirectory(path, parse_mode(path, entry.get("mode") or "0755"), uid, gid)


def _inside(path: str) -> None:
    if os.path.isabs(path) or path.split(os.sep)[0] == ".." or path == ".":
        raise PlatformError(
            f"The path {path} is not inside the stack's directory", "Give paths relative to `directory`."
        )


def parse_owner(path: str, owner: str | None) -> tuple[int, int]:
    """`uid:gid` in numbers: names mean different people inside a container and on its host."""
    found = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", owner or "0:0")
    if not found:
        raise PlatformError(
            f"The owner {owner!r} of {path} is not numeric", 'Give it as "uid:gid", for example "999:999".'
        )
    return int(found[1]), int(found[2] or found[1])


def parse_mode(path: str, mode: str) -> int:
    """An octal mode given as a string. Unquoted, YAML makes 0644 the number 420, which is octal too but means another mode."""
    if not re.fullmatch("0[0-7]{3,4}", str(mode)):
        raise PlatformError(
            f"The mode {mode!r} of {path} is not octal", 'Give it as a string with a leading 0, for example "0444".'
        )
    return int(str(mode), 8)


def with_secret_directories(files: list[ManagedFile], directories: list[ManagedDirectory]) -> list[ManagedDirectory]:
    """The directories given, and one of mode 0700 for each that holds a secret file and was not given."""
    given = {directory.path for directory in directories}
    implied = {
        os.path.dirname(file.path): ManagedDirectory(os.path.dirname(file.path), 0o700, file.uid, file.gid)
        for file in files
        if file.secret and os.path.dirname(file.path)
    }
    return directories + [directory for path, directory in implied.items() if path not in given]


class StackDirectory:
    """The directory of one stack. Every write is by rename, so a reader sees the old or the new content, never half."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time for a stack; the lock is the Engine host's own and goes with its process."""
        os.makedirs(self.path, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self, path: str) -> bytes | None:
        try:
            with open(os.path.join(self.path, path), "rb") as handle:
                return handle.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            # What the Engine leaves where the source of a bind mount was missing.
            place = os.path.join(self.path, path)
            raise PlatformError(f"{place} is a directory and should be a file", "Remove it: `rmdir`.") from None

    def differs(self, file: ManagedFile) -> str:
        """Why a file has to be written: `new`, `content`, `mode`, `owner`; empty when it is right."""
        content = self.read(file.path)
        if content is None:
            return "new"
        if content != file.content:
            return "content"
        return self._attributes_differ(file)

    def directory_differs(self, directory: ManagedDirectory) -> str:
        if not os.path.isdir(os.path.join(self.path, directory.path)):
            return "new"
        return self._attributes_differ(directory)

    def _attributes_differ(self, thing: ManagedFile | ManagedDirectory) -> str:
        found = os.stat(os.path.join(self.path, thing.path))
        if stat.S_IMODE(found.st_mode) != thing.mode:
            return "mode"
        return "owner" if (found.st_uid, found.st_gid) != (thing.uid, thing.gid) else ""

    def _place(self, path: str) -> str:
        """Where a directory is; a link in it, which a container may have made, must not lead root elsewhere."""
        place = os.path.normpath(os.path.join(os.path.realpath(self.path), path))
        if os.path.realpath(place) != place:
            raise PlatformError(
                f"{os.path.join(self.path, path)} leads through a symbolic link to {os.path.realpath(place)}",
                "Remove the link, and find out who made it.",
            )
        return place

    def ensure(self, directory: ManagedDirectory) -> None:
        path = self._place(directory.path)
        os.makedirs(path, exist_ok=True)
        os.chown(path, directory.uid, directory.gid)
        os.chmod(path, directory.mode)

    def write(self, file: ManagedFile) -> None:
        path = os.path.join(self._place(os.path.dirname(file.path)), os.path.basename(file.path))
        try:
            self._replace(path, file)
        except OSError as error:
            # A full disk is noticed on a descriptor, which has no name.
            raise OSError(error.errno, error.strerror, path) from error

    def _replace(self, path: str, file: ManagedFile) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = path + _NEW
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(file.content)
                os.fchown(stream.fileno(), file.uid, file.gid)
                os.fchmod(stream.fileno(), file.mode)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            raise

    def holds(self, path: str) -> bool:
        """Whether anything of a managed file is there, be it what a run left that was killed while it wrote."""
        return self.read(path) is not None or self.read(path + _NEW) is not None

    def remove(self, path: str) -> None:
        for place in (path, path + _NEW):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, place))

    def record(self) -> dict[str, Any]:
        """What the runs until now left: `files` that they may have written, and what each service has `loaded`."""
        try:
            found = json.loads(self.read(RECORD) or b"{}")
        except ValueError:
            found = {}  # torn by a full disk: everything counts as not loaded, and is acted on again
        return {"files": found.get("files", []), "loaded": found.get("loaded", {})}

    def write_record(self, files: Iterable[str], loaded: Mapping[str, Mapping[str, str]]) -> None:
        text = json.dumps({"files": sorted(files), "loaded": loaded}, indent=1, sort_keys=True)
        if self.read(RECORD) != text.encode():
            self.write(ManagedFile(RECORD, text.encode(), 0o600, 0, 0))
