# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Docker host needs, decided from what was read on it. Nothing here touches the host."""

from __future__ import annotations

import copy
import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

ENGINE_MINIMUM = (20, 10)
COMPOSE_MINIMUM = (2, 20)
# Configuration the Engine takes over on SIGHUP (its manual, "Configuration reload behavior"); all else needs a restart.
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
ROTATING_LOG_DRIVERS = ("json-file", "local")
# The time dockerd was started is computed from two clocks and differs a little each time it is asked for.
_CLOCK_SECONDS = 1.0
_TAKEN_OVER_SECONDS = 60.0


@dataclass(frozen=True)
class Release:
    """The operating system of a host, from /etc/os-release."""

    distribution: str
    version: str
    codename: str


@dataclass(frozen=True)
class Action:
    """One thing that is, or in check mode would be, done."""

    action: str
    item: str
    why: str


@dataclass(frozen=True)
class Parts:
    """Which parts of Docker a host has already, whoever installed them."""

    engine: bool
    client: bool
    compose: str | None
    iptables: bool
    # None where the kernel does not confine with AppArmor: then nothing parses its profiles.
    apparmor: bool | None


@dataclass(frozen=True)
class Repository:
    """Docker's own apt repository, or a mirror of it."""

    url: str
    key: str


@dataclass
class Installation:
    """Packages to install and the files of apt that must be there for it."""

    packages: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Packaging:
    """Names of a distribution's packages. `compose_suite` is set where its own Compose is too old."""

    engine: str
    client: str | None
    compose: str
    compose_suite: str | None = None


DISTRIBUTIONS = {
    ("debian", "12"): Packaging("docker.io", None, "docker-compose", compose_suite="trixie"),
    ("debian", "13"): Packaging("docker.io", "docker-cli", "docker-compose"),
    ("ubuntu", "24.04"): Packaging("docker.io", None, "docker-compose-v2"),
}
_DOCKER_PACKAGING = Packaging("docker-ce", "docker-ce-cli", "docker-compose-plugin")

SOURCES = "/etc/apt/sources.list.d/lastro-{0}.sources"
PREFERENCES = "/etc/apt/preferences.d/lastro-{0}"
KEYRING = "/etc/apt/keyrings/lastro-docker.asc"


def refuse_shadowed(plugin: str, found: str) -> None:
    """PlatformError where an old Compose was put where it comes before that of any package."""
    if plugin.startswith(("/root/", "/usr/local/")) and version(found) < COMPOSE_MINIMUM:
        wanted = ".".join(str(part) for part in COMPOSE_MINIMUM)
        raise PlatformError(
            f"{plugin} is Compose {found}, which is too old ({wanted} is the oldest supported) and comes before a package's",
            "Remove it, and the role lastro.platform.docker installs Compose; or put a newer one there.",
        )


def release(text: str) -> Release:
    """The release named in the text of /etc/os-release."""
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return Release(values.get("ID", ""), values.get("VERSION_ID", ""), values.get("VERSION_CODENAME", ""))


def version(text: str) -> tuple[int, ...]:
    """The numbers a version begins with: `20.10.24+dfsg1` is (20, 10, 24)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def refuse_old(what: str, found: str, minimum: tuple[int, ...]) -> None:
    """PlatformError where a version is below the oldest one supported."""
    if version(found) < minimum:
        wanted = ".".join(str(part) for part in minimum)
        raise PlatformError(
            f"{what} {found} on this host is too old: {wanted} is the oldest supported",
            f"Upgrade it, or remove it and let the role lastro.platform.docker install {what} (docker_source).",
        )


def installation(
    host: Release,
    parts: Parts,
    source: str,
    repository: Repository | None,
    suites: dict[str, str],
    pinned: bool = False,
) -> Installation:
    """What to install from where.

    `suites` are those apt is configured with, each with its mirror; `pinned` says that an earlier run added
    Compose's suite to them, so that its pin is kept up even when nothing is left to install.
    """
    plan = Installation()
    if source == "none":
        return plan
    packaging = _packaging(host, source)
    if not parts.engine:
        plan.packages[packaging.engine] = "no Docker Engine on this host"
    if not parts.client and packaging.client:
        plan.packages[packaging.client] = "no Docker client on this host"
    if parts.compose is None or version(parts.compose) < COMPOSE_MINIMUM:
        found = "no Compose plugin" if parts.compose is None else f"Compose {parts.compose} is too old"
        plan.packages[packaging.compose] = f"{found} on this host"
    if not parts.iptables:
        plan.packages["iptables"] = "the Engine publishes ports with it"
    if parts.apparmor is False:
        plan.packages["apparmor"] = "the kernel confines with AppArmor and nothing here loads profiles"
    if source == "docker" and packaging.engine in plan.packages:
        plan.packages["containerd.io"] = f"{packaging.engine} runs containers with it"
    if source == "docker" and set(plan.packages) - {"iptables", "apparmor"}:
        plan.files.update(_docker_files(host, repository))
    if packaging.compose_suite and (pinned or packaging.compose in plan.packages):
        foreign = packaging.compose_suite in suites and not pinned
        plan.files.update(
            _compose_files(packaging.compose, packaging.compose_suite, suites.get(host.codename), foreign)
        )
    return plan


def _packaging(host: Release, source: str) -> Packaging:
    known = DISTRIBUTIONS.get((host.distribution, host.version))
    if known is None:
        names = ", ".join(f"{name} {number}" for name, number in DISTRIBUTIONS)
        raise PlatformError(
            f"Docker cannot be installed on {host.distribution or 'this system'} {host.version} by this role",
            f"It knows {names}. Elsewhere install Docker and Compose v2 yourself and set docker_source: none.",
        )
    return _DOCKER_PACKAGING if source == "docker" else known


def _docker_files(host: Release, repository: Repository | None) -> dict[str, str]:
    if repository is None or not repository.url or not repository.key:
        raise PlatformError(
            "docker_source is `docker`, but its repository is not known",
            "Set docker_repository_url, and docker_repository_key to the text of its signing key.",
        )
    return {
        KEYRING: repository.key.strip() + "\n",
        SOURCES.format("docker"): _sources(repository.url, host.codename, "stable", KEYRING),
    }


def _compose_files(package: str, suite: str, mirror: str | None, foreign: bool) -> dict[str, str]:
    """A source of the newer suite from which apt takes this one package and nothing else; the pin comes first."""
    pin = f"Package: {package}\nPin: release n={suite}\nPin-Priority: 990\n"
    if foreign:
        # The operator uses that suite already and has said what may come from it.
        return {PREFERENCES.format("compose"): pin}
    if mirror is None:
        raise PlatformError(
            f"Compose v2 comes from Debian {suite} on this host, and apt here is not configured with a Debian mirror",
            "Configure one in /etc/apt/sources.list.d, or install Compose v2 yourself and set docker_source: none.",
        )
    rest = f"\nPackage: *\nPin: release n={suite}\nPin-Priority: -1\n"
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    return {
        PREFERENCES.format("compose"): pin + rest,
        SOURCES.format("compose"): _sources(mirror, suite, "main", keyring),
    }


def _sources(url: str, suite: str, component: str, keyring: str) -> str:
    return (
        "# Written by the role lastro.platform.docker.\n"
        f"Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: {component}\nSigned-By: {keyring}\n"
    )


def suites(listing: str) -> dict[str, str]:
    """Suite → mirror, from `apt-get --print-uris update`, which answers before any list was downloaded."""
    found = re.findall(r"^'(\S+)/dists/(\S+?)/InRelease'", listing, re.MULTILINE)
    return {suite: mirror for mirror, suite in reversed(found)}


def broken(status: str) -> list[str]:
    """Packages an interrupted run left behind, from `dpkg-query -W -f '${Package} ${db:Status-Status}\\n'`."""
    rows = (line.split() for line in status.splitlines())
    return sorted(row[0] for row in rows if len(row) == 2 and row[1].startswith(("half-", "unpacked", "triggers-")))


def parse_configuration(text: str | None, path: str) -> dict[str, Any]:
    """The Engine's configuration; PlatformError with the line where it is no JSON object."""
    if text is None or not text.strip():
        return {}
    cure = "Correct the file or move it away; the role does not overwrite what it cannot read."
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlatformError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}", cure) from error
    if not isinstance(parsed, dict):
        raise PlatformError(f"{path}, line 1: the configuration must be a JSON object", cure)
    return parsed


@dataclass(frozen=True)
class Settings:
    """The role's wishes for the Engine's configuration."""

    log_driver: str | None = None
    log_max_size: str = "20m"
    log_max_files: int = 5
    live_restore: bool = True
    address_pools: tuple[dict[str, Any], ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def configuration(existing: dict[str, Any], settings: Settings, swarm: bool) -> dict[str, Any]:
    """The operator's configuration with the role's settings merged in.

    A log driver the operator chose is kept, unless the role is told one.
    """
    merged = copy.deepcopy(existing)
    driver = settings.log_driver or existing.get("log-driver", ROTATING_LOG_DRIVERS[0])
    merged["log-driver"] = driver
    if driver in ROTATING_LOG_DRIVERS:
        kept = existing.get("log-opts", {}) if existing.get("log-driver", driver) == driver else {}
        merged["log-opts"] = {**kept, "max-size": settings.log_max_size, "max-file": str(settings.log_max_files)}
    elif driver != existing.get("log-driver"):
        merged.pop("log-opts", None)
    if swarm:
        # An Engine in a swarm refuses to start with live-restore.
        merged.pop("live-restore", None)
    else:
        merged["live-restore"] = settings.live_restore
    if settings.address_pools:
        merged["default-address-pools"] = list(settings.address_pools)
    if settings.registry_mirrors:
        merged["registry-mirrors"] = list(settings.registry_mirrors)
    merged.update(settings.options)
    return merged


def changed_keys(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keys that differ between two configurations."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def changed_after(changed: float, started: float) -> bool:
    """Whether a file was changed after the Engine was started, so that it has not read it."""
    return changed > started + _CLOCK_SECONDS


def taken_over(started: float) -> float:
    """The time that says of a file that the running Engine has read it: well before its start."""
    return started - _TAKEN_OVER_SECONDS


def render(content: dict[str, Any]) -> str:
    """The text of a configuration file."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def init_system(systemd: bool, first_process: str) -> str:
    """What starts services here: `systemd`, `sysvinit`, or `none`."""
    if systemd:
        return "systemd"
    return "sysvinit" if first_process == "init" else "none"


def network_body(name: str, subnet: str | None, gateway: str | None) -> dict[str, Any]:
    """The request that creates the platform's network."""
    body: dict[str, Any] = {"Name": name, "Driver": "bridge", "Labels": {"lastro.platform": name}}
    if subnet:
        try:
            first = next(iter(ipaddress.ip_network(subnet).hosts()))
        except ValueError as error:
            raise PlatformError(
                f"The subnet of the network {name} is none: {error}", "Give platform_subnet as 172.30.77.0/24."
            ) from error
        ends = {"Subnet": subnet, "Gateway": gateway or str(first)}
        body["IPAM"] = {"Config": [ends]}
    return body


def network_difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """How an existing network differs from the request that would create it; empty where it does not."""
    if found["Driver"] != wanted["Driver"]:
        return f"its driver is {found['Driver']}"
    if "IPAM" not in wanted:
        return ""
    ends = wanted["IPAM"]["Config"][0]
    there = (found["IPAM"].get("Config") or [{}])[0]
    if all(there.get(key) == value for key, value in ends.items()):
        return ""
    return (
        f"it is {there.get('Subnet')} with gateway {there.get('Gateway')}, not {ends['Subnet']} with {ends['Gateway']}"
    )
