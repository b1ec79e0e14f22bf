# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile the application on the controller: no module runs on a host. Documented in plugins/modules/application.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import (
    inputs,
    load,
    outline,
    source_of,
    traced,
)
from ansible_collections.lastro.platform.plugins.plugin_utils._application import COLOURS, Application
from ansible_collections.lastro.platform.plugins.plugin_utils._application_migrations import migrations
from ansible_collections.lastro.platform.plugins.plugin_utils._colour_compose import Compiler, Project

_SPEC: dict[str, dict[str, Any]] = {
    "compose_file": {"type": "path", "required": True},
    "platform": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "release": {"type": "str"},
    "environment": {"type": "str"},
    "env": {"type": "dict", "default": {}},
    "port_base": {"type": "int", "default": 18000},
    "replicas_max": {"type": "int", "default": 4},
    "replicas": {"type": "dict", "default": {}},
    "profiles": {"type": "list", "elements": "str", "default": []},
    "allow_privileged": {"type": "list", "elements": "str", "default": []},
    "state_dir": {"type": "str"},
    "pids_limit": {"type": "int", "default": 512},
    "provided": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "secrets_for": {"type": "dict", "default": {}, "no_log": True},
    "images": {"type": "dict", "default": {}},
    "ca": {"type": "str", "default": ""},
    "migrations": {"type": "dict", "default": {}},
    "lenient": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Compile a Compose file into the projects of an application."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(_SPEC)
        try:
            application, directory = load(arguments)
            compiled = {**outline(application, directory), **_compiled(application, directory, arguments)}
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}
        # Everything in here may hold a secret: nothing of it is printed at any verbosity.
        return {**result, **compiled, "changed": False, "_ansible_no_log": True}


def _compiled(application: Application, directory: str, arguments: dict[str, Any]) -> dict[str, Any]:
    reads: set[str] = set()
    given = traced(inputs(arguments, directory), reads)
    compiler = Compiler(application, given)
    compiled = {
        "colours": {colour: _project(compiler.colour(colour)) for colour in COLOURS},
        "migrations": {
            "services": migrations(application, given, {} if arguments["lenient"] else arguments["migrations"]),
            **_project(compiler.migrations()),
        },
        "jobs": _project(compiler.jobs()),
        "singletons": _project(compiler.singletons()),
        "checks": {colour: application.checks(colour) for colour in COLOURS},
        "probes": application.probes(),
        "smoke": application.smoke(),
    }
    names = [image["name"] for image in application.images(directory)]
    images = {name: arguments["images"][name] for name in names if arguments["images"].get(name)}
    return {
        **compiled,
        "image_ids": {name: image.get("id") or "" for name, image in images.items()},
        "source": source_of(arguments, given, images, reads),
    }


def _project(project: Project) -> dict[str, Any]:
    return {"compose": project.compose, "files": project.files}
