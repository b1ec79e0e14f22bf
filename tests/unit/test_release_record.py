# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a release, which one comes back, and what stands in its way; and that the controller gets the user's files as they were."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.action.release_record import lay_out
from ansible_collections.lastro.platform.plugins.filter.release import (
    release_failure,
    release_logs,
    release_migration,
    release_proof,
    release_steps,
    release_steps_of,
    without_logs,
)
from ansible_collections.lastro.platform.plugins.module_utils import _ledger
from ansible_collections.lastro.platform.plugins.module_utils import _release_record as record
from ansible_collections.lastro.platform.plugins.module_utils._engine import EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._app_arguments import inputs, source_of, traced

IMAGE = "shop/web:1"


class Images:
    """The Engine, asked for images alone."""

    def __init__(self, **ids: str) -> None:
        self.ids = ids

    def get(self, path: str) -> Any:
        name = path.removeprefix("/images/").removesuffix("/json")
        if name not in self.ids:
            raise EngineError(404, "no such image")
        return {"Id": self.ids[name]}

    def containers(self, **labels: str) -> list[dict[str, Any]]:
        return (
            [{"Labels": {"lastro.release": self.serving}}]
            if labels == {"com__docker__compose__project": "shop-blue"}
            else []
        )

    serving = "2"


def source(release: str) -> dict[str, Any]:
    return {
        "name": "compose.yaml",
        "text": f"# {release}",
        "files": {},
        "images": {IMAGE: {"id": "sha256:a"}},
        "env": {},
    }


@pytest.fixture
def host(tmp_path: Path) -> str:
    """Three releases, the last of which serves."""
    for release in ("1", "2", "3"):
        released(str(tmp_path), release)
    return str(tmp_path)


def released(directory: str, release: str, **more: Any) -> None:
    record.keep(directory, release, source(release), 5)
    entry = {"event": "release", "outcome": "kept", "run": f"{release}-{os.urandom(4).hex()}", "release": release}
    _ledger.append(directory, {**entry, **more})


def recall(host: str, release: str = "", engine: Images | None = None, ignore: bool = False) -> dict[str, Any]:
    return record.recall(host, release, engine or Images(**{IMAGE: "sha256:a"}), ignore)  # type: ignore[arg-type]


def test_the_last_good_release_or_the_one_that_is_named(host: str) -> None:
    found = recall(host)
    assert (found["release"], found["source"], found["serving"]) == ("2", source("2"), "3")
    assert found["digest"] != recall(host, "1")["digest"]
    assert recall(host, "1")["source"]["text"] == "# 1"


def test_what_serves_is_what_runs_whatever_the_ledger_says(host: str) -> None:
    """The run that released 2 could not write it down; before that 3 was kept."""
    found = record.recall(host, "", Images(**{IMAGE: "sha256:a"}), False, "shop-blue")  # type: ignore[arg-type]
    assert (found["serving"], found["release"]) == ("2", "3")


def test_a_record_is_for_root_alone_and_the_oldest_go(host: str) -> None:
    for number in range(4, 9):
        released(host, str(number))
        os.utime(f"{host}/releases/r-{number}.json", (time.time() + number,) * 2)
    assert record.keep(host, "9", source("9"), 5)
    assert not record.keep(host, "9", source("9"), 5)
    assert record.kept(host) == ["5", "6", "7", "8", "9"]
    assert Path(host, "releases").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path(host, "releases").iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["../../etc/passwd", ".", "..", "a/b", "ä", "x" * 300, "1.4.2+build", "-"])
def test_whatever_a_release_is_called_its_record_lies_in_the_folder(tmp_path: Path, name: str) -> None:
    record.keep(str(tmp_path), name, source(name), 5)
    assert record.kept(str(tmp_path)) == [name]
    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["releases"]
    assert record.file_of(name) != record.file_of(name + "_")


@pytest.mark.parametrize(
    ("release", "engine", "problem"),
    [
        ("3", Images(), "Release 3 serves already. Name another one: -e release=…. Kept here: 1, 2, 3."),
        ("7", Images(), "This host has no record of release 7. Kept here: 1, 2, 3. Deploy it instead"),
        ("2", Images(), f"Release 2 can't start again: {IMAGE} is not here any more"),
        ("2", Images(**{IMAGE: "sha256:b"}), f"Release 2 can't start again: {IMAGE} is another image by now"),
    ],
)
def test_what_cannot_come_back_is_refused(host: str, release: str, engine: Images, problem: str) -> None:
    with pytest.raises(PlatformError) as refused:
        recall(host, release, engine)
    assert str(refused.value).startswith(problem)


def test_with_nothing_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(
        PlatformError, match=r"nothing to roll back to: no release was kept before this one. Kept here: none"
    ):
        recall(str(tmp_path))
    released(str(tmp_path), "1")
    with pytest.raises(PlatformError, match=r"no release was kept before 1\. Kept here: 1"):
        recall(str(tmp_path))


def test_a_contract_migration_in_between_is_refused_with_its_name(host: str) -> None:
    migrations = [{"service": "migrate", "applied": [{"id": "0007", "classes": ["contract"]}]}]
    released(host, "4", migrations=migrations)
    with pytest.raises(PlatformError, match=r"Since release 3 the database .* bear: migrate 0007 .*schema does not"):
        recall(host)
    assert recall(host, ignore=True)["release"] == "3"


def test_a_ledger_that_was_tampered_with_decides_nothing(host: str) -> None:
    file = Path(host, "ledger.jsonl")
    file.write_text(file.read_text().replace('"release":"2"', '"release":"9"'))
    with pytest.raises(PlatformError, match=r"tampered with: line 2 was changed after it was written"):
        recall(host)


def test_the_user_s_files_come_back_as_they_were(tmp_path: Path) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    (tree / "config").mkdir(parents=True)
    back.mkdir()
    (tree / "compose.yaml").write_text("services: {}\n")
    (tree / "config/app.ini").write_bytes(b"\xff\x00")
    (tree / "config/unused.ini").write_text("")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    arguments = {"compose_file": str(tree / "compose.yaml"), "pids_limit": 1, "env": {"LOG": "info"}, "images": {}}
    reads: set[str] = set()
    given = traced(inputs(arguments, str(tree)), reads)
    given.read("config/app.ini")
    given.read("run.sh")
    kept = source_of(arguments, given, {}, reads)
    assert (kept["env"], kept["name"], sorted(kept["files"])) == (
        {"LOG": "info"},
        "compose.yaml",
        ["config/app.ini", "run.sh"],
    )
    lay_out(kept, back)
    assert (back / "config/app.ini").read_bytes() == b"\xff\x00"
    assert (back / "compose.yaml").read_text() == "services: {}\n"
    assert [bool(os.stat(back / name).st_mode & 0o111) for name in ("config/app.ini", "run.sh")] == [False, True]


def test_no_file_leaves_its_folder(tmp_path: Path) -> None:
    file = {"content": base64.b64encode(b"x").decode(), "executable": False}
    with pytest.raises(ValueError, match="not beside"):
        lay_out({"name": "compose.yaml", "text": "", "files": {"../out": file}}, tmp_path)


def test_the_steps_of_a_release() -> None:
    results = {
        "migrate with migrate": {"seconds": {"waited": 0.5, "migrate": 1.25}},
        "start": {"elapsed_seconds": 4.21},
        "gate": {"skipped": True},
        "watch": {"watched_seconds": 30.0, "failed": True},
        "keep": None,
        "back": {"unreachable": True},
    }
    assert [(one["step"], one["ok"], one["seconds"]) for one in release_steps(results, "app1")] == [
        ("migrate with migrate", True, 1.8),
        ("start", True, 4.2),
        ("watch", False, 30.0),
        ("back", False, None),
    ]


def test_steps_of_a_host_are_those_it_noted_and_those_that_everybody_takes() -> None:
    variables = {
        "inventory_hostname": "app2",
        "app_steps": [{"host": "app2", "step": "migrate with migrate", "ok": True, "seconds": 1.8}],
        "app_started": {"elapsed_seconds": 4.21},
        "app_gated": {"failed": True, "elapsed_seconds": 60, "msg": "web-1 /ready: 503"},
        "app_proven": {"skipped": True},
    }
    assert [(one["host"], one["step"], one["ok"]) for one in release_steps_of(variables)] == [
        ("app2", "migrate with migrate", True),
        ("app2", "start", True),
        ("app2", "gate", False),
    ]
    assert release_steps_of({"inventory_hostname": "app3"}) == []


@pytest.mark.parametrize(
    ("results", "host", "said"),
    [
        ({"failed": True, "msg": "No space left"}, "app1", "app1: No space left"),
        ({"failed": True, "msg": "No space left"}, "", "No space left"),
        ({"unreachable": True, "msg": "Timed out"}, "app1", "app1: Timed out"),
        ({"failed": True, "msg": ""}, "app1", "app1: it failed and said nothing"),
        ([{"changed": True}, {"failed": True, "msg": "/ready: 503"}], "app1", "app1: /ready: 503"),
        ([{"unreachable": True, "msg": "gone"}, {"skipped": True}], "app1", "app1: gone"),
        ([{"changed": True}, {"skipped": True}], "app1", ""),
        ({"skipped": True}, "app1", ""),
    ],
)
def test_why_a_step_failed(results: Any, host: str, said: str) -> None:
    assert release_failure(results, host) == said


PENDING = [{"id": "0005", "classes": ["expand"]}, {"id": "0006", "classes": []}]


@pytest.mark.parametrize(
    ("result", "applied"),
    [
        (None, []),
        ({"pending": []}, []),
        ({"pending": PENDING, "applied": ["0005"]}, [("0005", ["expand"])]),
        ({"pending": PENDING, "applied": []}, []),
        ({"pending": PENDING, "failed": True}, [("0005", ["expand"]), ("0006", ["unknown"])]),
    ],
)
def test_what_a_migration_did(result: dict[str, Any] | None, applied: list[tuple[str, list[str]]]) -> None:
    found = release_migration(result, "migrate")
    assert [(step["id"], step["classes"]) for one in found for step in one["applied"]] == applied


def test_what_a_release_has_to_show_before_it_is_kept() -> None:
    containers = [
        {"name": f"shop-green-{service}-1", "service": service} for service in ("webhook-1", "web-1", "web-2", "worker")
    ]
    smoke = [{"service": "web", "command": ["smoke"]}, {"service": "absent", "command": ["smoke"]}]
    found = release_proof(containers, smoke, 30)
    assert [(one["container"], one["restarts_max"]) for one in found[:4]] == [(one["name"], 0) for one in containers]
    assert found[4:] == [
        {
            "name": "smoke test of web",
            "type": "container",
            "container": "shop-green-web-1-1",
            "command": ["smoke"],
            "timeout_seconds": 30,
        }
    ]


LOGS = {"logs": {"shop-green-web-1-1": "a\nb\n", "shop-green-worker-1": "", "shop-green-web-2-1": "c\n"}}
STARTED = (
    "app1: Service web-2 (container shop-green-web-2-1) is unhealthy: exit code 1\nLast log lines:\nno such table\nbye"
)


@pytest.mark.parametrize(
    ("failure", "stopped", "name", "lines"),
    [
        (STARTED, LOGS, "shop-green-web-2-1", ["no such table", "bye"]),
        ("edge1: After 3 s of green: 9 of 100 requests failed", LOGS, "shop-green-web-1-1", ["a", "b"]),
        ("app1: shop-green-web-2-1: the container restarted 1 times", LOGS, "shop-green-web-2-1", ["c"]),
    ],
)
def test_what_it_said_last(failure: str, stopped: dict[str, Any], name: str, lines: list[str]) -> None:
    found = release_logs(failure, stopped, "app1").splitlines()
    assert found == [f"The last log lines of {name} on app1:", *lines, f"All of them: docker logs {name} (on app1)"]


def test_a_log_fits_on_a_screen() -> None:
    long = "\n".join(f"{number} {'x' * 400}" for number in range(100))
    found = release_logs("it failed", {"logs": {"web": long}}, "app1").splitlines()
    assert (len(found), max(map(len, found))) == (42, 160)
    assert found[1].startswith("60 xxx")


def test_where_nothing_was_said_nothing_is_shown() -> None:
    assert release_logs("it failed", {"logs": {"web": "\n"}}, "app1") == ""
    assert release_logs("it failed", {}, "app1") == ""
    assert without_logs(STARTED) == STARTED.partition("\nLast")[0]
    assert without_logs("it failed") == "it failed"
