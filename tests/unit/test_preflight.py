# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each problem a host can have, with the line an operator reads."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _preflight, _preflight_readings
from ansible_collections.lastro.platform.plugins.module_utils._preflight import GIB, MIB, Controller, Limits, Listener
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import StackDirectory

from tests.support import REPOSITORY

LIMITS = Limits(disk_free_gb=6, memory_mb=2048)
DOCKER = {
    "installed": True,
    "running": True,
    "version": "20.10.24+dfsg1",
    "root": "/var/lib/docker",
    "projects": [],
    "digests": [],
}
GOOD: dict[str, Any] = {
    "distribution": "debian",
    "version": "12",
    "architecture": "x86_64",
    "python": "/usr/bin/python3",
    "python_version": "3.11.2",
    "uid": 0,
    "user": "root",
    "memory_bytes": 1980 * MIB,
    "disks": {
        "/var/lib/docker": {"free_bytes": 7 * GIB, "device": 1},
        "/var/lib/lastro/x": {"free_bytes": 7 * GIB, "device": 1},
    },
    "docker": DOCKER,
    "listeners": [],
    "unreachable": [],
    "time": 1_000_000.0,
    "state_directory": "/var/lib/lastro/x",
    "owners": {"/var/lib/lastro/x": ""},
}
PORTS = [{"port": 5432, "address": "172.30.77.1", "owner": "x-postgres"}]
SUPPORTED = "Use Debian 12, Debian 13 or Ubuntu 24.04."
STOP = "Stop that, or choose another port."


def test_a_stack_is_known_by_its_record_whether_it_runs_or_not(tmp_path: Path) -> None:
    for name in ("app-jobs", "postgres", "backups"):
        (tmp_path / name).mkdir()
    for name in ("app-jobs", "postgres"):
        StackDirectory(str(tmp_path / name)).write_record([], {})
    assert _preflight_readings._stacks(str(tmp_path)) == ["app-jobs", "postgres"]
    assert _preflight_readings._stacks(str(tmp_path / "nowhere")) == []


def lines(ports: list[dict[str, Any]] | None = None, **readings: Any) -> list[str]:
    return [str(problem) for problem in _preflight.problems({**GOOD, **readings}, LIMITS, ports or [])]


@pytest.mark.parametrize(
    "readings",
    [
        {},
        {"version": "13"},
        {"distribution": "ubuntu", "version": "24.04", "architecture": "aarch64", "python_version": "3.12.3"},
        {"docker": {**DOCKER, "installed": False, "running": False, "version": ""}},
        {"docker": {**DOCKER, "version": "29.1.0"}},
    ],
)
def test_a_good_host_has_no_problem(readings: dict[str, Any]) -> None:
    assert lines(PORTS, **readings) == []


@pytest.mark.parametrize(
    ("readings", "line"),
    [
        ({"version": "11"}, f"The operating system is debian 11. {SUPPORTED}"),
        ({"distribution": "ubuntu", "version": "22.04"}, f"The operating system is ubuntu 22.04. {SUPPORTED}"),
        ({"distribution": "", "version": ""}, f"The operating system is unknown. {SUPPORTED}"),
        ({"architecture": "armv7l"}, "The processor architecture is armv7l. Use x86_64 or aarch64."),
        (
            {"python_version": "3.9.2"},
            "/usr/bin/python3 is Python 3.9.2. "
            "Set `ansible_python_interpreter` of this host to a Python of 3.11 or later.",
        ),
        (
            {"uid": 1000, "user": "maria"},
            "The user maria is not root. Set `ansible_become: true` for this host "
            "(and pass --ask-become-pass where sudo asks), or connect as root.",
        ),
        (
            {"docker": {**DOCKER, "version": "19.03.15"}},
            "Docker 19.03.15 is installed and too old. "
            "Upgrade its package to 20.10 or later, or remove it: then the role docker installs one.",
        ),
        (
            {"memory_bytes": 960 * MIB},
            "The host has 960 MiB of memory, 2048 are needed. Use a bigger machine, or lower `platform_memory_mb`.",
        ),
        (
            {"unreachable": [{"name": "The managed Redis", "host": "10.0.0.9", "port": 6379, "error": "timed out"}]},
            "The managed Redis at 10.0.0.9:6379 cannot be reached from this host: timed out. "
            "Correct the address, start the service, or let this host through to it (firewall, security group).",
        ),
    ],
)
def test_each_problem_is_one_line_with_its_cure(readings: dict[str, Any], line: str) -> None:
    assert lines(**readings) == [line]


def test_all_problems_are_told_at_once() -> None:
    found = lines(version="10", python_version="3.7.3", uid=1000, memory_bytes=0)
    assert [line.split()[0] for line in found] == ["The", "/usr/bin/python3", "The", "The"]


def test_a_full_disk_is_named_once_whatever_lies_on_it() -> None:
    disks = {path: {"free_bytes": 2 * GIB, "device": 1} for path in ("/var/lib/docker", "/var/lib/lastro/x")}
    cure = "Free some (`docker system df` shows what Docker holds), enlarge the disk, or lower `platform_disk_free_gb`."
    assert lines(disks=disks) == [f"2.0 GiB are free for /var/lib/docker and /var/lib/lastro/x, 6 are needed. {cure}"]
    disks["/var/lib/lastro/x"] = {"free_bytes": GIB, "device": 2}
    assert len(lines(disks=disks)) == 2


NGINX = Listener("0.0.0.0", 5432, inode=7, pid=812, program="nginx")
PROXY = Listener("172.30.77.1", 5432, inode=8, pid=900, program="docker-proxy")
OURS = Listener("172.30.77.1", 5432, container="x-postgres-postgres-1", project="x-postgres")
THEIRS = Listener("0.0.0.0", 5432, container="blog-db-1", project="blog")
HOSTNET = Listener("0.0.0.0", 5432, 9, 77, "haproxy", "x-postgres-proxy-1", "x-postgres")


@pytest.mark.parametrize(
    ("listeners", "holder"),
    [
        pytest.param([NGINX], "nginx (pid 812)", id="program"),
        pytest.param([THEIRS], "the container blog-db-1 of Compose project blog", id="another project"),
        pytest.param([PROXY, THEIRS], "the container blog-db-1 of Compose project blog", id="not docker-proxy"),
        pytest.param([Listener("::", 5432, 1, 5, "sshd")], "sshd (pid 5)", id="IPv6 wildcard"),
        pytest.param([Listener("0.0.0.0", 5432, 1)], "a program that cannot be seen from here", id="hidden"),
        pytest.param([OURS, PROXY, NGINX], "nginx (pid 812)", id="ours does not excuse another"),
        pytest.param([Listener("0.0.0.0", 5432, container="old")], "the container old", id="plain container"),
        pytest.param([OURS], None, id="our own container"),
        pytest.param([PROXY, OURS], None, id="our own container behind docker-proxy"),
        pytest.param([HOSTNET], None, id="our own container with host networking"),
        pytest.param([Listener("127.0.0.1", 5432, 1, 5, "postgres")], None, id="another address"),
        pytest.param([Listener("::1", 5432, 1, 5, "postgres")], None, id="another family"),
        pytest.param([Listener("0.0.0.0", 5433, 1, 5, "postgres")], None, id="another port"),
    ],
)
def test_ports(listeners: list[Listener], holder: str | None) -> None:
    wanted = (
        [] if holder is None else [f"Port 5432 on 172.30.77.1, which x-postgres needs, is taken by {holder}. {STOP}"]
    )
    assert lines(PORTS, listeners=listeners) == wanted


def test_a_port_without_owner_belongs_to_nobody() -> None:
    assert lines([{"port": 5432}], listeners=[OURS]) == [
        "Port 5432 on 0.0.0.0 is taken by the container x-postgres-postgres-1 of Compose project x-postgres. " + STOP
    ]


def test_an_address_that_is_none_is_a_problem() -> None:
    assert lines([{"port": 1, "address": "db.example"}]) == [
        "'db.example' is not an address to listen on. Give an IP address of this host."
    ]


def test_listeners_are_read_from_the_kernels_tables() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0"
    four = f"{head}   0: 0100007F:1538 00000000:0000 0A {rest}\n   1: 0100007F:1539 00000000:0000 01 {rest}\n"
    six = f"{head}   0: 00000000000000000000000000000000:1F90 0:0 0A {rest}\n"
    mapped = f"{head}   0: 0000000000000000FFFF00000100007F:1F90 0:0 0A {rest}\n"
    assert _preflight.parse_listeners(four) == [Listener("127.0.0.1", 5432, 4711)]
    assert _preflight.parse_listeners(six) == [Listener("::", 8080, 4711)]
    assert _preflight.parse_listeners(mapped) == [Listener("127.0.0.1", 8080, 4711)]


def test_published_ports_and_processes_find_their_container() -> None:
    container = {
        "Id": "ab" * 32,
        "Names": ["/blog-db-1"],
        "Labels": {"com.docker.compose.project": "blog"},
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 5432, "PublicPort": 5432, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
            {"PrivatePort": 9187, "Type": "tcp"},
        ],
    }
    assert _preflight.published([container]) == [THEIRS]
    cgroups = {"v1": f"4:memory:/docker/{'ab' * 32}\n", "v2": f"0::/system.slice/docker-{'ab' * 32}.scope\n"}
    for text in cgroups.values():
        assert _preflight.in_container(text, [container]) is container
    assert _preflight.in_container("0::/init.scope\n", [container]) is None


def test_small_parsers() -> None:
    release = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n# a comment = no key\n'
    assert _preflight.parse_os_release(release)["VERSION_ID"] == "12"
    assert _preflight.parse_memory("MemTotal:        4010284 kB\nMemFree: 1 kB\n") == 4010284 * 1024
    assert _preflight.numbers("20.10.24+dfsg1") == (20, 10, 24)
    assert _preflight.numbers("master-dockerproject") == ()


@pytest.mark.parametrize(
    "path",
    [
        "modules/preflight.py",
        "module_utils/_preflight.py",
        "module_utils/_preflight_readings.py",
        "module_utils/_docker_root.py",
    ],
)
def test_a_python_that_is_too_old_can_load_what_refuses_it(path: str) -> None:
    ast.parse((REPOSITORY / "plugins" / path).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize(
    ("controller", "line"),
    [
        (1_000_059.0, ""),
        (999_941.0, ""),
        (None, ""),
        (1_000_600.0, "The clock of this host is 600 s behind the controller's, 60 are allowed. "),
        (999_400.0, "The clock of this host is 600 s ahead of the controller's, 60 are allowed. "),
    ],
)
def test_the_clock(controller: float | None, line: str) -> None:
    found = _preflight.problems(GOOD, LIMITS, [], Controller(time=controller))
    cure = "Synchronise both (`timedatectl set-ntp true`, or chrony), or raise `platform_clock_skew_seconds`."
    assert [str(problem) for problem in found] == ([line + cure] if line else [])


@pytest.mark.parametrize(
    ("owner", "ours", "refused"),
    [("", "shop-1", False), ("shop-1", "shop-1", False), ("shop-2", "", False), ("shop-2", "shop-1", True)],
)
def test_whose_directory_it_is(owner: str, ours: str, refused: bool) -> None:
    owners = {"/var/lib/lastro/x": owner}
    found = _preflight.problems({**GOOD, "owners": owners}, LIMITS, [], Controller(platform_id=ours))
    assert bool(found) is refused
    if refused:
        assert str(found[0]).startswith(
            "/var/lib/lastro/x belongs to the platform shop-2, and this inventory is shop-1. "
        )


def test_the_same_name_in_another_directory_of_another_platform() -> None:
    def container(project: str, directory: str) -> dict[str, Any]:
        labels = {"com.docker.compose.project": project, "com.docker.compose.project.working_dir": directory}
        return {"State": "exited", "Labels": labels}

    containers = [
        container("x-postgres", "/var/lib/lastro/x/postgres"),
        container("x-blue", "/var/lib/lastro/x/../x/app-blue/"),
        container("x-redis", "/srv/x/redis"),
        container("x-eu-postgres", "/var/lib/lastro/x-eu/postgres"),
        container("xy-postgres", "/var/lib/lastro/xy/postgres"),
        {"State": "running", "Labels": None},
    ]
    assert _preflight.directories(containers, "x") == {"/var/lib/lastro/x", "/srv/x"}
    assert _preflight.directories(containers, "") == set()
    # A directory of its own, as redis_directory: /srv/x/redis gives it one, is nobody's.
    for owner, refused in (("", False), ("shop-1", False), ("shop-2", True)):
        owners = {"/var/lib/lastro/x": "", "/srv/x": owner}
        found = _preflight.problems({**GOOD, "owners": owners}, LIMITS, [], Controller(platform_id="shop-1"))
        assert bool(found) is refused
    assert str(found[0]).startswith("/srv/x belongs to the platform shop-2, and this inventory is shop-1. ")


def test_what_runs_is_said_by_project() -> None:
    def container(state: str, project: str = "") -> dict[str, Any]:
        return {"State": state, "Labels": {"com.docker.compose.project": project} if project else None}

    seen = [container("running", "b"), container("running", "b"), container("exited", "c"), container("running")]
    assert _preflight.running_projects([*seen, container("restarting", "a")]) == ["a", "b"]


def test_the_routes_of_what_the_proxy_serves(tmp_path: Path) -> None:
    read = _preflight_readings._proxy
    assert read(str(tmp_path)) == {}, "no proxy"
    for folder, name, text in (
        ("config", "routes.json", json.dumps({"blue": [{"service": "web"}], "green": [{"service": "front"}]})),
        ("maps", "colour.map", "# No release was switched to yet.\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    assert read(str(tmp_path)) == {}, "nothing serves"
    (tmp_path / "maps/colour.map").write_text("active green\n")
    assert read(str(tmp_path)) == {"colour": "green", "routes": [{"service": "front"}]}
    (tmp_path / "config/routes.json").write_text("{")
    assert read(str(tmp_path)) == {}, "damaged"
