# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A malformed Compose file is refused with its line, never with a traceback: each shape as one row, then many by chance."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import inputs, outline
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._colour_compose import Compiler
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError, _Loader

from tests.support import REPOSITORY

SHAPE = "Write it as the Compose Specification has it."
QUOTES = "Put it in quotes."


def refusal(text: str) -> str:
    with pytest.raises(SourceError) as caught:
        Source(text, "compose.yaml", {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        ("depends_on:\n      db: service_healthy", 5, "`depends_on.db` is not a mapping"),
        ("depends_on: [db, {cache: }]", 4, "`depends_on[1]` is not text"),
        ("build: [x]", 4, "`build` is not text or a mapping"),
        ("build:\n      args: A=1", 5, "`build.args` is not a list or a mapping"),
        ("build: {args: {A: [1]}}", 4, "`build.args.A` is not text or a number"),
        ("build: {context: [x]}", 4, "`build.context` is not text"),
        ("deploy:\n      resources: text", 5, "`deploy.resources` is not a mapping"),
        ("deploy:\n      resources:\n        limits: 5", 6, "`deploy.resources.limits` is not a mapping"),
        ("networks:\n      default: text", 5, "`networks.default` is not a mapping"),
        ("networks: {default: {aliases: web}}", 4, "`networks.default.aliases` is not a list"),
        ("networks: [[default]]", 4, "`networks[0]` is not text"),
        ("env_file: [{}]", 4, "`env_file[0]` has no `path`"),
        ("env_file: [{path: }]", 4, "`env_file[0]` has no `path`"),
        ("env_file: [[a]]", 4, "`env_file[0]` is not text or a mapping"),
        ("volumes: [{type: bind, source: ./conf}]", 4, "`volumes[0]` has no `target`"),
        ("volumes:\n      - ./a:/a\n      - type: bind\n        target: {}", 4, "`volumes[1]` has no `target`"),
        ("volumes:\n      - ./a:/a\n      - type: bind\n        target: [a]", 7, "`volumes[1].target` is not text"),
        ("volumes: [null]", 4, "`volumes[0]` is not text or a mapping"),
        ("configs: [{target: /x}]", 4, "`configs[0]` has no `source`"),
        ("secrets: [{target: x}]", 4, "`secrets[0]` has no `source`"),
        ("secrets: [{source: a, target: [x]}]", 4, "`secrets[0].target` is not text"),
        ("command: 5", 4, "`command` is not text or a list"),
        ("command: true", 4, "`command` is not text or a list"),
        ("command: {a: b}", 4, "`command` is not text or a list"),
        ("entrypoint: [sh, [-c]]", 4, "`entrypoint[1]` is not text or a number"),
        ("environment: {A: [1]}", 4, "`environment.A` is not text or a number"),
        ("environment:\n      - A: 1", 4, "`environment[0]` is not text or a number"),
        ("labels: [{a: b}]", 4, "`labels[0]` is not text or a number"),
        ("extra_hosts: {a: {b: c}}", 4, "`extra_hosts.a` is not text or a list"),
        ("profiles: [{}]", 4, "`profiles[0]` is not text"),
        ("cap_add: [[ALL]]", 4, "`cap_add[0]` is not text"),
        ("devices: /dev/sda", 4, "`devices` is not a list"),
        ("devices: [{target: /dev/x}]", 4, "`devices[0]` has no `source`"),
        ("security_opt: seccomp:unconfined", 4, "`security_opt` is not a list"),
        ("device_cgroup_rules: c 1:3 r", 4, "`device_cgroup_rules` is not a list"),
        ("post_start: [id]", 4, "`post_start[0]` is not a mapping"),
    ],
)
def test_shape_within_a_service(lines: str, line: int, problem: str) -> None:
    assert refusal(f"services:\n  web:\n    image: a\n    {lines}\n") == (
        f"compose.yaml:{line}: service web: {problem}. {SHAPE}"
    )


@pytest.mark.parametrize("key", ["network_mode", "pid", "ipc", "uts", "cgroup", "userns_mode", "build: {context"])
def test_a_number_for_text(key: str) -> None:
    end = "}" if "{" in key else ""
    assert refusal(f"services:\n  web:\n    image: a\n    {key}: 5{end}\n").endswith(f" is not text. {QUOTES}")


@pytest.mark.parametrize(
    ("tail", "line", "problem"),
    [
        ("volumes:\n  data: text", 4, "`volumes.data` is not a mapping"),
        ("networks:\n  default: text", 4, "`networks.default` is not a mapping"),
        ("networks:\n  default:\n    ipam: text", 5, "`networks.default.ipam` is not a mapping"),
        ("networks: {default: {ipam: {config: 10.0.0.0/8}}}", 3, "`networks.default.ipam.config` is not a list"),
        ("configs:\n  c: ./file", 4, "`configs.c` is not a mapping"),
        ("configs: {c: {file: [x]}}", 3, "`configs.c.file` is not text"),
        ("secrets: {s: ./file}", 3, "`secrets.s` is not a mapping"),
    ],
)
def test_shape_outside_of_services(tail: str, line: int, problem: str) -> None:
    assert refusal(f"services:\n  web: {{image: a}}\n{tail}\n") == f"compose.yaml:{line}: {problem}. {SHAPE}"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a\x01b", "special characters are not allowed (#x0001)"),
        ("a\x85b\ufffe", "special characters are not allowed (#xfffe)"),
        ("!!int x", "not a value of tag:yaml.org,2002:int"),
        ("!!int ''", "not a value of tag:yaml.org,2002:int"),
        ("!!float x", "not a value of tag:yaml.org,2002:float"),
        ("!!bool perhaps", "not a value of tag:yaml.org,2002:bool"),
        ("9" * 5000, "not a value of tag:yaml.org,2002:int"),
        *(
            (f"!!{tag} {{}}", f"could not determine a constructor for the tag 'tag:yaml.org,2002:{tag}'")
            for tag in ("set", "omap", "pairs")
        ),
        ("!!binary YQ==", "could not determine a constructor for the tag 'tag:yaml.org,2002:binary'"),
    ],
)
def test_a_value_that_can_not_be_read(value: str, problem: str) -> None:
    text = f"services:\n  web:\n    image: a\n    hostname: {value}\n"
    assert refusal(text) == f"compose.yaml:4: not valid YAML: {problem}. Correct the file."


def test_what_is_nested_too_deep_to_be_read() -> None:
    assert refusal("services: " + "[" * 1500) == "compose.yaml:1: not valid YAML: nested too deep. Correct the file."


@pytest.mark.parametrize("text", ["0b_", "0x_", "-0b_", "0b", "+_1"])
def test_what_is_no_number_for_compose_is_text(text: str) -> None:
    source = Source(f"services: {{web: {{image: a, hostname: {text}}}}}", "compose.yaml", {})
    assert source.data["services"]["web"]["hostname"] == text


# Every key that is read here, in the forms that the examples of the repository leave out.
FULL = """\
name: shop
services:
  web:
    image: shop/web:1
    build: {context: ./web, dockerfile: Dockerfile, target: '', args: {A: 1, B: }}
    user: "1:1"
    command: run it
    entrypoint: [sh, -c]
    env_file: [a.env, {path: b.env, required: false}]
    environment: [A=1, B]
    labels: [a=b]
    extra_hosts: {a: 1.2.3.4, b: [1.1.1.1]}
    networks: {default: {aliases: [x]}, back: }
    depends_on: {cache: {condition: service_started, required: false}, cron: {condition: service_started}}
    profiles: [all]
    configs: [one, {source: two, target: /two}]
    secrets: [a, {source: b, target: c}]
    volumes: ['./conf:/conf', 'data:/data:ro', {type: bind, source: /srv, target: /srv, read_only: true}]
    deploy: {replicas: 2, resources: {limits: {pids: 9}}}
    cap_add: [CHOWN]
    devices: []
    security_opt: ['no-new-privileges:true']
    post_start: [{command: id, privileged: false}]
    x-platform:
      {route: {hosts: [a.example], path: /}, port: 80, port_slot: 1, health: /h, ready: /r, version: {path: /v, json: r},
       env_from_files: [D], secrets: [E], probe: [x], smoke: [y], reload: [], replicas: 2}
  cron: {image: shop/web:1, scale: 1, depends_on: [cache], network_mode: none, pids_limit: 9, x-platform: {kind: singleton}}
  seed: {image: shop/web:1, extra_hosts: ['a:1.2.3.4'], x-platform: {kind: seed}}
  cache: {image: redis:8, x-platform: {provided: redis}}
networks: {default: {ipam: {config: []}}, back: {name: shop_back, external: false}}
volumes: {data: {driver: local, name: x, x-platform: {shared: true}}}
configs: {one: {file: ./conf/one}, two: {content: text}}
secrets: {a: {file: ./a}, b: }
x-platform: {environment: {TZ: UTC}}
"""
PAGE = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "x-platform.md").read_text(), re.DOTALL)
EXAMPLES = {
    "every key": FULL,
    "reference_app": (REPOSITORY / "examples" / "reference_app" / "compose.yaml").read_text(),
    "molecule": (REPOSITORY / "molecule" / "app" / "files" / "compose.yaml").read_text(),
    **{f"page {number}": text for number, text in enumerate(PAGE)},
}
REPLACEMENTS: list[Any] = yaml.load(
    """[text, '', $, 'a:b', /, 5, -1, 1.5, true, null, [], {}, [x], [null], [5], [[]], [{}], {a: null}, {a: b}, {a: []}, {a: {}}]""",
    Loader=_Loader,
)
VARIABLES = {"APP_RELEASE": "r1", "B": "x"}
# Where everything else is in order, so that nothing is refused before the change is read.
SECRETS = dict.fromkeys(re.findall(r"[A-Za-z_]+", "".join(EXAMPLES.values())), "x")
FILES = {"a.env": "A=1\n", "conf/one": "1", "server.py": "1"}


class Parsed(Source):
    """A file that is read already: parsing it anew for each change would take most of the time."""

    def __init__(self, data: Any) -> None:
        self.parsed = data
        super().__init__("", "compose.yaml", VARIABLES)

    def _parse(self, text: str) -> Any:
        return self.parsed


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node below this one."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same with another value in one place."""
    if not path:
        return value
    found = copy.copy(node)
    found[path[0]] = changed(node[path[0]], path[1:], value)
    return found


def compile_all(source: Source, directory: Path) -> None:
    """Everything that the lookup and the action make of a file."""
    settings = Settings(platform="shop", address="10.0.0.5", release="r1", profiles=("all",))
    application = Application(source, settings)
    compiler = Compiler(application, inputs({"secrets": SECRETS, "pids_limit": 512}, str(directory)))
    for project in (compiler.colour("green"), compiler.jobs(), compiler.singletons()):
        assert json.dumps(project.compose)
    assert json.dumps([outline(application, "/src"), application.checks("blue")])


def outcome(data: Any, directory: Path) -> str:
    try:
        compile_all(Parsed(data), directory)
    except SourceError as refusal:
        return str(refusal)
    except Exception as error:
        return repr(error)
    return "compiled"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_compiles(name: str, directory: Path) -> None:
    compile_all(Source(EXAMPLES[name], "compose.yaml", VARIABLES), directory)


@pytest.mark.parametrize("name", EXAMPLES)
def test_whatever_stands_in_one_place_is_compiled_or_refused_with_its_line(name: str, directory: Path) -> None:
    data = yaml.load(EXAMPLES[name], Loader=_Loader)  # the loader of the product
    chance = random.Random(name)
    for path in places(data):
        for value in chance.sample(REPLACEMENTS, 3 if name == "every key" else 1):
            said = outcome(changed(data, path, value), directory)
            assert re.match(r"compiled$|[\w.]+:[1-9]\d*: ", said), (path, value, said)
