# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that a share of the clients gets before everybody does, against a real HAProxy."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.filter.status import fleet, releases_table

from tests.integration.proxy_stand import Stand, wait_for
from tests.load import Load
from tests.support import run_module

SLOTS = {"green": {"web": 2}, "blue": {"web": 0}}
CLIENTS = [f"127.0.0.{number}" for number in range(1, 201)]


def try_green(proxy: Stand, share: int, seconds: float = 60, **more: Any) -> dict[str, Any]:
    given = {"state": "provisional", "release": "1.4", "undo_seconds": seconds, "slots": SLOTS, "share": share}
    return proxy.switch("green", **given, **more)


def confirm(proxy: Stand) -> dict[str, Any]:
    return proxy.switch("green", state="confirmed", slots=SLOTS)


def of_green(proxy: Stand) -> set[str]:
    """The clients that get the release that is tried."""
    return {client for client in CLIENTS if proxy.get(client=client)[1].startswith("green")}


def test_step_by_step_more_clients_get_it_and_none_goes_back(proxy: Stand) -> None:
    done = try_green(proxy, 5)
    assert done["canary"] == {"colour": "green", "share": 5}
    assert done["map"] == {"file": "blue", "runtime": "blue"}
    few = of_green(proxy)
    assert 0 < len(few) < len(CLIENTS) * 0.15
    assert of_green(proxy) == few, "a client gets the same release each time"
    try_green(proxy, 25)
    more = of_green(proxy)
    assert few < more
    assert len(CLIENTS) * 0.13 < len(more) < len(CLIENTS) * 0.4
    done = try_green(proxy, 100)
    assert (done["canary"], done["map"]) == (None, {"file": "blue", "runtime": "green"})
    assert of_green(proxy) == set(CLIENTS)
    assert confirm(proxy)["map"] == {"file": "green", "runtime": "green"}
    assert not proxy.switch()["changed"]


def test_whoever_asks_for_it_gets_it_while_it_is_tried(proxy: Stand) -> None:
    asking = {"x-canary": "1"}
    assert proxy.get(**asking)[1].startswith("blue")
    try_green(proxy, 1)
    assert {proxy.get(client=client, **asking)[1].rstrip("01") for client in CLIENTS[:20]} == {"green"}
    proxy.switch()
    assert proxy.get(**asking)[1].startswith("blue")


def test_nobody_goes_on_with_it(proxy: Stand) -> None:
    try_green(proxy, 25, seconds=3)
    wait_for(lambda: not (proxy.directory / "provisional.json").exists(), 6)
    assert of_green(proxy) == set()
    assert proxy.get(**{"x-canary": "1"})[1].startswith("blue")
    assert "it was taken back to blue at" in confirm(proxy)["msg"]


def test_the_next_step_has_its_own_time(proxy: Stand) -> None:
    try_green(proxy, 5, seconds=3)
    time.sleep(1.5)
    done = try_green(proxy, 25, seconds=60)
    assert done["undone"] is None
    time.sleep(3)
    assert done["canary"] == proxy.switch(check=True)["canary"] == {"colour": "green", "share": 25}


@pytest.mark.parametrize("event", ["restart", "reload"])
def test_a_proxy_that_starts_again_meanwhile_serves_what_was_before(proxy: Stand, event: str) -> None:
    try_green(proxy, 25)
    getattr(proxy, event)()
    assert of_green(proxy) == set()
    assert "can't be confirmed: HAProxy serves blue" in confirm(proxy)["msg"]
    assert not proxy.switch().get("failed")
    wait_for(lambda: set(proxy.states().values()) == {"up"})


def test_a_share_cannot_be_kept(proxy: Stand) -> None:
    try_green(proxy, 25)
    assert "green can't be confirmed: HAProxy serves blue" in confirm(proxy)["msg"]
    assert proxy.switch(check=True)["canary"] == {"colour": "green", "share": 25}


def test_a_run_that_begins_anew_takes_back_what_another_tried(proxy: Stand) -> None:
    try_green(proxy, 25)
    done = try_green(proxy, 5)
    assert done["undone"] == {"release": "1.4", "before": "blue", "after": "green"}
    assert done["canary"] == {"colour": "green", "share": 5}


@pytest.mark.parametrize("share", [0, 101, -5])
def test_a_share_that_is_none_is_refused_before_anything_changes(proxy: Stand, share: int) -> None:
    said = try_green(proxy, share)
    assert said["failed"]
    assert said["msg"] == f"A share of {share} % is none. Give a number from 1 to 100; 100 serves everybody."
    assert not (proxy.directory / "provisional.json").exists()
    assert proxy.switch(check=True)["slots"]["blue"] == {"web": 2}


def test_no_request_is_lost_through_the_steps_and_back(proxy: Stand) -> None:
    with Load(f"http://127.0.0.1:{proxy.http}/", rate=100, host="web.example") as load:
        for share in (5, 25, 100):
            try_green(proxy, share)
            time.sleep(0.5)
        proxy.switch("blue", slots={"blue": {"web": 2}})
        try_green(proxy, 25)
        time.sleep(0.5)
        proxy.switch()
        time.sleep(0.5)
    found = load.summary()
    assert found["failed"] == 0, found
    assert found["requests"] > 150


def test_status_says_what_is_tried(proxy: Stand) -> None:
    asked = {"platform": proxy.name, "state_directory": str(proxy.directory.parent)}
    assert run_module("platform_status", asked)["trying"] == ""
    try_green(proxy, 25)
    found = run_module("platform_status", asked)
    assert re.fullmatch(
        r"1\.4 \(green\) to 25 % of the clients, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC unless it is kept; then blue again",
        found["trying"],
    )
    shown = releases_table(fleet({"edge1": found}))
    assert shown.startswith("edge1 TRIES 1.4 (green) to 25 % of the clients")
