# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of one HTTP address."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._checks_base import Reply, Spec, Wrong, ask, own_headers


def probe_http(spec: Spec, seconds: float) -> str:
    """One request, and what its answer has to be."""
    reply = ask(spec, spec["url"], seconds, own_headers(spec), spec["method"])
    if reply.status not in spec["status"]:
        raise Wrong(f"status {reply.status}, wanted {' or '.join(map(str, spec['status']))}", str(reply))
    for header, wanted in spec["expected_headers"].items():
        if reply.headers.get(header) != str(wanted):
            raise Wrong(f"header {header} is {reply.headers.get(header)!r}, wanted {str(wanted)!r}", str(reply))
    if spec["json"]:
        _conditions_hold(spec["json"], reply)
    return str(reply)


def dig(document: Any, path: str) -> Any:
    """The value at `a.b[0].c` of a decoded JSON document; KeyError where there is none."""
    if not re.fullmatch(r"[^.\[\]]*(\[\d+\]|\.[^.\[\]]+)*", path):
        raise KeyError(path)
    value = document
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            value = value[key] if key else value[int(index)]
        except (KeyError, IndexError, TypeError) as error:
            raise KeyError(path) from error
    return value


def _conditions_hold(conditions: list[Spec], reply: Reply) -> None:
    document, answer = reply.decoded(), str(reply)
    for condition in conditions:
        try:
            value = dig(document, condition["path"])
        except KeyError as error:
            raise Wrong(f"there is nothing at {condition['path']}", answer) from error
        equals, matches = condition["equals"], condition["matches"]
        # In Python True == 1, in JSON it is not.
        if equals is not None and (value != equals or isinstance(value, bool) != isinstance(equals, bool)):
            raise Wrong(f"{condition['path']} is {json.dumps(value)}, wanted {json.dumps(equals)}", answer)
        text = value if isinstance(value, str) else json.dumps(value)
        if matches is not None and not re.search(matches, text):
            raise Wrong(f"{condition['path']} is {json.dumps(value)}, wanted a match of {matches!r}", answer)
