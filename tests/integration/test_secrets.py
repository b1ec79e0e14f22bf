# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a real file system and a real Engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.modules.secrets import existing_data

from tests.support import REPOSITORY, random_name, run_module

NAMES = {"postgres_superuser_password": {}, "api_key_salt": {"format": "hex", "length": 64}}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "secrets"


@pytest.fixture
def volume() -> Iterator[str]:
    made = docker.from_env().volumes.create(random_name())
    yield str(made.name)
    made.remove()


def run(directory: Path, check: bool = False, diff: bool = False, **more: Any) -> dict[str, Any]:
    return run_module("secrets", {"directory": str(directory), "names": NAMES, **more}, check=check, diff=diff)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_created_once_and_found_again(directory: Path) -> None:
    first = run(directory)
    assert first["changed"]
    assert sorted(first["created"]) == sorted(NAMES)
    assert mode(directory) == 0o700
    for name in NAMES:
        assert (directory / name).read_text() == first["secrets"][name]
        assert mode(directory / name) == 0o400
    second = run(directory)
    assert not second["changed"]
    assert second["secrets"] == first["secrets"]


def test_check_mode_creates_nothing_and_templates_render(directory: Path) -> None:
    result = run(directory, check=True, diff=True)
    assert "diff" not in result, "Ansible would hide it with the values"
    assert result["changed"]
    assert result["secrets"]["api_key_salt"] == "check-mode-placeholder-of-api_key_salt"
    assert not directory.parent.exists()
    run(directory)
    again = run(directory, check=True)
    assert not again["changed"]
    assert again["secrets"]["api_key_salt"] == (directory / "api_key_salt").read_text()


def test_a_lost_secret_is_refused_while_its_volume_exists(directory: Path, volume: str) -> None:
    assert not run(directory).get("failed")
    (directory / "api_key_salt").unlink()
    for check in (True, False):
        result = run(directory, check=check, volumes=["lt-no-such-volume", f"{volume[:-1]}?"])
        assert result["failed"]
        assert f"volume {volume}): {directory}/api_key_salt. Nothing was generated. Restore it" in result["msg"]
    assert not (directory / "api_key_salt").exists()


def test_a_new_name_is_created_while_data_exists(directory: Path, volume: str) -> None:
    before = run(directory)["secrets"]
    result = run(directory, names={**NAMES, "redis_password": {}}, volumes=[volume])
    assert result["created"] == ["redis_password"]
    assert {name: result["secrets"][name] for name in NAMES} == before


def test_data_in_a_path_counts_and_an_empty_path_does_not(directory: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    assert not run(directory, data_paths=[str(data)]).get("failed")
    (data / "PG_VERSION").write_text("17")
    (directory / "api_key_salt").unlink()
    assert run(directory, data_paths=[str(data)])["failed"]


def test_a_stopped_engine_does_not_look_like_a_host_without_data(tmp_path: Path) -> None:
    (tmp_path / "volumes" / "demo_data").mkdir(parents=True)
    silent = Engine(str(tmp_path / "no.sock"))
    assert existing_data([], ["demo_*"], tmp_path, silent) == ["volume demo_data"]
    assert existing_data([], ["demo_*"], tmp_path / "nothing", silent) == []


def test_modes_are_repaired_and_the_value_kept(directory: Path) -> None:
    before = run(directory)["secrets"]
    secret = directory / "api_key_salt"
    secret.chmod(0o644)
    os.chown(secret, 12345, 12345)
    directory.chmod(0o755)
    assert run(directory, check=True)["repaired"] == ["api_key_salt"]
    assert mode(secret) == 0o644
    result = run(directory)
    assert (result["changed"], result["repaired"], result["secrets"]) == (True, ["api_key_salt"], before)
    assert (mode(secret), secret.stat().st_uid, mode(directory)) == (0o400, 0, 0o700)
    assert not run(directory)["changed"]


def test_a_newline_of_a_restored_file_is_no_part_of_the_value(directory: Path) -> None:
    before = run(directory)["secrets"]
    with (directory / "api_key_salt").open("a") as file:
        file.write("\n")
    assert run(directory)["secrets"] == before


def test_a_description_that_is_no_dictionary_is_refused(directory: Path) -> None:
    assert (
        "The description of the secret salt is no dictionary. Write `salt: {}`"
        in run(directory, names={"salt": "hex"})["msg"]
    )
    assert not directory.exists()


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_is_refused(directory: Path, content: str) -> None:
    run(directory)
    (directory / "api_key_salt").write_text(content)
    result = run(directory)
    assert result["failed"]
    assert result["msg"].startswith(f"The secret file {directory}/api_key_salt is empty.")


def test_a_link_is_refused(directory: Path, tmp_path: Path) -> None:
    run(directory)
    (tmp_path / "elsewhere").write_text("planted-value-0123456789")
    (directory / "api_key_salt").unlink()
    (directory / "api_key_salt").symlink_to(tmp_path / "elsewhere")
    assert f"{directory}/api_key_salt is not a regular file" in run(directory)["msg"]


@pytest.mark.parametrize("state", ["created", "found"])
def test_ansible_shows_no_value_and_does_show_a_failure(directory: Path, tmp_path: Path, state: str) -> None:
    if state == "found":
        run(directory)
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {"lastro.platform.secrets": {"directory": str(directory), "names": NAMES}, "register": "found"},
                {"ansible.builtin.assert": {"that": "found.secrets.api_key_salt | length == 64", "quiet": True}},
                {"lastro.platform.secrets": {"directory": str(directory), "names": {"Wrong": {}}}},
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    options = ["-i", "localhost,", "-c", "local", "-vvv", "-D", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), *options, str(tmp_path / "play.yml")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "'Wrong' cannot be the name of a secret" in output
    assert "ok=2" in output
    assert [name for name in NAMES if (directory / name).read_text() in output] == []
