# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pull whose registry does not answer at once: many hosts ask it in the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _image_build
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._images import Image, Step, parse_reference

NAME = "shop/web:1"
BUSY = 'Get "https://registry.example.com/v2/": net/http: TLS handshake timeout'
DENIED = "denied: requested access to the resource is denied"


class Registry(Engine):
    """An Engine whose registry answers each pull with the next of these errors, and well when none is left."""

    def __init__(self, errors: list[str], in_the_stream: bool) -> None:
        super().__init__("/nonexistent/docker.sock")
        self.errors = errors
        self.in_the_stream = in_the_stream
        self.tagged: list[str] = []

    def stream(self, *_arguments: Any, **_query: Any) -> Iterator[dict[str, Any]]:
        if self.errors:
            error = self.errors.pop(0)
            if not self.in_the_stream:
                raise EngineError(500, error)
            yield {"error": error}
        yield {"id": "layer", "status": "Pull complete"}

    def post(self, path: str, _body: Any = None, **query: Any) -> Any:
        self.tagged.append(f"{path} {query['repo']}:{query['tag']}")


def pull(registry: Registry, progress: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(_image_build.time, "sleep", pauses.append)
    upstream = parse_reference(f"registry.example.com/{NAME}@sha256:{'0' * 64}")
    workshop = _image_build.Workshop(
        registry, {NAME: Image(NAME, upstream)}, {}, [], {}, {}, progress.parent, _image_build.Progress(str(progress))
    )
    workshop.act(Step(NAME, "pull", "not there yet"))
    return pauses


@pytest.mark.parametrize("in_the_stream", [True, False])
def test_it_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_stream: bool) -> None:
    registry = Registry([BUSY, BUSY], in_the_stream)
    assert pull(registry, tmp_path / "progress", monkeypatch) == [1.0, 4.0]
    assert len(registry.tagged) == 1
    assert "no answer from registry.example.com, asked again in 1 s" in (tmp_path / "progress").read_text()


@pytest.mark.parametrize(
    ("errors", "left", "cure"), [([BUSY] * 4, 1, "Make the registry reachable"), ([DENIED, DENIED], 1, "did answer")]
)
def test_not_for_ever_and_not_after_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: list[str], left: int, cure: str
) -> None:
    registry = Registry(errors, in_the_stream=True)
    with pytest.raises(PlatformError, match=cure):
        pull(registry, tmp_path / "progress", monkeypatch)
    assert (len(registry.errors), registry.tagged) == (left, [])
