# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a stack, on a real file system."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _stack_files as stack_files
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
)

UID, GID = os.getuid(), os.getgid()


def managed(path: str = "config/a", content: bytes = b"one\n", mode: int = 0o644) -> ManagedFile:
    return ManagedFile(path, content, mode, UID, GID)


@pytest.fixture
def stack(tmp_path: Path) -> StackDirectory:
    (tmp_path / "stack").mkdir()
    return StackDirectory(str(tmp_path / "stack"))


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"path": "a", "content": "x"}, ManagedFile("a", b"x", 0o644, 0, 0)),
        ({"path": "./c//d", "content": "é"}, ManagedFile("c/d", "é".encode(), 0o644, 0, 0)),
        ({"path": "c/../d", "content": ""}, ManagedFile("d", b"", 0o644, 0, 0)),
        (
            {"path": "s/k", "content": "x", "secret": True, "owner": "999"},
            ManagedFile("s/k", b"x", 0o400, 999, 999, True),
        ),
        (
            {"path": "s/k", "content": "x", "secret": True, "mode": "0600", "owner": "70:71"},
            ManagedFile("s/k", b"x", 0o600, 70, 71, True),
        ),
        ({"path": "run", "content": "x", "mode": "0755"}, ManagedFile("run", b"x", 0o755, 0, 0)),
        ({"path": "..a/..b", "content": "x"}, ManagedFile("..a/..b", b"x", 0o644, 0, 0)),
    ],
)
def test_parse_file(entry: dict[str, Any], wanted: ManagedFile) -> None:
    assert stack_files.parse_file(entry) == wanted


def _outside(path: str) -> str:
    return f"The path {path} is not inside the stack's directory. Give paths relative to `directory`."


def _owner(owner: str) -> str:
    return f'The owner {owner!r} of a is not numeric. Give it as "uid:gid", for example "999:999".'


def _mode(mode: str) -> str:
    return f'The mode {mode!r} of a is not octal. Give it as a string with a leading 0, for example "0444".'


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "/etc/passwd"}, _outside("/etc/passwd")),
        ({"path": "../x"}, _outside("../x")),
        ({"path": "a/../../x"}, _outside("../x")),
        ({"path": ".."}, _outside("..")),
        ({"path": ""}, _outside(".")),
        ({"path": "a/.."}, _outside(".")),
        (
            {"path": ".stack.json"},
            "The file .stack.json is kept by the module itself. Give the file another name.",
        ),
        (
            {"path": "./compose.yaml"},
            "The file compose.yaml is kept by the module itself. Give the file another name.",
        ),
        ({"path": "a", "owner": "redis"}, _owner("redis")),
        ({"path": "a", "owner": "999:redis"}, _owner("999:redis")),
        ({"path": "a", "owner": "1:2:3"}, _owner("1:2:3")),
        ({"path": "a", "owner": "-1:-1"}, _owner("-1:-1")),
        ({"path": "a", "owner": "1_0"}, _owner("1_0")),
        ({"path": "a", "mode": "rw"}, _mode("rw")),
        ({"path": "a", "mode": "0888"}, _mode("0888")),
        # What YAML makes of 0644 without quotes, an octal number too.
        ({"path": "a", "mode": "420"}, _mode("420")),
        ({"path": "a", "mode": "-1"}, _mode("-1")),
        (
            {"path": "a", "secret": True, "mode": "0440"},
            "The secret file a would be readable by others (mode 0440). Use 0400 or 0600.",
        ),
    ],
)
def test_file_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        stack_files.parse_file({"content": "x", **entry})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"path": "state"}, ManagedDirectory("state", 0o755, 0, 0)),
        ({"path": "state/", "mode": "0700", "owner": "999:998"}, ManagedDirectory("state", 0o700, 999, 998)),
    ],
)
def test_parse_directory(entry: dict[str, Any], wanted: ManagedDirectory) -> None:
    assert stack_files.parse_directory(entry) == wanted


def test_directory_outside_refused() -> None:
    with pytest.raises(PlatformError) as caught:
        stack_files.parse_directory({"path": "../etc"})
    assert str(caught.value) == _outside("../etc")


def test_secret_directories_are_closed_to_others() -> None:
    secret = ManagedFile("secrets/web/K", b"x", 0o400, 7, 8, True)
    other = ManagedFile("given/K", b"x", 0o400, 7, 8, True)
    given = ManagedDirectory("given", 0o711, 1, 1)
    top = ManagedFile("K", b"x", 0o400, 7, 8, True)
    assert stack_files.with_secret_directories([secret, secret, other, managed(), top], [given]) == [
        given,
        ManagedDirectory("secrets/web", 0o700, 7, 8),
    ]


def test_digest_is_of_the_content() -> None:
    assert managed(content=b"x").digest == hashlib.sha256(b"x").hexdigest()


def _nothing(place: Path) -> None:
    pass


def _other_content(place: Path) -> None:
    place.write_bytes(b"two\n")


def _other_mode(place: Path) -> None:
    place.chmod(0o600)


def _other_owner(place: Path) -> None:
    os.chown(place, 12345, 12345)


def _gone(place: Path) -> None:
    place.unlink()


@pytest.mark.parametrize(
    ("drift", "why"),
    [(_nothing, ""), (_other_content, "content"), (_other_mode, "mode"), (_other_owner, "owner"), (_gone, "new")],
)
def test_drift_of_a_file(stack: StackDirectory, drift: Callable[[Path], None], why: str) -> None:
    stack.write(managed())
    place = Path(stack.path, "config/a")
    drift(place)
    assert stack.differs(managed()) == why
    stack.write(managed())
    assert stack.differs(managed()) == ""
    assert (place.read_bytes(), place.stat().st_mode & 0o7777) == (b"one\n", 0o644)


def test_drift_of_a_directory(stack: StackDirectory) -> None:
    wanted = ManagedDirectory("secrets", 0o700, UID, GID)
    place = Path(stack.path, "secrets")
    assert stack.directory_differs(wanted) == "new"
    stack.ensure(wanted)
    assert stack.directory_differs(wanted) == ""
    place.chmod(0o755)
    assert stack.directory_differs(wanted) == "mode"
    os.chown(place, 12345, 12345)
    place.chmod(0o700)
    assert stack.directory_differs(wanted) == "owner"
    stack.ensure(wanted)
    assert stack.directory_differs(wanted) == ""


def test_write_is_a_rename(stack: StackDirectory) -> None:
    stack.write(managed())
    with open(os.path.join(stack.path, "config/a"), "rb") as reader:
        stack.write(managed(content=b"two\n"))
        assert reader.read() == b"one\n"
    assert stack.read("config/a") == b"two\n"
    assert os.listdir(os.path.join(stack.path, "config")) == ["a"]


def test_what_a_killed_run_left_is_replaced(stack: StackDirectory) -> None:
    Path(stack.path, "config").mkdir()
    Path(stack.path, "config/a.new").write_bytes(b"half")
    stack.write(managed())
    assert os.listdir(os.path.join(stack.path, "config")) == ["a"]


def test_a_secret_is_never_readable_on_its_way(stack: StackDirectory) -> None:
    old = os.umask(0)
    try:
        stack.write(ManagedFile("K", b"x", 0o400, UID, GID, True))
    finally:
        os.umask(old)
    assert os.stat(os.path.join(stack.path, "K")).st_mode & 0o7777 == 0o400


def test_a_failed_write_leaves_the_old_content(stack: StackDirectory) -> None:
    stack.write(managed())
    with pytest.raises(OverflowError):
        stack.write(ManagedFile("config/a", b"two\n", 0o644, 2**40, 0))
    assert stack.read("config/a") == b"one\n"
    assert os.listdir(os.path.join(stack.path, "config")) == ["a"]


@pytest.mark.parametrize(
    "act",
    [
        lambda stack: stack.write(managed("state/deep/a")),
        lambda stack: stack.ensure(ManagedDirectory("state/deep", 0o700, UID, GID)),
    ],
)
def test_a_link_does_not_lead_root_elsewhere(
    stack: StackDirectory, tmp_path: Path, act: Callable[[StackDirectory], None]
) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    Path(stack.path, "state").mkdir()
    Path(stack.path, "state/deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlatformError) as caught:
        act(stack)
    assert str(caught.value) == (
        f"{stack.path}/state/deep leads through a symbolic link to {tmp_path}/elsewhere. "
        "Remove the link, and find out who made it."
    )
    assert os.listdir(tmp_path / "elsewhere") == []
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o755


def test_the_stack_itself_may_be_reached_by_a_link(stack: StackDirectory, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stack.path)
    StackDirectory(str(tmp_path / "link")).write(managed())
    assert stack.read("config/a") == b"one\n"


def test_reading_what_is_not_a_file(stack: StackDirectory) -> None:
    stack.write(managed("a"))
    assert stack.read("nothing") is None
    assert stack.read("a/b") is None
    Path(stack.path, "mount").mkdir()
    with pytest.raises(PlatformError) as caught:
        stack.read("mount")
    assert str(caught.value) == f"{stack.path}/mount is a directory and should be a file. Remove it: `rmdir`."


def test_remove(stack: StackDirectory) -> None:
    stack.write(managed())
    stack.remove("config/a")
    stack.remove("config/a")
    assert stack.read("config/a") is None


def test_what_a_killed_run_was_writing_is_found_and_removed(stack: StackDirectory) -> None:
    assert not stack.holds("secrets/key")
    Path(stack.path, "secrets").mkdir()
    half = Path(stack.path, "secrets/key.new")
    half.write_bytes(b"half a secret")
    assert stack.holds("secrets/key")
    stack.remove("secrets/key")
    assert not half.exists()
    stack.write(managed())
    assert stack.holds("config/a")


def test_record(stack: StackDirectory) -> None:
    assert stack.record() == {"files": [], "loaded": {}}
    stack.write_record(["b", "a"], {"web": {"a": "1"}})
    assert stack.record() == {"files": ["a", "b"], "loaded": {"web": {"a": "1"}}}
    place = Path(stack.path, ".stack.json")
    assert place.stat().st_mode & 0o777 == 0o600
    before = place.stat().st_ino
    stack.write_record(["a", "b"], {"web": {"a": "1"}})
    assert place.stat().st_ino == before, "an unchanged record is not written again"


@pytest.mark.parametrize("torn", [b"", b'{"files": ["a"], "loa', b"\xff\xfe", b"{}"])
def test_a_torn_record_means_nothing_is_loaded(stack: StackDirectory, torn: bytes) -> None:
    Path(stack.path, ".stack.json").write_bytes(torn)
    assert stack.record() == {"files": [], "loaded": {}}


def test_one_run_at_a_time(tmp_path: Path) -> None:
    stack = StackDirectory(str(tmp_path / "new" / "stack"))
    order: list[str] = []

    def second() -> None:
        with stack.locked():
            order.append("second")

    with stack.locked():
        other = threading.Thread(target=second)
        other.start()
        other.join(timeout=0.2)
        order.append("first")
    other.join(timeout=5)
    assert order == ["first", "second"]
