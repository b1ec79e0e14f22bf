# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a platform with two proxies: two runs at once, one that was killed, one that comes back late."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbook import play
from tests.support import eventually, run_module

ROLE = {"name": "lastro.platform.platform", "rolespec_validate": False}


class Platform:
    """Two proxies of one platform, each with a directory of its own on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directories = [folder / host for host in ("edge1", "edge2")]

    def play(self, name: str, *tasks: dict[str, Any], **variables: Any) -> subprocess.CompletedProcess[str]:
        """Take the lease and do something, as playbooks/deploy.yml does."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        take = {"ansible.builtin.include_role": {**ROLE, "tasks_from": "lease"}, "vars": {"platform_fences": [0]}}
        lease = {
            "directory": "{{ platform_state_dir }}",
            "run": name,
            "number": "{{ hostvars.edge1.__platform_lease.lease.number }}",
        }
        plays = [
            {
                "hosts": "proxy",
                "gather_facts": False,
                "any_errors_fatal": True,
                "module_defaults": {"group/lastro.platform.changes": {"lease": lease}},
                "tasks": [take, *tasks],
            }
        ]
        hosts = {path.name: {"platform_state_dir": str(path)} for path in self.directories}
        given = {"platform_run": name, "platform_doing": f"release of {name}", **variables}
        return play(folder, plays, {"proxy": {"hosts": {host: {} for host in hosts}}}, hosts, given)

    def leases(self) -> list[dict[str, Any]]:
        found = [path / "lease.json" for path in self.directories]
        return [json.loads(path.read_text()) for path in found if path.exists()]

    def holders(self) -> list[str]:
        """Who holds it, on each of the hosts; empty where nobody does."""
        return [lease["run"] if lease["until"] > time.time() else "" for lease in self.leases()]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


class Waiting:
    """A run that took the lease and waits before it changes something, in a thread; `pid` is that of ansible-playbook."""

    def __init__(self, platform: Platform, name: str, **variables: Any) -> None:
        self.go = platform.folder / f"{name}.go"
        wait = {"ansible.builtin.wait_for": {"path": str(self.go), "timeout": 30, "sleep": 1}, "run_once": True}
        self.secrets = [path / "secrets" / name for path in platform.directories]
        change = {"lastro.platform.secrets": {"directory": "{{ platform_state_dir }}/secrets", "names": {name: {}}}}
        self._thread = threading.Thread(target=self._run, args=(platform, name, (wait, change), variables))
        self._thread.start()
        eventually(lambda: platform.holders() == [name] * 2, "it has the lease on both")
        self.pid = platform.leases()[0]["holder"]["process"]["pid"]

    def _run(self, platform: Platform, name: str, tasks: Any, variables: Any) -> None:
        self.done = platform.play(name, *tasks, **variables)

    def end(self) -> subprocess.CompletedProcess[str]:
        self.go.touch()
        self._thread.join(90)
        return self.done


@pytest.fixture
def waiting(platform: Platform) -> Iterator[Waiting]:
    run = Waiting(platform, "first", platform_lease_seconds=2)
    yield run
    run.go.touch()
    run._thread.join(90)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def test_a_run_that_comes_back_late_changes_nothing(platform: Platform, waiting: Waiting) -> None:
    eventually(lambda: platform.holders() == ["", ""], "its lease is over while it is at work still")
    done = platform.play("second", platform_lease_seconds=600)
    assert done.returncode == 0, done.stdout
    assert platform.holders() == ["second"] * 2
    late = waiting.end()
    assert late.returncode != 0
    assert "This run, number 1, lost its lease to run 2 (release of second, by" in said(late)
    assert not any(secret.exists() for secret in waiting.secrets)


def test_a_run_that_is_not_disturbed_changes_what_it_wants(platform: Platform, waiting: Waiting) -> None:
    eventually(lambda: platform.holders() == ["", ""], "its lease is over, which by itself takes nothing from it")
    assert waiting.end().returncode == 0
    assert all(secret.exists() for secret in waiting.secrets)
    assert platform.holders() == ["first"] * 2


def test_the_lease_of_a_run_that_was_killed_is_taken_over_at_once_and_of_one_that_hangs_is_not(
    platform: Platform,
) -> None:
    run = Waiting(platform, "hangs", platform_lease_seconds=600)
    os.kill(run.pid, signal.SIGSTOP)
    try:
        refused = platform.play("second")
        assert refused.returncode != 0
        assert "This platform is being changed by run 1 (release of hangs, by " in said(refused)
        assert "-e platform_lease_take_over=1" in said(refused)
        assert platform.holders() == ["hangs"] * 2
        known_dead = platform.play("third", platform_lease_take_over=1)
        assert known_dead.returncode == 0, known_dead.stdout
        assert platform.holders() == ["third"] * 2
    finally:
        os.kill(run.pid, signal.SIGCONT)
    assert "number 1, lost its lease to run 2" in said(run.end())
    # Its process has ended without giving it back.
    assert platform.play("fourth").returncode == 0
    assert [lease["number"] for lease in platform.leases()] == [3, 3]
    run = Waiting(platform, "killed", platform_lease_seconds=600)
    os.kill(run.pid, signal.SIGKILL)
    run.end()
    assert platform.play("fifth").returncode == 0
    assert platform.holders() == ["fifth"] * 2


def test_of_two_runs_at_once_one_goes_on_and_the_other_leaves_nothing(platform: Platform) -> None:
    for again in range(2):
        done: dict[str, subprocess.CompletedProcess[str]] = {}
        names = [f"a{again}", f"b{again}"]

        def run(name: str, done: dict[str, subprocess.CompletedProcess[str]] = done) -> None:
            back = {
                "ansible.builtin.include_role": {**ROLE, "tasks_from": "return"},
                "vars": {"platform_lease": {"run": name}},
            }
            pause = {"ansible.builtin.pause": {"seconds": 3}}
            done[name] = platform.play(name, pause, back)

        runs = [threading.Thread(target=run, args=(name,)) for name in names]
        for thread in runs:
            thread.start()
        for thread in runs:
            thread.join()
        codes = sorted(done[name].returncode for name in names)
        assert codes[0] == 0 < codes[1], said(done[names[0]]) + said(done[names[1]])
        assert platform.holders() == ["", ""]
        assert len({lease["run"] for lease in platform.leases()}) == 1


def test_a_lease_on_the_second_proxy_alone_is_one(platform: Platform) -> None:
    other = {"directory": str(platform.directories[1]), "run": "other"}
    assert run_module("release_lease", other)["lease"]["run"] == "other"
    done = platform.play("first")
    assert done.returncode != 0
    assert "other" in said(done)
    # What the first proxy had given is given back.
    assert platform.holders() == ["", "other"]


@pytest.mark.parametrize(("minutes_ago", "renewed"), [(1, False), (3, True)])
def test_it_is_renewed_before_a_batch_where_a_tenth_of_it_is_over(
    platform: Platform, minutes_ago: int, renewed: bool
) -> None:
    renew = {"ansible.builtin.include_role": {**ROLE, "tasks_from": "renew"}}
    renew["vars"] = {"platform_began": time.time() - 60 * minutes_ago, "platform_lease": {"run": "first"}}
    age = {"ansible.builtin.pause": {"seconds": 2}, "run_once": True}
    assert platform.play("first", age, renew, platform_lease_seconds=1200).returncode == 0
    # The task asks every proxy for its directory by the first one's name, which here is the first one's alone.
    lease = platform.leases()[0]
    assert (round(lease["until"] - lease["since"]) > 1200) == renewed


def test_check_mode_takes_nothing_and_says_who_has_it(platform: Platform, tmp_path: Path) -> None:
    asked = {"directory": str(tmp_path / "edge1"), "run": "other"}
    assert run_module("release_lease", asked, check=True)["lease"]["number"] == 1
    assert not (tmp_path / "edge1").exists()
    assert platform.play("first").returncode == 0
    refused = run_module("release_lease", asked, check=True)
    assert (refused["failed"], refused["held_by"]["run"]) == (True, "first")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("docker_engine", {}),
        ("firewall", {"platform": "lt"}),
        ("host_hardening", {"state_dir": "{tmp}/state"}),
        (
            "migrate_seed",
            {"url": "postgresql://a:b@127.0.0.1:1/c", "python": ["python3"], "directory": "{tmp}/project"},
        ),
        ("platform_absent", {"platform": "lt", "state_directory": "{tmp}/state", "data": True}),
        ("postgres_databases", {"host": "127.0.0.1", "port": 1}),
        ("proxy_switch", {"directory": "{tmp}/proxy", "colour": "green"}),
        ("release_ledger", {"directory": "{tmp}/state", "entry": {"event": "closed", "run": "a", "closes": "a"}}),
        ("release_record", {"directory": "{tmp}/state", "release": "1", "source": {}}),
        ("release_watch", {"directory": "{tmp}/proxy", "colour": "green"}),
        ("secrets", {"directory": "{tmp}/state/secrets", "names": {"token": {}}}),
        ("stack", {"project": "lt", "directory": "{tmp}/project", "compose": {"services": {}}}),
        ("tls_certificates", {"directory": "{tmp}/tls", "certificates": [{"name": "a"}]}),
    ],
)
def test_every_module_that_changes_something_is_kept_out_by_a_newer_run(
    tmp_path: Path, module: str, arguments: dict[str, Any]
) -> None:
    fence = {"directory": str(tmp_path / "state"), "run": "newer", "number": 8}
    assert "failed" not in run_module("release_lease", {**fence, "state": "fenced"})
    given = json.loads(json.dumps(arguments).replace("{tmp}", str(tmp_path)))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    result = run_module(module, {**given, "lease": {**fence, "run": "older", "number": 7}})
    assert "This run, number 7, lost its lease to run 8" in result["msg"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
