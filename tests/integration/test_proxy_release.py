# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release behind two real proxies: both serve it or neither, and what users get of it in the first seconds decides."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tests.integration.playbook import play
from tests.integration.proxy_stand import Slot, Stand, wait_for
from tests.load import Load
from tests.support import REPOSITORY, run_module

PLAYS = yaml.safe_load((REPOSITORY / "playbooks/parts/release.yml").read_text())
(AGREED,) = [
    task["vars"]["proxy_agreed"]
    for play in PLAYS
    for task in play.get("tasks", [])
    if task["name"] == "Agree on what serves"
]
# What of them is of no matter here: the batches before, and what waits for a release that replaces.
(SWITCH,) = [play["vars"] for play in PLAYS if play["name"].startswith("Switch the proxies")]
SWITCH = {name: value for name, value in SWITCH.items() if name not in ("replaces", "app_failures", "proxy_serving")}
SERVING = "{{ hostvars[groups.proxy | first].proxy_serving }}"
NAMES = ("edge1", "edge2")


class Pair:
    """Two proxies, each with servers of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in NAMES:
            (directory / name).mkdir()
        self.stands = {name: Stand(directory / name) for name in NAMES}

    def release(
        self, colour: str, first: bool = False, lookers: dict[str, Any] | None = None, **variables: Any
    ) -> CompletedProcess[str]:
        """As playbooks/parts/release.yml does it, but that the proxies are only built the first time.

        `lookers` are hosts of the application, each with the check that it looks on with.
        """
        role: dict[str, Any] = {"name": "lastro.platform.proxy", "rolespec_validate": False}
        of = {"proxy_colour": colour, "proxy_concludes": False}
        agree = [
            {"ansible.builtin.include_role": role if first else {**role, "tasks_from": "read"}},
            {"ansible.builtin.include_role": {**role, "tasks_from": "agree"}, "vars": {"proxy_agreed": AGREED}},
        ]
        switch = {"ansible.builtin.include_role": {**role, "tasks_from": "switch"}, "vars": of}
        conclude = {"ansible.builtin.include_role": {**role, "tasks_from": "conclude"}, "vars": of}
        said = "failures: {{ proxy_failure }} serving: {{ proxy_serving }}"
        plays: list[dict[str, Any]] = [
            {"hosts": "proxy", "tasks": agree},
            {"hosts": "proxy:app", "tasks": [switch], "vars": {**SWITCH, "proxy_serving": SERVING}},
            {"hosts": "proxy", "tasks": [conclude], "vars": {"proxy_failures": SWITCH["proxy_failures"]}},
            {"hosts": "proxy", "tasks": [{"ansible.builtin.debug": {"msg": said}}]},
            {
                "hosts": "app",
                "tasks": [{"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} saw: {{ app_failure }}"}}],
            },
        ]
        checks = {name: {"proxy_watch_checks": [check]} for name, check in (lookers or {}).items()}
        hosts = {name: stand.variables for name, stand in self.stands.items()} | checks
        groups = {"proxy": {"hosts": {key: {} for key in NAMES}}, "app": {"hosts": {key: {} for key in checks}}}
        given = {"proxy_replicas": {"web": 2}, "proxy_release": "1.4", "proxy_switch_seconds": 3, **variables}
        return play(self.directory, [{"gather_facts": False, **one} for one in plays], groups, hosts, given)

    def served(self) -> list[set[str]]:
        return [{stand.get()[1].rstrip("01") for _ in range(6)} for stand in self.stands.values()]

    def serves(self, colour: str) -> bool:
        """Both, for good."""
        files = [stand.file() for stand in self.stands.values()]
        markers = [(stand.directory / "provisional.json").exists() for stand in self.stands.values()]
        return (self.served(), files, markers) == ([{colour}] * 2, [f"active {colour}\n"] * 2, [False] * 2)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    directory = Path(tempfile.mkdtemp(prefix="lt-"))
    made = Pair(directory)
    try:
        done = made.release("blue", first=True)
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        for stand in made.stands.values():
            stand.remove()
        shutil.rmtree(directory)


def said(done: CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_both_serve_it_and_the_servers_of_before_rest(pair: Pair) -> None:
    with Load(f"http://127.0.0.1:{pair.stands['edge1'].http}/", 100, host="web.example") as load:
        done = pair.release("green")
        assert done.returncode == 0, done.stdout
        assert pair.serves("green"), done.stdout + str((pair.served(), [s.file() for s in pair.stands.values()]))
        assert pair.release("blue").returncode == 0
    assert load.summary()["failed"] == 0, load.summary()
    assert pair.serves("blue")
    states = {state for name, state in pair.stands["edge2"].states().items() if "green" in name}
    assert states == {"maintenance"}
    assert "changed=0" in pair.release("blue").stdout


def test_a_canary_goes_step_by_step_on_both(pair: Pair) -> None:
    seen: set[tuple[int, ...]] = set()

    def look() -> None:
        while not over.wait(0.2):
            found = [stand.switch(check=True)["canary"] for stand in pair.stands.values()]
            seen.add(tuple(one["share"] if one else 0 for one in found))

    over = threading.Event()
    looking = threading.Thread(target=look)
    looking.start()
    watch = {"proxy_watch_seconds": 3, "proxy_watch_requests_min": 10, "proxy_watch_probe_rate": 10}
    try:
        done = pair.release("green", **watch, proxy_watch_too_few="fail", proxy_strategy="canary")
    finally:
        over.set()
        looking.join()
    assert pair.serves("green"), done.stdout
    assert {(5, 5), (25, 25)} <= seen
    for slot in (stand.slots["green", number] for stand in pair.stands.values() for number in (0, 1)):
        slot.fails_every = 3
    assert pair.release("blue").returncode == 0
    done = pair.release("green", **watch, proxy_strategy="canary")
    for slot in (stand.slots["green", number] for stand in pair.stands.values() for number in (0, 1)):
        slot.fails_every = 0
    assert "requests failed (" in said(done)
    assert done.stdout.count("TASK [lastro.platform.proxy : Serve the release until it is kept]") == 1, (
        "the first step was the last"
    )
    assert pair.serves("blue")


def test_what_a_host_of_the_application_sees_takes_it_back_on_both(pair: Pair) -> None:
    """A worker serves nobody, so no proxy misses it."""
    sees = pair.directory / "the-worker-runs"
    sees.touch()
    worker = {"name": "worker", "type": "command", "argv": ["test", "-e", str(sees)]}
    quiet = {**worker, "argv": ["true"]}

    def end() -> None:
        for stand in pair.stands.values():
            wait_for((stand.directory / "provisional.json").exists, 60)
        time.sleep(4)
        sees.unlink()

    thread, files = threading.Thread(target=end), set(Path("/run").glob("lastro-watch-*"))
    thread.start()
    began = time.monotonic()
    done = pair.release("green", lookers={"app1": quiet, "app2": worker}, proxy_watch_seconds=120)
    thread.join()
    assert time.monotonic() - began < 60, "it ended on all of them"
    assert "app2 saw: app2: After " in said(done), done.stdout
    assert "worker (command test): rc 1, wanted 0" in said(done)
    assert set(Path("/run").glob("lastro-watch-*")) <= files
    assert pair.serves("blue")


def test_a_release_that_is_well_everywhere_is_kept(pair: Pair) -> None:
    well = {"name": "worker", "type": "command", "argv": ["true"]}
    watch = {"proxy_watch_seconds": 3, "proxy_watch_requests_min": 10, "proxy_watch_probe_rate": 10}
    strategy = {"proxy_strategy": "canary", "proxy_canary_steps": [50]}
    done = pair.release("green", lookers={"app1": well}, **watch, **strategy, proxy_watch_too_few="fail")
    assert "app1 saw: " in said(done), done.stdout
    assert pair.serves("green"), done.stdout
    assert (
        done.stdout.count("ok: [app1]\n")
        == done.stdout.count("TASK [lastro.platform.proxy : Watch what becomes of the release]") * 2
    )
    assert pair.release("blue").returncode == 0


def test_one_that_cannot_takes_both_back(pair: Pair) -> None:
    stand = pair.stands["edge2"]
    slot = stand.slots["green", 1]
    slot.stop()
    try:
        done = pair.release("green")
    finally:
        stand.slots["green", 1] = Slot(slot.name, stand.ports["green"][1])
    assert done.returncode == 0, "the playbook decides what becomes of it"
    assert (
        f"failures: edge2: green was not switched to, blue goes on serving: after 3 s web_green/here-1:{stand.ports['green'][1]}"
        in said(done)
    )
    assert "failures: serving: blue" in said(done)
    assert pair.serves("blue")


def test_one_that_starts_again_during_the_watch_takes_both_back(pair: Pair) -> None:
    stand = pair.stands["edge2"]

    def restart() -> None:
        wait_for((stand.directory / "provisional.json").exists, 60)
        stand.restart()

    thread = threading.Thread(target=restart)
    thread.start()
    done = pair.release("green", proxy_watch_seconds=8, proxy_watch_requests_min=1)
    thread.join()
    assert "edge2: It serves blue again: HAProxy started anew" in said(done), done.stdout
    assert pair.serves("blue")


WATCH = {"proxy_watch_seconds": 10, "proxy_watch_requests_min": 40, "proxy_watch_failed_max": 0.02}


@pytest.mark.parametrize(
    ("fault", "value", "message"),
    [
        ("fails_every", 10, r"requests failed ("),
        ("takes_seconds", 0.3, "ms, and the release before did in"),
        ("takes_seconds", 40.0, "requests that the watch sent got no answer of the application"),
    ],
)
def test_a_release_that_does_worse_is_taken_back_on_both(pair: Pair, fault: str, value: float, message: str) -> None:
    """It is seen on one of them, by the requests that users send."""
    slots = [pair.stands["edge1"].slots["green", number] for number in (0, 1)]
    for slot in slots:
        setattr(slot, fault, value)
    try:
        # Whoever waits for ever sends nothing else.
        rate = 100 if value < 10 else 1
        with Load(f"http://127.0.0.1:{pair.stands['edge1'].http}/", rate, host="web.example"):
            done = pair.release("green", **WATCH, proxy_watch_probe_rate=0 if value < 10 else 10)
    finally:
        for slot in slots:
            setattr(slot, fault, type(value)(0))
    assert message in said(done), done.stdout
    found = re.search(r"failures: edge1: After ([0-9.]+) s of green", said(done))
    assert found
    states = {state for name, state in pair.stands["edge2"].states().items() if "green" in name}
    assert states == {"maintenance"}, "the next run has nothing to tidy"
    assert float(found[1]) < WATCH["proxy_watch_seconds"] - 1, "it ended before the time was over"
    assert pair.serves("blue")


def test_what_one_has_seen_ends_the_watch_of_the_other(pair: Pair) -> None:
    slots = [pair.stands["edge1"].slots["green", number] for number in (0, 1)]
    for slot in slots:
        slot.fails_every = 10
    began, files = time.monotonic(), set(Path("/run").glob("lastro-watch-*"))
    try:
        with Load(f"http://127.0.0.1:{pair.stands['edge1'].http}/", 100, host="web.example"):
            done = pair.release("green", **{**WATCH, "proxy_watch_seconds": 120})
    finally:
        for slot in slots:
            slot.fails_every = 0
    assert "requests failed (" in said(done), done.stdout
    # Nobody asked anything of the other, so it would have gone on to the end.
    assert time.monotonic() - began < 60
    assert set(Path("/run").glob("lastro-watch-*")) <= files
    assert pair.serves("blue")


def test_proxies_that_differ_serve_what_was_kept_last(pair: Pair) -> None:
    """As a controller leaves them that dies while it tells them; here the second one was told."""
    time.sleep(1)  # the time of a file is in seconds
    edge = pair.stands["edge2"]
    assert edge.switch("green", slots={"green": {"web": 2}})["active"]["after"] == "green"
    pair.stands["edge1"].switch(slots={"green": {"web": 2}})
    done = pair.release("green")
    assert "TASK [lastro.platform.proxy : Try the release]" not in done.stdout, done.stdout
    assert pair.serves("green")
    assert pair.release("blue").returncode == 0
    assert pair.serves("blue")


def test_a_proxy_that_was_built_anew_serves_what_the_other_does(pair: Pair) -> None:
    """Where the application has fewer copies than slots, and so nobody is to be waited for in the others."""
    one = {"proxy_replicas": {"web": 1}}
    assert pair.release("blue", **one).returncode == 0
    edge = pair.stands["edge2"]
    run_module("stack", {"project": f"{edge.name}-proxy", "directory": str(edge.directory), "state": "absent"})
    shutil.rmtree(edge.directory)
    for stand in pair.stands.values():
        stand.slots["blue", 1].stop()
    try:
        done = pair.release("blue", first=True, **one)
    finally:
        for stand in pair.stands.values():
            stand.slots["blue", 1] = Slot("blue1", stand.ports["blue"][1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert pair.serves("blue")
    assert edge.states()["web_blue/here-1"] == "maintenance"
    assert pair.release("blue").returncode == 0


def test_a_server_that_dies_takes_it_back(pair: Pair) -> None:
    stand = pair.stands["edge1"]
    slot = stand.slots["green", 0]

    def die() -> None:
        wait_for((stand.directory / "provisional.json").exists, 60)
        time.sleep(1)
        slot.stop()

    thread = threading.Thread(target=die)
    thread.start()
    try:
        done = pair.release("green", **WATCH)
    finally:
        thread.join()
        stand.slots["green", 0] = Slot(slot.name, stand.ports["green"][0])
    assert f"web_green/here-0:{stand.ports['green'][0]} is down" in said(done)
    assert pair.serves("blue")


def test_where_nobody_is_about_the_watch_asks_itself(pair: Pair) -> None:
    asked = {"proxy_watch_seconds": 3, "proxy_watch_too_few": "fail"}
    done = pair.release("green", **asked, proxy_watch_requests_min=20)
    assert "Only 0 requests came in" in said(done)
    assert "20 are needed to know" in said(done)
    assert pair.serves("blue")
    done = pair.release("green", **asked, proxy_watch_requests_min=20, proxy_watch_probe_rate=15)
    assert "failures: serving: green" in said(done), done.stdout
    assert pair.serves("green")
    assert pair.release("blue").returncode == 0
