# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the matrix finds its interpreters, and what it says where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import matrix


def place(folder: Path, code: int) -> Path:
    folder.mkdir(parents=True)
    program = folder / "python3.13"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    return program


def test_the_stand_in_of_a_version_manager_is_passed_over(tmp_path: Path) -> None:
    shims = place(tmp_path / ".pyenv" / "shims", 127)
    real = place(tmp_path / ".pyenv" / "versions" / "3.13.2" / "bin", 0)
    assert matrix.interpreter("3.13", str(shims.parent), tmp_path) == str(real)


def test_path_comes_first(tmp_path: Path) -> None:
    real = place(tmp_path / "bin", 0)
    place(tmp_path / ".pyenv" / "versions" / "3.13.2" / "bin", 0)
    assert matrix.interpreter("3.13", f"{tmp_path}/none:{real.parent}", tmp_path) == str(real)


def test_none_is_none(tmp_path: Path) -> None:
    place(tmp_path / "bin", 0)
    assert matrix.interpreter("3.12", str(tmp_path / "bin"), tmp_path) is None


def test_without_interpreter_and_engine_it_is_red_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "interpreter", lambda _version: None)
    monkeypatch.setattr(matrix, "_has_engine", lambda: False)
    assert matrix.main(["3.13"]) == 1
    assert "pyenv install 3.13" in capsys.readouterr().err


def test_a_pair_that_is_not_declared_is_red(capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(["3.10"]) == 1
    assert "3.10" in capsys.readouterr().err


def test_one_red_pair_makes_all_red(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {"3.11": 0, "3.13": 1}
    monkeypatch.setattr(matrix, "run", codes.__getitem__)
    assert matrix.main([]) == 1
    assert matrix.main(["3.11"]) == 0
