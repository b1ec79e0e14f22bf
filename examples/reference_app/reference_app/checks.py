# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What readiness depends on: Postgres, Redis, object storage."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import redis
from sqlalchemy import Engine, text


class Checker:
    """Runs checks side by side, each bounded in time.

    A check that hangs (a server that was frozen, not stopped) is not started a second time:
    later calls wait for the one under way, so probes cannot pile up threads and connections.
    """

    def __init__(self, probes: Mapping[str, Callable[[], None]], timeout_seconds: float) -> None:
        self._probes = probes
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(max_workers=len(probes) or 1, thread_name_prefix="check")
        self._under_way: dict[str, Future[None]] = {}

    def run(self, checks: tuple[tuple[str, str], ...]) -> dict[str, str]:
        """Each check's label → empty when all is well, else why not."""
        started = {kind: self._start(kind) for _, kind in checks}
        deadline = time.monotonic() + self._timeout_seconds
        return {label: self._outcome(started[kind], deadline) for label, kind in checks}

    def _start(self, kind: str) -> Future[None]:
        future = self._under_way.get(kind)
        if future is None or future.done():
            future = self._under_way[kind] = self._pool.submit(self._probes[kind])
        return future

    def _outcome(self, future: Future[None], deadline: float) -> str:
        try:
            future.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError:
            return f"no answer within {self._timeout_seconds:g} s"
        except Exception as error:
            # The class only: drivers put hosts, users and at times whole URLs into their messages.
            return type(error).__name__
        return ""


def postgres_probe(engine: Engine) -> Callable[[], None]:
    def probe() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    return probe


def redis_probe(connection: redis.Redis) -> Callable[[], None]:
    def probe() -> None:
        connection.ping()

    return probe


def storage_probe(url: str, timeout_seconds: float) -> Callable[[], None]:
    def probe() -> None:
        try:
            urllib.request.urlopen(url, timeout=timeout_seconds).close()
        except urllib.error.HTTPError as error:
            # A store that refuses an unsigned request is up.
            if error.code >= 500:
                raise

    return probe
