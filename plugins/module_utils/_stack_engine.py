# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a stack is read from the Engine and changed there."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _compose_cli, _docker_root
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack import (
    EXTENSION,
    LABEL_DEFINITION,
    LABEL_FILES,
    Action,
    Container,
    Reality,
    Service,
    layers,
)

PROJECT = "com.docker.compose.project"
_POLL_SECONDS = 0.2
_LOG_LINES = 40
# The Engine doubles its pause from 0.1 s on: this many restarts are 6 s and more of ending again and again. At least two
# of them have to come when nothing else was late any more that the service may have been waiting for.
_RESTARTS_HOPELESS = 6
_RESTARTS_ALONE = 2
START_INTERVAL_ENGINE = 25
# A container without a health check counts as started when it has run this long.
_STEADY_SECONDS = 3
_PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def read(engine: Engine, project: str, compose: Mapping[str, Any] | None = None) -> Reality:
    """One look at the Engine: what there is of this project."""
    names = [str(name) for name in (compose or {}).get("services", {})]
    listed = engine.get("/containers/json", all="true")
    containers = tuple(found for entry in listed if (found := _container(entry, project, names)) is not None)
    if compose is None:
        return Reality(containers)
    networks = {entry["Name"] for entry in engine.get("/networks")}
    volumes = {entry["Name"] for entry in engine.get("/volumes")["Volumes"] or []}
    return Reality(
        containers,
        _image_ids(engine),
        frozenset(key for key, name in _resources(compose, "networks", project) if name not in networks),
        frozenset(key for key, name in _resources(compose, "volumes", project) if name not in volumes),
    )


def _container(entry: Mapping[str, Any], project: str, services: list[str]) -> Container | None:
    labels = entry.get("Labels") or {}
    name = (entry.get("Names") or ["/"])[0].lstrip("/")
    if labels.get(PROJECT) == project:
        if labels.get("com.docker.compose.oneoff") == "True":
            return None
        service, number = (
            labels.get("com.docker.compose.service", ""),
            labels.get("com.docker.compose.container-number", "1"),
        )
    else:
        # Somebody's container under a name that Compose would give one of ours: it stands in the way.
        found = re.fullmatch(rf"{re.escape(project)}[-_](.+)[-_](\d+)", name)
        if not found or found[1] not in services:
            return None
        service, number = found[1], found[2]
    status = str(entry.get("Status", ""))
    health = re.search(r"\((?:health: )?(\w+)\)\s*$", status)
    state = str(entry.get("State", ""))
    exited = re.match(r"Exited \((\d+)\)", status)
    return Container(
        id=entry["Id"],
        name=name,
        service=service,
        number=int(number) if number.isdigit() else 1,
        image_id=str(entry.get("ImageID", "")),
        state=f"exited {exited[1]}" if state == "exited" and exited else state,
        health=health[1] if health and state == "running" else "",
        definition=labels.get(LABEL_DEFINITION, ""),
        files=labels.get(LABEL_FILES, ""),
        managed=labels.get(PROJECT) == project and LABEL_DEFINITION in labels,
    )


def _image_ids(engine: Engine) -> dict[str, str]:
    """Image IDs by what the Engine calls an image: tag, digest, ID."""
    ids: dict[str, str] = {}
    for image in engine.get("/images/json"):
        ids[image["Id"]] = image["Id"]
        for name in (image.get("RepoTags") or []) + (image.get("RepoDigests") or []):
            ids[name] = image["Id"]
    return ids


def _resources(compose: Mapping[str, Any], section: str, project: str) -> list[tuple[str, str]]:
    """(key in the compose dict, name on the Engine) of the networks or volumes of a stack."""
    defined = dict(compose.get(section) or {})
    if section == "networks" and any(
        not spec.get("networks") and "network_mode" not in spec for spec in compose["services"].values()
    ):
        defined.setdefault("default", {})
    return [(str(key), _name(str(key), spec or {}, project)) for key, spec in defined.items()]


def _name(key: str, spec: Mapping[str, Any], project: str) -> str:
    """What Compose calls a network or volume: one of somebody else's has no project before its name."""
    return str(spec.get("name") or (key if spec.get("external") else f"{project}_{key}"))


def volumes_to_create(compose: Mapping[str, Any], project: str, reality: Reality) -> list[str]:
    """The missing ones that several projects share, and that therefore belong to none (`x-platform: {create: true}`)."""
    ours = {str(key) for key, spec in (compose.get("volumes") or {}).items() if _creates(spec or {})}
    wanted = ours & reality.missing_volumes
    return [name for key, name in _resources(compose, "volumes", project) if key in wanted]


def _creates(spec: Mapping[str, Any]) -> bool:
    return bool((spec.get(EXTENSION) or {}).get("create"))


def belongings(engine: Engine, project: str, kind: str) -> list[str]:
    """Names of the `networks` or `volumes` that belong to a project; external ones do not."""
    found = engine.get(f"/{kind}", filters={"label": [f"{PROJECT}={project}"]})
    return [str(entry["Name"]) for entry in (found["Volumes"] or [] if kind == "volumes" else found)]


def engine_trace(data: str = "", programs: str = _PROGRAMS) -> str:
    """What says that a host whose Engine does not answer has one all the same; empty where nothing does.

    Under live_restore containers run on while the Engine is down: only where there is none, nothing runs for sure.
    """
    root = Path(data or _docker_root.configured_root())
    return shutil.which("dockerd", path=programs) or (
        f"{root}/containers" if _docker_root.containers_on_disk(root) else ""
    )


def start_checks(group: Iterable[str], compose: Mapping[str, Any], period_of: Callable[[str], int]) -> dict[str, Any]:
    """What has the Engine look at a container every second during its `start_period`, so that a start takes no longer than it takes.

    Given to Compose beside the file, which stays the same whatever Engine it is for. A service that says how often itself keeps that. Compose takes
    no interval without a period; where that is the image's, `period_of` knows it, in nanoseconds.
    """
    found: dict[str, Any] = {}
    for name in group:
        service = compose["services"][name]
        check = service.get("healthcheck") or {}
        if not check or {"disable", "start_interval"} & set(check):
            continue
        period = {} if check.get("start_period") else {"start_period": f"{period_of(service['image']) // 1_000_000}ms"}
        if period != {"start_period": "0ms"}:
            found[name] = {"healthcheck": {"start_interval": "1s", **period}}
    return {"services": found}


def remove_containers(engine: Engine, containers: Iterable[str]) -> None:
    """Stop containers side by side, each with its own grace period, then remove them."""
    patient = Engine(engine.path, timeout=None)

    def remove_one(container: str) -> None:
        if patient.find(f"/containers/{container}/json") is not None:
            patient.post(f"/containers/{container}/stop")
            patient.delete(f"/containers/{container}", v="true", force="true")

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(remove_one, containers))


class Stack:
    """The acting side: one project on one host."""

    def __init__(
        self,
        engine: Engine,
        project: str,
        directory: str,
        file: str,
        compose: Mapping[str, Any],
        wait_timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.engine = engine
        self.project = project
        self.directory = directory
        self.file = file
        self.compose = compose
        self.wait_timeout = wait_timeout
        self.clock = clock
        self.sleep = sleep

    def apply(self, services: list[Service], actions: list[Action]) -> None:
        """Remove what goes, then start and await group by group in the order of depends_on, then reload."""
        by_service = {action.service: action for action in actions}
        for action in actions:
            remove_containers(self.engine, action.remove)
        touched = {action.service for action in actions if action.kind in ("create", "recreate", "start")}
        awaited = {action.service for action in actions if action.awaited}
        for group in layers(services, touched | awaited):
            self._up([name for name in group if name in touched], by_service)
            self.wait([service for service in services if service.name in group])
        for action in actions:
            if action.reloads:
                self._reload(action)
                self.wait([service for service in services if service.name == action.service])

    def create_volumes(self, names: Iterable[str]) -> None:
        for name in names:
            self.engine.post("/volumes/create", {"Name": name, "Labels": {"lastro.shared": "true"}})

    def _up(self, group: list[str], actions: Mapping[str, Action]) -> None:
        checks = start_checks(group, self.compose, self._start_period) if group and self._looks_often() else {}
        over = json.dumps(checks) if checks.get("services") else ""
        for recreate in (True, False):
            names = [name for name in group if (actions[name].kind == "recreate") is recreate]
            if names:
                how = ("--force-recreate" if recreate else "--no-recreate", *names)
                up = ("up", "--detach", "--no-deps", "--no-build", *how)
                _compose_cli.run(self.project, self.directory, self.file, *up, over=over)

    def _start_period(self, image: str) -> int:
        found = self.engine.find(f"/images/{image}/json") or {}
        return int((found.get("Config", {}).get("Healthcheck") or {}).get("StartPeriod") or 0)

    def _looks_often(self) -> bool:
        """Whether this Engine can check a container more often while it starts."""
        major = self.engine.version().partition(".")[0]
        return major.isdigit() and int(major) >= START_INTERVAL_ENGINE

    def start(self, containers: Iterable[Container]) -> None:
        """Start containers that were stopped, side by side, until they are healthy."""
        self._all("start", containers)
        names = {container.id for container in containers}
        deadline = self.clock() + self.wait_timeout
        while late := [c for c in read(self.engine, self.project).containers if c.id in names and not _well(c)]:
            if self.clock() >= deadline:
                raise self._failure(late[0], f"is not healthy after {self.wait_timeout:g} s")
            self.sleep(_POLL_SECONDS)

    def stop(self, containers: Iterable[Container]) -> None:
        """Stop containers side by side, each with its own grace period."""
        self._all("stop", containers)

    def _all(self, what: str, containers: Iterable[Container]) -> None:
        patient = Engine(self.engine.path, timeout=None)
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda container: patient.post(f"/containers/{container.id}/{what}"), containers))

    def _reload(self, action: Action) -> None:
        running = [c for c in read(self.engine, self.project).containers if c.service == action.service]
        for container in running:
            for rule in action.reloads:
                for signal in rule.signals:
                    self.engine.post(f"/containers/{container.id}/kill", signal=signal)
                if rule.command:
                    self._exec(container, rule.command)

    def _exec(self, container: Container, command: tuple[str, ...]) -> None:
        code, output = self.engine.run(container.id, list(command))
        if code != 0:
            raise PlatformError(
                f"Service {container.service} did not take up its changed files: {command[0]} ended with {code}: "
                + output.strip()[-400:],
                "The files are in place; the next run tries again.",
            )

    def wait(self, services: list[Service]) -> None:
        """Until each container runs and is healthy, or, for a one-shot, has ended well."""
        wanted = {service.name: service for service in services}
        deadline = self.clock() + self.wait_timeout
        first: dict[frozenset[str], dict[str, int]] = {}
        while True:
            found = [c for c in read(self.engine, self.project).containers if c.service in wanted]
            late = [c for c in found if not self._ready(wanted[c.service], c)]
            if not late and len(found) >= sum(service.replicas for service in services):
                return
            broken = [c for c in late if _broken(wanted[c.service], c)] or self._hopeless(late, first)
            if broken or self.clock() >= deadline:
                if not late:
                    raise PlatformError(f"Project {self.project}: containers vanished while they were started")
                failed = (broken or late)[0]
                raise self._failure(failed, "" if broken else self._too_late(wanted[failed.service]))
            self.sleep(_POLL_SECONDS)

    def _ready(self, service: Service, container: Container) -> bool:
        if service.one_shot:
            return container.state == "exited 0"
        if container.state != "running" or container.health:
            return container.state == "running" and container.health == "healthy"
        state = (self.engine.find(f"/containers/{container.id}/json") or {}).get("State") or {}
        started = datetime.fromisoformat(state.get("StartedAt") or "9999-01-01T00:00:00Z")
        return (datetime.now(UTC) - started).total_seconds() >= _STEADY_SECONDS

    def _hopeless(self, late: list[Container], first: dict[frozenset[str], dict[str, int]]) -> list[Container]:
        """All that is late ends again and again; `first` keeps how often each had restarted when just these became late."""
        restarts = {c.id: (self.engine.find(f"/containers/{c.id}/json") or {}).get("RestartCount", 0) for c in late}
        before = first.setdefault(frozenset(restarts), restarts)
        vain = all(n >= max(_RESTARTS_HOPELESS, before[c] + _RESTARTS_ALONE) for c, n in restarts.items())
        return late if vain else []

    def _too_late(self, service: Service) -> str:
        waited = f"after {self.wait_timeout:g} s"
        # It is not stopped: half of a migration is worse than a late one.
        return f"still runs {waited}, the next run waits on" if service.one_shot else f"is not healthy {waited}"

    def _failure(self, container: Container, too_late: str) -> PlatformError:
        """Everything an operator needs to see why a service does not come up."""
        details = self.engine.find(f"/containers/{container.id}/json") or {}
        state = details.get("State") or {}
        checks = (state.get("Health") or {}).get("Log") or []
        hopeless = details.get("RestartCount", 0) >= _RESTARTS_HOPELESS
        how = too_late or ("ends again and again" if hopeless else f"is {container.health or container.state}")
        text = f"Service {container.service} (container {container.name}) {how}: "
        text += f"state {state.get('Status', 'unknown')}, exit code {state.get('ExitCode')}"
        text += f", restarts {details.get('RestartCount', 0)}"
        if state.get("OOMKilled"):
            text += ", killed for want of memory (raise its mem_limit)"
        if state.get("Error"):
            text += f", {state['Error']}"
        if checks:
            text += f"\nLast health check (exit {checks[-1]['ExitCode']}): {str(checks[-1]['Output']).strip()[-600:]}"
        return PlatformError(text + f"\nLast log lines:\n{self.engine.logs(container.id, tail=_LOG_LINES).rstrip()}")


def _well(container: Container) -> bool:
    return container.state == "running" and container.health in ("", "healthy")


def _broken(service: Service, container: Container) -> bool:
    """Waiting longer can't help: it is unhealthy for good, or has ended and nobody restarts it."""
    if service.one_shot:
        return container.state.startswith("exited") and container.state != "exited 0"
    return container.health == "unhealthy" or container.state == "dead" or container.state.startswith("exited")
