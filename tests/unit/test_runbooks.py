# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runbooks quote is what the code says: somebody looks for it at 3 a.m., letter by letter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import REPOSITORY

RUNBOOKS = sorted((REPOSITORY / "docs/runbooks").glob("*.md"))
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
# In a role's files the value that a quote leaves out is an expression, and of that length at most.
GAP = "(?s:.{0,120}?)"


def quotes(text: str) -> Iterator[str]:
    """What stands in backticks in the first column of a runbook's tables."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield from re.findall(r"`([^`]+)`", line.split(" | ")[0])


@cache
def messages() -> tuple[str, ...]:
    """Every string of the plugins, and what roles and playbooks do and write, as text."""
    found = [text for path in sorted((REPOSITORY / "plugins").rglob("*.py")) for text in strings(path)]
    folders = ("tasks", "templates", "vars")
    files = [path for folder in folders for path in sorted((REPOSITORY / "roles").glob(f"*/{folder}/**/*.*"))]
    files += sorted((REPOSITORY / "playbooks").rglob("*.yml"))
    return (*found, *(path.read_text() for path in files))


def strings(path: Path) -> Iterator[str]:
    """The strings of a Python file, with {} for each value in them; no documentation."""
    tree = ast.parse(path.read_text())
    skipped = {id(node.value) for node in tree.body if isinstance(node, ast.Assign) and _names(node) & DOCUMENTATION}
    skipped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def _names(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)}


def is_said(quote: str) -> bool:
    # HAProxy's configuration has a space where HTTP has a colon.
    quote = quote.replace("x-lastro-proxy: ", "x-lastro-proxy ")
    pattern = re.compile(GAP.join(re.escape(part) for part in quote.split("…")))
    return any(pattern.search(text) for text in messages())


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.name)
def test_every_message_quoted_is_one_of_the_code(runbook: Path) -> None:
    found = list(quotes(runbook.read_text()))
    assert len(found) > 5
    assert [quote for quote in found if not is_said(quote)] == []


@pytest.mark.parametrize(
    "quote",
    [
        "Refused: data of another major version",
        "Secret … is missing",
        "restart pending: …",
        "Port … on … is taken by nobody",
        # Two halves of different messages; a docstring; the documentation of an option.
        "The data was made with … is taken by",
        "Refuse data of another major version",
        "What the cluster has to be",
    ],
)
def test_what_no_code_says_is_found_out(quote: str) -> None:
    assert not is_said(quote)


def test_runbooks_were_found() -> None:
    assert RUNBOOKS
