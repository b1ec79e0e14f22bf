# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a host from becoming part of a platform, decided from readings taken beforehand.

The module has to say "this Python is too old" itself, so it, this file and `_preflight_readings.py` are kept
to what Python 3.8 (the oldest that Ansible supports on targets) can load.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence  # noqa: UP035  (see above)

GIB = 1024**3
MIB = 1024**2
SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("24.04",)}
ARCHITECTURES = ("x86_64", "aarch64")
OLDEST_PYTHON = (3, 11)
OLDEST_DOCKER = (20, 10)
# The kernel keeps a part of the memory for itself: a machine sold with 2 GB shows about 1.9.
MEMORY_TOLERANCE = 0.9
_LISTEN = "0A"
# The file in the state directory that says which platform's it is.
IDENTITY = ".platform"


@dataclass(frozen=True)
class Problem:
    """One line for the operator: what is wrong, and what to do about it."""

    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.problem}. {self.cure}"


@dataclass(frozen=True)
class Listener:
    """Something that holds a TCP port; `container` and `project` when a container does."""

    address: str
    port: int
    inode: int = 0
    pid: int = 0
    program: str = ""
    container: str = ""
    project: str = ""

    def holder(self) -> str:
        """Who that is, in words."""
        if self.container:
            return f"the container {self.container}" + (f" of Compose project {self.project}" if self.project else "")
        if self.pid:
            return f"{self.program} (pid {self.pid})"
        return "a program that cannot be seen from here"


@dataclass(frozen=True)
class Limits:
    """What a host has to offer."""

    disk_free_gb: float
    memory_mb: int
    clock_skew_seconds: float = 60


@dataclass(frozen=True)
class Controller:
    """What the controller says of itself: its clock in seconds since 1970, and which platform it deploys."""

    time: float | None = None
    platform_id: str = ""


def problems(
    readings: Mapping[str, Any],
    limits: Limits,
    ports: Sequence[Mapping[str, Any]],
    controller: Controller = Controller(),
) -> list[Problem]:
    """Every problem of the host, in the order an operator would solve them."""
    return [
        *_identity(readings, controller.platform_id),
        *_system(readings),
        *_clock(readings, limits, controller.time),
        *_docker(readings["docker"]),
        *_room(readings, limits),
        *_ports(readings["listeners"], ports),
        *_unreachable(readings["unreachable"]),
    ]


def _system(readings: Mapping[str, Any]) -> Iterable[Problem]:
    name, version = readings["distribution"], readings["version"]
    if version not in SUPPORTED.get(name, ()):
        yield Problem(
            f"The operating system is {name or 'unknown'} {version}".rstrip(),
            "Use Debian 12, Debian 13 or Ubuntu 24.04.",
        )
    if readings["architecture"] not in ARCHITECTURES:
        yield Problem(f"The processor architecture is {readings['architecture']}", f"Use {' or '.join(ARCHITECTURES)}.")
    if numbers(readings["python_version"]) < OLDEST_PYTHON:
        yield Problem(
            f"{readings['python']} is Python {readings['python_version']}",
            "Set `ansible_python_interpreter` of this host to a Python of 3.11 or later.",
        )
    if readings["uid"] != 0:
        yield Problem(
            f"The user {readings['user']} is not root",
            "Set `ansible_become: true` for this host (and pass --ask-become-pass where sudo asks), or connect as root.",
        )


def _identity(readings: Mapping[str, Any], platform_id: str) -> Iterable[Problem]:
    """Two inventories with one platform_name would take each other's containers for their own."""
    for directory, owner in readings["owners"].items():
        problem = belongs_to_another(directory, owner, platform_id)
        if problem:
            yield Problem(problem, f"Give this one a platform_name of its own. {rename(directory)}")


def belongs_to_another(state_directory: str, owner: str, platform_id: str) -> str:
    """The problem in words where a directory is another platform's, else nothing."""
    if not platform_id or not owner or owner == platform_id:
        return ""
    return f"{state_directory} belongs to the platform {owner}, and this inventory is {platform_id}"


def rename(state_directory: str) -> str:
    """What to do where it is the same platform under a new ID."""
    return f"If platform_id was changed on purpose, write the new one to {state_directory}/{IDENTITY} on this host."


def _clock(readings: Mapping[str, Any], limits: Limits, time: float | None) -> Iterable[Problem]:
    """Certificates, leases and backups are only as good as the clock."""
    ahead = readings["time"] - time if time else 0.0
    if abs(ahead) > limits.clock_skew_seconds:
        yield Problem(
            f"The clock of this host is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the controller's, "
            f"{limits.clock_skew_seconds:g} are allowed",
            "Synchronise both (`timedatectl set-ntp true`, or chrony), or raise `platform_clock_skew_seconds`.",
        )


def _docker(docker: Mapping[str, Any]) -> Iterable[Problem]:
    if docker["version"] and numbers(docker["version"]) < OLDEST_DOCKER:
        yield Problem(
            f"Docker {docker['version']} is installed and too old",
            "Upgrade its package to 20.10 or later, or remove it: then the role docker installs one.",
        )


def _room(readings: Mapping[str, Any], limits: Limits) -> Iterable[Problem]:
    by_device: dict[Any, list[str]] = {}
    for path, disk in readings["disks"].items():
        if disk["free_bytes"] < limits.disk_free_gb * GIB:
            by_device.setdefault(disk["device"], []).append(path)
    for paths in by_device.values():
        free = readings["disks"][paths[0]]["free_bytes"] / GIB
        yield Problem(
            f"{free:.1f} GiB are free for {' and '.join(paths)}, {limits.disk_free_gb:g} are needed",
            "Free some (`docker system df` shows what Docker holds), enlarge the disk, "
            "or lower `platform_disk_free_gb`.",
        )
    if readings["memory_bytes"] < limits.memory_mb * MIB * MEMORY_TOLERANCE:
        yield Problem(
            f"The host has {readings['memory_bytes'] // MIB} MiB of memory, {limits.memory_mb} are needed",
            "Use a bigger machine, or lower `platform_memory_mb`.",
        )


def _ports(listeners: Sequence[Listener], ports: Sequence[Mapping[str, Any]]) -> Iterable[Problem]:
    for wanted in ports:
        port, owner = wanted["port"], wanted.get("owner") or ""
        address = wanted.get("address") or "0.0.0.0"  # looked at, not listened on  # nosec B104
        if not _is_address(address):
            yield Problem(f"{address!r} is not an address to listen on", "Give an IP address of this host.")
            continue
        holders = [
            listener
            for listener in listeners
            if listener.port == port and clash(listener.address, address) and not _ours(listener, owner, listeners)
        ]
        # Docker's helper process listens beside the container it serves: name the container first.
        holders.sort(key=lambda listener: not listener.container)
        if holders:
            need = f", which {owner} needs," if owner else ""
            yield Problem(
                f"Port {port} on {address}{need} is taken by {holders[0].holder()}",
                "Stop that, or choose another port.",
            )


def _ours(listener: Listener, owner: str, listeners: Sequence[Listener]) -> bool:
    if not owner:
        return False
    if listener.project == owner:
        return True
    return listener.program == "docker-proxy" and any(
        other.project == owner and other.port == listener.port and clash(other.address, listener.address)
        for other in listeners
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _unreachable(failures: Sequence[Mapping[str, Any]]) -> Iterable[Problem]:
    for failure in failures:
        yield Problem(
            f"{failure['name']} at {failure['host']}:{failure['port']} cannot be reached from this host: "
            f"{failure['error']}",
            "Correct the address, start the service, or let this host through to it (firewall, security group).",
        )


def clash(one: str, other: str) -> bool:
    """Whether two programs cannot listen on the same port of both addresses."""
    first, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
    if first == second:
        return True
    # [::] takes IPv4 connections too, unless told otherwise, which cannot be seen from outside.
    if any(str(address) == "::" for address in (first, second)):
        return True
    return first.version == second.version and (first.is_unspecified or second.is_unspecified)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `20.10.24+dfsg1` → (20, 10, 24)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def parse_os_release(text: str) -> dict[str, str]:
    """The keys of /etc/os-release."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def parse_listeners(text: str) -> list[Listener]:
    """The listening sockets in /proc/net/tcp or /proc/net/tcp6."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            host, port = fields[1].split(":")
            found.append(Listener(_address(host), int(port, 16), inode=int(fields[9])))
    return found


def _address(text: str) -> str:
    # The kernel prints the address as words of 32 bits in the machine's (little-endian) order.
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def parse_memory(text: str) -> int:
    """MemTotal of /proc/meminfo in bytes."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def published(containers: Sequence[Mapping[str, Any]]) -> list[Listener]:
    """The ports that running containers publish, from the Engine's list of containers."""
    return [
        Listener(
            port.get("IP") or "0.0.0.0",  # looked at, not listened on  # nosec B104
            port["PublicPort"],
            container=_name(container),
            project=project(container),
        )
        for container in containers
        for port in container.get("Ports") or ()
        if port.get("Type") == "tcp" and port.get("PublicPort")
    ]


def in_container(cgroup: str, containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The container a process belongs to, from the text of its /proc/<pid>/cgroup."""
    ids = set(re.findall(r"[0-9a-f]{64}", cgroup))
    return next((container for container in containers if container["Id"] in ids), None)


def project(container: Mapping[str, Any]) -> str:
    """The Compose project a container belongs to, or nothing."""
    return str((container.get("Labels") or {}).get("com.docker.compose.project", ""))


def directories(containers: Sequence[Mapping[str, Any]], platform: str) -> set[str]:
    """Where Compose projects with names of the platform's have their directories."""
    # Of the platform `shop` are shop-postgres and shop-blue; shop-eu-postgres is of `shop-eu`.
    named = re.compile(re.escape(platform) + r"-[^-_]+")
    mine = [container["Labels"] for container in containers if named.fullmatch(project(container))] if platform else []
    places = (labels.get("com.docker.compose.project.working_dir") or "/" for labels in mine)
    return {posixpath.dirname(posixpath.normpath(place)) for place in places}


def running_projects(containers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The Compose projects of which something runs."""
    return sorted({project(one) for one in containers if one["State"] in ("running", "restarting", "paused")} - {""})


def with_holder(listener: Listener, pid: int, program: str, container: Mapping[str, Any] | None) -> Listener:
    """The same listener, with the process and the container that hold it."""
    return Listener(
        listener.address,
        listener.port,
        listener.inode,
        pid,
        program,
        _name(container) if container else "",
        project(container) if container else "",
    )


def _name(container: Mapping[str, Any]) -> str:
    names = container.get("Names") or [container["Id"][:12]]
    return str(names[0]).lstrip("/")
