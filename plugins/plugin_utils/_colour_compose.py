# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an application to the Compose projects that run it: one a colour, one for its jobs, one for its singletons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.lastro.platform.plugins.plugin_utils._application import (
    COLOURED,
    JOBS,
    ROUTED,
    Application,
    AppService,
    secret_names,
    unique,
)
from ansible_collections.lastro.platform.plugins.plugin_utils._colour_inputs import Copy, Inputs, UserFiles
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import EXTENSION
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import (
    as_text,
    drop_empty,
    env_files,
    extra_hosts,
    is_path,
    mount_target,
    pairs,
    plain,
    variables,
    volume_source,
    words,
)
from ansible_collections.lastro.platform.plugins.plugin_utils._env_file import parse_env_file

SECRETS = "/run/secrets"
# Keys that mean something else here, or are made anew below.
_REPLACED = {
    EXTENSION,
    "build",
    "configs",
    "container_name",
    "depends_on",
    "env_file",
    "environment",
    "ports",
    "profiles",
    "scale",
    "secrets",
    "volumes",
}
_EXPORT = (
    'for n in {names}; do [ -r {secrets}/"$n" ] || {{ echo "secret $n is not readable in {secrets}" >&2; exit 78; }}; '
    'export "$n=$(cat {secrets}/"$n")"; done; exec "$@"'
)


@dataclass
class Project:
    """A Compose project for the module `stack`."""

    compose: dict[str, Any] = field(default_factory=lambda: {"services": {}})
    files: list[dict[str, Any]] = field(default_factory=list)


class Compiler:
    """Makes the projects of one application. The same input gives the same output, to the byte."""

    def __init__(self, application: Application, inputs: Inputs) -> None:
        self.application = application
        self.inputs = inputs

    def colour(self, colour: str) -> Project:
        """Everything that is copied per colour: web, static and worker services."""
        return self._project(self.application.of_kind(*COLOURED), colour)

    def migrations(self) -> Project:
        """What the module `migrate_seed` runs one-off containers of, before anything else of a release."""
        project = self._project([one for one in self.application.of_kind("migrate") if one.migrations], "")
        for spec in project.compose["services"].values():
            spec["restart"] = "no"
        return project

    def jobs(self) -> Project:
        """Migrations and seeds by commands: run once a release, in the order of the file, before its colour starts."""
        chosen = [service for service in self.application.of_kind(*JOBS) if not service.migrations]
        project = self._project(chosen, "")
        previous = ""
        for service in sorted(chosen, key=lambda s: JOBS.index(s.kind)):
            spec = project.compose["services"][service.name]
            spec.update({"restart": "no", EXTENSION: {"one_shot": True}})
            if previous:
                spec["depends_on"] = {previous: {"condition": "service_completed_successfully"}}
            previous = service.name
        return project

    def singletons(self) -> Project:
        """Services that must never run twice: outside the colours, stopped before they are started anew."""
        return self._project(self.application.of_kind("singleton"), "")

    def _project(self, chosen: Iterable[AppService], colour: str) -> Project:
        project = Project()
        for service in chosen:
            self._add(project, service, colour, {other.name: other for other in chosen})
        data = self.application.source.data
        for section in ("networks", "volumes"):
            used = self._used(project.compose["services"], section)
            entries = {name: self._section(section, name) for name in (data.get(section) or {}) if name in used}
            if entries:
                project.compose[section] = entries
        project.files = list({entry["path"]: entry for entry in project.files}.values())
        return project

    @staticmethod
    def _used(services: Mapping[str, Any], section: str) -> set[str]:
        if section == "networks":
            return {name for spec in services.values() for name in spec.get("networks") or ("default",)}
        return {volume_source(entry)[0] for spec in services.values() for entry in spec.get("volumes", [])}

    def _section(self, section: str, name: str) -> dict[str, Any]:
        given = self.application.source.data[section][name] or {}
        if section == "networks":
            # A name would be the same network in both colours.
            return {
                str(key): plain(value) for key, value in given.items() if key not in (EXTENSION, "name", "external")
            }
        return {"external": True, "name": f"{self.application.settings.platform}_{name}", EXTENSION: {"create": True}}

    def _add(self, project: Project, service: AppService, colour: str, peers: Mapping[str, AppService]) -> None:
        base = self._base(project, service)
        base["depends_on"] = self._depends_on(service, peers)
        settings = self.application.settings
        base["labels"] = {
            **pairs(service.spec.get("labels")),
            "lastro.platform": settings.platform,
            "lastro.service": service.name,
            "lastro.release": settings.release,
            **({"lastro.colour": colour} if colour else {}),
        }
        if service.kind not in ROUTED:
            if service.replicas != 1:
                base["deploy"] = {**base.get("deploy", {}), "replicas": service.replicas}
            project.compose["services"][service.name] = drop_empty(base)
            return
        # Docker gives the ports of a range out anew at every start, so each replica is a service with a port of its own.
        networks = base.pop("networks", None) or {"default": {}}
        for number, port in enumerate(self.application.ports(service.name, colour)[: service.replicas], start=1):
            aliased = {
                name: {**(spec or {}), "aliases": unique([service.name, *((spec or {}).get("aliases") or [])])}
                for name, spec in networks.items()
            }
            published = f"{settings.address}:{port}:{service.extension['port']}"
            project.compose["services"][f"{service.name}-{number}"] = drop_empty(
                {**base, "networks": aliased, "ports": [published]}
            )

    def _base(self, project: Project, service: AppService) -> dict[str, Any]:
        spec = {key: plain(value) for key, value in service.spec.items() if key not in _REPLACED}
        deploy = {key: value for key, value in (spec.pop("deploy", None) or {}).items() if key != "replicas"}
        if deploy:
            spec["deploy"] = deploy
        if isinstance(spec.get("networks"), list):
            spec["networks"] = {name: {} for name in spec["networks"]}
        spec.setdefault("restart", "unless-stopped")
        spec.setdefault("security_opt", ["no-new-privileges:true"])
        # Compose refuses a limit that is given in both places.
        if "pids" not in ((deploy.get("resources") or {}).get("limits") or {}):
            spec.setdefault("pids_limit", self.inputs.pids_limit)
        spec["environment"] = self._environment(service)
        spec["volumes"] = self._volumes(project, service)
        settings = self.application.settings
        hosts = [
            f"{name}:{settings.provided[name]}" for name in self.application.provided if settings.provided.get(name)
        ]
        spec["extra_hosts"] = [*extra_hosts(spec.get("extra_hosts") or []), *hosts]
        self._export_secrets(service, spec)
        return spec

    def _depends_on(self, service: AppService, peers: Mapping[str, AppService]) -> dict[str, Any]:
        """Only what runs in the same project: what the platform provides, and jobs, are there before."""
        wanted = service.spec.get("depends_on") or {}
        conditions = (
            wanted if isinstance(wanted, Mapping) else {name: {"condition": "service_started"} for name in wanted}
        )
        found: dict[str, Any] = {}
        for name, condition in conditions.items():
            if name not in peers:
                continue
            copies = range(1, peers[name].replicas + 1) if peers[name].kind in ROUTED else None
            for copy in [f"{name}-{number}" for number in copies] if copies else [name]:
                found[copy] = plain(condition or {"condition": "service_started"})
        return found

    def _environment(self, service: AppService) -> dict[str, str]:
        values: dict[str, str] = {}
        source = self.application.source
        files = self._files(service)
        for path, required in env_files(service.spec.get("env_file")):
            if required or files.is_there(path, "env_file"):
                values.update(parse_env_file(files.text(path, "env_file"), path, source))
        shared = (source.data.get(EXTENSION) or {}).get("environment") or {}
        values.update({key: as_text(value) for key, value in shared.items()})
        # A value for plain `docker compose up` must not stand in the container's configuration.
        hidden = set(secret_names(service))
        for name, value in variables(service.spec.get("environment")):
            found = source.variables.get(name) if value is None else value
            if found is None and name not in hidden:
                raise self._error(
                    service,
                    f"takes variable {name} from outside, and it is not set",
                    f'Give it in `app_env`: {{{name}: …}}, or write {name}: "" for an empty one.',
                    "environment",
                    name,
                )
            values[name] = found or ""
        return {name: value for name, value in values.items() if name not in hidden}

    def _volumes(self, project: Project, service: AppService) -> list[Any]:
        volumes: list[Any] = []
        for entry in service.spec.get("volumes") or []:
            source, read_only = volume_source(entry)
            if not source or not is_path(source):
                volumes.append(plain(entry))
            elif source.startswith("/"):
                if not read_only and service.name not in self.application.settings.allow_privileged:
                    raise self._error(
                        service,
                        f"writes to the host path {source}",
                        "Use a named volume, or mount it read-only.",
                        "volumes",
                    )
                volumes.append(plain(entry))
            else:
                copy = self._files(service).copy(source, "volumes")
                volumes.append(self._mount(project, copy, mount_target(entry)))
        for entry in service.spec.get("configs") or []:
            volumes.append(self._mount(project, *self._config(service, entry)))
        if secret_names(service) or self.inputs.ca:
            volumes.append(self._secrets(project, service))
        return volumes

    @staticmethod
    def _mount(project: Project, copy: Copy, target: str) -> str:
        project.files += copy.files
        return f"./{copy.path}:{target}:ro"

    def _config(self, service: AppService, entry: Any) -> tuple[Copy, str]:
        """What is mounted for a config of the service, and where."""
        name = str(entry["source"] if isinstance(entry, Mapping) else entry)
        target = str((entry.get("target") if isinstance(entry, Mapping) else None) or f"/{name}")
        defined = (self.application.source.data.get("configs") or {}).get(name) or {}
        if defined.get("file"):
            return self._files(service).copy(str(defined["file"]), "configs"), target
        if defined.get("content") is not None:
            return self._files(service).given(name, str(defined["content"]), "configs"), target
        raise self._error(
            service, f"uses config {name}, which has neither `file` nor `content`", "Give one of them.", "configs"
        )

    def _files(self, service: AppService) -> UserFiles:
        return UserFiles(self.inputs, partial(self._error, service))

    def _secrets(self, project: Project, service: AppService) -> str:
        owner = self._owner(service)
        own = self.inputs.secrets_for.get(service.name, {})
        given = {**self.inputs.secrets, **own}
        folder = f"secrets/{service.name}"
        for file, name in self._secret_files(service).items():
            # Empty for all is an oversight; empty for one service says that it gets none in this environment.
            if given.get(name) is None or (given[name] == "" and name not in own):
                raise self._error(
                    service,
                    f"reads secret {name}, which has no value",
                    f"Set app_secrets.{name} (or app_secrets_for.{service.name}.{name}) in the inventory's vault.",
                )
            project.files.append(
                {"path": f"{folder}/{file}", "content": str(given[name]), "owner": owner, "secret": True}  # a flag  # nosec B105
            )
        if self.inputs.ca:
            entry = {"path": f"{folder}/ca.crt", "content": self.inputs.ca, "owner": owner, "mode": "0444"}
            project.files.append(entry)
        return f"./{folder}:{SECRETS}:ro"

    def _secret_files(self, service: AppService) -> dict[str, str]:
        """Names of files in /run/secrets, and the secret that each holds."""
        files = {name: name for key in ("env_from_files", "secrets") for name in service.extension.get(key, [])}
        for entry in service.spec.get("secrets") or []:
            source, target = (entry["source"], entry.get("target") or "") if isinstance(entry, Mapping) else (entry, "")
            if "/" in target:
                raise self._error(
                    service,
                    f"wants secret {source} at {target}",
                    f"Give a name without a path; secrets are in {SECRETS}.",
                    "secrets",
                )
            files[str(target or source)] = str(source)
        return files

    def _owner(self, service: AppService) -> str:
        """Numeric owner of the service's secret files: the user that its container runs as."""
        image = self.inputs.images.get(service.image)
        user = str(service.spec.get("user") or (image or {}).get("user") or "0")
        uid, _colon, gid = user.partition(":")
        if not uid.isdigit() or (gid and not gid.isdigit()):
            raise self._error(
                service,
                f"runs as {user!r}, and secret files need a number",
                'Give `user: "uid:gid"` in numbers.',
                "user",
            )
        return f"{uid}:{gid or uid}"

    def _export_secrets(self, service: AppService, spec: dict[str, Any]) -> None:
        names = service.extension.get("env_from_files", [])
        if not names:
            return
        image = self.inputs.images.get(service.image)
        if image is not None and not image.get("shell", True):
            raise self._error(
                service,
                f"has env_from_files, and its image {service.image} has no shell to read them",
                "Let the program read /run/secrets itself (x-platform.secrets), or use an image with /bin/sh.",
            )
        # Overriding the entrypoint drops the image's command, so both are given again.
        try:
            entrypoint, command = words(spec.pop("entrypoint", None)), words(spec.pop("command", None))
        except ValueError:
            raise self._error(
                service, "has a command whose quotes do not close", "Close them, or write it as a list.", "command"
            ) from None
        if entrypoint is None:
            entrypoint = list((image or {}).get("entrypoint") or [])
            command = command if command is not None else list((image or {}).get("cmd") or [])
        if image is not None and not entrypoint and not command:
            raise self._error(
                service,
                "has env_from_files, and neither it nor its image names a command",
                "Give `command`.",
                "command",
            )
        script = _EXPORT.format(names=" ".join(names), secrets=SECRETS)
        spec["entrypoint"] = ["/bin/sh", "-c", script, "lastro-env", *entrypoint, *(command or [])]

    def _error(self, service: AppService, problem: str, cure: str, *path: str) -> Exception:
        return self.application.source.error(f"service {service.name} {problem}", cure, "services", service.name, *path)
