#!/usr/bin/env python3
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write roles/<role>/README.md from the role's argument specs; with --check, only say what differs.

scripts/role_readme.py              all roles
scripts/role_readme.py redis        one role
scripts/role_readme.py --check      exit 1 and print the difference where a README is out of date
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"


def render(role: str, meta: dict[str, Any], specs: dict[str, Any], namespace: str = "lastro.platform") -> str:
    """The README of one role, from its meta/main.yml and its argument specs."""
    parts = [
        f"# {namespace}.{role}",
        "<!-- Written by scripts/role_readme.py from meta/argument_specs.yml: edit there. -->",
        str(meta["galaxy_info"]["description"]).strip(),
    ]
    parts += _requirements(meta)
    for entry, spec in sorted(specs.items(), key=lambda item: (item[0] != "main", item[0])):
        parts += _entry_point(entry, spec)
    parts += _example(f"{namespace}.{role}", specs)
    return "\n\n".join(parts) + "\n"


def _requirements(meta: dict[str, Any]) -> list[str]:
    names = [
        f"{platform['name']} {', '.join(str(version) for version in platform.get('versions', ['all']))}"
        for platform in meta["galaxy_info"].get("platforms", [])
    ]
    return [f"Runs on: {'; '.join(names)}."] if names else []


def _entry_point(entry: str, spec: dict[str, Any]) -> list[str]:
    parts = [f"## `{entry}`: {str(spec['short_description']).rstrip('.')}", *_paragraphs(spec.get("description"))]
    options = spec.get("options") or {}
    if not options:
        return [*parts, "It has no variables."]
    rows = ["| variable | type | default | description |", "| --- | --- | --- | --- |"]
    for name, option in options.items():
        rows += _rows(name, option)
    return [*parts, "\n".join(rows)]


def _rows(name: str, option: dict[str, Any]) -> list[str]:
    kind = str(option.get("type", "str"))
    if "elements" in option:
        kind += f" of {option['elements']}"
    if option.get("required"):
        default = "**required**"
    elif "default" in option:
        default = f"`{_literal(option['default'])}`"
    else:
        default = ""
    text = " ".join(_paragraphs(option.get("description")))
    if "choices" in option:
        text += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
    rows = [f"| `{name}` | {kind} | {_cell(default)} | {_cell(text)} |"]
    for child, suboption in (option.get("options") or {}).items():
        rows += _rows(f"{name}.{child}", suboption)
    return rows


def _example(fqcn: str, specs: dict[str, Any]) -> list[str]:
    given = [str(spec["examples"]).strip() for spec in specs.values() if spec.get("examples")]
    if not given:
        required = [
            f"        {name}: …"
            for name, option in (specs.get("main", {}).get("options") or {}).items()
            if option.get("required")
        ]
        play = ["- name: Use the role", "  hosts: all", "  roles:", f"    - role: {fqcn}"]
        given = ["\n".join([*play, *(["      vars:", *required] if required else [])])]
    return ["## Example", *(f"```yaml\n{text}\n```" for text in given)]


def _paragraphs(text: str | list[str] | None) -> list[str]:
    items = [text] if isinstance(text, str) else text or []
    return [" ".join(str(item).split()) for item in items]


def _literal(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def _wanted(role: Path) -> str:
    meta = yaml.safe_load((role / "meta" / "main.yml").read_text())
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    return render(role.name, meta, specs["argument_specs"])


def main() -> int:
    """Write or check; 0 when everything is up to date, 1 when --check found a difference."""
    parser = argparse.ArgumentParser(description="Write roles/<role>/README.md from the argument specs.")
    parser.add_argument("role", nargs="*", help="roles to look at (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a README is out of date")
    options = parser.parse_args()
    names = options.role or sorted(path.name for path in ROLES.iterdir() if path.is_dir())
    stale = 0
    for name in names:
        readme, wanted = ROLES / name / "README.md", _wanted(ROLES / name)
        found = readme.read_text() if readme.exists() else ""
        if found == wanted:
            continue
        stale += 1
        if options.check:
            lines = difflib.unified_diff(
                found.splitlines(), wanted.splitlines(), f"roles/{name}/README.md", "wanted", lineterm=""
            )
            print("\n".join(lines))
        else:
            readme.write_text(wanted)
            print(f"wrote roles/{name}/README.md")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
