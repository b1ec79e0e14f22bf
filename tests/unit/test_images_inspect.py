# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found out about an image is found out once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._image_inspect import FILE, inspect_images

CONFIG = {"Entrypoint": ["/go"], "Cmd": None, "User": "7:7"}
KNOWN = {"entrypoint": ["/go"], "cmd": [], "user": "7:7", "shell": False}


@pytest.fixture
def engine() -> Mock:
    made = Mock()
    made.get.return_value = {"Config": CONFIG}
    made.containers.return_value = []
    made.post.return_value = {"Id": "probe"}
    made.exists.return_value = False
    return made


def content(folder: Path) -> Any:
    return json.loads((folder / FILE).read_text())


def test_a_second_run_asks_nothing_and_makes_nothing(engine: Mock, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    first = inspect_images(engine, {"a:1": "sha256:a"}, ["sha256:a"], str(folder), probing=True)
    assert first == {"a:1": KNOWN}
    assert engine.post.call_count == 1
    engine.reset_mock()
    written = (folder / FILE).stat()
    for probing in (True, False):
        assert inspect_images(engine, {"a:2": "sha256:a"}, ["sha256:a"], str(folder), probing) == {"a:2": KNOWN}
    assert engine.mock_calls == []
    assert (folder / FILE).stat().st_ino == written.st_ino, "written again without need"
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_check_mode_makes_no_container_and_writes_nothing(engine: Mock, tmp_path: Path) -> None:
    found = inspect_images(engine, {"a:1": "sha256:a"}, ["sha256:a"], str(tmp_path / "work"), probing=False)
    assert found == {"a:1": {key: value for key, value in KNOWN.items() if key != "shell"}}
    engine.post.assert_not_called()
    engine.delete.assert_not_called()
    assert not (tmp_path / "work").exists()


def test_images_that_are_gone_are_forgotten_and_others_kept(engine: Mock, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"sha256:gone": KNOWN, "sha256:there": KNOWN}))
    inspect_images(engine, {"a:1": "sha256:a"}, ["sha256:a", "sha256:there"], str(tmp_path), probing=True)
    assert set(content(tmp_path)) == {"sha256:a", "sha256:there"}
    inspect_images(engine, {"a:1": "sha256:a"}, ["sha256:a"], str(tmp_path), probing=True)
    assert set(content(tmp_path)) == {"sha256:a"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"sha256:a": {"entry',
        "[]",
        '{"sha256:a": "x"}',
        # Of another version, that knew less.
        '{"sha256:a": {"entrypoint": [], "cmd": [], "user": ""}}',
    ],
)
def test_a_file_that_cannot_be_used_is_found_out_anew(engine: Mock, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert inspect_images(engine, {"a:1": "sha256:a"}, ["sha256:a"], str(tmp_path), probing=True) == {"a:1": KNOWN}
    assert content(tmp_path) == {"sha256:a": KNOWN}
