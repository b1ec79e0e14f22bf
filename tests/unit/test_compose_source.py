# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the user's Compose file: YAML as Compose reads it, variables, lines, the extension's schema."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

FLATTEN = (
    "Flatten the file: `docker compose --profile '*' config --no-interpolate --no-path-resolution -o flat.yaml`, "
    "and name that in app_compose_file."
)
NOT_SET = "Give it in `app_env`: {A: …}; a secret is named in x-platform.env_from_files instead."
SHAPE = "Write it as the Compose Specification has it."
SERVICES = "A Compose file has a mapping `services` with at least one entry."
HOST_NAME = "Use lower-case letters, digits and hyphens, beginning with a letter."


def read(text: str, **variables: str) -> Source:
    return Source(textwrap.dedent(text), "compose.yaml", variables)


def web(lines: str, **variables: str) -> Any:
    """The service `web` with these lines; they begin in line 4 of the file."""
    body = textwrap.indent(textwrap.dedent(lines), "    ")
    return read(f"services:\n  web:\n    image: shop/web:1\n{body}\n", **variables).data["services"]["web"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # What YAML 1.1 would make booleans, times and dates of is text for Compose.
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("22:22", "22:22"),
        ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("False", False),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("012", 10),
        ("089", "089"),
        ("0x1F", 31),
        ("1_000", 1000),
        ("-5", -5),
        ("~", None),
        ("", None),
        ("'1.10'", "1.10"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars(written: str, value: Any) -> None:
    found = web(f"stop_signal: {written}")["stop_signal"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "variables", "value"),
    [
        ("$A", {"A": "x"}, "x"),
        ("${A}", {"A": ""}, ""),
        ("a${A}b$A", {"A": "x"}, "axbx"),
        ("${A}${B}", {"A": "x", "B": "y"}, "xy"),
        ("$A_1", {"A_1": "x"}, "x"),
        # A value is taken literally, dollars too.
        ("$A", {"A": "$B ${C} $$"}, "$B ${C} $$"),
        ("$$A", {}, "$A"),
        ("$$$$", {}, "$$"),
        ("$$$A", {"A": "x"}, "$x"),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A-d}", {"A": ""}, ""),
        ("${A-d}", {}, "d"),
        ("${A:-}", {}, ""),
        ("${A-}", {}, ""),
        ("${A:-a:b-c?d+e}", {}, "a:b-c?d+e"),
        ("${A:?m}", {"A": "x"}, "x"),
        ("${A?m}", {"A": ""}, ""),
        ("${A:+y}", {"A": "x"}, "y"),
        ("${A:+y}", {"A": ""}, ""),
        ("${A+y}", {"A": ""}, "y"),
        ("${A+y}", {}, ""),
        ("${A:-$B}", {"B": "b"}, "b"),
        ("${A:-${B:-c}}", {}, "c"),
        ("${A:-${B:-${C:-${D:-d}}}}", {}, "d"),
        ("${A:-${B:-c}-${C:-d}}", {"B": "b"}, "b-d"),
        ('${A:-{"k": {}}}', {}, '{"k": {}}'),
        ("${A:-p$$w}", {}, "p$w"),
        # The branch not taken may name what is not set.
        ("${A:-$NOPE}", {"A": "x"}, "x"),
        ("${A:+$NOPE}", {}, ""),
    ],
)
def test_variables(text: str, variables: dict[str, str], value: str) -> None:
    assert web(f"hostname: '{text}'", **variables)["hostname"] == value


@pytest.mark.parametrize(
    ("text", "problem", "cure"),
    [
        ("$A", "variable A is not set", NOT_SET),
        ("${A}", "variable A is not set", NOT_SET),
        ("${B:-${A}}", "variable A is not set", NOT_SET),
        ("${A?}", "variable A is not set", NOT_SET),
        ("${A:?see the wiki}", "variable A is not set: see the wiki", NOT_SET),
        ("${A:?see ${B:-b}}", "variable A is not set: see b", NOT_SET),
        ("pass$", "a `$` that begins no variable", "Write `$$` for a literal dollar."),
        ("$1", "a `$` that begins no variable", "Write `$$` for a literal dollar."),
        ("${}", "a `$` that begins no variable", "Write `$$` for a literal dollar."),
        ("${A", "a `$` that begins no variable", "Write `$$` for a literal dollar."),
        ("${A:-", "a `$` that begins no variable", "Write `$$` for a literal dollar."),
        (
            "${A!x}",
            "can't read what follows the name in ${A…}",
            "Use ${NAME}, ${NAME:-default} or ${NAME:?message}.",
        ),
    ],
)
def test_variables_refused(text: str, problem: str, cure: str) -> None:
    with pytest.raises(SourceError) as caught:
        web(f"restart: always\nhostname: '{text}'")
    assert str(caught.value) == f"compose.yaml:5: {problem}. {cure}"


def test_a_refusal_does_not_show_what_may_be_a_password() -> None:
    with pytest.raises(SourceError) as caught:
        web("environment: {DATABASE_URL: 'postgresql://app:geheim$@db/app'}")
    assert "geheim" not in str(caught.value)


def test_keys_are_taken_literally() -> None:
    assert web("labels: {$A: $A}", A="x")["labels"] == {"$A": "x"}


def test_what_nobody_reads_need_not_be_set() -> None:
    source = read(
        """\
        x-environment: &environment
          DATABASE_URL: ${DATABASE_URL}
          MODE: $MODE
        services:
          web:
            image: shop/web:1
            environment: {<<: *environment, SALT: $SALT}
            x-platform: {kind: worker, env_from_files: [DATABASE_URL], secrets: [SALT]}
          cron:
            image: shop/web:1
            environment: ["DATABASE_URL=${DATABASE_URL}", "MODE=$MODE"]
            x-platform: {env_from_files: [DATABASE_URL]}
          db:
            image: postgres:17
            environment: {POSTGRES_PASSWORD: $POSTGRES_PASSWORD}
            x-platform: {provided: postgres}
        """,
        MODE="fast",
    )
    assert source.data["services"]["web"]["environment"]["MODE"] == "fast"
    assert source.data["services"]["cron"]["environment"][1] == "MODE=fast"


def test_a_secret_of_another_service_must_be_set() -> None:
    text = """\
    services:
      web:
        image: a
        x-platform: {env_from_files: [A]}
      cron:
        image: a
        environment: {A: $A}
    """
    with pytest.raises(SourceError) as caught:
        read(text)
    assert str(caught.value) == f"compose.yaml:7: variable A is not set. {NOT_SET}"


ANCHORS = """\
x-app: &app
  image: shop/web:1
  restart: always
x-more: &more
  restart: "no"
  user: "1"
services:
  web:
    <<: *app
    user: "2"
  cron:
    <<: [*more, *app]
  last:
    restart: unless-stopped
    <<: *more
    image: shop/last:1
"""


@pytest.mark.parametrize(
    ("service", "key", "value", "line"),
    [
        ("web", "image", "shop/web:1", 2),
        ("web", "restart", "always", 3),
        ("web", "user", "2", 10),
        ("cron", "restart", "no", 5),
        ("cron", "image", "shop/web:1", 2),
        ("last", "restart", "unless-stopped", 14),
        ("last", "user", "1", 6),
        ("last", "image", "shop/last:1", 16),
    ],
)
def test_merged_keys_know_where_they_stand(service: str, key: str, value: str, line: int) -> None:
    source = read(ANCHORS)
    assert source.data["services"][service][key] == value
    assert source.line("services", service, key) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [(("services",), 7), (("services", "web"), 8), (("services", "web", "nope", "x"), 8), (("nope",), 1)],
)
def test_line_of_the_deepest_key_there_is(path: tuple[str, ...], line: int) -> None:
    assert read(ANCHORS).line(*path) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"compose.yaml:1: no services. {SERVICES}"),
        ("# nothing\n", f"compose.yaml:1: no services. {SERVICES}"),
        ("5\n", f"compose.yaml:1: no services. {SERVICES}"),
        ("[services]\n", f"compose.yaml:1: no services. {SERVICES}"),
        ("services:\n", f"compose.yaml:1: no services. {SERVICES}"),
        ("services: {}\n", f"compose.yaml:1: no services. {SERVICES}"),
        ("services: [web]\n", f"compose.yaml:1: no services. {SERVICES}"),
        ("services:\n  web:\n", "compose.yaml:2: service web is not a mapping. Give it at least `image`."),
        ("services:\n  web: shop/web:1\n", "compose.yaml:2: service web is not a mapping. Give it at least `image`."),
        (
            "services:\n  web: [\n",
            "compose.yaml:3: not valid YAML: expected the node content, but found '<stream end>'. Correct the file.",
        ),
        (
            "services:\n\tweb: 1\n",
            "compose.yaml:2: not valid YAML: found character '\\t' that cannot start any token. Correct the file.",
        ),
        ("services:\n  web: *app\n", "compose.yaml:2: not valid YAML: found undefined alias 'app'. Correct the file."),
        (
            "services:\n  web: {image: a}\n---\nb: 1\n",
            "compose.yaml:3: not valid YAML: but found another document. Correct the file.",
        ),
        (
            "services:\n  web: !!python/object/apply:os.system [id]\n",
            "compose.yaml:2: not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'. Correct the file.",
        ),
        (
            "services: &all\n  web: *all\n",
            "compose.yaml:1: not valid YAML: found unconstructable recursive node. Correct the file.",
        ),
        (
            "services:\n  web:\n    image: a\n    user: '1'\n    image: b\n",
            "compose.yaml:5: not valid YAML: image stands here again, first in line 3. Correct the file.",
        ),
        (
            "services:\n  web: {image: a}\n  cron: {image: b}\n  web: {image: c}\n",
            "compose.yaml:4: not valid YAML: web stands here again, first in line 2. Correct the file.",
        ),
        ("include: [b.yaml]\nservices:\n  web: {image: a}\n", f"compose.yaml:1: `include` is not supported. {FLATTEN}"),
        *(
            (
                f"services:\n  web: {{image: a}}\n{section}: [a]\n",
                f"compose.yaml:3: `{section}` is not a mapping. Give each entry a name.",
            )
            for section in ("volumes", "networks", "configs", "secrets")
        ),
        *(
            (
                f"services:\n  db: {{image: a}}\n  {written}: {{image: a}}\n",
                f"compose.yaml:3: service name {name!r} can't become part of a host name. {HOST_NAME}",
            )
            for written, name in (
                ("my_app", "my_app"),
                ("Web", "Web"),
                ("1", "1"),
                ("-web", "-web"),
                ("web.api", "web.api"),
                ("w" * 42, "w" * 42),
            )
        ),
    ],
)
def test_file_refused(text: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "problem", "cure"),
    [
        ("user: 1000", "`user` is not text", "Put it in quotes."),
        ("user: 0777", "`user` is not text", "Put it in quotes."),
        ("profiles: workers", "`profiles` is not a list", SHAPE),
        ("volumes: data:/data", "`volumes` is not a list", SHAPE),
        ("configs: {a: b}", "`configs` is not a list", SHAPE),
        ("secrets: a", "`secrets` is not a list", SHAPE),
        ("cap_add: ALL", "`cap_add` is not a list", SHAPE),
        ("depends_on: db", "`depends_on` is not a list or a mapping", SHAPE),
        ("environment: A=1", "`environment` is not a list or a mapping", SHAPE),
        ("extra_hosts: a:1.2.3.4", "`extra_hosts` is not a list or a mapping", SHAPE),
        ("labels: a", "`labels` is not a list or a mapping", SHAPE),
        ("networks: a", "`networks` is not a list or a mapping", SHAPE),
        ("deploy: 2", "`deploy` is not a mapping", SHAPE),
        ("env_file: {path: a}", "`env_file` is not text or a list", SHAPE),
    ],
)
def test_shape_refused(line: str, problem: str, cure: str) -> None:
    with pytest.raises(SourceError) as caught:
        web(line)
    assert str(caught.value) == f"compose.yaml:4: service web: {problem}. {cure}"


def test_a_version_that_became_a_number_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        read("services:\n  web:\n    image: 1.10\n")
    assert str(caught.value) == "compose.yaml:3: service web: `image` is not text. Put it in quotes."
