# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hardened host looks like, decided from what was read on it. Nothing here touches the host."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._docker_host import Release
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

UPDATES_PACKAGE = "unattended-upgrades"
# After the distribution's own 50unattended-upgrades: what comes later wins.
UPDATES = "/etc/apt/apt.conf.d/60lastro"
NEEDRESTART = "/etc/needrestart/conf.d/lastro.conf"
SYSCTL = "/etc/sysctl.d/90-lastro.conf"
AUDIT_PACKAGE = "auditd"
AUDIT = "/etc/audit/rules.d/60-lastro.rules"
# It has one number as well as ranges of them, or nothing.
_SET_OF_PORTS = "net.ipv4.ip_local_reserved_ports"
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")

_WRITTEN_BY = "Written by the role lastro.platform.hardening."
_AUDIT_KEY = "lastro"
_DEBIAN = ("origin=Debian,codename=${distro_codename}-security,label=Debian-Security",)
_UBUNTU = (
    "origin=Ubuntu,archive=${distro_codename}-security",
    # Never changes after the release; security updates may need a package of it that is not installed yet.
    "origin=Ubuntu,archive=${distro_codename}",
    "origin=UbuntuESM,archive=${distro_codename}-infra-security",
    "origin=UbuntuESMApps,archive=${distro_codename}-apps-security",
)
SECURITY_ORIGINS = {("debian", "12"): _DEBIAN, ("debian", "13"): _DEBIAN, ("ubuntu", "24.04"): _UBUNTU}


def origins(host: Release) -> tuple[str, ...]:
    """Where a distribution's security updates come from; PlatformError where this role does not know it."""
    known = SECURITY_ORIGINS.get((host.distribution, host.version))
    if known is None:
        names = ", ".join(f"{name} {number}" for name, number in SECURITY_ORIGINS)
        raise PlatformError(
            f"{host.distribution or 'This system'} {host.version} cannot be hardened by this role: it knows {names}",
            "Harden the host yourself and set hardening_enabled: false for it.",
        )
    return known


def updates_text(host: Release, held: Sequence[str], reboot: str) -> str:
    """The configuration of unattended-upgrades."""
    for expression in held:
        _refuse_bad_expression(expression)
    if reboot != "never" and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", reboot):
        raise PlatformError(
            f"hardening_reboot is `{reboot}`", 'Give it as never, or as a quoted time of the day: "03:30".'
        )
    lines = [
        f"// {_WRITTEN_BY}",
        'APT::Periodic::Update-Package-Lists "1";',
        'APT::Periodic::Unattended-Upgrade "1";',
        "",
        "// Security updates only, in place of the distribution's list, which has one of these two names.",
        "#clear Unattended-Upgrade::Allowed-Origins;",
        "#clear Unattended-Upgrade::Origins-Pattern;",
        *_list("Unattended-Upgrade::Origins-Pattern", origins(host)),
        "",
        "// Their upgrade restarts the Engine: an operator's deploy, not the night's.",
        *_list("Unattended-Upgrade::Package-Blacklist", held),
        "",
        f'Unattended-Upgrade::Automatic-Reboot "{"false" if reboot == "never" else "true"}";',
    ]
    if reboot != "never":
        lines.append(f'Unattended-Upgrade::Automatic-Reboot-Time "{reboot}";')
    return "\n".join(lines) + "\n"


def _list(name: str, values: Sequence[str]) -> list[str]:
    return [f"{name} {{", *(f'    "{value}";' for value in values), "};"]


def _refuse_bad_expression(expression: str) -> None:
    problem = "it is empty, or has a quote or a line break in it"
    if expression and not re.search(r'["\n]', expression):
        try:
            re.compile(expression)
        except re.error as error:
            problem = str(error)
        else:
            return
    raise PlatformError(
        f"hardening_updates_held has `{expression}`: {problem}",
        "Give regular expressions that match the beginning of package names.",
    )


def needrestart_text() -> str:
    """What tells needrestart to leave the Engine alone when a library was upgraded."""
    return (
        f"# {_WRITTEN_BY}\n"
        "# A restart of the Engine is an operator's deploy: needrestart only names it.\n"
        "$nrconf{override_rc}{qr(^(docker|containerd))} = 0;\n"
    )


def installed(listing: str) -> dict[str, str]:
    """Package → version, from `dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n'`."""
    rows = (line.split() for line in listing.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}


def matching(packages: Mapping[str, str], held: Sequence[str]) -> list[str]:
    """The installed packages that are not upgraded unattended, by the rule of unattended-upgrades."""
    return sorted(name for name in packages if any(re.match(expression, name) for expression in held))


@dataclass(frozen=True)
class Waiting:
    """A newer version that waits for an operator."""

    package: str
    installed: str
    candidate: str


def waiting(policy: str) -> list[Waiting]:
    """What could be upgraded, from `apt-cache policy NAME…`."""
    rows = re.findall(r"^(\S+):\n  Installed: (\S+)\n  Candidate: (\S+)$", policy, re.MULTILINE)
    return [Waiting(*row) for row in rows if row[1] != row[2] and "(none)" not in row[1:]]


@dataclass(frozen=True)
class Timer:
    """A timer of systemd as it is."""

    name: str
    file_state: str
    active: bool

    @property
    def masked(self) -> bool:
        return self.file_state.startswith("masked")

    @property
    def runs(self) -> bool:
        return self.active and self.file_state == "enabled"


def timers(listing: str) -> list[Timer]:
    """From `systemctl show --property=Id,UnitFileState,ActiveState NAME…`."""
    blocks = (dict(line.split("=", 1) for line in block.splitlines()) for block in listing.strip().split("\n\n"))
    return [Timer(block["Id"], block["UnitFileState"], block["ActiveState"] == "active") for block in blocks]


def sysctl(values: Mapping[str, Any]) -> dict[str, str]:
    """The kernel settings asked for; PlatformError for those that are not the platform's to set."""
    for key in values:
        if not re.fullmatch(r"net(\.[A-Za-z0-9_/-]+)+", key):
            raise PlatformError(
                f"hardening_sysctl has `{key}`, which is not below net.",
                "This role sets what belongs to the host's network only: set the rest in a file of your own in "
                "/etc/sysctl.d.",
            )
        if re.search(r"(forward|forwarding|bridge-nf-call-\w+)$", key):
            raise PlatformError(
                f"hardening_sysctl has `{key}`, which Docker sets for its networks",
                "Leave it out: containers would lose their connections.",
            )
    return {key: " ".join(str(value).split()) for key, value in values.items()}


def refuse_shape(key: str, found: str, wanted: str) -> None:
    """PlatformError for a value that cannot be one, as far as what the kernel has there tells."""
    numbers = found.split()
    if key == _SET_OF_PORTS or not numbers or not all(re.fullmatch(r"-?\d+", number) for number in numbers):
        return
    given = wanted.split()
    if len(given) != len(numbers) or not all(re.fullmatch(r"-?\d+", number) for number in given):
        how = "a number" if len(numbers) == 1 else f"{len(numbers)} numbers"
        raise PlatformError(
            f"hardening_sysctl has `{key}: {wanted}`, and the kernel wants {how} there, as `{found}`",
            "Correct the value.",
        )


def sysctl_text(values: Mapping[str, str]) -> str:
    """The file that sets them at boot; empty where there is nothing to set."""
    lines = [f"{key} = {value}\n" for key, value in sorted(values.items())]
    return "".join([f"# {_WRITTEN_BY}\n", *lines]) if lines else ""


def watched(state_dir: str) -> list[tuple[str, str]]:
    """Paths the audit watches, each with its key."""
    units = [f"{folder}/{name}" for folder in ("/usr/lib/systemd/system", "/etc/systemd/system") for name in _UNITS]
    return [
        *((path, f"{_AUDIT_KEY}-docker") for path in (*_ENGINE_FILES, *units)),
        *((path, f"{_AUDIT_KEY}-ssh") for path in ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d", "/root/.ssh")),
        (state_dir, f"{_AUDIT_KEY}-platform"),
    ]


_UNITS = ("docker.service", "docker.socket", "containerd.service")
# Not /var/lib/docker and /run/containerd: every write of every container would be an event.
_ENGINE_FILES = (
    *("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/bin/containerd", "/usr/bin/runc", "/usr/sbin/runc"),
    *("/usr/bin/containerd-shim-runc-v2", "/etc/docker", "/etc/default/docker", "/etc/containerd/config.toml"),
    *("/run/docker.sock", "/run/containerd/containerd.sock"),
)


def audit_text(paths: Sequence[tuple[str, str]], directories: Sequence[str]) -> str:
    """The rules for auditd: who writes to these paths or changes their owner and mode."""
    rules = [
        f"-a always,exit -F arch=b64 -F {'dir' if path in directories else 'path'}={path} -F perm=wa -F key={key}"
        for path, key in paths
    ]
    return "\n".join([f"# {_WRITTEN_BY}", *rules]) + "\n"


def audit_rules(text: str) -> int:
    """How many rules of this role there are in the text of a file, or in what `auditctl -l` says."""
    return len(re.findall(rf"^-[aw] .*(?:key=|-k ){_AUDIT_KEY}-", text, re.MULTILINE))


@dataclass(frozen=True)
class Ownership:
    """Who owns a path, and what of its mode is allowed."""

    path: str
    group: str
    limit: int


def ownerships(state_dir: str) -> list[Ownership]:
    """The paths the platform relies on. All are root's."""
    return [
        Ownership("/etc/docker", "root", 0o755),
        Ownership("/etc/docker/daemon.json", "root", 0o644),
        Ownership("/run/docker.sock", "docker", 0o660),
        Ownership("/run/containerd/containerd.sock", "root", 0o660),
        *(Ownership(path, "root", 0o755) for path in dict.fromkeys(("/var/lib/lastro", state_dir))),
    ]


def tightened(mode: int, limit: int) -> int:
    """The permissions without what exceeds the limit: a stricter mode is an operator's choice and stays."""
    return mode & (~0o777 | limit)


def docker_members(group: str, user_rows: Sequence[tuple[str, int]], gid: int) -> list[str]:
    """Users in the group docker, from its comma-separated members and from those whose primary group it is."""
    return sorted({*filter(None, group.split(",")), *(name for name, primary in user_rows if primary == gid)})
