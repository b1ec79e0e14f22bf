# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch that is taken back unless somebody confirms it, against a real HAProxy: whatever dies in between, one colour serves in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.proxy_stand import Slot, Stand, wait_for
from tests.load import Load
from tests.support import REPOSITORY, run_module

UNDO = 3.0


def try_green(proxy: Stand, seconds: float = UNDO, **more: Any) -> dict[str, Any]:
    slots = {"green": {"web": 2}, "blue": {"web": 0}}
    return proxy.switch("green", state="provisional", release="1.4", undo_seconds=seconds, slots=slots, **more)


def confirm(proxy: Stand, **more: Any) -> dict[str, Any]:
    slots = {"green": {"web": 2}, "blue": {"web": 0}}
    return proxy.switch("green", state="confirmed", slots=slots, **more)


def served(proxy: Stand) -> set[str]:
    return {proxy.get()[1].rstrip("01") for _ in range(8)}


def killed_at(proxy: Stand, where: str, **args: Any) -> None:
    """The module dies by SIGKILL when it comes to a function of its own."""
    killed = (
        "import os; from ansible_collections.lastro.platform.plugins.modules import proxy_switch as m; "
        f"from ansible_collections.lastro.platform.plugins.module_utils import _proxy, _proxy_provisional; "
        f"{where} = lambda *a, **k: os.kill(os.getpid(), 9); m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"directory": str(proxy.directory), "colour": "green", **args}}),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")},
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def watch(proxy: Stand, **options: Any) -> dict[str, Any]:
    args = {"directory": str(proxy.directory), "colour": "green", "seconds": 3, "interval_seconds": 0.5, **options}
    return run_module("release_watch", args)


def test_a_watch_that_fails_takes_it_back_at_once(proxy: Stand) -> None:
    try_green(proxy, 60)
    slot = proxy.slots["green", 0]
    slot.stop()
    try:
        done = watch(proxy, seconds=20)
    finally:
        proxy.slots["green", 0] = Slot(slot.name, proxy.ports["green"][0])
    assert (done["failed"], done["verdict"], done["taken_back"], done["changed"]) == (True, "bad", True, True)
    assert abs(done["ended_at"] - time.time()) < 5
    assert (served(proxy), proxy.file()) == ({"blue"}, "active blue\n")
    assert not (proxy.directory / "provisional.json").exists()


def test_so_does_one_that_is_told_that_enough_was_seen_elsewhere(proxy: Stand, tmp_path: Path) -> None:
    try_green(proxy, 60)
    (tmp_path / "enough").touch()
    done = watch(proxy, seconds=20, stop_file=str(tmp_path / "enough"))
    assert (done["verdict"], done["taken_back"], served(proxy)) == ("ended", True, {"blue"})


def test_too_few_requests_take_it_back_where_they_are_no_proof(proxy: Stand) -> None:
    try_green(proxy, 60)
    done = watch(proxy, seconds=1, too_few="pass")
    assert (done["verdict"], done["taken_back"], served(proxy)) == ("too_few_requests", False, {"green"})
    done = watch(proxy, seconds=1, too_few="fail")
    assert (done["verdict"], done["taken_back"], served(proxy)) == ("too_few_requests", True, {"blue"})


def test_what_is_kept_no_watch_takes_back(proxy: Stand) -> None:
    try_green(proxy, 60)
    confirm(proxy)
    done = watch(proxy, seconds=1, too_few="fail")
    assert (done["failed"], done["taken_back"], served(proxy)) == (True, False, {"green"})


def test_nobody_confirms(proxy: Stand) -> None:
    began = time.time()
    done = try_green(proxy)
    assert done["provisional"] == {
        "release": "1.4",
        "before": "blue",
        "after": "green",
        "share": 100,
        "until": pytest.approx(began + UNDO, abs=2),
    }
    assert (done["changed"], done["map"], served(proxy)) == (True, {"file": "blue", "runtime": "green"}, {"green"})
    assert done["diff"]["after"] == "active green\n"
    assert set(proxy.states().values()) <= {"up", "unchecked"}, "what served is able to do so again"


def test_it_is_taken_back_in_time_by_the_host_alone(proxy: Stand) -> None:
    try_green(proxy)
    wait_for(lambda: not (proxy.directory / "provisional.json").exists(), UNDO + 2)
    assert (served(proxy), proxy.file()) == ({"blue"}, "active blue\n")
    said = confirm(proxy)
    assert said["failed"]
    assert "green can't be confirmed: it was taken back to blue at 20" in said["msg"]
    assert "nobody confirmed it in time. Read why" in said["msg"]
    assert not proxy.switch()["changed"]


def test_what_was_confirmed_stays(proxy: Stand) -> None:
    try_green(proxy)
    assert confirm(proxy, check=True)["changed"]
    assert proxy.file() == "active blue\n"
    done = confirm(proxy)
    assert (done["changed"], done["provisional"], done["map"]) == (True, None, {"file": "green", "runtime": "green"})
    assert done["diff"]["before"].startswith("active blue\n")
    assert done["slots"]["blue"] == {"web": 0}
    assert not confirm(proxy)["changed"]
    time.sleep(UNDO + 0.5)
    assert served(proxy) == {"green"}
    proxy.reload()
    assert served(proxy) == {"green"}


def test_check_mode_says_it_and_does_not(proxy: Stand) -> None:
    done = try_green(proxy, check=True)
    assert (done["changed"], done["active"], served(proxy)) == (True, {"before": "blue", "after": "green"}, {"blue"})
    assert not (proxy.directory / "provisional.json").exists()
    assert "failed" not in confirm(proxy, check=True), "a deploy in check mode comes here without a switch"


@pytest.mark.parametrize("event", ["restart", "reload"])
def test_a_proxy_that_starts_again_meanwhile_ends_on_what_was_confirmed(proxy: Stand, event: str) -> None:
    try_green(proxy, 60)
    getattr(proxy, event)()
    assert served(proxy) == {"blue"}
    said = confirm(proxy)
    assert "green can't be confirmed: HAProxy serves blue" in said["msg"]
    assert not proxy.switch().get("failed")
    assert (served(proxy), proxy.file()) == ({"blue"}, "active blue\n")


def test_the_next_run_takes_back_at_once_what_a_dead_one_left(proxy: Stand) -> None:
    try_green(proxy, 60)
    done = proxy.switch()
    assert (done["changed"], done["undone"]) == (True, {"release": "1.4", "before": "blue", "after": "green"})
    assert (done["active"], served(proxy)) == ({"before": "blue", "after": "blue"}, {"blue"})
    assert not proxy.switch()["changed"]
    again = try_green(proxy, 60)
    assert again["active"] == {"before": "blue", "after": "green"}
    assert confirm(proxy)["active"]["after"] == "green"


def test_a_switch_back_for_good_ends_it_too(proxy: Stand) -> None:
    try_green(proxy, 60)
    done = proxy.switch("blue")
    assert (done["map"], done["provisional"]) == ({"file": "blue", "runtime": "blue"}, None)
    assert served(proxy) == {"blue"}


def test_a_kill_before_the_switch_leaves_nothing_to_take_back(proxy: Stand) -> None:
    killed_at(proxy, "_proxy.Proxy.set_map", state="provisional", undo_seconds=UNDO)
    assert served(proxy) == {"blue"}
    wait_for(lambda: not (proxy.directory / "provisional.json").exists(), UNDO + 2)
    assert (served(proxy), proxy.file()) == ({"blue"}, "active blue\n")


def test_a_kill_after_the_confirmation_does_not_undo_it(proxy: Stand) -> None:
    try_green(proxy)
    killed_at(proxy, "_proxy_provisional.confirm", state="confirmed")
    assert proxy.file() == "active green\n"
    wait_for(lambda: not (proxy.directory / "provisional.json").exists(), UNDO + 2)
    assert served(proxy) == {"green"}
    assert not proxy.switch("green")["changed"]


def test_the_undo_of_an_earlier_switch_leaves_a_later_one_alone(proxy: Stand) -> None:
    try_green(proxy)
    proxy.switch()
    assert try_green(proxy, 60)["provisional"]
    time.sleep(UNDO + 0.5)
    assert served(proxy) == {"green"}
    confirm(proxy)


def test_no_request_is_lost_on_the_way_there_and_back(proxy: Stand) -> None:
    with Load(f"http://127.0.0.1:{proxy.http}/", 200, host="web.example") as load:
        for _ in range(2):
            try_green(proxy, 1)
            wait_for(lambda: not (proxy.directory / "provisional.json").exists())
        try_green(proxy, 60)
        confirm(proxy)
    found = load.summary()
    assert found["failed"] == 0, found
    assert found["requests"] > 200
    assert min(load.answers[f"200 {name}"] for name in ("blue0", "green0")) > 20


def nothing_serves(proxy: Stand) -> None:
    proxy.admin.ask("del map /haproxy/maps/colour.map active")
    (proxy.directory / "maps" / "colour.map").write_text("# none\n")


def test_a_first_release_goes_back_to_nothing(proxy: Stand) -> None:
    nothing_serves(proxy)
    done = try_green(proxy)
    assert (done["provisional"]["before"], done["map"], served(proxy)) == (
        None,
        {"file": None, "runtime": "green"},
        {"green"},
    )
    wait_for(lambda: not (proxy.directory / "provisional.json").exists(), UNDO + 2)
    assert (proxy.get()[0], proxy.get()[2]["x-lastro-proxy"]) == (503, "no-backend")
    assert "it was taken back to nothing at 20" in confirm(proxy)["msg"]


def test_a_first_release_that_is_confirmed_stays(proxy: Stand) -> None:
    nothing_serves(proxy)
    try_green(proxy)
    assert confirm(proxy)["map"] == {"file": "green", "runtime": "green"}
    time.sleep(UNDO + 0.5)
    assert served(proxy) == {"green"}


def test_without_a_colour_nothing_is_tried(proxy: Stand) -> None:
    assert (
        "state is provisional but all of the following are missing: colour" in proxy.switch(state="provisional")["msg"]
    )
