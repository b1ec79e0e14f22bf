# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory with a Compose file in it, compiled as the action plugin `application` does it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import inputs
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._colour_compose import Compiler, Project
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source


class Tree:
    """A directory with files, compiled from as the action plugin does it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, **files: str | bytes) -> None:
        for name, content in files.items():
            path = self.directory / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def compiler(self, text: str, variables: dict[str, str] | None = None, **given: Any) -> Compiler:
        outside = {name: given.pop(name) for name in ("secrets", "secrets_for", "images", "ca") if name in given}
        outside["pids_limit"] = given.pop("pids_limit", 512)
        settings = Settings(platform="shop", address="10.0.0.5", release="r1", **given)
        application = Application(Source(textwrap.dedent(text), "compose.yaml", variables or {}), settings)
        outside["images"] = {name: {"id": "sha256:1", **image} for name, image in outside.get("images", {}).items()}
        return Compiler(application, inputs(outside, str(self.directory)))

    def app(self, lines: str, tail: str = "", **given: Any) -> Project:
        """The blue colour of one service `app`, whose lines begin in line 4."""
        body = textwrap.indent(textwrap.dedent(lines), "    ")
        return self.compiler(f"services:\n  app:\n    image: shop/app:1\n{body}\n{tail}", **given).colour("blue")


def spec(project: Project, name: str = "app") -> dict[str, Any]:
    found: dict[str, Any] = project.compose["services"][name]
    return found
