# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's Compose file as data that still knows its lines: parsed, variables resolved, extension validated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

EXTENSION = "x-platform"
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|(?P<bad>))"
)


class SourceError(PlatformError):
    """Something in the user's file; the message begins with `file:line`."""


class Lines(dict[str, Any]):
    """A mapping of the file; `lines` says where each of its keys stands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lines: dict[str, int] = {}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without timestamps, as Compose reads it, keeping the line of every key."""

    def construct_lines(self, node: yaml.MappingNode) -> Any:
        found = Lines()
        yield found
        self.flatten_mapping(node)
        for key_node, value_node in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in found and key_node.start_mark.line + 1 != found.lines.get(key):
                found.lines[key] = key_node.start_mark.line + 1
            found.lines.setdefault(key, key_node.start_mark.line + 1)
            found[key] = self.construct_object(value_node, deep=True)


_Loader.yaml_constructors = {
    **yaml.SafeLoader.yaml_constructors,
    "tag:yaml.org,2002:map": _Loader.construct_lines,
    "tag:yaml.org,2002:timestamp": yaml.SafeLoader.construct_yaml_str,
}


class Source:
    """One Compose file. `where(...)` gives the place of a key for messages."""

    def __init__(self, text: str, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self.variables = variables
        self.data = self._load(text)
        self._check_shape()

    def _load(self, text: str) -> Lines:
        try:
            data = yaml.load(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise SourceError(
                f"{self.name}:{line}: not valid YAML: {error.problem or error}", "Correct the file."
            ) from error
        if not isinstance(data, Lines) or not isinstance(data.get("services"), Lines) or not data["services"]:
            raise SourceError(
                f"{self.name}:1: no services", "A Compose file has a mapping `services` with at least one entry."
            )
        resolved = self._resolve(data, ("",))
        assert isinstance(resolved, Lines)
        return resolved

    def _resolve(self, value: Any, path: tuple[str, ...], line: int = 1) -> Any:
        if isinstance(value, Lines):
            result = Lines()
            result.lines = value.lines
            for key, item in value.items():
                result[key] = self._resolve(item, (*path, key), value.lines.get(key, line))
            return result
        if isinstance(value, list):
            return [self._resolve(item, path, line) for item in value]
        if isinstance(value, str):
            return self._expand(value, line)
        return value

    def _expand(self, text: str, line: int) -> str:
        def replace(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "$"
            name = match["plain"] or match["name"]
            if not name:
                raise SourceError(f"{self.name}:{line}: a lone `$` in {text!r}", "Write `$$` for a literal dollar.")
            value, rest = self.variables.get(name), match["rest"] or ""
            operator = re.match(r":?[-?+]", rest)
            if rest and not operator:
                raise SourceError(
                    f"{self.name}:{line}: can't read ${{{name}{rest}}}",
                    "Use ${NAME}, ${NAME:-default} or ${NAME:?message}.",
                )
            if not operator:
                if value is None:
                    raise SourceError(
                        f"{self.name}:{line}: variable {name} is not set", f"Give it in `app_env`: {{{name}: …}}."
                    )
                return value
            given = value is not None and (value != "" or not operator[0].startswith(":"))
            word = rest[operator.end() :]
            if operator[0].endswith("+"):
                return self._expand(word, line) if given else ""
            if given:
                return str(value)
            if operator[0].endswith("?"):
                raise SourceError(
                    f"{self.name}:{line}: variable {name} is not set: {self._expand(word, line)}",
                    "Give it in `app_env`.",
                )
            return self._expand(word, line)

        return _VARIABLE.sub(replace, text)

    def _check_shape(self) -> None:
        for key in ("include",):
            if key in self.data:
                raise self.error(
                    f"`{key}` is not supported", "Flatten the file: `docker compose config > compose.yaml`.", key
                )
        for name, spec in self.data["services"].items():
            if not isinstance(spec, Lines):
                raise self.error(f"service {name} is not a mapping", "Give it at least `image`.", "services", name)
            if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
                raise self.error(
                    f"service name {name!r} can't become part of a host name",
                    "Use lower-case letters, digits and hyphens, beginning with a letter.",
                    "services",
                    name,
                )
        self._validate(self.data.get(EXTENSION), "application", EXTENSION)
        for section in ("services", "volumes"):
            for name, spec in (self.data.get(section) or {}).items():
                if isinstance(spec, Mapping):
                    self._validate(spec.get(EXTENSION), section.removesuffix("s"), section, name, EXTENSION)

    def _validate(self, value: Any, definition: str, *path: str) -> None:
        if value is None:
            return
        for error in sorted(
            _validator(definition).iter_errors(_plain(value)), key=lambda e: (list(map(str, e.path)), e.message)
        ):
            inner = [str(part) for part in error.path if isinstance(part, str)]
            unknown = re.search(r"'([^']+)' (?:was|were) unexpected", error.message)
            raise self.error(
                f"{'.'.join([*path[1:], *inner]) or EXTENSION}: {error.message}",
                "See docs/x-platform.md for the keys of `x-platform`.",
                *path,
                *inner,
                *([unknown[1]] if unknown else []),
            )

    def line(self, *path: str) -> int:
        """The line of the deepest key of `path` that the file has."""
        node: Any = self.data
        line = 1
        for key in path:
            if not isinstance(node, Lines) or key not in node:
                break
            line = node.lines.get(key, line)
            node = node[key]
        return line

    def error(self, problem: str, cure: str, *path: str) -> SourceError:
        return SourceError(f"{self.name}:{self.line(*path)}: {problem}", cure)


@cache
def _validator(definition: str) -> Any:
    # Only the controller parses Compose files; jsonschema is part of its pinned environment.
    import jsonschema

    schema = json.loads((Path(__file__).parent / "x-platform.schema.json").read_text())
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
