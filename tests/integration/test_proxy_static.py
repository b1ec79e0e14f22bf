# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A static site during a release: a page of either release finds its files, whichever colour serves."""

from __future__ import annotations

import pytest

from tests.integration.proxy_stand import Stand, wait_for

OLD, NEW, NEITHER = "/assets/app.1.js", "/assets/app.2.js", "/assets/none.js"
LACKS = {"blue": {NEW, NEITHER}, "green": {OLD, NEITHER}}
FULL = {"blue": {"web": 2}, "green": {"web": 2}}


@pytest.fixture(scope="module")
def site(stand: Stand) -> Stand:
    (route,) = stand.variables["proxy_routes"]
    done = stand.role(proxy_routes=[{**route, "static": True}])
    assert done.returncode == 0, done.stdout
    for (colour, _slot), server in stand.slots.items():
        server.lacks = LACKS[colour]
    return stand


def answers(site: Stand, *paths: str) -> list[tuple[int, str]]:
    found = [site.get(path) for path in paths]
    return [(status, body.rstrip("01")) for status, body, _headers in found]


def test_files_of_both_releases_are_found_while_both_run(site: Stand) -> None:
    old, new, neither = (200, "blue"), (200, "green"), 404
    assert not site.switch("blue", slots=FULL).get("failed")
    wait_for(lambda: answers(site, NEW) == [new])
    for colour in ("blue", "green"):
        site.switch(colour)
        page = answers(site, "/", OLD, NEW, NEITHER)
        assert page[:3] == [(200, colour), old, new], page
        assert page[3][0] == neither
    # What may have had an effect is not sent a second time. Without a body, as HAProxy sends again only what it has as a whole.
    hits = sum(server.hits for server in site.slots.values())
    assert site.get(OLD, "POST")[0] == neither
    assert sum(server.hits for server in site.slots.values()) == hits + 1
    assert not site.switch("green", slots={"blue": {"web": 0}}).get("failed")
    wait_for(lambda: answers(site, OLD)[0][0] == neither)
    # Its own page for what is not there.
    assert answers(site, "/", NEW, NEITHER) == [(200, "green"), new, (neither, "green")]
    assert answers(site, OLD)[0] == (neither, "green")


def test_no_server_of_the_colour_is_said_as_ever(site: Stand) -> None:
    site.switch("green", slots={"blue": {"web": 0}, "green": {"web": 2}})
    site.admin.ask(
        *(f"set server web_green/here-{slot}:{port} state maint" for slot, port in enumerate(site.ports["green"]))
    )
    status, _body, headers = site.get()
    assert (status, headers["x-lastro-proxy"]) == (503, "no-server")
