"""What is open at a reload of the proxy, and the workers that stay for it."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import Admin
from ansible_collections.lastro.platform.plugins.module_utils._proxy_memory import old_workers

from tests.integration.proxy_stand import Stand, running, wait_for

DRAIN_SECONDS = 4
RELOADS_MAX = 2


@pytest.fixture(scope="module")
def reloaded() -> Iterator[Stand]:
    with running(proxy_drain_seconds=DRAIN_SECONDS, proxy_reloads_max=RELOADS_MAX) as stand:
        yield stand


@pytest.fixture
def proxy(reloaded: Stand) -> Stand:
    reloaded.rest()
    return reloaded


@contextlib.contextmanager
def connection(proxy: Stand) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=20)
    with contextlib.closing(made):
        yield made


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/", headers={"Host": "web.example"})


def test_a_connection_follows_the_switch(proxy: Stand) -> None:
    with connection(proxy) as ours:
        ask(ours)
        assert ours.getresponse().read().startswith(b"blue")
        of_before = ours.sock
        proxy.reload()
        proxy.switch("green")
        ask(ours)
        assert ours.sock is of_before, "it was closed before it could show anything"
        assert ours.getresponse().read().startswith(b"green"), "the old worker still has the old colour"


def test_where_the_new_colour_rested_at_the_reload_a_connection_stays_with_the_old_one_which_is_waited_for(
    proxy: Stand,
) -> None:
    """As in every release that changes the configuration: nobody can make a server ready in an old worker."""
    proxy.switch(slots={"green": {"web": 0}})
    with connection(proxy) as ours, connection(proxy) as idle:
        for each in (ours, idle):
            ask(each)
            assert each.getresponse().read().startswith(b"blue")
        of_before = ours.sock
        proxy.reload()
        proxy.switch("green", slots={"green": {"web": 2}})
        ask(ours)
        assert ours.sock is of_before, "it was closed before it could show anything"
        assert ours.getresponse().read().startswith(b"blue"), "the new colour is in maintenance there"
        # Once this returns, the containers of blue may go.
        waited = proxy.switch(slots={"blue": {"web": 0}}, drain_seconds=10)
        assert 0.3 < waited["elapsed_seconds"] < 5
        idle.sock.settimeout(1)
        assert idle.sock.recv(1) == b"", "it could still ask"


def test_an_idle_connection_does_not_stay_long(proxy: Stand) -> None:
    """A stop would cut the answer to a request that comes on it late."""
    with connection(proxy) as ours:
        ask(ours)
        assert ours.getresponse().read().startswith(b"blue")
        proxy.reload()
        began = time.monotonic()
        assert ours.sock.recv(1) == b""
        assert time.monotonic() - began < DRAIN_SECONDS / 4 + 2


def test_an_answer_that_takes_longer_than_a_stop_allows_for_ends(proxy: Stand) -> None:
    """A stream, a WebSocket: a reload is no reason to cut it."""
    for slot in proxy.slots.values():
        slot.hits, slot.takes_seconds = 0, DRAIN_SECONDS + 3
    try:
        with connection(proxy) as ours:
            ask(ours)
            wait_for(lambda: any(slot.hits for slot in proxy.slots.values()))
            proxy.reload()
            assert ours.getresponse().read().startswith(b"blue")
    finally:
        for slot in proxy.slots.values():
            slot.takes_seconds = 0


def test_old_workers_do_not_pile_up(proxy: Stand) -> None:
    """A stream that never ends keeps its worker for so many reloads."""
    master = Admin(str(proxy.directory / "run" / "master.sock"))
    for slot in proxy.slots.values():
        slot.takes_seconds = 15
    try:
        with contextlib.ExitStack() as stack:
            for _again in range(RELOADS_MAX + 2):
                ask(stack.enter_context(connection(proxy)))
                time.sleep(0.2)
                proxy.reload()
            wait_for(lambda: len(old_workers(master.ask("show proc") or "")) == RELOADS_MAX, seconds=5)
    finally:
        for slot in proxy.slots.values():
            slot.takes_seconds = 0
