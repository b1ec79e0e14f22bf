# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a container the host is refused unless the inventory allows it; what only looks like it is not."""

from __future__ import annotations

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import volume_source


def one(line: str, allow: tuple[str, ...] = (), state_dir: str = "/var/lib/lastro") -> Application:
    """One service `app` with this line, the fourth of its file."""
    settings = Settings(platform="shop", address="10.0.0.5", allow_privileged=allow, state_dir=state_dir)
    text = f"services:\n  app:\n    image: shop/app:1\n    {line}\n"
    return Application(Source(text, "compose.yaml", {}), settings)


REFUSED = [
    ("privileged: 'true'", "privileged"),
    ("privileged: ${P:-yes}", "privileged"),
    ("privileged: 1", "privileged"),
    ("use_api_socket: true", "use_api_socket"),
    ("provider: {type: tunnel}", "provider"),
    *((f"{key}: host", f"{key}: host") for key in ("network_mode", "pid", "ipc", "uts", "cgroup", "userns_mode")),
    *((f"{key}: 'container:lastro-postgres'", f"{key}: container:lastro-postgres") for key in ("pid", "ipc")),
    ("devices: [/dev/sda]", "device /dev/sda"),
    ("devices: ['/dev/mem:/dev/mem:r']", "device /dev/mem:/dev/mem:r"),
    ("devices: [{source: /dev/kvm, target: /dev/kvm}]", "device /dev/kvm"),
    ("device_cgroup_rules: ['b *:* rwm']", "devices (b *:* rwm)"),
    *(
        (f"security_opt: ['no-new-privileges:true', '{option}']", f"security_opt {option}")
        for option in (
            "apparmor:unconfined", "apparmor=unconfined", "seccomp:unconfined", "seccomp=unconfined", "label:disable",
            "label=disable", "label:type:spc_t", "label=type:container_runtime_t", "systempaths=unconfined",
            "writable-cgroups=true", "no-new-privileges:false", "no-new-privileges=False", "no-new-privileges:0",
        )
    ),
    *(
        (f"cap_add: [CHOWN, {capability}]", f"capability {capability}")
        for capability in (
            "ALL", "all", "DAC_READ_SEARCH", "cap_dac_read_search", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_NICE",
            "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "SYSLOG", "NET_ADMIN", "BPF", "PERFMON",
            "CHECKPOINT_RESTORE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "AUDIT_CONTROL", "CAP_NEW_IN_LINUX_9",
        )
    ),
    *(
        (f"volumes: ['{source}:/x:ro']", f"the host's {source}")
        for source in (
            "/etc", "/etc/", "/srv/../etc", "/etc/shadow", "/etc/ssh", "/etc/ssh/ssh_host_ed25519_key", "/etc/docker", "/proc",
            "/proc/1/root", "/sys", "/sys/fs/cgroup", "/root", "/root/.ssh", "/dev", "/dev/pts", "/boot", "/var/lib/containerd",
            "/run/containerd/containerd.sock", "/var/run/dbus/system_bus_socket", "/run/systemd", "/run/podman/podman.sock",
            "/var/lib/lastro", "/var/lib/lastro/shop/secrets", "//var/lib/lastro/shop",
        )
    ),
    *(
        (f"volumes: ['{source}:/x:ro']", f"the Docker socket ({source})")
        for source in ("/", "/run", "/var/run", "/var", "/var/lib", "/var/lib/docker", "/var/lib/docker/volumes/shop_redis_data",
                       "/run/docker.sock", "/home/dev/docker.sock", "/home/dev/docker.sock/", "./docker.sock")
    ),
    ("volumes: [{type: bind, source: /etc, target: /x, read_only: true}]", "the host's /etc"),
    ("post_start: [{command: id}, {command: id, privileged: true}]", "a privileged post_start"),
    ("pre_stop: [{command: id, privileged: 'yes'}]", "a privileged pre_stop"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "what"), REFUSED)
def test_what_gives_the_host_is_refused_unless_allowed(line: str, what: str) -> None:
    with pytest.raises(SourceError) as caught:
        one(line)
    assert str(caught.value) == (
        f"compose.yaml:4: service app asks for {what}, which gives it the host. "
        "Take it out, or name the service in app_allow_privileged: [app]."
    )
    with pytest.raises(SourceError):
        one(line, allow=("other",))
    assert one(line, allow=("app",)).services


@pytest.mark.parametrize(
    "line",
    [
        "privileged: false",
        "privileged: ${P:-false}",
        "privileged:",
        "use_api_socket: false",
        "pid: service:web",
        "ipc: private",
        "ipc: shareable",
        "cgroup: private",
        "devices: []",
        "device_cgroup_rules: []",
        "security_opt: [no-new-privileges]",
        "security_opt: ['no-new-privileges:true', 'no-new-privileges=true', 'seccomp:builtin', 'apparmor:docker-default']",
        "security_opt: ['label:level:s0:c100,c200', 'label=user:system_u', 'apparmor:my-unconfined-not']",
        "cap_drop: [ALL]",
        "cap_add: [NET_BIND_SERVICE, NET_RAW, CAP_CHOWN, cap_setuid, SYS_CHROOT, IPC_LOCK, KILL]",
        "volumes: ['/etc/localtime:/etc/localtime:ro', '/etc/ssl:/ssl:ro', '/etc/ssh_known_hosts:/x:ro', '/etcetera:/y:ro']",
        "volumes: ['/run/user/1000:/x:ro', '/runner:/y:ro', '/var/running:/z:ro', '/var/log:/log:ro']",
        "volumes: ['/var/lib/lastrology:/x:ro', '/var/lib/dockerhub:/y:ro', '/procure:/z:ro', '/srv/root:/r:ro']",
        "volumes: ['./etc:/x', './proc:/y', '/dev/shm2', {type: tmpfs, target: /run}]",
        "tmpfs: [/run, /tmp]",
        "post_start: [{command: id, privileged: false, user: root}]",
    ],
)
def test_what_only_looks_like_it_is_allowed(line: str) -> None:
    assert one(line).services


def test_the_platforms_directory_is_refused_wherever_the_inventory_has_it() -> None:
    line = "volumes: ['/srv/lastro/secrets:/x:ro']"
    assert one(line).services
    with pytest.raises(
        SourceError, match="4: service app asks for the host's /srv/lastro/secrets, which gives it the host"
    ):
        one(line, state_dir="/srv/lastro")


@pytest.mark.parametrize(
    ("entry", "read_only"),
    [
        ("/srv/x:/x", False),
        ("/srv/x:/x:ro", True),
        ("/srv/x:/x:z,ro", True),
        ("/srv/x:/x:ro,rw", False),
        *(({"source": "/srv/x", "target": "/x", "read_only": value}, True) for value in (True, "true", "yes")),
        *(({"source": "/srv/x", "target": "/x", "read_only": value}, False) for value in (False, "false", None, "", 1)),
    ],
)
def test_read_only(entry: object, read_only: bool) -> None:
    assert volume_source(entry) == ("/srv/x", read_only)
