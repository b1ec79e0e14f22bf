# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of `x-platform`, and its page: what is refused, and that every key is explained with an example that is valid."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._application import PORT_SLOTS
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

from tests.support import REPOSITORY

SCHEMA = "See docs/x-platform.md for the keys of `x-platform`."
SERVICE = "services:\n  web:\n    image: shop/web:1\n"
PAGE = (REPOSITORY / "docs" / "x-platform.md").read_text()
DEFINITIONS = json.loads((REPOSITORY / "plugins" / "plugin_utils" / "x-platform.schema.json").read_text())["$defs"]


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        ("x-platform: [web]", 4, "web.x-platform: ['web'] is not of type 'object'"),
        (
            "x-platform:\n  kind: web\n  kindd: web",
            6,
            "web.x-platform: Additional properties are not allowed ('kindd' was unexpected)",
        ),
        (
            "x-platform:\n  kind: wbe",
            5,
            "web.x-platform.kind: 'wbe' is not one of ['web', 'worker', 'job', 'migrate', 'seed', 'static', 'singleton']",
        ),
        (
            "x-platform:\n  provided: mysql",
            5,
            "web.x-platform.provided: 'mysql' is not one of ['postgres', 'redis', 'rabbitmq', 's3']",
        ),
        ("x-platform:\n  port: '80a'", 5, "web.x-platform.port: '80a' is not of type 'integer'"),
        ("x-platform:\n  port: ${PORT:-}", 5, "web.x-platform.port: '' is not of type 'integer'"),
        ("x-platform:\n  port: ${PORT:-65536}", 5, "web.x-platform.port: 65536 is greater than the maximum of 65535"),
        ("x-platform:\n  port: 0", 5, "web.x-platform.port: 0 is less than the minimum of 1"),
        ("x-platform:\n  port: 65536", 5, "web.x-platform.port: 65536 is greater than the maximum of 65535"),
        ("x-platform:\n  port_slot: 64", 5, "web.x-platform.port_slot: 64 is greater than the maximum of 63"),
        ("x-platform:\n  replicas: -1", 5, "web.x-platform.replicas: -1 is less than the minimum of 0"),
        ("x-platform:\n  route: /", 5, "web.x-platform.route: '/' is not of type 'object'"),
        ("x-platform:\n  route:\n    path: api", 6, "web.x-platform.route.path: 'api' does not match '^/'"),
        (
            "x-platform:\n  route:\n    path: /\n    host: a",
            7,
            "web.x-platform.route: Additional properties are not allowed ('host' was unexpected)",
        ),
        (
            "x-platform:\n  route:\n    hosts: ['a b']",
            6,
            "web.x-platform.route.hosts: 'a b' does not match '^[A-Za-z0-9.-]+$'",
        ),
        ("x-platform:\n  health: health", 5, "web.x-platform.health: 'health' does not match '^/'"),
        ("x-platform:\n  version: {path: /v}", 5, "web.x-platform.version: 'json' is a required property"),
        (
            "x-platform:\n  env_from_files: [A-B]",
            5,
            "web.x-platform.env_from_files: 'A-B' does not match '^[A-Za-z_][A-Za-z0-9_]*$'",
        ),
        ("x-platform:\n  secrets: [A, A]", 5, "web.x-platform.secrets: ['A', 'A'] has non-unique elements"),
        ("x-platform:\n  probe: python -m x", 5, "web.x-platform.probe: 'python -m x' is not of type 'array'"),
        ("x-platform:\n  smoke: []", 5, "web.x-platform.smoke: [] should be non-empty"),
    ],
)
def test_extension_refused(lines: str, line: int, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        Source(SERVICE + textwrap.indent(lines, "    ") + "\n", "compose.yaml", {})
    assert str(caught.value) == f"compose.yaml:{line}: {problem}. {SCHEMA}"


@pytest.mark.parametrize("key", ["port", "port_slot", "replicas"])
@pytest.mark.parametrize("value", ["8", "'8'", "${NUMBER:-8}", "${GIVEN}"])
def test_a_number_may_come_from_a_variable(key: str, value: str) -> None:
    source = Source(f"{SERVICE}    x-platform:\n      {key}: {value}\n", "compose.yaml", {"GIVEN": "8"})
    assert source.data["services"]["web"]["x-platform"] == {key: 8}


@pytest.mark.parametrize(
    ("tail", "line", "problem"),
    [
        (
            "volumes:\n  data:\n    x-platform: {shred: true}\n",
            5,
            "data.x-platform: Additional properties are not allowed ('shred' was unexpected)",
        ),
        (
            "volumes:\n  data:\n    x-platform:\n      shared: 'yes'\n",
            6,
            "data.x-platform.shared: 'yes' is not of type 'boolean'",
        ),
        (
            "x-platform:\n  services: {}\n",
            4,
            "x-platform: Additional properties are not allowed ('services' was unexpected)",
        ),
        (
            "x-platform:\n  environment: {A: [1]}\n",
            4,
            "environment.A: [1] is not of type 'string', 'number', 'boolean'",
        ),
    ],
)
def test_extension_of_application_and_volumes_refused(tail: str, line: int, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        Source(f"services:\n  web: {{image: a}}\n{tail}", "compose.yaml", {})
    assert str(caught.value) == f"compose.yaml:{line}: {problem}. {SCHEMA}"


def _keys(definition: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, inner in definition.get("properties", {}).items():
        found += [prefix + name, *_keys(inner, f"{prefix}{name}.")]
    return found


@pytest.mark.parametrize(
    "key", [key for name in ("application", "volume", "service") for key in _keys(DEFINITIONS[name])]
)
def test_the_page_explains_every_key(key: str) -> None:
    assert f"| `{key}` |" in PAGE


def test_the_page_and_the_schema_know_how_many_port_ranges_there_are() -> None:
    assert DEFINITIONS["service"]["properties"]["port_slot"]["maximum"] == PORT_SLOTS - 1
    assert f"(0 to {PORT_SLOTS - 1})" in PAGE
    assert f"one of {PORT_SLOTS} ranges" in PAGE


def test_the_page_explains_no_other_key() -> None:
    known = {key for name in ("application", "volume", "service") for key in _keys(DEFINITIONS[name])}
    table = PAGE[PAGE.index("## Keys") : PAGE.index("## Refusals")]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == known


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_of_the_page_are_valid(example: str) -> None:
    assert Source(example, "x-platform.md", {"APP_RELEASE": "1.4.2"}).data["services"]
