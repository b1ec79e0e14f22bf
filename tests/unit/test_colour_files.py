# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container of the application reads: environment, secrets, commands and files, from a real directory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import SourceError

from tests.support import REPOSITORY
from tests.unit.compose_tree import Tree, spec

EXPORT = (
    'for n in {names}; do [ -r /run/secrets/"$n" ] || {{ echo "secret $n is not readable in /run/secrets" >&2; exit 78; }}; '
    'export "$n=$(cat /run/secrets/"$n")"; done; exec "$@"'
)
IMAGE = {"shop/app:1": {"entrypoint": ["/entry"], "cmd": ["serve"], "user": "10001:10002", "shell": True}}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "app").mkdir()
    return Tree(tmp_path / "app")


def test_who_wins(tree: Tree) -> None:
    tree.write(one_dot_env="A=1\nB=1\nC=1\nD=1\n", two_dot_env="B=2\nC=2\nD=2\n")
    found = spec(
        tree.app("env_file: [one.env, two.env]\nenvironment: {D: 4}", "x-platform: {environment: {C: 3, D: 3}}\n")
    )
    assert found["environment"] == {"A": "1", "B": "2", "C": "3", "D": "4"}


@pytest.mark.parametrize(
    "written",
    [
        "a.env",
        "./a.env",
        "[a.env]",
        "[{path: a.env}]",
        "[{path: a.env, required: true}]",
        "[gone/../a.env, {path: b.env, required: false}]",
    ],
)
def test_forms_of_env_file(tree: Tree, written: str) -> None:
    tree.write(a_dot_env="A=1")
    found = spec(tree.app(f"env_file: {written}"))
    assert (found["environment"], "env_file" in found) == ({"A": "1"}, False)


SECRETS = {"DATABASE_URL": "postgresql://app:geheim1@db/app", "SALT": "geheim2", "key": "geheim3"}


def test_no_secret_in_what_compose_and_the_engine_see(tree: Tree) -> None:
    tree.write(app_dot_env="DATABASE_URL=plain1\nMODE=fast\n")
    lines = """\
    env_file: app.env
    environment: [DATABASE_URL=plain2, SALT=plain3, key]
    secrets: [key]
    x-platform: {env_from_files: [DATABASE_URL], secrets: [SALT]}
    """
    project = tree.app(lines, "x-platform: {environment: {SALT: plain4}}\n", secrets=SECRETS, images=IMAGE)
    assert spec(project)["environment"] == {"MODE": "fast"}
    text = json.dumps(project.compose)
    assert not [word for word in ("geheim", "plain") if word in text]
    assert all(entry["secret"] for entry in project.files)


def test_secrets_are_files_of_the_user_that_the_container_runs_as(tree: Tree) -> None:
    lines = "secrets: [key]\nx-platform: {env_from_files: [DATABASE_URL], secrets: [SALT]}"
    project = tree.app(lines, secrets=SECRETS, secrets_for={"app": {"SALT": "mine"}, "x": {"key": "no"}}, images=IMAGE)
    assert project.files == [
        {"path": f"secrets/app/{name}", "content": content, "owner": "10001:10002", "secret": True}
        for name, content in (("DATABASE_URL", SECRETS["DATABASE_URL"]), ("SALT", "mine"), ("key", "geheim3"))
    ]
    assert spec(project)["volumes"] == ["./secrets/app:/run/secrets:ro"]


@pytest.mark.parametrize(
    ("lines", "images", "owner"),
    [
        ("user: '999:998'", IMAGE, "999:998"),
        ("user: '999'", IMAGE, "999:999"),
        ("user: '0'", IMAGE, "0:0"),
        ("", IMAGE, "10001:10002"),
        ("", {"shop/app:1": {"user": ""}}, "0:0"),
        ("", {}, "0:0"),
    ],
)
def test_owner_of_secrets(tree: Tree, lines: str, images: Any, owner: str) -> None:
    project = tree.app(f"{lines}\nx-platform: {{secrets: [SALT]}}", secrets=SECRETS, images=images)
    assert [entry["owner"] for entry in project.files] == [owner]


def test_a_secret_under_another_name(tree: Tree) -> None:
    project = tree.app("secrets: [{source: key, target: api.key, uid: '7'}, SALT]", secrets=SECRETS)
    assert {entry["path"]: entry["content"] for entry in project.files} == {
        "secrets/app/api.key": "geheim3",
        "secrets/app/SALT": "geheim2",
    }


def test_secrets_of_copies_are_written_once(tree: Tree) -> None:
    project = tree.app("x-platform: {route: {}, port: 80, replicas: 3, secrets: [SALT]}", secrets=SECRETS)
    assert [entry["path"] for entry in project.files] == ["secrets/app/SALT"]
    assert spec(project, "app-3")["volumes"] == ["./secrets/app:/run/secrets:ro"]


def test_the_authority_stands_beside_the_secrets(tree: Tree) -> None:
    project = tree.app("user: '7'", ca="PEM")
    assert project.files == [{"path": "secrets/app/ca.crt", "content": "PEM", "owner": "7:7", "mode": "0444"}]
    assert spec(project)["volumes"] == ["./secrets/app:/run/secrets:ro"]


@pytest.mark.parametrize(
    ("lines", "images", "words"),
    [
        ("", IMAGE, ["/entry", "serve"]),
        ("command: [a, 'b c', 1]", IMAGE, ["/entry", "a", "b c", "1"]),
        ("command: a 'b c'", IMAGE, ["/entry", "a", "b c"]),
        ("command: []", IMAGE, ["/entry"]),
        # As in Compose, an entrypoint of one's own drops the image's command.
        ("entrypoint: [/mine]", IMAGE, ["/mine"]),
        ("entrypoint: /mine -x", IMAGE, ["/mine", "-x"]),
        ("entrypoint: [/mine]\ncommand: [a]", IMAGE, ["/mine", "a"]),
        ("entrypoint: []\ncommand: [a]", IMAGE, ["a"]),
        ("", {"shop/app:1": {"entrypoint": None, "cmd": ["serve"]}}, ["serve"]),
        ("command: [a]", {}, ["a"]),
    ],
)
def test_the_wrapper_gives_the_command_again(tree: Tree, lines: str, images: Any, words: list[str]) -> None:
    project = tree.app(f"{lines}\nx-platform: {{env_from_files: [DATABASE_URL, SALT]}}", secrets=SECRETS, images=images)
    found = spec(project)
    assert found["entrypoint"] == ["/bin/sh", "-c", EXPORT.format(names="DATABASE_URL SALT"), "lastro-env", *words]
    assert "command" not in found


# Files -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("'./conf/a.ini:/etc/a.ini'", "/etc/a.ini"),
        ("'./conf/a.ini:/etc/a.ini:rw'", "/etc/a.ini"),
        ("{type: bind, source: conf/a.ini, target: /b}", "/b"),
    ],
)
def test_a_file_is_copied_under_its_digest(tree: Tree, written: str, target: str) -> None:
    tree.write(conf__a_dot_ini="x=1\n")
    project = tree.app(f"volumes: [{written}]")
    (entry,) = project.files
    assert entry == {"path": entry["path"], "content": "x=1\n", "mode": "0444", "frozen": True}
    assert re.fullmatch(r"files/[0-9a-f]{12}/a\.ini", entry["path"])
    assert spec(project)["volumes"] == [f"./{entry['path']}:{target}:ro"]
    tree.write(conf__a_dot_ini="x=2\n")
    assert tree.app(f"volumes: [{written}]").files[0]["path"] != entry["path"]


@pytest.mark.parametrize("source", ["./bin/run", "./bin/run/", "./bin"])
def test_what_can_be_run_beside_the_compose_file_can_be_run_in_the_container(tree: Tree, source: str) -> None:
    tree.write(bin__run="#!/bin/sh\n")
    (plain,) = tree.app(f"volumes: ['{source}:/x']").files
    (tree.directory / "bin" / "run").chmod(0o744)
    (found,) = tree.app(f"volumes: ['{source}:/x']").files
    assert (plain["mode"], found["mode"]) == ("0444", "0555")
    # The path is frozen: what a container has mounted never changes, its mode neither.
    assert plain["path"] != found["path"]


def test_a_directory_is_copied_under_its_digest(tree: Tree) -> None:
    tree.write(conf__b="2", conf__deep__a="1")
    project = tree.app("volumes: ['./conf/:/etc/app']")
    (mount,) = spec(project)["volumes"]
    folder = mount.removeprefix("./").removesuffix(":/etc/app:ro")
    assert {entry["path"]: entry["content"] for entry in project.files} == {f"{folder}/b": "2", f"{folder}/deep/a": "1"}
    tree.write(conf__b="3")
    assert spec(tree.app("volumes: ['./conf/:/etc/app']"))["volumes"] != [mount]


def test_directories_that_differ_only_in_names_have_other_digests(tree: Tree) -> None:
    tree.write(one__a="bc", two__ab="c")
    (one,), (two,) = (spec(tree.app(f"volumes: ['./{name}:/x']"))["volumes"] for name in ("one", "two"))
    assert one != two


@pytest.mark.parametrize(
    ("used", "defined", "content", "target"),
    [
        ("settings", "{content: 'a: $$X ${MODE}'}", "a: $X fast", "/settings"),
        ("{source: settings, target: /etc/s}", "{content: x}", "x", "/etc/s"),
        ("{source: settings, target: /etc/s}", "{file: ./conf/s.ini}", "from file", "/etc/s"),
        ("settings", "{file: conf/s.ini}", "from file", "/settings"),
    ],
)
def test_configs(tree: Tree, used: str, defined: str, content: str, target: str) -> None:
    tree.write(conf__s_dot_ini="from file")
    project = tree.app(f"configs: [{used}]", f"configs: {{settings: {defined}}}\n", variables={"MODE": "fast"})
    (entry,) = project.files
    assert (entry["content"], entry["mode"], entry["frozen"]) == (content, "0444", True)
    assert spec(project)["volumes"] == [f"./{entry['path']}:{target}:ro"]
    assert "configs" not in project.compose


OUTSIDE = "outside the directory of the Compose file. Move it beside the file."
CREATE = "No such file or directory. Create it, or take the entry out."


def test_an_empty_value_for_one_service_is_a_decision(tree: Tree) -> None:
    project = tree.app("secrets: [key]", secrets={"key": "x"}, secrets_for={"app": {"key": ""}})
    assert [file["content"] for file in project.files if file["path"] == "secrets/app/key"] == [""]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        *((f"env_file: {path}", f"needs {path}, {OUTSIDE}") for path in ("/etc/x", "../x", "a/../../x", "~/x", "..")),
        *(
            (f"volumes: ['{path}:/x']", f"needs {path}, {OUTSIDE}")
            for path in ("../x", "./a/../..", "~/x", "../../../..")
        ),
        ("configs: [outside]", f"needs ../x, {OUTSIDE}"),
        ("env_file: gone.env", f"needs gone.env: {CREATE}"),
        ("volumes: ['./gone:/x']", f"needs ./gone: {CREATE}"),
        ("configs: [gone]", f"needs gone.ini: {CREATE}"),
        (
            "env_file: [{path: ./hollow, required: false}]",
            "needs ./hollow, an empty directory. Mount a named volume instead.",
        ),
        ("volumes: ['./hollow:/x']", "needs ./hollow, an empty directory. Mount a named volume instead."),
        (
            "volumes: ['./logo.png:/x']",
            "needs logo.png, which is not text. Put it into the image, or into a named volume.",
        ),
        ("env_file: logo.png", "needs logo.png, which is not text. Put it into the image, or into a named volume."),
        ("volumes: ['/srv/data:/x']", "writes to the host path /srv/data. Use a named volume, or mount it read-only."),
        (
            "volumes: [{type: bind, source: /srv/data, target: /x}]",
            "writes to the host path /srv/data. Use a named volume, or mount it read-only.",
        ),
        ("configs: [none]", "uses config none, which has neither `file` nor `content`. Give one of them."),
        ("configs: [foreign]", "uses config foreign, which has neither `file` nor `content`. Give one of them."),
        (
            "secrets: [{source: SALT, target: /etc/salt}]",
            "wants secret SALT at /etc/salt. Give a name without a path; secrets are in /run/secrets.",
        ),
        (
            "environment: [A]",
            'takes variable A from outside, and it is not set. Give it in `app_env`: {A: …}, or write A: "" for an empty one.',
        ),
        (
            "environment: {A: }",
            'takes variable A from outside, and it is not set. Give it in `app_env`: {A: …}, or write A: "" for an empty one.',
        ),
        (
            "secrets: [missing]",
            "reads secret missing, which has no value. "
            "Set app_secrets.missing (or app_secrets_for.app.missing) in the inventory's vault.",
        ),
        (
            "secrets: [empty]",
            "reads secret empty, which has no value. Set app_secrets.empty (or app_secrets_for.app.empty) in the inventory's vault.",
        ),
    ],
)
def test_refused(tree: Tree, lines: str, message: str) -> None:
    tree.write(logo_dot_png=b"\x89PNG\xff")
    (tree.directory / "hollow").mkdir()
    tail = "configs: {outside: {file: ../x}, gone: {file: gone.ini}, foreign: {external: true}}\n"
    with pytest.raises(SourceError) as caught:
        tree.app(lines, tail, secrets={"SALT": "x", "empty": ""})
    # A secret has no key of its own in the file: its service is named.
    line = 2 if "has no value" in message else 4
    assert str(caught.value) == f"compose.yaml:{line}: service app {message}"


@pytest.mark.parametrize(
    ("lines", "image", "line", "message"),
    [
        (
            "user: app",
            {},
            4,
            "runs as 'app', and secret files need a number. Give `user: \"uid:gid\"` in numbers.",
        ),
        (
            "user: '1:app'",
            {},
            4,
            "runs as '1:app', and secret files need a number. Give `user: \"uid:gid\"` in numbers.",
        ),
        (
            "restart: always",
            {"user": "node"},
            2,
            "runs as 'node', and secret files need a number. Give `user: \"uid:gid\"` in numbers.",
        ),
        (
            "restart: always",
            {"shell": False, "cmd": ["x"]},
            2,
            "has env_from_files, and its image shop/app:1 has no shell to read them. "
            "Let the program read /run/secrets itself (x-platform.secrets), or use an image with /bin/sh.",
        ),
        ("command: []", {}, 4, "has env_from_files, and neither it nor its image names a command. Give `command`."),
        (
            "command: sh -c 'x",
            {},
            4,
            "has a command whose quotes do not close. Close them, or write it as a list.",
        ),
    ],
)
def test_wrapper_refused(tree: Tree, lines: str, image: dict[str, Any], line: int, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        tree.app(f"{lines}\nx-platform: {{env_from_files: [SALT]}}", secrets=SECRETS, images={"shop/app:1": image})
    assert str(caught.value) == f"compose.yaml:{line}: service app {message}"


def test_a_host_path_may_be_written_where_it_is_allowed(tree: Tree) -> None:
    project = tree.app("volumes: ['/srv/data:/x']", allow_privileged=("app",))
    assert spec(project)["volumes"] == ["/srv/data:/x"]


def test_the_same_input_gives_the_same_bytes(tree: Tree) -> None:
    text = (REPOSITORY / "examples" / "reference_app" / "compose.yaml").read_text()
    names = ("DATABASE_URL", "REDIS_URL", "API_KEY_SALT", "ADMIN_API_KEY", "AUDITOR_API_KEY", "CLIENT_API_KEY")
    made = {}
    for order in (names, tuple(reversed(names))):
        compiler = tree.compiler(
            text, secrets={name: f"geheim-{name}" for name in order}, provided={"postgres": "10.1.1.1"}
        )
        projects = [compiler.colour("blue"), compiler.jobs(), compiler.singletons()]
        made[order] = json.dumps([[project.compose, project.files] for project in projects])
        for project in projects:
            assert "geheim" not in json.dumps(project.compose)
    assert len(set(made.values())) == 1
