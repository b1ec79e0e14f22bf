# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seed files: rows of a table with its natural key, as YAML, JSON or CSV. A message names file and line."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

DESCRIPTION = ("table", "key", "environments", "remove_missing")
# What stands between the values of a JSON text.
_BETWEEN = re.compile(r"[\s,:]*")
# Postgres' own text format of COPY.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Seed:
    """One file: where its rows belong, and the rows. `csv` seeds are streamed from `path`, the others are in `rows`."""

    path: str
    name: str
    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    environments: tuple[str, ...] = ()
    remove_missing: bool = False
    # The text of each value, None for NULL; in the order of `columns`.
    rows: tuple[tuple[str | None, ...], ...] = ()
    # The line of each row.
    lines: tuple[int, ...] = ()
    csv: bool = False

    def copy_options(self) -> str:
        return "FORMAT csv, HEADER true" if self.csv else "FORMAT text"

    def text(self) -> io.TextIOBase | io.StringIO:
        """What COPY reads."""
        if self.csv:
            return open(self.path, encoding="utf-8", newline="")
        return io.StringIO("".join(_copy_line(row) for row in self.rows))

    def line_of(self, record: int) -> int:
        """The line at which a record (from 1) begins."""
        if not self.csv:
            return self.lines[record - 1]
        with open(self.path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            line = 1
            for number, _row in enumerate(reader):
                if number == record:
                    return line
                line = reader.line_num + 1
        return line

    def fenced(self, environment: str) -> bool:
        """Whether it must not run in this environment."""
        return bool(self.environments) and environment not in self.environments


def load(path: str, given: Mapping[str, Any], name: str = "") -> Seed:
    """A seed file. What describes it stands in the file (YAML, JSON) or in `given`; both only where they agree."""
    name = name or os.path.basename(path)
    suffix = os.path.splitext(path)[1].lower()
    readers = {".yml": _structured, ".yaml": _structured, ".json": _structured, ".csv": _table}
    if suffix not in readers:
        raise PlatformError(f"{name} is no seed file", f"Its name ends with one of {', '.join(sorted(readers))}.")
    try:
        return readers[suffix](path, name, {key: value for key, value in given.items() if value is not None})
    except OSError as error:
        raise PlatformError(f"{name} can't be read: {error.strerror}", "Correct `file`.") from error
    except UnicodeDecodeError as error:
        raise PlatformError(f"{name} is not text in UTF-8", "Save it as UTF-8.") from error


def _structured(path: str, name: str, given: Mapping[str, Any]) -> Seed:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    data, lines = _parse(text, path, name)
    described: Mapping[str, Any] = {} if isinstance(data, list) else data
    if not isinstance(data, (list, dict)):
        raise PlatformError(
            f"{name}:1: neither a mapping with `rows` nor a list of rows", "See the documentation of `seeds`."
        )
    foreign = sorted(set(described) - {*DESCRIPTION, "rows"})
    if foreign:
        raise PlatformError(f"{name}: unknown key {foreign[0]}", f"It can have rows, {', '.join(DESCRIPTION)}.")
    entries = data if isinstance(data, list) else described.get("rows")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PlatformError(f"{name}: `rows` is not a list of mappings", "Each row is a mapping of column and value.")
    columns = tuple(dict.fromkeys(column for entry in entries for column in entry))
    for entry, line in zip(entries, lines, strict=True):
        missing = [column for column in columns if column not in entry]
        if missing:
            raise PlatformError(
                f"{name}:{line}: this row has no {missing[0]}", "Give every row the same columns (null is a value)."
            )
    rows = tuple(tuple(_as_text(entry[column]) for column in columns) for entry in entries)
    return _described(
        path, name, {**described, **_agreeing(name, described, given)}, columns, rows=rows, lines=tuple(lines)
    )


def _table(path: str, name: str, given: Mapping[str, Any]) -> Seed:
    with open(path, encoding="utf-8", newline="") as file:
        header = next(csv.reader(file), [])
    if not header or not all(header):
        raise PlatformError(f"{name}:1: the first line does not name the columns", "Give it a header.")
    return _described(path, name, given, tuple(header), csv=True)


def _described(path: str, name: str, description: Mapping[str, Any], columns: tuple[str, ...], **more: Any) -> Seed:
    table, key = str(description.get("table") or ""), _names(description.get("key"))
    if not table or not key:
        raise PlatformError(
            f"{name} has no {'key' if table else 'table'}", "Say which table it is for, and its natural key."
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise PlatformError(f"{name}:1: column {twice[0]} stands twice", "Take one out.")
    absent = [column for column in key if column not in columns]
    if absent and (columns or more.get("csv")):
        raise PlatformError(
            f"{name}: its key {absent[0]} is no column of its rows", "Correct `key`, or give the column."
        )
    removes = description.get("remove_missing", False)
    if not isinstance(removes, bool | None):
        raise PlatformError(f"{name}: `remove_missing` is {removes!r}", "Write true or false, without quotes.")
    if description.get("environments", "all") in (None, "", []):
        raise PlatformError(
            f"{name}: `environments` names none", "Name those it is for, or leave it out: it is for all."
        )
    return Seed(
        path=path,
        name=name,
        table=table,
        key=key,
        # Of no rows the key is enough: with `remove_missing` all go.
        columns=columns or key,
        environments=_names(description.get("environments")),
        remove_missing=bool(removes),
        **more,
    )


def _agreeing(name: str, described: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in sorted(set(described) & set(given)):
        if _names(described[key]) != _names(given[key]):
            raise PlatformError(
                f"{name} says {key}: {described[key]}, and the task says {given[key]}", "Say it in one place."
            )
    return given


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, (list, tuple)) else (str(value),) if value else ()


def _parse(text: str, path: str, name: str) -> tuple[Any, list[int]]:
    """The data, and the line at which each row begins."""
    return _parse_json(text, name) if path.lower().endswith(".json") else _parse_yaml(text, name)


def _parse_json(text: str, name: str) -> tuple[Any, list[int]]:
    try:
        return json.loads(text), list(_json_lines(text))
    except json.JSONDecodeError as error:
        raise PlatformError(f"{name}:{error.lineno}: {error.msg}", "Correct the file.") from error


def _json_lines(text: str) -> Iterator[int]:
    """The line of each element of the list that a text of JSON is, or has as `rows`."""
    decoder = json.JSONDecoder()

    def after(place: int) -> int:
        found = _BETWEEN.match(text, place)
        return found.end() if found else place

    place = after(0)
    if text[place] == "{":
        place, rows = after(place + 1), place
        while text[place] != "}":
            key, place = decoder.raw_decode(text, place)
            rows = after(place) if key == "rows" else rows
            place = after(decoder.raw_decode(text, after(place))[1])
        place = rows
    if text[place] != "[":
        return
    line, counted, place = 1, 0, after(place + 1)
    while text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        yield line
        place = after(decoder.raw_decode(text, place)[1])


def _parse_yaml(text: str, name: str) -> tuple[Any, list[int]]:
    try:
        import yaml
    except ImportError as error:
        raise PlatformError(
            f"{name} can't be read on this host: it has no PyYAML",
            "Install the package python3-yaml there, or use CSV.",
        ) from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(text, Loader=loader)
        data = yaml.load(text, Loader=loader)  # one of the safe ones  # nosec B506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlatformError(f"{name}:{line}: {error.problem or 'not valid'}", "Correct the file.") from error
    except ValueError as error:
        raise PlatformError(f"{name}: {error}", "Correct the file.") from error
    rows = node
    if isinstance(node, yaml.MappingNode):
        rows = next((value for key, value in node.value if key.value == "rows"), None)
    return data, [row.start_mark.line + 1 for row in rows.value] if isinstance(rows, yaml.SequenceNode) else []


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, (dict, list)) else str(value)


def _copy_line(row: Sequence[str | None]) -> str:
    return "\t".join("\\N" if value is None else value.translate(_ESCAPES) for value in row) + "\n"
