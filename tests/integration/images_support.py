# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the module `images` share: recipes, a module run that can be killed, an Engine that is listened to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine

from tests.support import REPOSITORY

ENGINE = Engine()
ROLE = REPOSITORY / "roles" / "images"
LABEL = "lastro.test"


def catalogue() -> list[dict[str, Any]]:
    """The role's catalogue, its file look-ups resolved as Ansible does."""

    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: text(inner) for key, inner in value.items()}
        if isinstance(value, str) and value.startswith("{{ lookup("):
            return (ROLE / "files" / value.split("'")[3]).read_text().rstrip()
        return value

    items = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__images_catalogue"]
    return [text(item) for item in items]


def recipe(name: str, *lines: str, base: str = "lastro/base:trixie", **options: Any) -> dict[str, Any]:
    """An image of a test, with the label that its leftovers are found by."""
    lines = (f"FROM {base}", f"LABEL {LABEL}={name.partition('/')[0]}", *lines)
    return {"name": name, "dockerfile": "\n".join(lines), **options}


def remove_images(prefix: str) -> None:
    """Remove all images of a test: by name, by digest, and the nameless ones that a newer build left."""
    for image in ENGINE.get("/images/json"):
        for name in [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]:
            if f"{prefix}/" in name:
                ENGINE.delete(f"/images/{name}", force=1)
    # An image goes after those that stand on it.
    while left := ENGINE.get("/images/json", filters={"label": [f"{LABEL}={prefix}"]}):
        parents = {image["ParentId"] for image in left}
        for image in left:
            if image["Id"] not in parents:
                ENGINE.delete(f"/images/{image['Id']}", force=1)


def image_of(name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = ENGINE.find(f"/images/{name}/json")
    return found


def actions(result: dict[str, Any]) -> dict[str, str]:
    assert not result.get("failed"), result["msg"]
    return {name.partition("/")[2]: image["action"] for name, image in result["images"].items()}


class Asked:
    """A socket that passes everything on to the Engine and writes down the first line of each request."""

    def __init__(self, path: Path, questions: list[bytes]) -> None:
        self.path, self.questions = path, questions
        self.server = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> str:
        self.server.bind(str(self.path))
        self.server.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return str(self.path)

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            request = client.recv(65536)
            self.questions.append(request.splitlines()[0])
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(ENGINE.path)
                engine.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                while data := engine.recv(65536):
                    client.sendall(data)
            client.close()


@contextmanager
def started(
    images: list[dict[str, Any]], work: Path, progress: Path, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """The module in a process of its own, to be killed; killed in any case."""
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "plugins" / "modules" / "images.py")],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    arguments = {"images": images, "work_dir": str(work), "progress": str(progress), **options}
    try:
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        process.stdin.close()
        process.stdin = None
        yield process
    finally:
        process.kill()
        process.wait()
