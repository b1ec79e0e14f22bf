# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an env_file as Compose reads it: compared once by hand with `docker compose config` of 2.26."""

from __future__ import annotations

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError
from ansible_collections.lastro.platform.plugins.plugin_utils._env_file import parse_env_file

COMPOSE = "services: {web: {image: a}}"
NOT_SET = "Give it in `app_env`: {A: …}; a secret is named in x-platform.env_from_files instead."


@pytest.mark.parametrize(
    ("text", "variables", "values"),
    [
        ("", {}, {}),
        ("A=1\n\n# comment\n  # another\nB = 2", {}, {"A": "1", "B": "2"}),
        ("A=1\nA=2\n", {}, {"A": "2"}),
        ("export A=1\nexport\tB=2\n", {}, {"A": "1", "B": "2"}),
        ("A='x y'\nB=\"x y\"\nC=x y\n", {}, {"A": "x y", "B": "x y", "C": "x y"}),
        ("A=a # comment\nB=a#b\nC='a # b'\nD=\"a\" # comment\n", {}, {"A": "a", "B": "a#b", "C": "a # b", "D": "a"}),
        ("A=\nB=''\nC=\"\"\n", {}, {"A": "", "B": "", "C": ""}),
        ("A=b=c==\nURL=postgres://u:p@h/d?a=b&c=d\n", {}, {"A": "b=c==", "URL": "postgres://u:p@h/d?a=b&c=d"}),
        ('A="one\\ntwo\\t\\"x\\" \\\\"\nB=\'one\\ntwo\'\n', {}, {"A": 'one\ntwo\t"x" \\', "B": "one\\ntwo"}),
        ('KEY="-----BEGIN\nabc==\n-----END"\nB=1\n', {}, {"KEY": "-----BEGIN\nabc==\n-----END", "B": "1"}),
        ("A: 1\nB.c-d=2\n", {}, {"A": "1", "B.c-d": "2"}),
        ("\ufeffA=1\r\nB=2\r\n", {}, {"A": "1", "B": "2"}),
        ('A=x"y"\nB=it\'s\n', {}, {"A": 'x"y"', "B": "it's"}),
        # As in Compose: variables, a lone dollar is one, and single quotes take everything literally.
        ("A=1\nB=$A-${A}\nC='$A'\nD=\"\\$A\"\n", {}, {"A": "1", "B": "1-1", "C": "$A", "D": "$A"}),
        ("A=1\nB=$A\n", {"A": "given"}, {"A": "1", "B": "given"}),
        ("A=p$1x\nB=p$\nC=p$$x\n", {}, {"A": "p$1x", "B": "p$", "C": "p$x"}),
        ("A=${B:-c}\n", {}, {"A": "c"}),
        ("A\nB\n", {"A": "given"}, {"A": "given"}),
    ],
)
def test_env_file(text: str, variables: dict[str, str], values: dict[str, str]) -> None:
    source = Source(COMPOSE, "compose.yaml", variables)
    assert parse_env_file(text, "web.env", source) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('A=1\nB="x\n', "web.env:2: not a line NAME=value. Close its quotes, or begin a comment with #."),
        ("A='x'y\n", "web.env:1: not a line NAME=value. Close its quotes, or begin a comment with #."),
        ("A=1\n\nno line\n", "web.env:3: not a line NAME=value. Close its quotes, or begin a comment with #."),
        ("=x\n", "web.env:1: not a line NAME=value. Close its quotes, or begin a comment with #."),
        ("B=1\nC=$A\n", f"web.env:2: variable A is not set. {NOT_SET}"),
    ],
)
def test_env_file_refused(text: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_env_file(text, "web.env", Source(COMPOSE, "compose.yaml", {}))
    assert str(caught.value) == message
