# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a host: everything `_preflight.problems` decides from. Nothing is changed."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Mapping, Sequence  # noqa: UP035  (loads in Python 3.8, see _preflight.py)

from ansible_collections.lastro.platform.plugins.module_utils import _preflight
from ansible_collections.lastro.platform.plugins.module_utils._docker_root import configured_root
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._preflight import Listener
from ansible_collections.lastro.platform.plugins.module_utils._proxy_memory import parse_map
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import RECORD

CONNECT_SECONDS = 3.0


def take(
    platform_name: str,
    state_directory: str,
    ports: Sequence[Mapping[str, Any]],
    reachable: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """All readings of this host."""
    release = _preflight.parse_os_release(_text("/etc/os-release"))
    docker, containers = _docker(Engine(timeout=10.0))
    return {
        "distribution": release.get("ID", ""),
        "version": release.get("VERSION_ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "architecture": platform.machine(),
        "python": sys.executable,
        "python_version": platform.python_version(),
        "time": time.time(),
        "state_directory": state_directory,
        # Another inventory may have the same platform_name, and its files in another place.
        "owners": {
            place: platform_of(place)
            for place in [
                state_directory,
                *sorted(_preflight.directories(containers, platform_name) - {state_directory}),
            ]
        },
        "uid": os.geteuid(),
        "user": _user(os.geteuid()),
        "memory_bytes": _preflight.parse_memory(_text("/proc/meminfo")),
        "cpus": len(os.sched_getaffinity(0)),
        "disks": {path: _disk(path) for path in (docker["root"], state_directory)},
        "init": _init(),
        "docker": docker,
        "fence": _fence(state_directory),
        "proxy": _proxy(os.path.join(state_directory, "proxy")),
        "stacks": _stacks(state_directory),
        "listeners": _listeners({int(port["port"]) for port in ports}, containers),
        "unreachable": _unreachable(reachable),
    }


def _fence(state_directory: str) -> int:
    """Number of the newest run that changed something here (`release_lease`); 0 where none is known."""
    try:
        return int(json.loads(_text(os.path.join(state_directory, "lease.json")))["number"])
    except (ValueError, KeyError, TypeError):
        return 0


def _stacks(directory: str) -> list[str]:
    """The folders in which the module `stack` keeps a project, whether anything of it runs or not."""
    with contextlib.suppress(OSError):
        return sorted(name for name in os.listdir(directory) if os.path.isfile(os.path.join(directory, name, RECORD)))
    return []


def _proxy(directory: str) -> dict[str, Any]:
    """The colour that the proxy of this host serves, and the routes of its release; empty where there is none."""
    try:
        colour = parse_map(_text(os.path.join(directory, "maps/colour.map"))) or ""
        return {"colour": colour, "routes": json.loads(_text(os.path.join(directory, "config/routes.json")))[colour]}
    except (ValueError, KeyError, TypeError):
        return {}


def platform_of(state_directory: str) -> str:
    """Whose directory it is; empty where nobody has said."""
    return _text(os.path.join(state_directory, _preflight.IDENTITY)).strip()


def _docker(engine: Engine) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        info = engine.get("/info")
        version, root = str(info["ServerVersion"]), str(info["DockerRootDir"])
        containers = engine.containers()
        facts = {"installed": True, "running": True, "version": version, "root": root}
        return {**facts, "projects": _preflight.running_projects(containers), "digests": _digests(engine)}, containers
    except EngineError:
        # Stopped, or older than the API the client speaks: the program itself still knows its version.
        program = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
        version = _version_of(program) if program else ""
        facts = {"installed": bool(program), "running": False, "version": version, "root": configured_root()}
        return {**facts, "projects": [], "digests": []}, []


def _digests(engine: Engine) -> list[str]:
    """Of the images that came from a registry."""
    names = [name for image in engine.get("/images/json") for name in image["RepoDigests"] or []]
    return sorted({name.rpartition("@")[2] for name in names})


def _version_of(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version ([0-9][^\s,]*)", done.stdout)
    return found.group(1) if found else ""


def _disk(path: str) -> dict[str, Any]:
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    return {"free_bytes": shutil.disk_usage(existing).free, "device": existing.stat().st_dev}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _init() -> str:
    if os.path.isdir("/run/systemd/system"):
        return "systemd"
    return "sysv" if _text("/proc/1/comm").strip() == "init" else "none"


def _listeners(ports: set[int], containers: list[dict[str, Any]]) -> list[Listener]:
    sockets = [
        listener
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for listener in _preflight.parse_listeners(_text(table))
        if listener.port in ports
    ]
    holders = _holders({listener.inode for listener in sockets})
    named = []
    for listener in sockets:
        pid = holders.get(listener.inode, 0)
        container = _preflight.in_container(_text(f"/proc/{pid}/cgroup"), containers) if pid else None
        program = _text(f"/proc/{pid}/comm").strip() if pid else ""
        named.append(_preflight.with_holder(listener, pid, program, container))
    return [*named, *(listener for listener in _preflight.published(containers) if listener.port in ports)]


def _holders(inodes: set[int]) -> dict[int, int]:
    """Which process has each socket open, for sockets it may look at."""
    found: dict[int, int] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for process in Path("/proc").iterdir() if wanted else ():
        if not process.name.isdigit():
            continue
        # Processes end, and others' descriptors are hidden from all but root, while one looks.
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    inode = wanted.get(os.readlink(descriptor))
                    if inode is not None:
                        found.setdefault(inode, int(process.name))
    return found


def _unreachable(targets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not targets:
        return []
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        errors = list(pool.map(_connect, targets))
    return [{**target, "error": errors[at]} for at, target in enumerate(targets) if errors[at]]


def _connect(target: Mapping[str, Any]) -> str:
    try:
        socket.create_connection((target["host"], target["port"]), CONNECT_SECONDS).close()
    except TimeoutError:
        return f"no answer within {CONNECT_SECONDS:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
