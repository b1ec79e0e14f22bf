# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `stack` against a real Engine and a real Compose: every kind of drift, every promise."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.images_support import Asked
from tests.integration.stack_support import ENGINE, IMAGE, Lab, programs, settled
from tests.support import random_name, run_module


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A stack of one test, which has yet to be started."""
    made = Lab(tmp_path)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("shared"))
    yield made
    made.remove()


@pytest.fixture
def running(shared: Lab) -> Lab:
    """The stack that tests share, as the module brings it back from what the test before left."""
    shared.reset()
    done = shared.run()
    assert not done.get("failed"), done
    return shared


def test_check_mode_on_nothing_says_what_would_come_and_makes_nothing(lab: Lab) -> None:
    told = lab.run(check=True)
    assert told["changed"]
    assert {name: entry["action"] for name, entry in told["services"].items()} == {"web": "create", "data": "create"}
    assert "web: create, not there yet\n" in told["diff"][-1]["after"]
    assert not lab.directory.exists()
    assert lab.containers() == {}


def test_first_run_creates_second_does_nothing_in_no_time(lab: Lab) -> None:
    first = lab.run()
    assert {entry["action"] for entry in first["services"].values()} == {"create"}, first
    again = lab.run()
    assert again["changed"] is False
    assert {entry["action"] for entry in again["services"].values()} == {"none"}
    assert again["elapsed_seconds"] < 0.2, again["elapsed_seconds"]
    assert lab.run(check=True)["changed"] is False


def test_nothing_to_do_starts_no_compose(running: Lab, tmp_path: Path) -> None:
    assert "compose" not in programs(running.args, tmp_path / "trace")
    changed = running.changed()
    changed["compose"]["services"]["web"]["environment"]["PRICE"] = "6"
    assert "compose" in programs(changed, tmp_path / "trace")


def test_check_mode_starts_no_compose_whatever_there_is_to_do(running: Lab, tmp_path: Path) -> None:
    before = running.containers()
    running.args["compose"]["services"]["web"]["environment"]["PRICE"] = "6"
    running.args["compose"]["services"]["more"] = running.args["compose"]["services"]["data"]
    running.args["files"][1]["content"] = "two\n"
    ENGINE.post(f"/containers/{before['data']}/stop")
    told = running.run(check=True)
    actions = {name: entry["action"] for name, entry in told["services"].items()}
    assert actions == {"web": "recreate", "data": "start", "more": "create"}
    assert "compose" not in programs(running.args, tmp_path / "trace", check=True)
    assert running.containers() == before
    assert (running.directory / "config/live").read_text() == "one\n"


@pytest.mark.parametrize("check", [False, True])
def test_nothing_to_do_is_one_look_at_the_engine(running: Lab, tmp_path: Path, check: bool) -> None:
    questions: list[bytes] = []
    with Asked(tmp_path / "engine.sock", questions) as path:
        assert running.run(check=check, engine=path)["changed"] is False
    # Its version is not asked for, so a new one cannot matter.
    look = (b"containers/json?all=true", b"images/json", b"networks", b"volumes")
    assert sorted(questions) == [b"GET /v1.41/%b HTTP/1.1" % what for what in look]


def test_containers_that_another_compose_made_stay(running: Lab) -> None:
    web = running.inspect("web")
    other = {"com.docker.compose.version": "1.99.0", "com.docker.compose.config-hash": "0" * 64}
    labels = {**web["Config"]["Labels"], **other}
    ENGINE.delete(f"/containers/{web['Id']}", force="true")
    body = {**web["Config"], "Labels": labels, "HostConfig": web["HostConfig"]}
    made = ENGINE.post("/containers/create", body, name=f"{running.project}-web-1")["Id"]
    ENGINE.post(f"/containers/{made}/start")
    settled(running)
    # Also where Compose is called, for the service beside it.
    running.args["compose"]["services"]["data"]["environment"] = {"NEW": "1"}
    assert running.run()["services"]["data"]["action"] == "recreate"
    assert running.containers()["web"] == made


def test_a_dollar_stays_a_dollar(running: Lab) -> None:
    assert "PRICE=5$abc ${HOME}" in running.inspect("web")["Config"]["Env"]


def test_only_the_service_that_changed_is_recreated(running: Lab) -> None:
    before = running.containers()
    running.args["compose"]["services"]["web"]["environment"]["PRICE"] = "7"
    done = running.run()
    assert done["services"]["web"]["action"] == "recreate"
    after = running.containers()
    assert before["data"] == after["data"]
    assert before["web"] != after["web"]
    settled(running)


def test_a_fixed_file_recreates_its_reader_and_nobody_else(running: Lab) -> None:
    before = running.containers()
    running.args["files"][0]["content"] = "two\n"
    told = running.run(check=True)
    assert told["services"]["web"] == {
        "action": "recreate",
        "why": "files that it reads at start changed",
        "cause": "version",
    }
    running.run()
    after = running.containers()
    assert before["data"] == after["data"]
    assert before["web"] != after["web"]
    settled(running)


def test_a_reloadable_file_is_signalled_and_keeps_the_container(running: Lab) -> None:
    before = running.containers()
    content = running.args["files"][1]["content"] = f"{random_name()}\n"
    done = running.run()
    assert done["services"]["web"]["action"] == "reload"
    assert running.containers() == before
    _wait_for_reload(running, content)
    settled(running)


def test_a_kill_between_writing_and_the_signal_is_repaired(running: Lab) -> None:
    content = running.args["files"][1]["content"] = f"{random_name()}\n"
    (running.directory / "config/live").write_text(content)  # as a run that was killed here leaves it
    done = running.run()
    assert done["services"]["web"]["action"] == "reload"
    _wait_for_reload(running, content)
    settled(running)


def _wait_for_reload(lab: Lab, content: str) -> None:
    """Until the program has taken the new content up, once."""
    deadline = time.monotonic() + 5
    state = lab.directory / "state/reloads"
    while not (state.exists() and content in state.read_text()):
        assert time.monotonic() < deadline, "the program was not told"
        time.sleep(0.05)
    assert state.read_text().count(content) == 1


def test_a_failing_reload_command_fails_and_is_tried_again(running: Lab) -> None:
    web = running.args["compose"]["services"]["web"]
    web["x-platform"] = {"reload": [{"files": ["config/live"], "command": ["sh", "-c", "grep -q good /config/live"]}]}
    running.args["files"][1]["content"] = "bad\n"
    failed = running.run()
    assert "did not take up its changed files" in failed["msg"]
    assert running.run()["failed"]
    running.args["files"][1]["content"] = "good\n"
    assert running.run()["services"]["web"]["action"] == "reload"
    settled(running)


@pytest.mark.parametrize(
    ("damage", "service", "action"),
    [
        ("stop", "web", "start"),
        ("remove", "web", "create"),
        ("pause", "web", "recreate"),
    ],
)
def test_damage_to_a_container_is_repaired(running: Lab, damage: str, service: str, action: str) -> None:
    container = running.containers()[service]
    if damage == "remove":
        ENGINE.delete(f"/containers/{container}", force="true")
    else:
        ENGINE.post(f"/containers/{container}/{damage}")
    told = running.run(check=True)
    assert told["services"][service]["action"] == action, told
    assert running.run()["services"][service]["action"] == action
    assert running.inspect(service)["State"]["Status"] == "running"
    assert not running.inspect(service)["State"]["Paused"]
    settled(running)


def test_an_unhealthy_container_is_recreated(lab: Lab) -> None:
    web = lab.args["compose"]["services"]["web"]
    web["healthcheck"] = {"test": ["CMD", "test", "!", "-e", "/tmp/sick"], "interval": "500ms", "retries": 1}
    lab.run()
    lab_id = lab.containers()["web"]
    assert ENGINE.run(lab_id, ["touch", "/tmp/sick"])[0] == 0
    deadline = time.monotonic() + 15
    while lab.inspect("web")["State"]["Health"]["Status"] != "unhealthy":
        assert time.monotonic() < deadline, "the Engine has not seen it"
        time.sleep(0.2)
    done = lab.run()
    assert done["services"]["web"] == {"action": "recreate", "why": "it is unhealthy", "cause": "damage"}
    settled(lab)


def test_a_container_made_by_hand_is_replaced(running: Lab) -> None:
    ENGINE.delete(f"/containers/{running.containers()['web']}", force="true")
    ENGINE.post("/containers/create", {"Image": IMAGE, "Cmd": ["sleep", "60"]}, name=f"{running.project}-web-1")
    done = running.run()
    assert done["services"]["web"] == {
        "action": "create",
        "why": "its container was created by hand",
        "cause": "damage",
    }
    assert running.inspect("web")["Config"]["Labels"]["lastro.definition"]
    settled(running)


def test_extra_containers_and_orphans_go(running: Lab) -> None:
    running.args["compose"]["services"]["data"]["deploy"] = {"replicas": 2}
    assert running.run()["services"]["data"]["action"] == "create"
    before = running.containers()
    running.args["compose"]["services"]["data"]["deploy"] = {"replicas": 1}
    done = running.run()
    assert done["services"]["data"]["action"] == "remove"
    assert running.containers()["web"] == before["web"]
    del running.args["compose"]["services"]["web"]
    done = running.run()
    assert done["services"]["web"] == {"action": "remove", "why": "not in the compose file", "cause": "version"}
    assert list(running.containers()) == ["data"]
    settled(running)


def test_another_image_under_the_same_tag_is_drift(lab: Lab) -> None:
    tag = random_name("lt-image-")
    ENGINE.post(f"/images/{IMAGE}/tag", repo=tag, tag="1")
    try:
        for service in lab.args["compose"]["services"].values():
            service["image"] = f"{tag}:1"
        lab.run()
        committed = ENGINE.post("/commit", {}, container=lab.containers()["data"], repo=tag, tag="1")
        assert committed["Id"]
        done = lab.run()
        assert done["services"]["web"] == {
            "action": "recreate",
            "why": f"image {tag}:1 is another one now",
            "cause": "version",
        }
        settled(lab)
    finally:
        run_module("stack", {**lab.args, "state": "absent"})
        ENGINE.delete(f"/images/{tag}:1", force="true")


@pytest.mark.parametrize("damage", ["content", "mode", "owner", "new"])
def test_damage_to_a_file_is_repaired(running: Lab, damage: str) -> None:
    path = running.directory / "config/fixed"
    if damage == "content":
        path.write_text("other\n")
    elif damage == "mode":
        path.chmod(0o600)
    elif damage == "owner":
        os.chown(path, 1234, 1234)
    else:
        path.unlink()
    done = running.run()
    assert done["files"] == [{"path": "config/fixed", "why": damage}]
    assert path.read_text() == "one\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_uid == 0
    settled(running)


def test_a_file_taken_off_the_list_is_removed(running: Lab) -> None:
    extra = running.directory / "config/extra"
    running.run(files=[*running.args["files"], {"path": "config/extra", "content": "x"}])
    assert extra.exists()
    done = running.run()
    assert {"path": "config/extra", "why": "gone"} in done["files"]
    assert not extra.exists()
    settled(running)


def test_missing_volume_and_network_come_back(running: Lab) -> None:
    for container in running.containers().values():
        ENGINE.delete(f"/containers/{container}", force="true")
    ENGINE.delete(f"/volumes/{running.project}_data")
    ENGINE.delete(f"/networks/{running.project}_default")
    running.run()
    assert ENGINE.find(f"/volumes/{running.project}_data") is not None
    settled(running)


def test_a_service_on_hold_stays_and_is_reported(running: Lab) -> None:
    before = running.containers()
    running.args["compose"]["services"]["data"]["environment"] = {"NEW": "1"}
    held = running.run(hold=["data"])
    assert held["pending"] == [{"service": "data", "why": "its definition changed"}]
    assert running.containers() == before
    again = running.run(hold=["data"])
    assert again["changed"] is False
    assert again["pending"]
    assert running.run()["services"]["data"]["action"] == "recreate"
    settled(running)


def test_secrets_show_nowhere(lab: Lab) -> None:
    secret = "pa55-" + random_name("")
    lab.args["files"].append({"path": "secrets/password", "content": secret, "owner": "999:999", "secret": True})
    lab.args["compose"]["services"]["web"]["volumes"].append("./secrets:/run/secrets:ro")
    told = json.dumps(lab.run(check=True))
    done = json.dumps(lab.run())
    assert secret not in told + done
    assert "SHA-256" in done
    path = lab.directory / "secrets/password"
    assert path.read_text() == secret
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o400, 999)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert secret not in json.dumps(lab.inspect("web"))
    assert secret not in (lab.directory / "compose.yaml").read_text() + (lab.directory / ".stack.json").read_text()


def test_only_the_content_of_secret_files_is_kept_out(lab: Lab) -> None:
    secret = "pa55-" + random_name("")
    lab.args["files"][0]["content"] = "maxmemory-policy allkeys-lru\n"
    lab.args["files"].append({"path": "secrets/password", "content": secret, "secret": True})
    web = lab.args["compose"]["services"]["web"]
    web["volumes"].append("./secrets:/secrets:ro")
    web.update(command=["sh", "-c", "cat /config/fixed /secrets/password; exit 7"], restart="no")
    assert "+maxmemory-policy allkeys-lru" in "".join(f"+{entry['after']}" for entry in lab.run(check=True)["diff"])
    failed = lab.run()
    assert "maxmemory-policy allkeys-lru" in failed["msg"]
    assert "exit code 7" in failed["msg"]
    assert secret not in json.dumps(failed)


def test_a_volume_that_nobody_named_is_created_as_compose_calls_it(lab: Lab) -> None:
    name = random_name()
    lab.args["compose"]["volumes"][name] = {"external": True, "x-platform": {"create": True}}
    lab.args["compose"]["services"]["web"]["volumes"].append(f"{name}:/shared")
    try:
        done = lab.run()
        assert not done.get("failed"), done
        assert ENGINE.get(f"/volumes/{name}")["Labels"] == {"lastro.shared": "true"}
        settled(lab)
    finally:
        lab.remove()
        ENGINE.delete(f"/volumes/{name}")


def test_stopped_then_absent_keep_the_data(running: Lab) -> None:
    assert running.run(state="stopped")["changed"]
    assert running.inspect("web")["State"]["Status"] == "exited"
    assert running.run(state="stopped")["changed"] is False
    before = running.containers()
    assert running.run(state="started", check=True)["changed"]
    assert running.inspect("web")["State"]["Status"] == "exited"
    started = running.run(state="started")
    assert started["changed"], started
    # The same ones, and well.
    assert running.containers() == before
    assert {one["health"] for one in started["containers"]} <= {"", "healthy"}
    assert running.run(state="started")["changed"] is False
    assert running.run(state="absent", check=True)["changed"]
    assert running.run(state="absent")["changed"]
    assert running.containers() == {}
    assert "has no container that could be started again" in running.run(state="started")["msg"]
    assert running.run(state="absent")["changed"] is False
    assert ENGINE.find(f"/volumes/{running.project}_data") is not None
    assert running.run(state="absent", remove_volumes=True)["changed"]
    assert ENGINE.find(f"/volumes/{running.project}_data") is None
    assert not running.directory.exists()
