# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a container the host it runs on, or the other containers there: only where the inventory allows it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import is_off, volume_source

# What Docker gives every container, so that naming one after `cap_drop: [ALL]` takes nothing from the host; and IPC_LOCK,
# which locks memory that is the container's own. A list of what is dangerous would miss the kernel's next one.
_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "MKNOD", "NET_BIND_SERVICE",
        "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
# Where the Docker Engine can be commanded, or its data be read.
_ENGINE_PATHS = ("/run/docker.sock", "/var/lib/docker")
# Other services that command the host, the kernel, the host's passwords and keys, and its terminals (/dev/pts).
_HOST_PATHS = (
    "/boot", "/dev", "/etc/docker", "/etc/gshadow", "/etc/shadow", "/etc/ssh", "/proc", "/root", "/run/containerd", "/run/crio",
    "/run/dbus", "/run/podman", "/run/systemd", "/sys", "/var/lib/containerd",
)  # fmt: skip
_NAMESPACES = ("network_mode", "pid", "ipc", "uts", "cgroup", "userns_mode")


def host_demands(spec: Mapping[str, Any], state_dir: str) -> Iterator[tuple[str, str]]:
    """(key, what it asks for) of all in a service that gives its container the host; `state_dir` holds the platform's secrets."""
    # A provider is a program that Compose runs on the host.
    for key in ("privileged", "use_api_socket", "provider"):
        if not is_off(spec.get(key)):
            yield key, key
    for key in _NAMESPACES:
        mode = str(spec.get(key) or "")
        # `network_mode: container:x` is refused for everybody.
        if mode == "host" or (mode.startswith("container:") and key != "network_mode"):
            yield key, f"{key}: {mode}"
    for entry in spec.get("volumes") or []:
        source, _read_only = volume_source(entry)
        if reaches_engine(source):
            yield "volumes", f"the Docker socket ({source})"
        elif _reaches(source, (*_HOST_PATHS, state_dir)):
            yield "volumes", f"the host's {source}"
    for capability in spec.get("cap_add") or []:
        if capability.upper().removeprefix("CAP_") not in _CAPABILITIES:
            yield "cap_add", f"capability {capability}"
    for entry in spec.get("devices") or []:
        yield "devices", f"device {entry['source'] if isinstance(entry, Mapping) else entry}"
    for entry in spec.get("device_cgroup_rules") or []:
        yield "device_cgroup_rules", f"devices ({entry})"
    for option in spec.get("security_opt") or []:
        if _weakens(option):
            yield "security_opt", f"security_opt {option}"
    for key in ("post_start", "pre_stop"):
        if any(not is_off(hook.get("privileged")) for hook in spec.get(key) or []):
            yield key, f"a privileged {key}"


def reaches_engine(source: str) -> bool:
    """Whether a mounted path is the Engine's socket or data, or holds them: read-only does not stop a socket."""
    return os.path.normpath(source).endswith("docker.sock") or _reaches(source, _ENGINE_PATHS)


def _reaches(source: str, there: tuple[str, ...]) -> bool:
    """Whether a path of the host is one of `there`, lies in one, or holds one."""
    if not source.startswith("/"):
        return False
    path = re.sub(r"^/var/run(?=/|$)", "/run", "/" + os.path.normpath(source).lstrip("/")).rstrip("/") + "/"
    return any(path.startswith(f"{other}/") or f"{other}/".startswith(path) for other in there)


def _weakens(option: str) -> bool:
    """Whether it takes a wall away that Docker builds by itself; a profile of the host's own stays one."""
    name, _separator, value = option.replace("=", ":", 1).lower().partition(":")
    if name == "no-new-privileges":
        return value not in ("", "true", "t", "1")
    if name == "label":
        # Some types of SELinux are confined by nothing, as spc_t.
        return value.startswith(("disable", "type"))
    return value == "unconfined" or (name == "writable-cgroups" and not is_off(value))
