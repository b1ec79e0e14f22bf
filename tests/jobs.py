# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs for the reference application, one after the other: each has to be done, once, whatever release works on it.

As a program: `python tests/jobs.py http://127.0.0.1:8080 KEYFILE` posts one a second until SIGTERM, waits for them and prints what became of them as JSON.
Standard library only, so that it also runs inside a bare host.
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

EVERY_SECONDS = 1.0
# Every fourth job takes so long that a worker which is told to stop has one at hand.
WORK_SECONDS = 2.0
DONE_WITHIN_SECONDS = 120


class Jobs:
    """Somebody who has work to do, until `stop()`."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url.rstrip("/"), key
        self.ids: list[str] = []
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._post)
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    def __enter__(self) -> Jobs:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def end(self) -> None:
        self._stop.set()

    def join(self) -> dict[str, Any]:
        """No more jobs; once all are done, or the time for it is over, how they ended and in how many attempts."""
        while self._thread.is_alive():  # a plain join would keep signals waiting
            self._thread.join(timeout=0.5)
        deadline = time.monotonic() + DONE_WITHIN_SECONDS
        waiting, ended = list(self.ids), []
        while waiting and time.monotonic() < deadline:
            seen = [self._ask(f"/jobs/{job}") for job in waiting]
            ended += [one for one in seen if one["state"] != "queued"]
            waiting = [one["id"] for one in seen if one["state"] == "queued"]
            time.sleep(0.5)
        attempts = Counter(str(one["attempts"]) for one in ended)
        states = Counter([one["state"] for one in ended] + ["lost"] * len(waiting))
        return {"jobs": len(self.ids), "states": dict(states), "attempts": dict(attempts), "refused": self.refused[:5]}

    def _post(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            job = {"values": [1, 2], "seconds": WORK_SECONDS if len(self.ids) % 4 == 0 else 0}
            try:
                self.ids.append(self._ask("/jobs", job)["id"])
            except OSError as error:
                self.refused.append(str(error))

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.url}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


if __name__ == "__main__":
    with Jobs(sys.argv[1], Path(sys.argv[2]).read_text().strip()) as jobs:
        signal.signal(signal.SIGTERM, lambda *_: jobs.end())
        print(json.dumps(jobs.join()))
