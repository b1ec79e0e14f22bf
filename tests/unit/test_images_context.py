# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build sends: .dockerignore, content hash, tar."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_context import (
    context_files,
    context_hash,
    ignore_rules,
    is_ignored,
    read_dockerfile,
    write_context,
)


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("", "a", False),
        ("# a", "# a", False),
        ("a", "a", True),
        ("/a", "a", True),
        ("./a/", "a/b", True),
        ("a", "b/a", False),
        ("**/a", "b/c/a", True),
        ("**/a", "a", True),
        ("*.py", "a.py", True),
        ("*.py", "b/a.py", False),
        ("**/*.py[co]", "b/a.pyc", True),
        ("*/temp?", "x/temp1", True),
        ("*/temp?", "x/temp12", False),
        ("docs/**", "docs/a/b", True),
        ("docs\n!docs/README.md", "docs/README.md", False),
        ("docs\n!docs/README.md", "docs/other.md", True),
        ("!a\na", "a", True),
        ("*", "anything/below", True),
        ("*\n!src", "src/a.py", False),
        ("*", "Dockerfile", False),
        (".*", ".dockerignore", False),
        ("a+b", "a+b", True),
        ("a.b", "axb", False),
        (r"\*", "*", True),
        (r"\*", "a", False),
    ],
)
def test_dockerignore(text: str, path: str, ignored: bool) -> None:
    assert is_ignored(path, ignore_rules(text)) is ignored


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "app"
    (directory / "src").mkdir(parents=True)
    (directory / "Dockerfile").write_text("FROM a\n")
    (directory / "src" / "a.py").write_text("a\n")
    (directory / "run.sh").write_text("#!/bin/sh\n")
    (directory / "run.sh").chmod(0o700)
    (directory / "link").symlink_to("src")
    (directory / ".venv").mkdir()
    (directory / ".venv" / "big").write_text("big\n")
    (directory / ".dockerignore").write_text(".venv\n")
    return directory


def members(
    context: str, files: dict[str, str] | None = None, folders: tuple[str, ...] = ()
) -> dict[str, tarfile.TarInfo]:
    target = io.BytesIO()
    write_context(context, files or {}, folders, target)
    target.seek(0)
    with tarfile.open(fileobj=target) as tar:
        return {member.name: member for member in tar}


def test_files_in_a_fixed_order(context: Path) -> None:
    names = [name for name, _ in context_files(context)]
    assert names == [".dockerignore", "Dockerfile", "link", "run.sh", "src/a.py"]


def test_a_negation_reaches_below_an_ignored_directory(context: Path) -> None:
    (context / ".dockerignore").write_text(".venv\n!.venv/big\n")
    assert ".venv/big" in [name for name, _ in context_files(context)]


def test_hash_follows_content_and_nothing_else(context: Path) -> None:
    before = context_hash(context)
    (context / "src" / "a.py").touch()
    (context / "src" / "a.py").chmod(0o600)
    (context / ".venv" / "big").write_text("other\n")
    assert context_hash(context) == before, "time, umask and ignored files are not content"
    (context / "src" / "a.py").chmod(0o700)
    executable = context_hash(context)
    assert executable != before
    (context / "src" / "a.py").write_text("b\n")
    assert context_hash(context) not in (before, executable)


def test_hash_follows_names_and_links(context: Path) -> None:
    before = context_hash(context)
    (context / "link").unlink()
    (context / "link").symlink_to("run.sh")
    linked = context_hash(context)
    (context / "run.sh").rename(context / "go.sh")
    assert len({before, linked, context_hash(context)}) == 3


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="gone is not a directory"):
        context_hash(tmp_path / "gone")


def test_tar_of_a_directory(context: Path) -> None:
    found = members(str(context), {"Dockerfile": "FROM b\n", "x.sh": "#!/bin/sh\n"}, ("site",))
    assert sorted(found) == [".dockerignore", "Dockerfile", "link", "run.sh", "site", "src/a.py", "x.sh"]
    assert found["Dockerfile"].size == len("FROM b\n"), "inline files win"
    assert found["site"].isdir()
    assert found["link"].linkname == "src"
    assert (found["run.sh"].mode, found["src/a.py"].mode, found["x.sh"].mode) == (0o755, 0o644, 0o755)
    assert all((member.uid, member.mtime) == (0, 0) for member in found.values())


def test_the_tar_of_a_tar_is_the_same(context: Path, tmp_path: Path) -> None:
    packed = tmp_path / "context.tar"
    with packed.open("wb") as target:
        write_context(str(context), {}, (), target)
    assert sorted(members(str(packed))) == sorted(members(str(context)))
    assert read_dockerfile(str(packed)) == read_dockerfile(str(context)) == "FROM a\n"
    assert members(str(packed), {"Dockerfile": "FROM bb\n"})["Dockerfile"].size == len("FROM bb\n")


def test_a_context_without_a_dockerfile_is_named(context: Path) -> None:
    (context / "Dockerfile").unlink()
    with pytest.raises(PlatformError, match="No Dockerfile can be read"):
        read_dockerfile(str(context))
