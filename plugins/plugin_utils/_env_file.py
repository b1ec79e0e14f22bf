# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of an env_file, read as Compose reads them."""

from __future__ import annotations

import re

from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

_EMPTY = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_ENTRY = re.compile(
    r"""[^\S\n]*(?:export[^\S\n]+)?(?P<name>[\w.-]+)[^\S\n]*
    (?:[=:][^\S\n]*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<plain>(?!["'])[^\n]*?))
    [^\S\n]*(?:(?<=\s)\#[^\n]*)?)?(?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}


def parse_env_file(text: str, name: str, source: Source) -> dict[str, str]:
    """NAME=value lines; a name alone takes its value from `app_env`, and is left out where that has none."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    values: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _EMPTY.match(text, at) or _ENTRY.match(text, at)
        where = f"{name}:{text.count(chr(10), 0, at) + 1}"
        if not found:
            raise SourceError(f"{where}: not a line NAME=value", "Close its quotes, or begin a comment with #.")
        at = found.end()
        if found.re is _EMPTY:
            continue
        given = found["double"], found["single"], found["plain"]
        if given == (None, None, None):
            if found["name"] in source.variables:
                values[found["name"]] = source.variables[found["name"]]
        elif found["single"] is not None:
            values[found["name"]] = found["single"]
        else:
            value = found["plain"] or re.sub(
                r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), found["double"] or "", flags=re.DOTALL
            )
            # A dollar that begins no variable is one here, as in Compose; in the Compose file it is an error.
            literal = re.sub(r"\$\$|\$(?![A-Za-z_{])", "$$", value)
            values[found["name"]] = source.expand(literal, where, values)
    return values
