# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application must not ask for, because it could not run in two colours side by side or would own the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.lastro.platform.plugins.plugin_utils._application_host import host_demands
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import EXTENSION
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import is_path, volume_source

if TYPE_CHECKING:
    from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application

# Docker volumes of the platform's own services, after `<platform>_`: an application that mounts one would have its data.
PLATFORM_VOLUMES = ("postgres_data", "postgres_socket", "postgres_spool", "redis_data", "registry_data")


def check_privileges(application: Application, name: str, spec: Mapping[str, Any]) -> None:
    if spec.get("network_mode") not in (None, "none", "host"):
        raise _error(
            application,
            f"service {name} has `network_mode: {spec['network_mode']}`, a network that is not its colour's own",
            "Take network_mode out; services of a colour reach each other by name.",
            name,
            "network_mode",
        )
    if name in application.settings.allow_privileged:
        return
    for key, what in host_demands(spec, application.settings.state_dir):
        raise _error(
            application,
            f"service {name} asks for {what}, which gives it the host",
            f"Take it out, or name the service in app_allow_privileged: [{name}].",
            name,
            key,
        )


# What changes the image and the module `images` does not do. Others (cache_from, labels, tags …) only help or decorate.
_BUILD_KEYS = (
    "additional_contexts",
    "entitlements",
    "extra_hosts",
    "network",
    "platforms",
    "privileged",
    "secrets",
    "shm_size",
    "ssh",
    "ulimits",
)


def check_build(application: Application, name: str, spec: Mapping[str, Any]) -> None:
    """The module `images` builds the last stage of the context's Dockerfile."""
    build = spec.get("build")
    if not isinstance(build, Mapping):
        return
    if os.path.normpath(str(build.get("dockerfile") or "Dockerfile")) != "Dockerfile":
        raise _error(
            application,
            f"service {name} is built from {build['dockerfile']}, and the platform builds from Dockerfile",
            "Name the file Dockerfile, in a context of its own.",
            name,
            "build",
            "dockerfile",
        )
    if build.get("dockerfile_inline"):
        raise _error(
            application,
            f"service {name} has `dockerfile_inline`, and the platform builds from Dockerfile",
            "Write it to a file named Dockerfile in the context.",
            name,
            "build",
            "dockerfile_inline",
        )
    if build.get("target"):
        raise _error(
            application,
            f"service {name} is built to the stage {build['target']}, and the platform builds the last one",
            "Make the wanted stage the last one of its Dockerfile.",
            name,
            "build",
            "target",
        )
    for key in _BUILD_KEYS:
        if build.get(key):
            raise _error(
                application,
                f"service {name} is built with `{key}`, which the platform's build does not do",
                "Take it out, or build the image elsewhere and name it with `image` alone.",
                name,
                "build",
                key,
            )


def check_names(application: Application) -> None:
    """Copies of a routed service are services of their own, `web-1` and so on."""
    for service in application.services.values():
        if not service.routed:
            continue
        for number in range(1, application.settings.replicas_max + 1):
            if f"{service.name}-{number}" in application.services:
                raise _error(
                    application,
                    f"service {service.name}-{number} has the name of copy {number} of {service.name}",
                    "Give it another name.",
                    f"{service.name}-{number}",
                )


def check_dependencies(application: Application) -> None:
    everyone = application.source.data["services"]
    for service in application.services.values():
        wanted = service.spec.get("depends_on") or {}
        for other in wanted:
            if isinstance(wanted, Mapping) and (wanted[other] or {}).get("required") is False:
                continue
            if other not in everyone:
                raise _error(
                    application,
                    f"service {service.name} depends on {other}, which is not in the file",
                    "Correct the name in depends_on.",
                    service.name,
                    "depends_on",
                    other,
                )
            if other not in application.services and other not in application.provided:
                raise _error(
                    application,
                    f"service {service.name} depends on {other}, whose profile is not chosen",
                    f"Add one of its profiles to app_profiles: {everyone[other].get('profiles')}.",
                    service.name,
                    "depends_on",
                    other,
                )


def check_networks(application: Application) -> None:
    defined = application.source.data.get("networks") or {}
    for service in application.services.values():
        for name in service.spec.get("networks") or []:
            if name not in defined and name != "default":
                raise _error(
                    application,
                    f"service {service.name} joins network {name}, which is not defined",
                    "Add it under `networks`.",
                    service.name,
                    "networks",
                    name,
                )
        if service.routed and service.spec.get("network_mode"):
            raise _error(
                application,
                f"service {service.name} has a route and `network_mode: {service.spec['network_mode']}`",
                "Take network_mode out: the proxy reaches it by a published port.",
                service.name,
                "network_mode",
            )
    for name, spec in defined.items():
        if not isinstance(spec, Mapping):
            continue
        if any(isinstance(pool, Mapping) and pool for pool in (spec.get("ipam") or {}).get("config") or []):
            raise application.source.error(
                f"network {name} has fixed addresses, and two colours can't both have them",
                "Take `ipam` out; services find each other by name.",
                "networks",
                name,
                "ipam",
            )
        # `docker compose config` writes out the name that Compose would have given.
        if spec.get("external") or spec.get("name") not in (None, f"{application.source.data.get('name')}_{name}"):
            raise application.source.error(
                f"network {name} would be shared by both colours, and `web` would mean the old and the new one",
                "Take `external` and `name` out; what both colours use is reached through the platform's address.",
                "networks",
                name,
            )


def check_routes(application: Application) -> None:
    """The proxy would send all requests to one of two services with the same host and path."""
    taken: dict[tuple[str, str], str] = {}
    for route in application.routes():
        path = "/" + route["path"].strip("/")
        for host in sorted({host.lower() for host in route["hosts"]} or {""}):
            other = taken.setdefault((host, path), route["service"])
            if other != route["service"]:
                raise _error(
                    application,
                    f"services {other} and {route['service']} have the same route, {path} of {host or 'every host'}",
                    "Give one of them another x-platform.route.path or other hosts.",
                    route["service"],
                    EXTENSION,
                    "route",
                )


def check_volumes(application: Application) -> None:
    defined = application.source.data.get("volumes") or {}
    for name, spec in defined.items():
        for key in ("driver", "driver_opts"):
            if (spec or {}).get(key) not in (None, {}, "local"):
                raise application.source.error(
                    f"volume {name} has `{key}`, and the platform creates plain volumes",
                    f"Create the Docker volume {application.settings.platform}_{name} on its hosts, and take `{key}` out.",
                    "volumes",
                    name,
                    key,
                )
        application.dropped += [f"volumes.{name}.{key}" for key in ("external", "name") if key in (spec or {})]
    _check_mounts(application, defined)


def _check_mounts(application: Application, defined: Mapping[str, Any]) -> None:
    for service in application.services.values():
        for entry in service.spec.get("volumes") or []:
            source, read_only = volume_source(entry)
            if not source or is_path(source):
                continue
            if source not in defined:
                raise _error(
                    application,
                    f"service {service.name} mounts volume {source}, which is not defined",
                    "Add it under `volumes`.",
                    service.name,
                    "volumes",
                )
            if source in PLATFORM_VOLUMES:
                raise _error(
                    application,
                    f"service {service.name} mounts volume {source}, "
                    f"which is the platform's own Docker volume {application.settings.platform}_{source}",
                    f"Give the volume another name, for example app_{source}.",
                    service.name,
                    "volumes",
                )
            shared = ((defined[source] or {}).get(EXTENSION) or {}).get("shared", False)
            if service.coloured and not read_only and not shared:
                raise _error(
                    application,
                    f"service {service.name} writes to volume {source}, and two colours would write at the same time",
                    f"If that is safe say volumes: {{{source}: {{x-platform: {{shared: true}}}}}}; else mount it :ro or make the service a singleton.",
                    service.name,
                    "volumes",
                )


def _error(application: Application, problem: str, cure: str, *path: str) -> Exception:
    return application.source.error(problem, cure, "services", *path)
