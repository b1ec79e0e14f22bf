# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user's Compose file means to the platform: kinds, routes, ports, images, what is left out and what is refused."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.plugin_utils._application_checks import (
    check_build,
    check_dependencies,
    check_names,
    check_networks,
    check_privileges,
    check_routes,
    check_volumes,
)
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import EXTENSION, FLATTEN, Source
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import variables

COLOURS = ("blue", "green")
ROUTED = ("web", "static")
COLOURED = ("web", "static", "worker")
JOBS = ("migrate", "seed")
# Port ranges a colour has, one for each routed service.
PORT_SLOTS = 64

# Programs that keep state: copying one into two colours would split or corrupt its data.
_STATEFUL = re.compile(
    r"(^|[/-])(postgres(ql)?|pgvector|timescaledb|postgis|mysql|mariadb|percona|mongo(db)?|redis|valkey|keydb|memcached|"
    r"rabbitmq|kafka|nats|zookeeper|etcd|elasticsearch|opensearch|minio|seaweedfs|cassandra|clickhouse(-server)?|influxdb)([:@]|$)"
)
_REFUSED_KEYS = {
    "extends": FLATTEN,
    "volumes_from": "Mount the named volume in each service.",
    "links": "Services of a colour find each other by name; take `links` out.",
}
_DROPPED_KEYS = ("container_name", "build", "ports")


@dataclass(frozen=True)
class Settings:
    """What the inventory says of the application."""

    platform: str
    address: str
    release: str = ""
    port_base: int = 18000
    replicas_max: int = 4
    replicas: Mapping[str, int] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    allow_privileged: tuple[str, ...] = ()
    # Where the platform keeps its secrets on a host.
    state_dir: str = "/var/lib/lastro"
    # Where a `provided` service is, by its name in the Compose file.
    provided: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AppService:
    """A service of the application that takes part in this deploy."""

    name: str
    kind: str
    spec: Mapping[str, Any]
    extension: Mapping[str, Any]
    replicas: int

    @property
    def image(self) -> str:
        return str(self.spec["image"])

    @property
    def migrations(self) -> Mapping[str, Any]:
        """How the module `migrate_seed` migrates with this service; empty where its own command does."""
        found: Mapping[str, Any] = self.extension.get("migrations") or {}
        return found

    @property
    def routed(self) -> bool:
        return self.kind in ROUTED

    @property
    def coloured(self) -> bool:
        return self.kind in COLOURED


class Application:
    """The application of one Compose file. Making it is the check: every refusal comes from here."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self.source = source
        self.settings = settings
        self.dropped: list[str] = ["name"] if "name" in source.data else []
        self.provided: dict[str, str] = {}
        self.services: dict[str, AppService] = {}
        everyone = source.data["services"]
        for name, spec in everyone.items():
            profiles = spec.get("profiles") or []
            if profiles and not set(profiles) & set(settings.profiles):
                continue
            self._add(name, spec)
        check_names(self)
        check_dependencies(self)
        check_networks(self)
        check_volumes(self)
        self.slots = self._port_slots()
        check_routes(self)

    def _add(self, name: str, spec: Mapping[str, Any]) -> None:
        extension = spec.get(EXTENSION) or {}
        if extension.get("provided"):
            self.provided[name] = str(extension["provided"])
            return
        for key, cure in _REFUSED_KEYS.items():
            if key in spec:
                raise self._error(f"service {name}: `{key}` is not supported", cure, name, key)
        kind = self._kind(name, spec, extension)
        if not spec.get("image"):
            raise self._error(
                f"service {name} names no image",
                "Give `image` beside `build`, for example image: shop/web:${APP_RELEASE}.",
                name,
            )
        if kind in ROUTED and not extension.get("port"):
            raise self._error(
                f"service {name} has a route and no port",
                "Say in x-platform.port where it listens, for example 8000.",
                name,
            )
        self._check_migrations(name, kind, extension)
        if kind not in ROUTED and "route" in extension:
            raise self._error(
                f"service {name} of kind {kind} can't have a route", "Take the route out, or make it web.", name
            )
        check_build(self, name, spec)
        check_privileges(self, name, spec)
        self.dropped += [f"{name}.{key}" for key in _DROPPED_KEYS if key in spec]
        self.services[name] = AppService(name, kind, spec, extension, self._replicas(name, kind, spec, extension))

    def _check_migrations(self, name: str, kind: str, extension: Mapping[str, Any]) -> None:
        if "migrations" not in extension:
            return
        if kind != "migrate":
            cure = "Make it `kind: migrate`, or take `migrations` out."
            raise self._error(f"service {name} of kind {kind} says how to migrate", cure, name, EXTENSION)
        said = extension["migrations"] or {}
        if ("alembic" in said) == ("command" in said):
            raise self._error(
                f"service {name} has to say in x-platform.migrations either `alembic` or `command`",
                "Give alembic: {config: alembic.ini}, or the command that migrates.",
                *(name, EXTENSION, "migrations"),
            )

    def _kind(self, name: str, spec: Mapping[str, Any], extension: Mapping[str, Any]) -> str:
        if extension.get("kind"):
            return str(extension["kind"])
        if "route" in extension:
            return "web"
        waiting = [other for other, spec in self.source.data["services"].items() if _waits_for_end(spec, name)]
        if waiting:
            raise self._error(
                f"service {name} has no kind, and {waiting[0]} waits for it to complete",
                "Say x-platform: {kind: migrate} (or seed, job), so that it runs once a release and not in each colour.",
                name,
            )
        if _STATEFUL.search(str(spec.get("image", ""))):
            raise self._error(
                f"service {name} looks like a database, cache or broker ({spec['image']})",
                "Say x-platform: {provided: postgres} (or redis, rabbitmq, s3) where the platform runs it, or {kind: singleton}.",
                name,
                "image",
            )
        return "worker"

    def _replicas(self, name: str, kind: str, spec: Mapping[str, Any], extension: Mapping[str, Any]) -> int:
        deploy = spec.get("deploy") or {}
        given = (self.settings.replicas.get(name), extension.get("replicas"), deploy.get("replicas"), spec.get("scale"))
        found = next((value for value in given if value is not None), 1)
        if not str(found).isdecimal():
            raise self._error(f"service {name} wants {found!r} replicas", "Give a number, 0 or more.", name, "deploy")
        wanted = int(found)
        if kind in ("singleton", *JOBS) and wanted != 1:
            raise self._error(
                f"service {name} of kind {kind} wants {wanted} replicas", f"A {kind} service has one copy.", name
            )
        if kind in ROUTED and wanted > self.settings.replicas_max:
            raise self._error(
                f"service {name} wants {wanted} replicas and a host has ports for {self.settings.replicas_max}",
                "Raise app_replicas_max.",
                name,
            )
        return wanted

    def _port_slots(self) -> dict[str, int]:
        """The port range of each routed service: from its name alone, so that other services coming and going move nothing."""
        wanted = {
            service.name: int(service.extension.get("port_slot", zlib.crc32(service.name.encode()) % PORT_SLOTS))
            for service in self.of_kind(*ROUTED)
        }
        taken: dict[int, str] = {}
        for name, slot in wanted.items():
            if slot in taken:
                # Free of all of them, those further down too: who follows the cure does not collide again.
                free = sorted(set(range(PORT_SLOTS)) - set(wanted.values()))
                cure = f"Give one of them x-platform.port_slot: {free[0]}." if free else "Merge some of them."
                raise self._error(f"services {taken[slot]} and {name} have the same port range", cure, name)
            taken[slot] = name
        return wanted

    def _error(self, problem: str, cure: str, *path: str) -> Exception:
        return self.source.error(problem, cure, "services", *path)

    def of_kind(self, *kinds: str) -> list[AppService]:
        return [service for service in self.services.values() if service.kind in kinds]

    def ports(self, service: str, colour: str) -> list[int]:
        """All ports that this service may have in this colour, the same on every host."""
        settings = self.settings
        first = settings.port_base + (COLOURS.index(colour) * PORT_SLOTS + self.slots[service]) * settings.replicas_max
        return list(range(first, first + settings.replicas_max))

    def routes(self) -> list[dict[str, Any]]:
        """What the proxy has to know: every routed service, all its ports in both colours."""
        return [
            {
                "service": service.name,
                "hosts": list((service.extension.get("route") or {}).get("hosts", [])),
                "path": (service.extension.get("route") or {}).get("path", "/"),
                "health": service.extension.get("health", "/"),
                "static": service.kind == "static",
                "ports": {colour: self.ports(service.name, colour) for colour in COLOURS},
            }
            for service in self.of_kind(*ROUTED)
        ]

    def replicas(self) -> dict[str, int]:
        """Copies of each routed service on a host."""
        return {service.name: service.replicas for service in self.of_kind(*ROUTED)}

    def images(self, directory: str) -> list[dict[str, Any]]:
        """The application's images as items of the module `images`: built where the file says `build`, else as named."""
        found: dict[str, dict[str, Any]] = {}
        for service in self.services.values():
            item: dict[str, Any] = {"name": service.image, "inspect": True}
            build = service.spec.get("build")
            if build:
                build = {"context": build} if isinstance(build, str) else build
                # As in Compose, an argument without a value comes from outside, and is not given where there is none.
                outside = self.source.variables
                arguments = {
                    key: outside.get(key) if value is None else value for key, value in variables(build.get("args"))
                }
                item["context_local"] = os.path.normpath(os.path.join(directory, str(build.get("context") or ".")))
                item["build_args"] = {key: value for key, value in arguments.items() if value is not None}
                item["from"] = sorted(value for value in item["build_args"].values() if value.startswith("lastro/"))
            else:
                item["upstream"] = service.image
            # One service may say how the image is built that others only name.
            if build or service.image not in found:
                found[service.image] = item
        return list(found.values())

    def checks(self, colour: str) -> list[dict[str, Any]]:
        """What every replica of a colour has to answer before it serves: it is ready, and it is the release deployed."""
        checks: list[dict[str, Any]] = []
        for service in self.of_kind(*ROUTED):
            paths = [service.extension.get("ready") or service.extension.get("health") or "/"]
            version = service.extension.get("version")
            for number, port in enumerate(self.ports(service.name, colour)[: service.replicas], start=1):
                base, name = f"http://{self.settings.address}:{port}", f"{service.name}-{number}"
                checks += [{"name": f"{name} {path}", "type": "http", "url": base + path} for path in paths]
                if version and self.settings.release:
                    expected = [{"path": version["json"], "equals": self.settings.release}]
                    url = base + version["path"]
                    checks.append({"name": f"{name} {version['path']}", "type": "http", "url": url, "json": expected})
        return checks

    def probes(self) -> list[dict[str, Any]]:
        """Commands that prove that a service does its work."""
        return [
            {"service": service.name, "command": list(service.extension["probe"])}
            for service in self.services.values()
            if service.extension.get("probe") and service.replicas
        ]

    def smoke(self) -> list[dict[str, Any]]:
        """Commands that show that the application works, for a release that serves already and is not kept yet."""
        return [
            {"service": service.name, "command": list(service.extension["smoke"])}
            for service in self.of_kind(*COLOURED)
            if service.extension.get("smoke") and service.replicas
        ]

    def secret_names(self) -> list[str]:
        """Names of all secrets that the application reads."""
        return sorted({name for service in self.services.values() for name in secret_names(service)})


def secret_names(service: AppService) -> list[str]:
    """The secrets of one service: from the extension and from Compose's own `secrets`."""
    names = [*service.extension.get("env_from_files", []), *service.extension.get("secrets", [])]
    for entry in service.spec.get("secrets") or []:
        names.append(str(entry["source"] if isinstance(entry, Mapping) else entry))
    return unique(names)


def unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _waits_for_end(spec: Mapping[str, Any], name: str) -> bool:
    wanted = spec.get("depends_on")
    condition = wanted.get(name) if isinstance(wanted, Mapping) else None
    return isinstance(condition, Mapping) and condition.get("condition") == "service_completed_successfully"
