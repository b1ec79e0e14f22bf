# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance with a page of one's own and an allow-list, and requests that wait, against a real HAProxy."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.playbook import play
from tests.integration.proxy_stand import Stand
from tests.load import Load
from tests.support import run_module

# Everybody here comes from this machine, which is let through; a trusted proxy says who they are.
STRANGER = {"X-Forwarded-For": "203.0.113.7"}
COLLEAGUE = {"X-Forwarded-For": "198.51.100.9"}
PAGE = "<h1>Fechado até às 6 h</h1>"
GIVEN = {
    "proxy_trusted_proxies": ["127.0.0.0/8"],
    "proxy_maintenance_allowed": ["198.51.100.0/24"],
    "proxy_maintenance_page": PAGE,
}


@pytest.fixture(scope="module")
def behind(stand: Stand) -> Stand:
    done = stand.role(**GIVEN)
    assert done.returncode == 0, done.stdout
    return stand


@pytest.fixture
def proxy(behind: Stand) -> Iterator[Stand]:
    behind.rest()
    yield behind
    mode(behind, "open")


def mode(proxy: Stand, wanted: str, check: bool = False, **options: Any) -> dict[str, Any]:
    return run_module("proxy_mode", {"directory": str(proxy.directory), "mode": wanted, **options}, check, diff=True)


def sees(proxy: Stand, **headers: str) -> tuple[int, str]:
    status, body, _headers = proxy.get(**headers)
    return status, body.rstrip("01")


def test_strangers_see_the_page_and_who_is_let_through_sees_the_application(proxy: Stand) -> None:
    assert mode(proxy, "maintenance", check=True)["changed"]
    assert sees(proxy, **STRANGER) == (200, "blue")
    done = mode(proxy, "maintenance")
    assert (done["changed"], done["before"], done["after"]) == (True, "open", "maintenance")
    status, body, headers = proxy.get(**STRANGER)
    assert (status, body, headers["content-type"]) == (503, PAGE, "text/html; charset=utf-8")
    assert (headers["retry-after"], headers["x-lastro-proxy"], headers["cache-control"]) == (
        "120",
        "maintenance",
        "no-store",
    )
    assert sees(proxy, **COLLEAGUE) == (200, "blue")
    assert sees(proxy) == (200, "blue"), "the host itself"
    assert not mode(proxy, "maintenance")["changed"]
    assert mode(proxy, "open")["changed"]
    assert sees(proxy, **STRANGER) == (200, "blue")
    assert not mode(proxy, "open")["changed"]


@pytest.mark.parametrize("event", ["restart", "reload"])
def test_it_holds_across_a_restart_a_release_and_the_role(proxy: Stand, event: str) -> None:
    mode(proxy, "maintenance")
    getattr(proxy, event)()
    assert sees(proxy, **STRANGER)[0] == 503
    proxy.switch("green", slots={"green": {"web": 2}, "blue": {"web": 0}})
    assert (sees(proxy, **STRANGER)[0], sees(proxy, **COLLEAGUE)) == (503, (200, "green"))
    again = proxy.role(**GIVEN)
    assert (again.returncode, "changed=0" in again.stdout) == (0, True), again.stdout
    assert sees(proxy, **STRANGER)[0] == 503


def test_requests_wait_instead_of_failing_until_they_may_go_on(proxy: Stand) -> None:
    found: list[tuple[int, str]] = []
    done = mode(proxy, "held", seconds=20)
    assert (done["changed"], done["after"]) == (True, "held")
    waiting = [threading.Thread(target=lambda: found.append(sees(proxy))) for _ in range(5)]
    for one in waiting:
        one.start()
    time.sleep(1)
    assert found == []
    # What they get is what serves then.
    proxy.switch("green", slots={"green": {"web": 2}, "blue": {"web": 0}})
    began = time.monotonic()
    assert mode(proxy, "open")["before"] == "held"
    for one in waiting:
        one.join(5)
    assert found == [(200, "green")] * 5
    assert time.monotonic() - began < 5
    assert (proxy.directory / "maps/mode.map").read_text() == "mode open\n"


def test_a_hold_ends_by_itself(proxy: Stand) -> None:
    mode(proxy, "held", seconds=2)
    began = time.monotonic()
    assert sees(proxy) == (200, "blue")
    assert 0.5 < time.monotonic() - began < 5
    assert mode(proxy, "open", check=True)["before"] == "open"
    began = time.monotonic()
    assert sees(proxy) == (200, "blue")
    assert time.monotonic() - began < 1


def test_no_request_is_lost_by_a_hold(proxy: Stand) -> None:
    with Load(f"http://127.0.0.1:{proxy.http}/", 50, host="web.example") as load:
        mode(proxy, "held", seconds=2)
        time.sleep(3)
    assert load.summary()["failed"] == 0, load.summary()
    assert load.slowest_seconds > 0.5


def test_nobody_waits_in_maintenance(proxy: Stand) -> None:
    mode(proxy, "maintenance")
    assert "It is in maintenance, where requests get the page instead of waiting." in mode(proxy, "held")["msg"]
    assert sees(proxy, **STRANGER)[0] == 503


@pytest.mark.parametrize("seconds", [0, 61, -1])
def test_a_hold_that_nobody_would_wait_for_is_refused(proxy: Stand, seconds: int) -> None:
    said = mode(proxy, "held", seconds=seconds)
    assert said["msg"] == f"Requests can't wait for {seconds} s. Give 1 to 60: clients don't wait longer."


def test_the_playbook(proxy: Stand, tmp_path: Any) -> None:
    def maintain(**variables: Any) -> str:
        more = ["-e", json.dumps(variables)] if variables else []
        done = play(tmp_path, "maintenance", {"proxy": {"hosts": {"edge1": {}}}}, {"edge1": proxy.variables}, {}, *more)
        return done.stdout

    assert "changed=1" in maintain(maintenance="on")
    assert sees(proxy, **STRANGER)[0] == 503
    assert "changed=1" in maintain(maintenance="off")
    assert sees(proxy, **STRANGER)[0] == 200
    for wrong in ({}, {"maintenance": "perhaps"}, {"maintenance": "on", "hold": 3}):
        assert "Say -e maintenance=on, -e maintenance=off, or -e hold=20 (seconds)." in maintain(**wrong)
