# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the arguments of the lookup and the action `application` to the application, its files included."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings, secret_names
from ansible_collections.lastro.platform.plugins.plugin_utils._colour_inputs import Inputs
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import EXTENSION, Source
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_values import as_text


def load(arguments: Mapping[str, Any]) -> tuple[Application, str]:
    """The application that the arguments describe, and the directory of its Compose file."""
    path = os.path.abspath(str(arguments["compose_file"]))
    directory = os.path.dirname(path)
    try:
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
    except OSError as error:
        raise PlatformError(
            f"The Compose file {path} can't be read: {error.strerror}", "Correct app_compose_file."
        ) from error
    except UnicodeDecodeError as error:
        raise PlatformError(f"The Compose file {path} is not text in UTF-8", "Save it as UTF-8.") from error
    release = str(arguments.get("release") or "")
    environment = str(arguments.get("environment") or "")
    variables = {"APP_RELEASE": release, "APP_ENVIRONMENT": environment}
    given = {str(key): as_text(value) for key, value in (arguments.get("env") or {}).items()}
    source = Source(text, os.path.basename(path), {**{k: v for k, v in variables.items() if v}, **given})
    _check_names(source, arguments)
    settings = Settings(
        platform=str(arguments["platform"]),
        address=str(arguments["address"]),
        release=release,
        port_base=int(arguments.get("port_base") or 18000),
        replicas_max=int(arguments.get("replicas_max") or 4),
        replicas={str(key): _copies(key, value) for key, value in (arguments.get("replicas") or {}).items()},
        profiles=tuple(arguments.get("profiles") or ()),
        allow_privileged=tuple(arguments.get("allow_privileged") or ()),
        state_dir=str(arguments.get("state_dir") or Settings.state_dir),
        provided={str(key): str(value) for key, value in (arguments.get("provided") or {}).items()},
    )
    application = Application(source, settings)
    if not arguments.get("lenient"):
        _check_secrets(application, arguments.get("secrets_for") or {})
    return application, directory


def _check_names(source: Source, arguments: Mapping[str, Any]) -> None:
    """Names that nothing has would be ignored in silence: a copy less, a secret of another service."""
    services = source.data["services"]
    # What the platform provides does not run from the file; a service whose profile is not chosen may in another environment.
    own = [name for name, spec in services.items() if not (spec.get(EXTENSION) or {}).get("provided")]
    # What comes back is not held against what the inventory says of services that came later.
    options = (
        ("replicas", "allow_privileged")
        if arguments.get("lenient")
        else ("replicas", "allow_privileged", "secrets_for")
    )
    for option in options:
        _check("service", f"app_{option}", arguments.get(option) or (), own, "the application does not have")
    profiles = {profile for spec in services.values() for profile in spec.get("profiles") or []}
    _check("profile", "app_profiles", arguments.get("profiles") or (), profiles, "the application does not have")


def _check_secrets(application: Application, secrets_for: Mapping[str, Any]) -> None:
    for name, given in secrets_for.items():
        variable = f"app_secrets_for.{name}"
        if not isinstance(given, Mapping):
            raise PlatformError(f"{variable} is not a mapping", "Give the secrets of the service by name.")
        if name in application.services:
            _check("secret", variable, given, secret_names(application.services[name]), "the service does not read")


def _check(kind: str, variable: str, given: Iterable[Any], known: Collection[str], absent: str) -> None:
    wrong = [str(name) for name in given if name not in known]
    if wrong:
        raise PlatformError(
            f"{variable} names the {kind} {wrong[0]}, which {absent}",
            f"Its {kind}s: {', '.join(sorted(known)) or 'none'}.",
        )


def _copies(service: str, given: Any) -> int:
    if not str(given).isdecimal():
        raise PlatformError(
            f"app_replicas.{service} is {given!r}, which is no number of copies", "Give a number, 0 or more."
        )
    return int(given)


def inputs(arguments: Mapping[str, Any], directory: str) -> Inputs:
    """What the arguments give the compiler: values, and the files beside the Compose file."""
    images = arguments.get("images") or {}
    return Inputs(
        secrets=arguments.get("secrets") or {},
        secrets_for=arguments.get("secrets_for") or {},
        # In check mode an image that is not there yet has no ID, and nothing is known of it.
        images={name: image for name, image in images.items() if image.get("id")},
        ca=str(arguments.get("ca") or ""),
        pids_limit=int(arguments["pids_limit"]),
        read=lambda path: _read(os.path.join(directory, path)),
        list_files=lambda path: _list_files(os.path.join(directory, path)),
        executable=lambda path: bool(os.stat(os.path.join(directory, path)).st_mode & 0o111),
    )


def traced(given: Inputs, reads: set[str]) -> Inputs:
    """The same inputs, which note each file that is read."""

    def read(path: str) -> bytes:
        content = given.read(path)
        reads.add(path)
        return content

    return replace(given, read=read)


def source_of(
    arguments: Mapping[str, Any], given: Inputs, images: Mapping[str, Any], reads: Iterable[str]
) -> dict[str, Any]:
    """Everything that an application was made from but its secrets, to make it again when the user's files have moved on."""
    path = os.path.abspath(str(arguments["compose_file"]))
    return {
        "name": os.path.basename(path),
        "text": _read(path).decode(),
        "files": {
            name: {"content": base64.b64encode(given.read(name)).decode(), "executable": given.executable(name)}
            for name in sorted(reads)
        },
        "images": dict(images),
        **{name: arguments.get(name) for name in ("env", "profiles", "replicas", "allow_privileged")},
    }


def _read(path: str) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()


def _list_files(path: str) -> list[str]:
    """Files below a directory, relative to it; empty for a file."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), path) for folder, _folders, names in os.walk(path) for name in names
    )


def outline(application: Application, directory: str) -> dict[str, Any]:
    """What other roles need to know of an application before it runs."""
    return {
        "release": application.settings.release,
        "images": application.images(directory),
        "routes": application.routes(),
        "replicas": application.replicas(),
        "secrets": application.secret_names(),
        "probes": application.probes(),
        "provided": application.provided,
        "dropped": application.dropped,
        "services": {
            service.name: {"kind": service.kind, "image": service.image, "replicas": service.replicas}
            for service in application.services.values()
        },
    }
