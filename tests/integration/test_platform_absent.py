# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes from a real Engine and a real disk, what stays, and what is refused before anything goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.playbook import play
from tests.support import random_name, run_module

CLIENT = docker.from_env()
ID = "shop-prod-1"
Platform = tuple[str, Path]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Platform]]:
    """Platforms with a container, a network, a volume and secrets; what is left of them goes at the end."""
    names: list[str] = []

    def one() -> Platform:
        name = random_name()
        names.append(name)
        state = tmp_path / name
        (state / "secrets").mkdir(parents=True)
        (state / "secrets/password").write_text("kept")
        (state / "redis").mkdir()
        (state / ".platform").write_text(f"{ID}\n")
        CLIENT.networks.create(f"{name}-redis_default")
        CLIENT.volumes.create(f"{name}_redis_data")
        compose = "com.docker.compose.project"
        labels = {compose: f"{name}-redis", f"{compose}.working_dir": str(state / "redis")}
        CLIENT.containers.create("lastro/base:trixie", ["true"], name=f"{name}-redis-1", labels=labels)
        return name, state

    yield one
    for name in names:
        for found in left(name).values():
            for thing in found:
                thing.remove(**({"force": True} if hasattr(thing, "image") else {}))


def left(name: str) -> dict[str, list[Any]]:
    """What the Engine has under the name."""
    return {
        "containers": [one for one in CLIENT.containers.list(all=True) if one.name.startswith(name)],
        "networks": CLIENT.networks.list(names=[name]),
        "volumes": [one for one in CLIENT.volumes.list() if one.name.startswith(name)],
    }


def counts(name: str) -> tuple[int, ...]:
    return tuple(len(found) for found in left(name).values())


def absent(platform: Platform, check: bool = False, **more: Any) -> dict[str, Any]:
    name, state = platform
    given = {"platform": name, "state_directory": str(state), "platform_id": ID, **more}
    return run_module("platform_absent", given, check)


def test_data_stays_until_it_is_asked_for(make: Callable[[], Platform]) -> None:
    platform = name, state = make()
    for file in ("lease.json", "lease.lock", "ledger.jsonl"):
        (state / file).write_text("")
    (state / "releases").mkdir()
    assert absent(platform, check=True)["changed"]
    assert counts(name) == (1, 1, 1)
    gone = absent(platform)
    assert gone["containers"] == [f"{name}-redis-1"]
    assert gone["networks"] == [f"{name}-redis_default"]
    assert gone["kept"] == [
        f"{name}_redis_data",
        *(str(state / kept) for kept in ("releases", "secrets", "ledger.jsonl")),
    ]
    assert counts(name) == (0, 0, 1)
    assert (state / "secrets/password").read_text() == "kept"
    assert not (state / "redis").exists()
    assert not absent(platform)["changed"]
    assert absent(platform, data=True)["volumes"] == [f"{name}_redis_data"]
    assert counts(name) == (0, 0, 0)
    assert not state.exists()


@pytest.mark.parametrize("data", [False, True])
def test_another_platform_of_the_same_name_is_refused(make: Callable[[], Platform], data: bool) -> None:
    platform = name, state = make()
    for check in (True, False):
        refused = absent(platform, check=check, data=data, platform_id="shop-copy")
        assert refused["failed"]
        assert (
            f"{state} belongs to the platform {ID}, and this inventory is shop-copy. Nothing was removed"
            in refused["msg"]
        )
        assert "Use the inventory of that platform" in refused["msg"]
    assert counts(name) == (1, 1, 1)
    assert (state / "secrets/password").exists()


def test_another_platform_of_the_same_name_in_another_directory_is_refused(
    make: Callable[[], Platform], tmp_path: Path
) -> None:
    name, state = make()
    before = counts(name)
    given = {"platform": name, "platform_id": "shop-copy", "state_directory": str(tmp_path / "elsewhere")}
    result = run_module("platform_absent", given)
    assert result["failed"]
    assert f"{state} belongs to the platform {ID}, and this inventory is shop-copy." in result["msg"]
    assert counts(name) == before
    assert (state / "secrets/password").exists()


def test_whose_the_volumes_are_is_known_as_long_as_there_are_some(make: Callable[[], Platform]) -> None:
    platform = name, state = make()
    # A host of a fleet has no secrets of its own.
    (state / "secrets/password").unlink()
    (state / "secrets").rmdir()
    absent(platform)
    assert (state / ".platform").exists()
    assert absent(platform, data=True, platform_id="shop-copy")["failed"]
    assert counts(name) == (0, 0, 1)


@pytest.mark.parametrize("left_behind", ["containers/4f5e", "volumes/{name}_redis_data"])
def test_a_stopped_engine_does_not_look_like_a_host_on_which_nothing_runs(
    make: Callable[[], Platform], tmp_path: Path, left_behind: str
) -> None:
    platform = name, state = make()
    root = tmp_path / "docker"
    (root / left_behind.format(name=name)).mkdir(parents=True)
    stopped = {"engine": str(tmp_path / "no.sock"), "docker_root": str(root), "data": True}
    for check in (True, False):
        refused = absent(platform, check=check, **stopped)
        assert refused["failed"]
        assert f"The Docker Engine does not answer on {tmp_path}/no.sock" in refused["msg"]
        assert left_behind.format(name=name).partition("/")[2] in refused["msg"]
        assert "Start the Engine first" in refused["msg"]
    assert (state / "secrets/password").exists()


def test_where_the_engine_has_nothing_the_files_go(make: Callable[[], Platform], tmp_path: Path) -> None:
    platform = _name, state = make()
    (tmp_path / "docker/volumes/another_data").mkdir(parents=True)
    none = {"engine": str(tmp_path / "no.sock"), "docker_root": str(tmp_path / "docker"), "data": True}
    assert absent(platform, **none)["changed"]
    assert not state.exists()


def test_a_disk_that_refuses_is_told_without_a_traceback(make: Callable[[], Platform]) -> None:
    platform = _name, state = make()
    # A link where a directory is expected is what shutil refuses, for root as well.
    (state / "redis").rmdir()
    (state / "elsewhere").mkdir()
    (state / "redis").symlink_to(state / "elsewhere")
    refused = absent(platform)
    assert refused["failed"]
    assert "run with become" in refused["msg"]
    assert "Traceback" not in str(refused)


def test_what_a_killed_check_of_the_proxy_left_goes_too(make: Callable[[], Platform]) -> None:
    platform = name, state = make()
    for folder, owner in ((state, "ours"), (state.parent, "theirs")):
        CLIENT.containers.create(
            "lastro/base:trixie",
            ["true"],
            name=f"{name}-{owner}",
            labels={"lastro.purpose": "proxy-candidate"},
            volumes=[f"{folder}/.candidate:/mnt:ro"],
        )
    assert absent(platform)["containers"] == [f"{name}-ours", f"{name}-redis-1"]
    assert [container.name for container in left(name)["containers"]] == [f"{name}-theirs"]


def test_a_refusal_of_one_host_stops_the_playbook_before_another_loses_anything(
    make: Callable[[], Platform], tmp_path: Path
) -> None:
    """One machine stands for two hosts; on the second one the directory is another platform's."""
    first, second = make(), make()
    (second[1] / ".platform").write_text("another\n")
    hosts = {
        host: {"platform_name": name, "platform_state_dir": str(state)}
        for host, (name, state) in (("data1", first), ("data2", second))
    }
    variables = {"platform_environment": "dev", "platform_id": ID, "platform_destroy_data": True}
    done = play(tmp_path, "destroy", {}, hosts, variables)
    assert done.returncode
    assert "belongs to the platform another, and this inventory is" in done.stdout.replace("\n    ", " ")
    assert [counts(name) for name, _state in (first, second)] == [(1, 1, 1), (1, 1, 1)]
    (second[1] / ".platform").write_text(f"{ID}\n")
    done = play(tmp_path, "destroy", {}, hosts, variables)
    assert done.returncode == 0, done.stdout
    assert [counts(name) for name, _state in (first, second)] == [(0, 0, 0), (0, 0, 0)]
