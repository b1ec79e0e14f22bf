# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build sends to the Engine: which files, what they hash to, and the tar of them.

Used on the controller too, so that an application's directory is read where it is and travels only when it changed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

# The Engine always gets these two, whatever .dockerignore says.
ALWAYS = ("Dockerfile", ".dockerignore")


def pattern_regex(pattern: str) -> str:
    """A .dockerignore pattern as a regular expression; it matches a path and everything below it."""
    text, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/"):
            text, at = text + "(?:.*/)?", at + 3
        elif rest.startswith("**"):
            text, at = text + ".*", at + 2
        elif rest[0] == "*":
            text, at = text + "[^/]*", at + 1
        elif rest[0] == "?":
            text, at = text + "[^/]", at + 1
        elif rest[0] == "[" and "]" in rest[2:]:
            end = rest.index("]", 2)
            text, at = text + "[" + rest[1:end].replace("\\", "\\\\") + "]", at + end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            text, at = text + re.escape(rest[1]), at + 2
        else:
            text, at = text + re.escape(rest[0]), at + 1
    return f"{text}(?:/.*)?"


def ignore_rules(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """The rules of a .dockerignore, in order: (excluded, expression). The last one that matches decides."""
    rules = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        excluded = not pattern.startswith("!")
        pattern = os.path.normpath(pattern.lstrip("!").strip()).strip("/")
        rules.append((excluded, re.compile(pattern_regex(pattern))))
    return rules


def is_ignored(path: str, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """Whether a path, relative to the context, stays out of the build."""
    verdict = False
    for excluded, expression in rules:
        if expression.fullmatch(path):
            verdict = excluded
    return verdict and path not in ALWAYS


def context_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """The files and links of a context in a fixed order: (relative path, path), .dockerignore applied."""
    ignore = directory / ".dockerignore"
    rules = ignore_rules(ignore.read_text()) if ignore.is_file() else []
    # A negation can bring back a file below an ignored directory: only without one may the walk skip directories.
    prune = all(excluded for excluded, _pattern in rules)
    for parent, folders, names in os.walk(directory):
        base = Path(parent)
        inside = [(name, str((base / name).relative_to(directory))) for name in sorted(folders)]
        links = [path for name, path in inside if (base / name).is_symlink()]
        folders[:] = [name for name, path in inside if path not in links and not (prune and is_ignored(path, rules))]
        for relative in sorted([*links, *(str((base / name).relative_to(directory)) for name in names)]):
            if not is_ignored(relative, rules):
                yield relative, directory / relative


def _mode(path: Path) -> int:
    """0755 or 0644, as git keeps it: the umask of a clone must not make another image."""
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def context_hash(directory: Path) -> str:
    """The content hash of a context: names, kinds, executable bits and content; never times or owners."""
    if not directory.is_dir():
        raise PlatformError(
            f"The build context {directory} is not a directory", "Name the directory of the application."
        )
    total = hashlib.sha256()
    for relative, path in context_files(directory):
        if path.is_symlink():
            total.update(f"link {relative}\0{os.readlink(path)}\0".encode())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{_mode(path):o} {relative}\0{content}\0".encode())
    return total.hexdigest()


def read_dockerfile(context: str) -> str:
    """The Dockerfile of a context, which is a directory or the tar of one."""
    try:
        if Path(context).is_dir():
            return (Path(context) / "Dockerfile").read_text()
        with tarfile.open(context) as tar:
            member = tar.extractfile("Dockerfile")
            return member.read().decode() if member else ""
    except (OSError, KeyError) as error:
        raise PlatformError(f"No Dockerfile can be read in the build context {context}", "Put one there.") from error


def write_context(context: str, files: dict[str, str], folders: tuple[str, ...], target: IO[bytes]) -> None:
    """Write the tar of a build: the context's files (a directory, or the tar of one), then `files`, which win over them.

    Owners and times are left out, modes are normalised: the Engine's layer cache then depends on content only.
    """
    with tarfile.open(fileobj=target, mode="w") as tar:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        if context and Path(context).is_dir():
            _add_directory(tar, Path(context), files)
        elif context:
            with tarfile.open(context) as source:
                for member in source:
                    if member.name not in files:
                        tar.addfile(member, source.extractfile(member) if member.isfile() else None)
        for relative, text in sorted(files.items()):
            data = text.encode()
            info = tarfile.TarInfo(relative)
            info.size = len(data)
            # A script among inline files has no mode of its own; its first line says that it is one.
            info.mode = 0o755 if text.startswith("#!") else 0o644
            tar.addfile(info, io.BytesIO(data))


def _add_directory(tar: tarfile.TarFile, directory: Path, without: dict[str, str]) -> None:
    for relative, path in context_files(directory):
        if relative in without:
            continue
        info = tarfile.TarInfo(relative)
        if path.is_symlink():
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
            tar.addfile(info)
        elif path.is_file():
            info.mode, info.size = _mode(path), path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(info, content)
