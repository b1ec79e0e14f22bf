# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `images` against a real Engine and a real registry: built, pulled, repaired, and refused with a reason."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._image_run import Wanted

from tests.integration.images_support import (
    ENGINE,
    LABEL,
    Asked,
    actions,
    catalogue,
    image_of,
    recipe,
    started,
)
from tests.integration.registry_support import closed_port, have_image, plain_registry
from tests.support import REPOSITORY, eventually, run_module

# Everything the module's options default to, as the module itself would see it.
DEFAULTS: dict[str, Any] = {
    "registry": "",
    "only": None,
    "source": "auto",
    "extra_ca": "none",
    "package_sources": [],
    "build_args": {},
    "revision": "",
    "digests": {},
    "releases": [],
    "keep": 0,
    "state_directory": None,
}

Run = Callable[..., dict[str, Any]]

# What the images of the tests stand on.
pytestmark = pytest.mark.usefixtures("base")


@pytest.fixture(scope="session")
def base() -> None:
    """The image every other one stands on; made by the module itself where this machine has none."""
    result = run_module("images", {"images": catalogue(), "only": ["lastro/base:trixie"]})
    assert not result.get("failed"), result


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(images: list[dict[str, Any]], check: bool = False, **options: Any) -> dict[str, Any]:
        return run_module("images", {"images": images, "work_dir": str(tmp_path / "work"), **options}, check=check)

    return call


def test_build_then_nothing_to_do(prefix: str, run: Run) -> None:
    images = [
        recipe(f"{prefix}/b:1", "COPY hello /hello", base=f"{prefix}/a:1", files={"hello": "hello"}),
        recipe(f"{prefix}/a:1", "RUN echo a > /a"),
    ]
    images[0]["from"] = [f"{prefix}/a:1"]
    would = run(images, check=True)
    assert (would["changed"], actions(would)) == (True, {"a:1": "build", "b:1": "build"})
    assert image_of(f"{prefix}/a:1") is None
    made = run(images)
    assert (made["changed"], actions(made)) == (True, {"a:1": "build", "b:1": "build"})
    built = image_of(f"{prefix}/b:1")
    assert built is not None
    assert (
        built["Id"]
        == made["images"][f"{prefix}/b:1"]["id"]
        == made["ansible_facts"]["platform_images"][f"{prefix}/b:1"]["id"]
    )
    again = run(images)
    assert (again["changed"], actions(again)) == (False, {"a:1": "none", "b:1": "none"})
    assert again["images"][f"{prefix}/b:1"]["id"] == built["Id"]
    assert run(images, check=True)["changed"] is False


def test_nothing_to_do_is_one_question_and_fast(prefix: str, run: Run, tmp_path: Path) -> None:
    images = [recipe(f"{prefix}/{name}:1", f"LABEL number={name}") for name in "abcdef"]
    assert run(images)["changed"] is True
    questions: list[bytes] = []
    with Asked(tmp_path / "engine.sock", questions) as path:
        began = time.monotonic()
        steps = Wanted({**DEFAULTS, "images": images}, path).steps(without_engine=False)
        seconds = time.monotonic() - began
    assert {step.action for step in steps} == {"none"}
    assert [question.split()[1] for question in questions] == [b"/v1.41/images/json"]
    assert seconds < 0.2


def test_an_inspected_image_is_one_question_too(prefix: str, run: Run, tmp_path: Path) -> None:
    images = [recipe(f"{prefix}/{name}:1", f"LABEL number={name}", inspect=True) for name in "ab"]
    made = run(images)["images"]
    params = {**DEFAULTS, "images": images, "work_dir": str(tmp_path / "work")}

    def no_op(name: str, probing: bool) -> tuple[dict[str, Any], list[bytes]]:
        questions: list[bytes] = []
        with Asked(tmp_path / name, questions) as path:
            wanted = Wanted(params, path)
            steps = wanted.steps(without_engine=False)
            assert wanted.changes(steps) == []
            return wanted.report(steps, {}, done=True, probing=probing), [one.split()[1] for one in questions]

    for probing in (True, False):
        found, questions = no_op(f"{probing}.sock", probing)
        assert questions == [b"/v1.41/images/json"]
        for name, image in found.items():
            assert {key: image[key] for key in ("entrypoint", "cmd", "user", "shell")} == {
                key: made[name][key] for key in ("entrypoint", "cmd", "user", "shell")
            }
    (tmp_path / "work" / "inspected.json").unlink()
    found, questions = no_op("check.sock", probing=False)
    assert all("shell" not in image and image["cmd"] == made[name]["cmd"] for name, image in found.items())
    assert not any(b"/containers" in question for question in questions), "check mode made a container"
    assert run(images, check=True)["images"][f"{prefix}/a:1"].get("shell") is None
    # What a deploy with nothing to do asks, before it would make anything.
    assert run(images, plan_only=True)["images"][f"{prefix}/a:1"]["shell"] is True
    assert (tmp_path / "work" / "inspected.json").exists()


def test_a_changed_recipe_is_built_again_with_what_stands_on_it(prefix: str, run: Run) -> None:
    def images(text: str) -> list[dict[str, Any]]:
        top = recipe(f"{prefix}/b:1", "RUN cat /a > /b", base=f"{prefix}/a:1")
        return [recipe(f"{prefix}/a:1", f"RUN echo {text} > /a"), {**top, "from": [f"{prefix}/a:1"]}]

    run(images("one"))
    before = image_of(f"{prefix}/b:1")
    changed = run(images("two"))
    assert actions(changed) == {"a:1": "build", "b:1": "build"}
    assert changed["images"][f"{prefix}/b:1"]["why"] == "its recipe changed"
    after = image_of(f"{prefix}/b:1")
    assert before and after and before["Id"] != after["Id"]  # noqa: PT018 -- narrows both for the type checker


def test_a_failing_build_says_what_where_and_why(prefix: str, run: Run) -> None:
    images = [
        recipe(f"{prefix}/good:1", "RUN echo good > /good"),
        recipe(f"{prefix}/bad:1", "RUN seq 100 && echo the reason && exit 3"),
    ]
    result = run(images)
    assert result["failed"]
    assert result["msg"].startswith(f"{prefix}/bad:1 could not be built, at step 3/4: RUN seq 100")
    assert "non-zero code: 3" in result["msg"]
    assert result["msg"].endswith("\n100\nthe reason")
    assert "\n50\n" not in result["msg"], "only the last lines"
    assert "Correct the recipe" in result["msg"]
    assert image_of(f"{prefix}/bad:1") is None
    assert image_of(f"{prefix}/good:1"), "what is built already is kept"


def test_a_killed_build_leaves_no_name_and_is_repaired(prefix: str, run: Run, tmp_path: Path) -> None:
    images = [recipe(f"{prefix}/a:1", "RUN echo begun && sleep 4", "RUN echo done > /done")]
    progress = tmp_path / "progress"
    with started(images, tmp_path / "work", progress):
        eventually(lambda: progress.exists() and "step 3/5" in progress.read_text(), "the third step", 20)
    assert image_of(f"{prefix}/a:1") is None
    assert list((tmp_path / "work").glob("run-*")), "the test killed it too late"
    assert actions(run(images)) == {"a:1": "build"}
    assert image_of(f"{prefix}/a:1")
    assert list((tmp_path / "work").glob("run-*")) == []
    assert run(images)["changed"] is False


def test_a_killed_bootstrap_leaves_no_process_and_no_mount(prefix: str, run: Run, tmp_path: Path) -> None:
    images = [{"name": f"{prefix}/debian:1", "bootstrap": "trixie"}]
    work = tmp_path / "work"

    def descendants() -> list[str]:
        done = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if str(work) in line]

    with started(images, work, tmp_path / "progress"):
        eventually(lambda: any(path.is_dir() for path in work.glob("run-*/mmdebstrap.*")), "mmdebstrap works", 20)
        assert descendants()
    eventually(lambda: not descendants(), "no process is left", 5)
    assert str(work) not in Path("/proc/self/mountinfo").read_text()
    assert run([recipe(f"{prefix}/a:1", "LABEL a=b")])["changed"] is True
    assert list(work.glob("run-*")) == [], "the killed run's files are gone"
    assert image_of(f"{prefix}/debian:1") is None


def test_two_runs_at_once_build_once(prefix: str, tmp_path: Path) -> None:
    images, work = [recipe(f"{prefix}/a:1", "RUN sleep 3")], tmp_path / "work"
    files = [tmp_path / "first", tmp_path / "second"]
    with started(images, work, files[0]) as first, started(images, work, files[1]) as second:
        results = [json.loads(process.communicate()[0]) for process in (first, second)]
    assert sorted(result["changed"] for result in results) == [False, True], results
    waited = files[[result["changed"] for result in results].index(False)]
    assert "waiting for another run" in waited.read_text()


def test_context_dockerignore_and_inspection(prefix: str, run: Run, tmp_path: Path) -> None:
    context = tmp_path / "app"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nCOPY . /app\nUSER 7:7\n"
        'ENTRYPOINT ["/app/go"]\nCMD ["serve"]\nRUN test ! -e /app/private\nARG SITE\nARG RELEASE\nENV R=$RELEASE S=$SITE\n'
    )
    (context / ".dockerignore").write_text("private\n")
    (context / "private").write_text("x")
    (context / "go").write_text("#!/bin/sh\n")
    arguments = {"BASE": "lastro/base:trixie", "RELEASE": "r1"}
    image = {"name": f"{prefix}/app:1", "context": str(context), "build_args": arguments, "inspect": True}
    image["labels"] = {LABEL: prefix}
    made = run([image], build_args={"SITE": "here", "UNKNOWN": "no"})["images"][f"{prefix}/app:1"]
    assert {key: made[key] for key in ("entrypoint", "cmd", "user", "shell")} == {
        "entrypoint": ["/app/go"],
        "cmd": ["serve"],
        "user": "7:7",
        "shell": True,
    }
    built = image_of(f"{prefix}/app:1")
    assert built
    assert {"R=r1", "S=here"} <= set(built["Config"]["Env"])
    names = (f"{prefix}/app:1", built["Id"])
    assert [probe for probe in ENGINE.containers(lastro__probe="shell") if probe["Image"] in names] == []
    assert run([image])["changed"] is False
    (context / "private").write_text("y")
    assert run([image])["changed"] is False, "an ignored file is no content"
    (context / "go").write_text("#!/bin/sh\nexec true\n")
    assert run([image])["images"][f"{prefix}/app:1"]["why"] == "its recipe changed"


def test_an_image_without_a_shell_is_recognised(prefix: str, run: Run) -> None:
    images = [recipe(f"{prefix}/bare:1", "COPY x /x", base="scratch", files={"x": "x"}, inspect=True)]
    assert run(images)["images"][f"{prefix}/bare:1"]["shell"] is False


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry on the loopback, which the Engine trusts without TLS; its address."""
    have_image()
    with plain_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def published(prefix: str, registry: str, run: Run) -> str:
    """An image in the registry and nowhere else; its reference by digest."""
    name = f"{registry}/{prefix}/thing"
    local = f"{prefix}/thing:made"
    run([recipe(local, f"RUN echo {prefix} > /thing")])
    ENGINE.post(f"/images/{local}/tag", repo=name, tag="1")
    events = list(ENGINE.stream(f"/images/{name}/push", headers={"X-Registry-Auth": "e30="}, tag="1"))
    assert not [event for event in events if "error" in event], events
    [digest] = [event["aux"]["Digest"] for event in events if "Digest" in event.get("aux", {})]
    ENGINE.delete(f"/images/{name}:1", force=1)
    ENGINE.delete(f"/images/{local}", force=1)
    return f"{name}:1@{digest}"


@pytest.mark.parametrize("source", ["pull", "auto"])
def test_pull_from_a_registry(prefix: str, published: str, run: Run, source: str) -> None:
    images = [recipe(f"{prefix}/thing:1", upstream=published)]
    made = run(images, source=source)
    assert made["images"][f"{prefix}/thing:1"]["action"] == "pull"
    pulled = image_of(f"{prefix}/thing:1")
    assert pulled
    assert pulled["RepoDigests"] == [published.replace(":1@", "@")]
    again = run(images, source=source)
    assert (again["changed"], again["images"][f"{prefix}/thing:1"]["source"]) == (False, "pulled")
    assert actions(run(images, source="build")) == {"thing:1": "build"}, "build means from the recipe"
    assert run(images, source="auto")["changed"] is False, "auto takes either"
    assert actions(run(images, source="pull")) == {"thing:1": "pull"}, "pull means the upstream's digest"


@pytest.mark.parametrize("source", ["pull", "auto"])
@pytest.mark.parametrize("wrong", ["digest", "name"])
def test_a_registry_that_refuses_is_an_error_in_every_case(
    prefix: str, published: str, run: Run, source: str, wrong: str
) -> None:
    head, digest = published.split("@")
    upstream = f"{head}@sha256:{'0' * 64}" if wrong == "digest" else f"{head.replace('thing', 'nothing')}@{digest}"
    result = run([recipe(f"{prefix}/thing:1", upstream=upstream)], source=source)
    assert result["failed"]
    assert result["msg"].startswith(f"{prefix}/thing:1 could not be pulled as ")
    assert "the registry did answer" in result["msg"]
    assert image_of(f"{prefix}/thing:1") is None


def test_auto_builds_where_no_registry_answers(prefix: str, run: Run) -> None:
    nobody = closed_port()
    upstream = f"{nobody}/thing:1@sha256:{'0' * 64}"
    images = [recipe(f"{prefix}/{name}:1", f"LABEL a={name}", upstream=upstream) for name in "ab"]
    refused = run(images, source="pull")
    assert "Make the registry reachable, or use images_source auto or build" in refused["msg"]
    made = run(images, source="auto")
    assert actions(made) == {"a:1": "build", "b:1": "build"}
    assert made["images"][f"{prefix}/a:1"]["why"] == f"there is no such image, and no registry answers as {nobody}"


def test_a_silent_registry_is_asked_once_and_briefly(prefix: str, run: Run) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        upstream = f"127.0.0.1:{silent.getsockname()[1]}/thing:1@sha256:{'0' * 64}"
        images = [recipe(f"{prefix}/{name}:1", f"LABEL a={name}", upstream=upstream) for name in "abc"]
        started = time.monotonic()
        assert set(actions(run(images, check=True)).values()) == {"build"}
    assert time.monotonic() - started < 8, "asked more than once, which takes five seconds each time"


def test_check_mode_without_an_engine(tmp_path: Path) -> None:
    images = [recipe("lt-x/a:1", upstream=f"a@sha256:{'0' * 64}"), recipe("lt-x/b:1")]
    wanted = Wanted({**DEFAULTS, "images": images}, str(tmp_path / "no.sock"))
    assert [step.action for step in wanted.steps(without_engine=True)] == ["pull or build", "build"]


def test_a_full_disk_is_seen_before(prefix: str, run: Run) -> None:
    result = run([recipe(f"{prefix}/a:1", "LABEL a=b")], free_bytes=10**18)
    assert "GiB free, images need" in result["msg"]
    assert image_of(f"{prefix}/a:1") is None


def test_the_operator_sees_progress(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM lastro/base:trixie\nRUN sleep 1\n")
    images = [{"name": f"{prefix}/app:1", "context_local": str(tmp_path / "app"), "labels": {LABEL: prefix}}]
    arguments = json.dumps({"images": images, "work_dir": str(tmp_path / "work")})

    def ansible(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(str(Path(sys.executable).parent / "ansible"), "localhost", "-i", "localhost,", "-c", "local", *more),
                *("-m", "lastro.platform.images", "-a", arguments),
                *("-e", f"ansible_python_interpreter={sys.executable}"),
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

    assert "CHANGED" in ansible("--check").stdout
    assert image_of(f"{prefix}/app:1") is None
    shown = ansible().stdout
    assert f"localhost: {prefix}/app:1 " in shown
    assert (
        shown.index("step 2/4: RUN sleep 1") < shown.index("step 4/4") < shown.index("s  done") < shown.index("CHANGED")
    )
    assert "SUCCESS" in ansible().stdout
    (tmp_path / "app" / "Dockerfile").write_text("FROM lastro/base:trixie\nRUN echo the reason && exit 7\n")
    failed = ansible()
    assert failed.returncode == 2
    assert "could not be built, at step 2/4: RUN echo the reason && exit 7: the command returned" in failed.stdout
