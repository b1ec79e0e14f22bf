# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask HAProxy whether it takes new files, in a container of its own, before they replace the ones it runs with."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
    with_secret_directories,
)

# Directories of the stack → where the proxy's containers see them.
MOUNTS = {"config": "/usr/local/etc/haproxy", "secrets": "/haproxy/secrets", "maps": "/haproxy/maps"}
MEMORY_BYTES = 256 * 1024 * 1024
PURPOSE = "proxy-candidate"
LEFT_BEHIND_SECONDS = 600


def changed(directory: str, files: Sequence[ManagedFile]) -> bool:
    """Whether any file would get other content; without that there is nothing to ask."""
    there = StackDirectory(directory)
    return any(there.read(file.path) != file.content for file in files)


def require_accepted(engine: Engine, directory: str, image: str, user: str, files: Sequence[ManagedFile]) -> None:
    """Raise unless `haproxy -c` accepts the files together with the map that lies in the directory."""
    path = os.path.join(directory, ".candidate")
    shutil.rmtree(path, ignore_errors=True)
    try:
        stage = StackDirectory(path)
        os.makedirs(path, mode=0o700)
        uid, _colon, gid = user.partition(":")
        stage.ensure(ManagedDirectory("config", 0o755, 0, 0))
        stage.ensure(ManagedDirectory("secrets", 0o700, int(uid), int(gid)))
        for staged in with_secret_directories(list(files), []):
            stage.ensure(staged)
        for file in files:
            stage.write(file)
        sources = {"config": path, "secrets": path, "maps": directory}
        binds = [f"{os.path.join(sources[name], name)}:{target}:ro" for name, target in MOUNTS.items()]
        _remove_left(engine, directory)
        code, output = _run(engine, image, user, binds, directory)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    if code != 0:
        raise PlatformError(
            f"HAProxy refuses the new configuration: {_essence(output)}",
            "The files in use were not touched. Correct the variables of the role that name what HAProxy complains about.",
        )


def _remove_left(engine: Engine, directory: str) -> None:
    """What a killed check of this proxy left; a younger one may be at work, and another platform's is not ours."""
    for left in engine.containers(lastro__purpose=PURPOSE, lastro__directory=directory):
        if left["Created"] < time.time() - LEFT_BEHIND_SECONDS:
            engine.delete(f"/containers/{left['Id']}", force="true", v="true")


def _run(engine: Engine, image: str, user: str, binds: list[str], directory: str) -> tuple[int, str]:
    try:
        container = engine.post(
            "/containers/create",
            {
                "Image": image,
                "User": user,
                "Cmd": ["haproxy", "-c", "-f", f"{MOUNTS['config']}/haproxy.cfg"],
                "Labels": {"lastro.purpose": PURPOSE, "lastro.directory": directory},
                "HostConfig": {
                    "Binds": binds,
                    "NetworkMode": "none",
                    "ReadonlyRootfs": True,
                    "CapDrop": ["ALL"],
                    "SecurityOpt": ["no-new-privileges:true"],
                    "Memory": MEMORY_BYTES,
                },
            },
        )["Id"]
    except EngineError as error:
        if error.status == 404:
            raise PlatformError(
                f"There is no image {image} on this host", "The role lastro.platform.images brings it; run it before."
            ) from error
        raise
    try:
        engine.post(f"/containers/{container}/start")
        code = int(engine.post(f"/containers/{container}/wait")["StatusCode"])
        return code, engine.logs(container)
    finally:
        engine.delete(f"/containers/{container}", force="true", v="true")


def _essence(output: str) -> str:
    """The lines that say what is wrong."""
    lines = [line for line in output.splitlines() if "[ALERT]" in line]
    return "; ".join(line.partition(" : ")[2].strip() for line in lines[:3]) or output.strip()[-400:]
