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
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_shapes import FILE, SERVICE, misshapen

EXTENSION = "x-platform"
# Into another file: the shell would empty compose.yaml before Compose reads it.
FLATTEN = (
    "Flatten the file: `docker compose --profile '*' config --no-interpolate --no-path-resolution -o flat.yaml`, "
    "and name that in app_compose_file."
)
# What may stand in a default: anything whose braces are balanced, four deep.
_WORD = r"[^{}]*"
for _depth in range(4):
    _WORD = rf"[^{{}}]*(?:\{{{_WORD}\}}[^{{}}]*)*"
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)"
    rf"|\{{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>{_WORD})\}}|(?P<bad>))"
)
_NUMBERS = {"port", "port_slot", "replicas"}


class SourceError(PlatformError):
    """Something in the user's file; the message begins with `file:line`."""


class Lines(dict[str, Any]):
    """A mapping of the file; `lines` says where each of its keys stands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lines: dict[str, int] = {}


class _Loader(yaml.SafeLoader):
    """YAML as Compose reads it (`no`, `12:30` and dates are text), keeping the line of every key."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first: dict[str, yaml.Node] = {}
        for key_node, _value in node.value:
            if isinstance(key_node, yaml.ScalarNode) and first.setdefault(key_node.value, key_node) is not key_node:
                line = first[key_node.value].start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value} stands here again, first in line {line}", key_node.start_mark
                )
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError):
            # `!!int x`: the text stays out of the message, for it may be somebody's password.
            raise yaml.constructor.ConstructorError(None, None, f"not a value of {node.tag}", node.start_mark) from None

    def construct_lines(self, node: yaml.MappingNode) -> Any:
        found = Lines()
        yield found
        self.flatten_mapping(node)
        for key_node, value_node in node.value:
            key = str(self.construct_object(key_node, deep=True))
            # A merged key comes before the mapping's own, which wins.
            found.lines[key] = key_node.start_mark.line + 1
            found[key] = self.construct_object(value_node, deep=True)


# Sets, ordered mappings and bytes are in no Compose file; their tags are refused with a line.
_Loader.yaml_constructors = {
    **{
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if not str(tag).endswith((":binary", ":omap", ":pairs", ":set"))
    },
    "tag:yaml.org,2002:map": _Loader.construct_lines,
    "tag:yaml.org,2002:timestamp": yaml.SafeLoader.construct_yaml_str,
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0b_*[01][01_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0[0-7_]*|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+)", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


class Source:
    """One Compose file. `where(...)` gives the place of a key for messages."""

    def __init__(self, text: str, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self.variables = variables
        self.data = self._load(text)
        self._check_shape()

    def _load(self, text: str) -> Lines:
        data = self._parse(text)
        if not isinstance(data, Lines) or not isinstance(data.get("services"), Lines) or not data["services"]:
            raise SourceError(
                f"{self.name}:1: no services", "A Compose file has a mapping `services` with at least one entry."
            )
        unused: set[tuple[str, ...]] = {(key,) for key in data if key.startswith("x-") and key != EXTENSION}
        unused |= {("services", name) for name, spec in data["services"].items() if _extension(spec).get("provided")}
        unused |= {
            ("services", name, "environment", variable)
            for name, spec in data["services"].items()
            for key in ("env_from_files", "secrets")
            for variable in _listed(_extension(spec).get(key))
        }
        resolved = self._resolve(data, (), 1, unused)
        if not isinstance(resolved, Lines):
            raise AssertionError("a mapping stays one")
        return resolved

    def _parse(self, text: str) -> Any:
        try:
            return yaml.load(text, Loader=_Loader)  # a SafeLoader that keeps line numbers  # nosec B506
        except yaml.reader.ReaderError as error:
            line, problem = text.count("\n", 0, error.position) + 1, f"{error.reason} (#x{error.character:04x})"
        except yaml.MarkedYAMLError as error:
            line, problem = error.problem_mark.line + 1 if error.problem_mark else 1, error.problem or str(error)
        except RecursionError:
            line, problem = 1, "nested too deep"
        raise SourceError(f"{self.name}:{line}: not valid YAML: {problem}", "Correct the file.")

    def _resolve(self, value: Any, path: tuple[str, ...], line: int, unused: set[tuple[str, ...]]) -> Any:
        """The value with its variables in place, except where nobody reads it: those need not be set."""
        if path in unused:
            return value
        if isinstance(value, Lines):
            result = Lines()
            result.lines = value.lines
            for key, item in value.items():
                result[key] = self._resolve(item, (*path, key), value.lines.get(key, line), unused)
            return result
        if isinstance(value, list):
            return [self._resolve(item, (*path, str(item).partition("=")[0]), line, unused) for item in value]
        return self.expand(value, f"{self.name}:{line}") if isinstance(value, str) else value

    def expand(self, text: str, where: str, more: Mapping[str, str] | None = None) -> str:
        """The text with its variables in place, of `more` where the inventory has none; `where` begins an error's message."""
        variables = {**(more or {}), **self.variables}

        def replace(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "$"
            name = match["plain"] or match["name"]
            if not name:
                # Not the text itself: it may be somebody's password.
                raise SourceError(f"{where}: a `$` that begins no variable", "Write `$$` for a literal dollar.")
            value, rest = variables.get(name), match["rest"] or ""
            operator = re.match(r":?[-?+]", rest)
            if rest and not operator:
                raise SourceError(
                    f"{where}: can't read what follows the name in ${{{name}…}}",
                    "Use ${NAME}, ${NAME:-default} or ${NAME:?message}.",
                )
            if not operator:
                if value is None:
                    raise SourceError(
                        f"{where}: variable {name} is not set",
                        f"Give it in `app_env`: {{{name}: …}}; a secret is named in x-platform.env_from_files instead.",
                    )
                return value
            given = value is not None and (value != "" or not operator[0].startswith(":"))
            word = rest[operator.end() :]
            if operator[0].endswith("+"):
                return self.expand(word, where, more) if given else ""
            if given:
                return str(value)
            if operator[0].endswith("?"):
                said = self.expand(word, where, more)
                raise SourceError(
                    f"{where}: variable {name} is not set" + (f": {said}" if said else ""),
                    f"Give it in `app_env`: {{{name}: …}}; a secret is named in x-platform.env_from_files instead.",
                )
            return self.expand(word, where, more)

        return _VARIABLE.sub(replace, text)

    def _check_shape(self) -> None:
        if "include" in self.data:
            raise self.error("`include` is not supported", FLATTEN, "include")
        for path, problem, cure in misshapen(self.data, FILE):
            raise self.error(problem, cure, *path)
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
            for path, problem, cure in misshapen(spec, SERVICE):
                raise self.error(f"service {name}: {problem}", cure, "services", name, *path)
            _numbers(_extension(spec))
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

    def line(self, *path: str | int) -> int:
        """The line of the deepest key of `path` that the file has; a number is the place of an entry in a list."""
        node: Any = self.data
        line = 1
        for key in path:
            if isinstance(key, str):
                if not isinstance(node, Lines) or key not in node:
                    break
                line = node.lines.get(key, line)
            node = node[key]
        return line

    def error(self, problem: str, cure: str, *path: str | int) -> SourceError:
        return SourceError(f"{self.name}:{self.line(*path)}: {problem}", cure)


@cache
def _validator(definition: str) -> Any:
    # Only the controller parses Compose files; jsonschema is part of its pinned environment.
    import jsonschema

    schema = json.loads((Path(__file__).parent / "x-platform.schema.json").read_text())
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]})


def _extension(spec: Any) -> dict[str, Any]:
    """The extension of a service that nobody has checked yet."""
    found = spec.get(EXTENSION) if isinstance(spec, Mapping) else None
    return found if isinstance(found, dict) else {}


def _numbers(extension: dict[str, Any]) -> None:
    """A number that came from a variable is text until now."""
    for key in _NUMBERS & extension.keys():
        if isinstance(extension[key], str) and extension[key].isdecimal():
            extension[key] = int(extension[key])


def _listed(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
