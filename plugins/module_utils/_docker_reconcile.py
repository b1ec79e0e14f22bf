# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a host to the state that the module docker_engine was asked for."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _docker_host as decide
from ansible_collections.lastro.platform.plugins.module_utils import _docker_install as packages
from ansible_collections.lastro.platform.plugins.module_utils._diff import of_actions
from ansible_collections.lastro.platform.plugins.module_utils._docker_host import Action
from ansible_collections.lastro.platform.plugins.module_utils._docker_service import Service
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

DAEMON_JSON = "/etc/docker/daemon.json"


class Reconciler:
    """Brings one host to the wanted state; in check mode notes what it would do."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options: dict[str, Any] = module.params
        self.run = module.run_command
        self.really = not module.check_mode
        self.engine = Engine()
        self.service = Service(module.run_command, self.engine)
        self.actions: list[Action] = []
        self.diff: list[dict[str, str]] = []
        self.pending = ""
        self.compose: str | None = None
        self.plan = decide.Installation()

    def do(self, action: str, item: str, why: str) -> bool:
        """Note an action; whether it is to be done now."""
        self.actions.append(Action(action, item, why))
        return self.really

    def check_engine(self) -> str | None:
        """Version of the running Engine; PlatformError where it is too old."""
        if not self.service.answers():
            return None
        found = self.engine.version()
        decide.refuse_old("Docker Engine", found, decide.ENGINE_MINIMUM)
        return found

    def refuse(self) -> None:
        """PlatformError for whatever can be known not to end well. Nothing is changed before this."""
        self.check_engine()
        self._plan()
        if self.compose is not None and self.options["source"] != "none":
            decide.refuse_shadowed(packages.compose_plugin(), self.compose)
        if self.options["network"]:
            self._network()

    def _plan(self) -> None:
        """Which packages are missing, and where they come from."""
        url, key = self.options["repository_url"], self.options["repository_key"]
        repository = decide.Repository(url, key) if url and key else None
        there = packages.parts(self.run)
        if self.options["source"] == "none" and not there.engine:
            raise PlatformError("This host has no Docker Engine", "Install it, or set docker_source: distribution.")
        self.compose = there.compose
        if self.options["source"] == "none":
            self.check_compose()
        self.plan = packages.wanted(self.run, there, self.options["source"], repository)

    def check_compose(self) -> str | None:
        """Version of the Compose plugin; PlatformError where nothing here made or will make it good enough."""
        if self.really or self.options["source"] == "none":
            if self.compose is None:
                raise PlatformError("This host has no Compose v2", "Install it, or set docker_source: distribution.")
            decide.refuse_old("Compose", self.compose, decide.COMPOSE_MINIMUM)
        return self.compose

    def install(self) -> None:
        """Packages, and what apt needs for them."""
        left = packages.interrupted(self.run)
        may_start = self.service.scripts_work
        if left and self.do("repair", " ".join(left), "an interrupted run left these packages half installed"):
            packages.repair(self.run, may_start)
            self._plan()
        for path, text in self.plan.files.items():
            self.do("write", path, "where apt finds the packages, and what it may take from there")
            self.diff.append({"before_header": path, "after_header": path, "before": _read(path) or "", "after": text})
        for name, why in self.plan.packages.items():
            self.do("install", name, why)
        if self.really:
            packages.install(self.run, self.plan, may_start)
            if self.plan.packages:
                self.compose = packages.compose_version(self.run)

    def configure(self) -> None:
        """The configuration file, written before the Engine starts with it."""
        text = _read(DAEMON_JSON)
        before = decide.parse_configuration(text, DAEMON_JSON)
        info = self.engine.get("/info") if self.service.answers() else {}
        settings = decide.Settings(
            **{name: self.options[name] for name in ("log_driver", "log_max_size", "log_max_files", "live_restore")},
            address_pools=tuple(self.options["address_pools"]),
            registry_mirrors=tuple(self.options["registry_mirrors"]),
            options=self.options["options"],
        )
        swarm = info.get("Swarm", {}).get("LocalNodeState", "inactive") != "inactive"
        after = decide.configuration(before, settings, swarm)
        keys = decide.changed_keys(before, after)
        started = self.service.started_at() if info else None
        waiting = (
            started is not None and text is not None and decide.changed_after(os.stat(DAEMON_JSON).st_mtime, started)
        )
        if keys:
            rendered = decide.render(after)
            header = {"before_header": DAEMON_JSON, "after_header": DAEMON_JSON}
            self.diff.append({**header, "before": text or "", "after": rendered})
            if self.do("write", DAEMON_JSON, f"to change: {', '.join(keys)}"):
                packages.write(DAEMON_JSON, rendered)
        if info and (keys or waiting):
            self._apply(keys, waiting, text, started)

    def _apply(self, keys: list[str], waiting: bool, before: str | None, started: float | None) -> None:
        """Have a running Engine take over what was written, now or before."""
        if set(keys) & decide.RELOADABLE and self.do("reload", "docker", "the Engine reads these keys again on SIGHUP"):
            self.service.reload()
        rest = [key for key in keys if key not in decide.RELOADABLE]
        if not rest and not waiting:
            # The file's time says what the Engine has read; a reload leaves nothing to read.
            if self.really and started is not None:
                os.utime(DAEMON_JSON, (decide.taken_over(started),) * 2)
            return
        why = f"changed since it started: {', '.join(rest)}" if rest else "the file was changed after it started"
        if not self.options["restart"]:
            self.pending = f"The Engine runs with an older {DAEMON_JSON} ({why})"
        elif self.do("restart", "docker", why):
            try:
                self.service.restart()
            except PlatformError:
                if keys:
                    self._restore(before)
                raise

    def _restore(self, before: str | None) -> None:
        """Back to the configuration the Engine ran with: the containers here matter more than new settings."""
        if before is None:
            os.unlink(DAEMON_JSON)
        else:
            packages.write(DAEMON_JSON, before)
        with contextlib.suppress(PlatformError):
            self.service.restart()

    def start(self) -> None:
        """The Engine, now and at the next boot."""
        if not self.service.enabled() and self.do("enable", "docker", "systemd would not start it at boot"):
            self.service.enable()
        if self.service.answers():
            return
        stale = [f"{path} names no running process" for path in self.service.stale_pidfiles()]
        if self.do("start", "docker", "; ".join(["the Engine does not answer", *stale])):
            self.service.start()

    def _network(self) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
        """The platform's network as wanted and as found, and how they differ; PlatformError where it is in use so."""
        name = self.options["network"]
        wanted = decide.network_body(name, self.options["subnet"], self.options["gateway"])
        found = self.engine.find(f"/networks/{name}") if self.service.answers() else None
        difference = decide.network_difference(found, wanted) if found else ""
        if found and difference and found["Containers"]:
            raise PlatformError(
                f"The network {name} is in use and not as wanted: {difference}",
                "Set platform_subnet to what it is, or stop its containers and run again.",
            )
        return wanted, found, difference

    def connect(self) -> dict[str, str]:
        """The platform's network."""
        name = self.options["network"]
        if not name:
            return {}
        wanted, found, difference = self._network()
        if difference:
            if self.do("replace", name, difference):
                self.engine.delete(f"/networks/{name}")
        elif not found:
            self.do("create", name, "the platform's network is missing")
        if self.really and (difference or not found):
            self._create(name, wanted)
            found = self.engine.get(f"/networks/{name}")
        if not found:
            return {}
        ends = (found["IPAM"]["Config"] or [{}])[0]
        return {"name": name, "subnet": ends.get("Subnet", ""), "gateway": ends.get("Gateway", "")}

    def _create(self, name: str, wanted: dict[str, Any]) -> None:
        try:
            self.engine.post("/networks/create", wanted)
        except EngineError as error:
            raise PlatformError(
                f"The network {name} ({self.options['subnet'] or 'any subnet'}) cannot be made: {error.problem}",
                "Where another network has the address range, choose a free one as platform_subnet.",
            ) from error


def reconcile(module: AnsibleModule) -> dict[str, Any]:
    """Refusals first; then everything, in the order that lets the first start find its configuration; then read back."""
    host = Reconciler(module)
    host.refuse()
    host.configure()
    host.install()
    host.start()
    network = host.connect()
    return {
        "changed": bool(host.actions),
        "actions": [asdict(action) for action in host.actions],
        "diff": [*host.diff, *of_actions("Docker", ((each.item, each.action, each.why) for each in host.actions))],
        "pending": host.pending,
        "engine_version": host.check_engine(),
        "compose_version": host.check_compose(),
        "init": host.service.init,
        "network": network,
    }


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
