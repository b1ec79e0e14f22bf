# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on this machine: real sockets, a real Engine."""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _preflight, _preflight_readings

from tests.support import REPOSITORY, random_name, run_module

STATE = "/var/lib/lastro/none"


def run(**more: Any) -> dict[str, Any]:
    return run_module("preflight", {"state_directory": STATE, "disk_free_gb": 0.1, "memory_mb": 100, **more})


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_this_machine_can_hold_a_platform() -> None:
    result = run(ports=[{"port": 61999, "address": "127.0.0.1"}])
    assert not result.get("failed"), result
    assert not result["changed"]
    host = result["ansible_facts"]["platform_host"]
    assert host["memory_bytes"] > 2**30
    assert host["docker"]["running"]
    assert set(host["disk_free_bytes"]) == {host["docker"]["root"], STATE}
    assert host["init"] in ("systemd", "sysv", "none")
    assert not os.path.exists(STATE)


def test_a_taken_port_names_the_process(listener: int) -> None:
    result = run(ports=[{"port": listener, "address": "0.0.0.0", "owner": "lt-nobody"}])
    assert result["failed"]
    assert f"Port {listener} on 0.0.0.0, which lt-nobody needs, is taken by " in result["msg"]
    assert f"(pid {os.getpid()})" in result["msg"]


def test_one_of_several_ports_is_taken(listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    result = run(ports=[{"port": [free, listener], "address": "127.0.0.1"}])
    assert [problem["problem"].split()[:2] for problem in result["problems"]] == [["Port", str(listener)]]


def test_a_python_process_that_is_not_ours_is_named() -> None:
    code = "import socket,time; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            assert f"(pid {process.pid})" in run(ports=[{"port": port, "address": "127.0.0.1"}])["msg"]
        finally:
            process.kill()


def test_unreachable_and_reachable_services(listener: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        result = run(
            reachable=[
                {"name": "Redis", "host": "127.0.0.1", "port": listener},
                {"name": "Postgres", "host": "127.0.0.1", "port": port},
                {"name": "S3", "host": "no-such-host.invalid", "port": 443},
            ]
        )
    assert [problem["problem"].split()[0] for problem in result["problems"]] == ["Postgres", "S3"]
    assert "Connection refused" in result["problems"][0]["problem"]


def test_limits_are_options() -> None:
    result = run(disk_free_gb=1_000_000, memory_mb=100_000_000)
    assert [problem["cure"].split()[-1] for problem in result["problems"]] == [
        "`platform_disk_free_gb`.",
        "`platform_memory_mb`.",
    ]


@pytest.mark.parametrize(("uid", "name"), [(65534, "nobody"), (54321, "54321")])
def test_a_user_who_is_not_root_is_named(uid: int, name: str) -> None:
    # The clone may lie where only root may read: take the readings in a child that gave up its rights after the import.
    code = f"import os; from {_preflight_readings.__name__} import take; os.setuid({uid}); print(take('shop', '/var/lib', [], []))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    readings = ast.literal_eval(done.stdout)
    problems = _preflight.problems(readings, _preflight.Limits(0, 0), [])
    assert [problem.problem for problem in problems] == [f"The user {name} is not root"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


LISTEN = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 1); sleep 99"


@pytest.mark.parametrize("network", ["published", "host"])
def test_a_port_of_our_own_container_is_no_problem_and_another_project_is_named(network: str) -> None:
    port, name = free_port(), random_name()
    options: dict[str, Any] = (
        {"network_mode": "host"} if network == "host" else {"ports": {"80/tcp": ("127.0.0.1", port)}}
    )
    container = docker.from_env().containers.run(
        "lastro/base:trixie",
        ["perl", "-e", LISTEN, str(port)],
        name=name,
        labels={"com.docker.compose.project": f"{name}-redis"},
        detach=True,
        init=True,
        **options,
    )
    try:
        deadline = time.monotonic() + 10
        while not run(ports=[{"port": port}]).get("failed"):
            assert time.monotonic() < deadline, "nobody listens"
        wanted = {"port": port, "address": "127.0.0.1"}
        assert not run(ports=[{**wanted, "owner": f"{name}-redis"}]).get("failed")
        message = run(ports=[{**wanted, "owner": f"{name}-proxy"}])["msg"]
        assert f"is taken by the container {name} of Compose project {name}-redis." in message
    finally:
        container.remove(force=True)


def test_a_host_keeps_whose_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = {"state_directory": str(state), "platform_id": "shop-1", "controller_time": time.time()}
    small = {**options, "disk_free_gb": 0.1, "memory_mb": 100}
    looked = run_module("preflight", small, check=True)
    assert looked["changed"]
    assert looked["unclaimed"]
    assert not state.exists()
    assert run(**options)["changed"]
    again = run(**options)
    assert not again["changed"]
    assert not again["unclaimed"]
    other = run(**{**options, "platform_id": "shop-2"})
    assert other["failed"]
    assert "belongs to the platform shop-1" in other["msg"]
    assert (state / ".platform").read_text() == "shop-1\n"


def test_nothing_is_kept_where_there_is_a_problem(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    failed = run(state_directory=state, platform_id="shop-1", controller_time=time.time() - 600)
    # A slow machine adds the seconds that the module takes to start.
    assert re.search(r"60\d s ahead of the controller's", failed["msg"])
    assert not (tmp_path / "state").exists()
