# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of each part of a Compose file that is read here: what Compose would refuse, or would be read letter by letter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Path = tuple[str | int, ...]


class Shape(NamedTuple):
    """What a part has to be, in words and in types."""

    words: str
    types: tuple[type, ...]
    cure: str = "Write it as the Compose Specification has it."
    # A mapping of this shape says nothing without this key.
    needs: str = ""


_TEXT = Shape("text", (str,))
_SCALAR = Shape("text or a number", (str, int, float))
_LIST = Shape("a list", (list,))
_MAPPING = Shape("a mapping", (dict,))
_SECTION = Shape("a mapping", (dict,), "Give each entry a name.")
_LIST_OR_MAPPING = Shape("a list or a mapping", (list, dict))
_TEXT_OR_LIST = Shape("text or a list", (str, list))
_TEXT_OR_MAPPING = Shape("text or a mapping", (str, dict))

# `*` is each value of a mapping, `#` each entry of a list. What holds others comes before them.
FILE: dict[str, Shape] = {
    **dict.fromkeys(("volumes", "networks", "configs", "secrets"), _SECTION),
    **dict.fromkeys(("volumes.*", "networks.*", "configs.*", "secrets.*", "networks.*.ipam"), _MAPPING),
    "networks.*.ipam.config": _LIST,
    **dict.fromkeys(("configs.*.file", "configs.*.content"), _TEXT),
}
SERVICE: dict[str, Shape] = {
    **dict.fromkeys(("image", "user", "network_mode", "pid", "ipc", "uts", "cgroup", "userns_mode"), _TEXT),
    **dict.fromkeys(("profiles", "volumes", "configs", "secrets", "post_start", "pre_stop"), _LIST),
    **dict.fromkeys(("cap_add", "devices", "device_cgroup_rules", "security_opt"), _LIST),
    **dict.fromkeys(("depends_on", "environment", "extra_hosts", "labels", "networks"), _LIST_OR_MAPPING),
    **dict.fromkeys(("deploy", "deploy.resources", "deploy.resources.limits"), _MAPPING),
    **dict.fromkeys(("env_file", "command", "entrypoint"), _TEXT_OR_LIST),
    **dict.fromkeys(("profiles.#", "depends_on.#", "networks.#"), _TEXT),
    **dict.fromkeys(("cap_add.#", "device_cgroup_rules.#", "security_opt.#"), _TEXT),
    **dict.fromkeys(("depends_on.*", "networks.*", "post_start.#", "pre_stop.#"), _MAPPING),
    "networks.*.aliases": _LIST,
    "networks.*.aliases.#": _TEXT,
    **dict.fromkeys(("environment.*", "environment.#", "labels.*", "labels.#"), _SCALAR),
    **dict.fromkeys(("command.#", "entrypoint.#", "extra_hosts.#", "extra_hosts.*.#"), _SCALAR),
    "extra_hosts.*": _TEXT_OR_LIST,
    "volumes.#": _TEXT_OR_MAPPING._replace(needs="target"),
    "configs.#": _TEXT_OR_MAPPING._replace(needs="source"),
    "secrets.#": _TEXT_OR_MAPPING._replace(needs="source"),
    "env_file.#": _TEXT_OR_MAPPING._replace(needs="path"),
    "devices.#": _TEXT_OR_MAPPING._replace(needs="source"),
    **dict.fromkeys(("volumes.#.type", "volumes.#.source", "volumes.#.target", "env_file.#.path"), _TEXT),
    **dict.fromkeys(("configs.#.source", "configs.#.target", "secrets.#.source", "secrets.#.target"), _TEXT),
    "build": _TEXT_OR_MAPPING,
    **dict.fromkeys(("build.context", "build.dockerfile", "build.target"), _TEXT),
    "build.args": _LIST_OR_MAPPING,
    **dict.fromkeys(("build.args.*", "build.args.#"), _SCALAR),
}


def misshapen(node: Any, shapes: Mapping[str, Shape]) -> Iterator[tuple[Path, str, str]]:
    """(path, problem, cure) of each part of `node` that has another shape. A key without a value is as good as absent."""
    for pattern, shape in shapes.items():
        for path, value in _parts(node, tuple(pattern.split("."))):
            if value is None and isinstance(path[-1], str):
                continue
            if not isinstance(value, shape.types):
                quotes = shape is _TEXT and isinstance(value, (int, float))
                yield path, f"`{_written(path)}` is not {shape.words}", "Put it in quotes." if quotes else shape.cure
            elif shape.needs and isinstance(value, Mapping) and not value.get(shape.needs):
                yield path, f"`{_written(path)}` has no `{shape.needs}`", shape.cure


def _parts(node: Any, pattern: tuple[str, ...]) -> Iterator[tuple[Path, Any]]:
    if not pattern:
        yield (), node
        return
    first, rest = pattern[0], pattern[1:]
    inner: list[tuple[str | int, Any]] = []
    if first == "#":
        inner += enumerate(node) if isinstance(node, list) else ()
    elif isinstance(node, Mapping):
        inner += [(key, value) for key, value in node.items() if first in ("*", key)]
    for key, value in inner:
        for path, part in _parts(value, rest):
            yield (key, *path), part


def _written(path: Path) -> str:
    """`volumes[0].target`, as people write it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
