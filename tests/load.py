# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady load on one address of this machine or a lab host: so many requests a second, every failure kept.

As a program: `python tests/load.py http://127.0.0.1:8080/version 150 20` prints the counts as JSON, after 20 s or at SIGTERM; a fourth number is how many
seconds an answer may take. Standard library only, so that it also runs inside a bare host.
"""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import sys
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 16


class Load:
    """`rate` requests a second over keep-alive connections, until `stop()` or for `seconds`. An answer that takes `timeout` seconds has failed."""

    def __init__(self, url: str, rate: float, seconds: float = 600, host: str = "", timeout: float = 10) -> None:
        parts = urlsplit(url)
        # Whatever certificate: who wants to know which asks by himself.
        self.tls = ssl._create_unverified_context() if parts.scheme == "https" else None
        self.address = (parts.hostname or "127.0.0.1", parts.port or (443 if self.tls else 80))
        self.path = parts.path or "/"
        self.headers = {"Host": host} if host else {}
        self.interval = CONNECTIONS / rate
        self.seconds = seconds
        self.timeout = timeout
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest_seconds = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CONNECTIONS)]

    def __enter__(self) -> Load:
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.end()
        self.join()

    def end(self) -> None:
        """No further requests; those under way are finished."""
        self._stop.set()

    def join(self) -> None:
        for thread in self._threads:
            while thread.is_alive():  # a plain join would keep signals waiting
                thread.join(timeout=0.5)
        self.elapsed = time.monotonic() - self.began

    def _work(self, number: int) -> None:
        due = self.began + self.interval * number / CONNECTIONS
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set() and due < self.began + self.seconds:
            if (wait := due - time.monotonic()) > 0 and self._stop.wait(wait):
                break
            due += self.interval
            began = time.monotonic()
            try:
                connection = connection or self._connection()
                connection.request("GET", self.path, headers=self.headers)
                answer = connection.getresponse()
                body = answer.read(200).decode(errors="replace")
                self._note(answer.status == 200, f"{answer.status} {body}", time.monotonic() - began)
                if answer.will_close:
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self._note(False, f"{type(error).__name__}: {error}", time.monotonic() - began)
                connection = None

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection(*self.address, timeout=self.timeout, context=self.tls)
        return http.client.HTTPConnection(*self.address, timeout=self.timeout)

    def _note(self, good: bool, text: str, seconds: float) -> None:
        with self._lock:
            self.answers[text if good else "failed"] += 1
            self.slowest_seconds = max(self.slowest_seconds, seconds)
            if not good:
                self.failures.append(text)

    def summary(self) -> dict[str, Any]:
        total = sum(self.answers.values())
        return {
            "requests": total,
            "failed": len(self.failures),
            "failures": self.failures[:5],
            "answers": dict(self.answers),
            "rate": round(total / self.elapsed, 1),
            "slowest_seconds": round(self.slowest_seconds, 3),
        }


if __name__ == "__main__":
    with Load(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), timeout=float((sys.argv[4:] or [10])[0])) as load:
        signal.signal(signal.SIGTERM, lambda *_: load.end())
        load.join()
    print(json.dumps(load.summary()))
