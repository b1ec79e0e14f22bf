# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Compose project should be, what it is, and what has to happen: pure functions of the module `stack`."""

from __future__ import annotations

import hashlib
import json
import os.path
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

LABEL_DEFINITION = "lastro.definition"
LABEL_FILES = "lastro.files"
EXTENSION = "x-platform"
STILL_RUNS = "it still runs and is waited for"

# What a service's container is made from besides its own definition.
_REFERENCED = ("networks", "volumes", "configs", "secrets")
_IMAGE = re.compile(r"((index\.)?docker\.io/)?(library/(?=[^/]+$))?(?P<name>.+?)(:(?P<tag>[^/:@]+))?(@(?P<digest>.+))?")


@dataclass(frozen=True)
class Reload:
    """How a service takes up changed files without being recreated: signals, or a command run inside."""

    files: tuple[str, ...]
    signals: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        return any(fnmatch(path, pattern) for pattern in self.files)


@dataclass(frozen=True)
class Service:
    """A service as it should run. `files` and `definition` are digests that its containers carry as labels."""

    name: str
    image: str
    replicas: int
    definition: str
    files: str
    reloads: tuple[Reload, ...] = ()
    reloadable: Mapping[str, str] = field(default_factory=dict)
    depends_on: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    one_shot: bool = False
    hold: bool = False


@dataclass(frozen=True)
class Container:
    """A container as the Engine lists it. `managed` is false for one that this module did not make."""

    id: str
    name: str
    service: str
    number: int
    image_id: str
    state: str
    health: str
    definition: str
    files: str
    managed: bool = True


@dataclass(frozen=True)
class Reality:
    """One look at the Engine: containers of the project, image IDs by reference, networks and volumes that are not there."""

    containers: tuple[Container, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    missing_networks: frozenset[str] = frozenset()
    missing_volumes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Action:
    """What happens to a service and why. `remove` are containers that go (extra, or made by hand)."""

    service: str
    kind: str  # none | create | recreate | start | reload | remove | pending
    why: str = ""
    # `version` where what is described is not what runs; `damage` where what runs is broken; empty where neither.
    cause: str = ""
    remove: tuple[str, ...] = ()
    reloads: tuple[Reload, ...] = ()
    # A one-shot that was left alone because it still runs: how it ends decides, so it is waited for.
    awaited: bool = False

    @property
    def acts(self) -> bool:
        """Whether anything is done at all; waiting changes nothing."""
        return self.kind not in ("none", "pending") or bool(self.reloads)


def desired_services(
    compose: Mapping[str, Any],
    directory: str,
    files: Mapping[str, str],
    hold: Iterable[str],
    frozen: Iterable[str] = (),
) -> list[Service]:
    """The services of a Compose dict.

    `files` maps each managed path (relative to `directory`) to its digest; those in `frozen` never change under their path.
    """
    changing = {path: content for path, content in files.items() if path not in set(frozen)}
    services = compose.get("services")
    if not isinstance(services, Mapping) or not services:
        raise PlatformError("`compose` has no services", "Give the Compose Specification as a dict with `services`.")
    unknown = sorted(set(hold) - set(services))
    if unknown:
        raise PlatformError(
            f"`hold` names services that are not in `compose`: {', '.join(unknown)}", "Correct the name."
        )
    found = [
        _service(compose, str(name), spec, directory, changing, name in set(hold)) for name, spec in services.items()
    ]
    for service in found:
        missing = sorted(set(service.depends_on) - {other.name for other in found})
        if missing:
            raise PlatformError(
                f"Service {service.name} depends on {', '.join(missing)}, which is not in `compose`",
                "Take the entry out of depends_on or add the service.",
            )
    layers(found, {service.name for service in found})  # a circle is refused before anything is written
    return found


def _service(
    compose: Mapping[str, Any], name: str, spec: Any, directory: str, files: Mapping[str, str], hold: bool
) -> Service:
    if not isinstance(spec, Mapping) or not spec.get("image"):
        raise PlatformError(
            f"Service {name} names no image", "Give `image`; images are built by the module `images`, not by a stack."
        )
    if "build" in spec:
        raise PlatformError(
            f"Service {name} has `build`", "Build the image first (module `images`) and name it in `image`."
        )
    seen = _mounted_files(name, spec, directory, files)
    reloads = tuple(_reload(name, rule) for rule in (spec.get(EXTENSION) or {}).get("reload", []))
    reloadable = {path: digest for path, digest in seen.items() if any(rule.covers(path) for rule in reloads)}
    fixed = {path: digest for path, digest in seen.items() if path not in reloadable}
    return Service(
        name=name,
        image=str(spec["image"]),
        replicas=_replicas(spec),
        definition=digest(_definition(compose, spec)),
        files=digest(fixed),
        reloads=reloads,
        reloadable=reloadable,
        depends_on=_depends_on(spec),
        networks=tuple(_names(spec.get("networks") or ["default"])) if "network_mode" not in spec else (),
        volumes=tuple(source for source, _target in mounts(spec) if not _is_path(source)),
        one_shot=bool((spec.get(EXTENSION) or {}).get("one_shot")) or _awaited(compose, name),
        hold=hold,
    )


def _definition(compose: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """All that a container is made from: not the order of starting, not the number of copies, not our extension."""
    own = {key: value for key, value in spec.items() if key not in (EXTENSION, "depends_on", "scale")}
    if isinstance(own.get("deploy"), Mapping):
        deploy = {key: value for key, value in own.pop("deploy").items() if key != "replicas"}
        own |= {"deploy": deploy} if deploy else {}
    referenced: dict[str, Any] = {}
    for section in _REFERENCED:
        used = set(_names(spec.get(section) or [])) | {source for source, _target in mounts(spec)}
        if section == "networks" and not spec.get("networks"):
            used.add("default")
        defined = compose.get(section) or {}
        referenced[section] = {name: defined[name] for name in sorted(used) if name in defined}
    return {"service": own, **referenced}


def digest(value: Any) -> str:
    """A short digest of a JSON value, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def mounts(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(source, target) of every volume and bind of a service; anonymous volumes have no source and are left out."""
    found: list[tuple[str, str]] = []
    for entry in spec.get("volumes") or []:
        if isinstance(entry, Mapping):
            if entry.get("source"):
                found.append((str(entry["source"]), str(entry.get("target", ""))))
        elif ":" in str(entry):
            source, target = str(entry).split(":")[:2]
            found.append((source, target))
    return found


def _mounted_files(name: str, spec: Mapping[str, Any], directory: str, files: Mapping[str, str]) -> dict[str, str]:
    """The managed files that a service sees, through the directories it mounts and its env_file entries."""
    seen: dict[str, str] = {}
    for source, _target in mounts(spec):
        if not _is_path(source):
            continue
        relative = os.path.relpath(os.path.join(directory, source), directory)
        if relative in files:
            raise PlatformError(
                f"Service {name} mounts the single file {relative}, and would go on seeing the old content after a change",
                f"Mount its directory instead ({os.path.dirname(relative) or 'a directory of its own'}).",
            )
        prefix = "" if relative == "." else relative + os.sep
        seen.update({path: content for path, content in files.items() if path.startswith(prefix)})
    entries = spec.get("env_file") or []
    for entry in [entries] if isinstance(entries, str) else entries:
        path = os.path.normpath(str(entry["path"] if isinstance(entry, Mapping) else entry))
        if path in files:
            seen[path] = files[path]
    return seen


def _is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~"))


def _reload(service: str, rule: Any) -> Reload:
    if not isinstance(rule, Mapping) or not rule.get("files"):
        raise PlatformError(
            f"Service {service}: x-platform.reload wants a list of entries with `files` and `signal` or `command`",
            "Example: [{files: [config/haproxy.cfg], signal: USR2}].",
        )
    signals = rule.get("signal", [])
    command = rule.get("command") or []
    if (signals not in ([], "", None)) == bool(command):
        raise PlatformError(
            f"Service {service}: x-platform.reload names either `signal` or `command`", "Give one of them."
        )
    return Reload(
        files=tuple(_several(rule["files"])),
        signals=tuple(_several(signals)),
        command=tuple(shlex.split(command) if isinstance(command, str) else map(str, command)),
    )


def _several(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]


def _replicas(spec: Mapping[str, Any]) -> int:
    deploy = spec.get("deploy")
    replicas = deploy.get("replicas") if isinstance(deploy, Mapping) else None
    return int(replicas if replicas is not None else spec.get("scale", 1))


def _depends_on(spec: Mapping[str, Any]) -> dict[str, str]:
    wanted = spec.get("depends_on") or {}
    if isinstance(wanted, Mapping):
        return {str(name): str((entry or {}).get("condition", "service_started")) for name, entry in wanted.items()}
    return {str(name): "service_started" for name in wanted}


def _awaited(compose: Mapping[str, Any], name: str) -> bool:
    """Whether somebody waits for this service to end well: then it is a one-shot, and `exited 0` is its good state."""
    return any(
        _depends_on(spec).get(name) == "service_completed_successfully"
        for spec in compose["services"].values()
        if isinstance(spec, Mapping)
    )


def _names(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [str(name) for name in value]
    return [str(entry["source"] if isinstance(entry, Mapping) else entry) for entry in value]


def plan(services: Iterable[Service], reality: Reality, loaded: Mapping[str, Mapping[str, str]]) -> list[Action]:
    """What has to happen to each service, in the order of the dict, then to containers of no service.

    `loaded` says which version of each reloadable file a service has taken up (the module's own record).
    """
    wanted = list(services)
    names = {service.name for service in wanted}
    actions = [_plan_one(service, reality, loaded.get(service.name, {})) for service in wanted]
    orphans: dict[str, list[str]] = {}
    for container in reality.containers:
        if container.service not in names:
            orphans.setdefault(container.service, []).append(container.id)
    gone = "not in the compose file"
    actions += [Action(name, "remove", gone, "version", tuple(ids)) for name, ids in orphans.items()]
    return actions


def _plan_one(service: Service, reality: Reality, loaded: Mapping[str, str]) -> Action:
    ours = sorted((c for c in reality.containers if c.service == service.name), key=lambda c: c.number)
    by_hand = tuple(c.id for c in ours if not c.managed)
    kept = [c for c in ours if c.managed]
    extra = tuple(c.id for c in kept[service.replicas :])
    kept = kept[: service.replicas]
    changed = sorted(path for path, content in service.reloadable.items() if loaded.get(path) != content)
    due = tuple(rule for rule in service.reloads if any(rule.covers(path) for path in changed))

    why, cause = next((found for container in kept if (found := _stale(service, container, reality))), ("", ""))
    if by_hand:
        why, cause = "its container was created by hand", "damage"
    if why and service.hold and any(c.state == "running" for c in ours):
        # What runs keeps running; files that need no restart are taken up all the same.
        return Action(service.name, "pending", why, cause, reloads=due)
    if by_hand:
        return Action(service.name, "recreate" if kept else "create", why, cause, by_hand + extra)
    if why:
        return Action(service.name, "recreate", why, cause, extra)
    # A copy that runs on takes up changed files by a reload, also where its fellow has to be started.
    again = due if any(c.state == "running" for c in kept) else ()
    if len(kept) < service.replicas:
        why = f"{len(kept)} of {service.replicas} containers are there" if kept else "not there yet"
        return Action(service.name, "create", why, "damage", extra, again)
    stopped = [c for c in kept if _needs_start(service, c)]
    if stopped:
        return Action(
            service.name, "start", f"container {stopped[0].name} is {stopped[0].state}", "damage", extra, again
        )
    if due:
        return Action(service.name, "reload", f"changed: {', '.join(changed)}", "version", extra, due)
    awaited = service.one_shot and any(c.state == "running" for c in kept)
    if extra:
        why = f"more than {service.replicas} containers"
        return Action(service.name, "remove", why, "version", extra, awaited=awaited)
    return Action(service.name, "none", STILL_RUNS if awaited else "", awaited=awaited)


def _needs_start(service: Service, container: Container) -> bool:
    return container.state != "running" and not (service.one_shot and container.state == "exited 0")


def _stale(service: Service, container: Container, reality: Reality) -> tuple[str, str] | None:
    """Why this container can't stay as it is, and the cause; None when it can stay."""
    if container.definition != service.definition:
        return "its definition changed", "version"
    if container.files != service.files:
        return "files that it reads at start changed", "version"
    image = reality.images.get(local_reference(service.image))
    if image and container.image_id != image:
        return f"image {service.image} is another one now", "version"
    # The health check of its image is one of the server that a job is not, and no reason to break it off.
    if container.health == "unhealthy" and not service.one_shot:
        return "it is unhealthy", "damage"
    if container.state in ("paused", "dead", "restarting", "removing"):
        return f"it is {container.state}", "damage"
    gone = sorted(set(service.networks) & reality.missing_networks | set(service.volumes) & reality.missing_volumes)
    return (f"network or volume missing: {', '.join(gone)}", "damage") if gone else None


def local_reference(image: str) -> str:
    """The name under which the Engine lists an image: without Docker Hub's own parts, with its tag or only its digest."""
    found = _IMAGE.fullmatch(image)
    if not found:
        return image
    return f"{found['name']}@{found['digest']}" if found["digest"] else f"{found['name']}:{found['tag'] or 'latest'}"


def layers(services: Iterable[Service], touched: set[str]) -> list[list[str]]:
    """The touched services in groups that can be started together: each group depends only on earlier ones."""
    wanted = {service.name: service for service in services}
    done: set[str] = set()
    remaining = [name for name in wanted if name in touched]
    groups: list[list[str]] = []
    while remaining:
        ready = [name for name in remaining if not (_ancestors(wanted, name) & (set(remaining) - done))]
        if not ready:
            raise PlatformError(
                f"Services depend on each other in a circle: {', '.join(sorted(remaining))}", "Break it in depends_on."
            )
        groups.append(ready)
        done |= set(ready)
        remaining = [name for name in remaining if name not in done]
    return groups


def _ancestors(services: Mapping[str, Service], name: str) -> set[str]:
    found: set[str] = set()
    queue = list(services[name].depends_on)
    while queue:
        parent = queue.pop()
        if parent not in found:
            found.add(parent)
            queue += list(services[parent].depends_on)
    return found
