# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read which parts of Docker a host has, and install the missing ones with apt-get.

No python3-apt: a bare Debian does not have it, and check mode must work there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.lastro.platform.plugins.module_utils import _docker_host as decide
from ansible_collections.lastro.platform.plugins.module_utils._compose_cli import PLUGIN_FOLDERS
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

Run = Callable[..., tuple[int, str, str]]

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_MARK = "# lastro.platform.docker: services wait while process "
_APT = ("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold")
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def parts(run: Run) -> decide.Parts:
    """Which parts of Docker are there, whoever installed them."""
    confined = _read("/sys/module/apparmor/parameters/enabled").strip() == "Y"
    return decide.Parts(
        engine=_found("dockerd"),
        client=_found("docker"),
        compose=compose_version(run),
        iptables=_found("iptables"),
        apparmor=_found("apparmor_parser") if confined else None,
    )


def compose_version(run: Run) -> str | None:
    """The version of the plugin that `docker compose` would use; None where there is none."""
    plugin = compose_plugin()
    if not plugin:
        return None
    code, out, error = run([plugin, "docker-cli-plugin-metadata"])
    if code:
        raise PlatformError(f"{plugin} does not run: {error.strip()[-300:]}", "Remove or repair it.")
    return str(json.loads(out)["Version"])


def compose_plugin() -> str:
    """The plugin that `docker compose` would use; empty where there is none."""
    plugins = (f"{folder}/docker-compose" for folder in PLUGIN_FOLDERS)
    return next((plugin for plugin in plugins if os.access(plugin, os.X_OK)), "")


def wanted(run: Run, there: decide.Parts, source: str, repository: decide.Repository | None) -> decide.Installation:
    """What has to be installed; asks apt about its sources only where something is missing."""
    host = decide.release(_read("/etc/os-release"))
    pinned = os.path.exists(decide.SOURCES.format("compose"))
    missing = not (there.engine and there.client and there.iptables and there.apparmor is not False)
    suites: dict[str, str] = {}
    if missing or pinned or there.compose is None or decide.version(there.compose) < decide.COMPOSE_MINIMUM:
        suites = decide.suites(run(["apt-get", "--print-uris", "update"])[1])
    plan = decide.installation(host, there, source, repository, suites, pinned)
    plan.files = {path: text for path, text in plan.files.items() if _read(path) != text}
    return plan


def interrupted(run: Run) -> list[str]:
    """Packages that a killed installation left half done."""
    names = {"docker-ce", "docker-ce-cli", "docker-compose-plugin", "containerd.io", "containerd", "runc", "iptables"}
    for packaging in decide.DISTRIBUTIONS.values():
        names |= {packaging.engine, packaging.compose} | ({packaging.client} if packaging.client else set())
    status = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *sorted(names)])[1]
    return decide.broken(status)


def repair(run: Run, services_may_start: bool) -> None:
    """Finish what a killed installation began."""
    with _services_held(not services_may_start):
        _apt(run, ["dpkg", "--configure", "-a", "--force-confold"])
        _apt(run, [*_APT, "--fix-broken", "install"])


def install(run: Run, plan: decide.Installation, services_may_start: bool) -> None:
    """Write apt's files, refresh its lists, install the packages."""
    for path, text in plan.files.items():
        write(path, text)
    if not plan.packages:
        return
    _apt(run, [*_APT, "update"])
    with _services_held(not services_may_start):
        _apt(run, [*_APT, "install", "--no-install-recommends", *plan.packages])


def write(path: str, text: str) -> None:
    """Put a world-readable file in place by rename."""
    target = Path(path)
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.lastro")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o644)
    part.replace(target)


@contextlib.contextmanager
def _services_held(hold: bool) -> Iterator[None]:
    """Keep packages from starting their services.

    Where `ulimit -n` cannot be raised the Engine's init script fails, and with it the whole installation. The
    policy asks for our own process, so one that is left behind by a kill holds nothing back.
    """
    if hold and (not _POLICY.exists() or _POLICY_MARK in _POLICY.read_text(encoding="utf-8")):
        _POLICY.write_text(f"#!/bin/sh\n{_POLICY_MARK}{os.getpid()} runs\n[ ! -d /proc/{os.getpid()} ] || exit 101\n")
        _POLICY.chmod(0o755)
        try:
            yield
        finally:
            _POLICY.unlink()
    else:
        yield


def _apt(run: Run, command: list[str]) -> None:
    code, out, error = run(command, environ_update=_ENVIRONMENT)
    if code:
        words = "\n".join((out + error).strip().splitlines()[-15:])
        raise PlatformError(
            f"`{' '.join(command)}` failed ({code}):\n{words}",
            "Check the host's package sources (/etc/apt/sources.list.d) and that it reaches them, then run again.",
        )


def _found(program: str) -> bool:
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin") is not None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
