# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The traffic that a release has to get through, by k6 (tests/traffic.js), at a constant rate that no slow answer slows down.

As a program: `python -m tests.traffic 150 60 http://127.0.0.1:8080` prints the summary as JSON, after 60 s or at SIGINT. The application needs APP_TRAFFIC=on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_suffix(".js")
# What of the requests is what; at 150 a second 100, 34, 12, 2, 1.5 and 0.5.
SHARES = {"short": 0.667, "fresh": 0.227, "slow": 0.08, "events": 0.0133, "sockets": 0.01, "upload": 0.0033}
# k6 exits with this when it was told to stop.
STOPPED = 105


class Traffic:
    """`rate` requests a second, one proxy of `urls` after the other, until `stop()` or for `seconds`.

    A smaller `scale` makes what takes long shorter and uploads smaller: with 1, answers after 2 s, streams of 5 s, WebSockets of 10 s, 20 MB. `streams` are
    the seconds of events and sockets where those are too short to see a release stop.
    `dropped` of the summary are requests that were due and never sent: with any of them the rate was not kept, and the run proves nothing.
    """

    def __init__(
        self,
        urls: list[str],
        rate: float,
        seconds: float,
        host: str = "",
        scale: float = 1,
        shares: dict[str, float] | None = None,
        streams: tuple[float, float] = (5, 10),
    ) -> None:
        self.rate, self.seconds = rate, round(seconds)
        # Each request once all is done: `at` (when it began, ms since 1970), `kind`, `release`, and `error` and `url` of one that failed.
        self.record: list[dict[str, Any]] = []
        self.variables = {
            "URLS": json.dumps(urls),
            "RATES": json.dumps({kind: rate * share for kind, share in (shares or SHARES).items()}),
            "SECONDS": str(self.seconds),
            "HOST": host,
            "SCALE": str(scale),
            "STREAMS": json.dumps([seconds * scale for seconds in streams]),
        }

    def __enter__(self) -> Traffic:
        self._directory = tempfile.TemporaryDirectory()
        self._summary = Path(self._directory.name) / "summary.json"
        self._record = Path(self._directory.name) / "record"
        k6 = shutil.which("k6", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert k6, "k6 is not in this environment: requirements.lock names it, scripts/bootstrap installs it"
        command = [k6, "run", "--quiet", "--no-color", "--log-format", "raw", "--address", "", str(SCRIPT)]
        environment = {**os.environ, **self.variables, "SUMMARY": str(self._summary), "K6_NO_USAGE_REPORT": "true"}
        with self._record.open("wb") as record:
            # A group of its own: Ctrl+C in the terminal is for us to hand on.
            self.process = subprocess.Popen(command, env=environment, stdout=record, stderr=record, process_group=0)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()

    def stop(self) -> dict[str, Any]:
        """No further requests. Those under way are neither good nor failed then but unfinished: stop when all has been quiet for a while."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.join()

    def join(self) -> dict[str, Any]:
        """The summary, once all is done."""
        code = self.process.wait()
        lines = self._record.read_text(errors="replace").splitlines()
        if code not in (0, STOPPED) or not self._summary.exists():
            words = "\n".join([line for line in lines if not line.startswith("{")][-20:])
            raise AssertionError(f"k6 ended with {code}:\n{words}")
        self.record = [json.loads(line) for line in lines if line.startswith("{")]
        return self._summed_up(complete=code == 0)

    def _summed_up(self, complete: bool) -> dict[str, Any]:
        record = self.record
        summary: dict[str, Any] = json.loads(self._summary.read_text())
        lost = summary["requests"] - len(record)
        # What ends at the very moment of a stop is written down and not counted.
        if lost > 0 or (complete and lost):
            raise AssertionError(f"k6 counted {summary['requests']} requests and wrote down {len(record)}")
        for kind, figures in summary["kinds"].items():
            # In the order in which they were first seen.
            figures["releases"] = dict(Counter(line["release"] for line in record if line["kind"] == kind))
            if complete:
                figures["failed"] += figures["unfinished"]
        summary["failed"] = sum(figures["failed"] for figures in summary["kinds"].values())
        summary["failures"] = [line for line in record if "error" in line][: min(20, summary["failed"])]
        # At the end no request is begun any more, and the last ones are waited for.
        seconds = min(self.seconds, summary["seconds"])
        return {**summary, "rate_wanted": self.rate, "rate": round(summary["requests"] / seconds, 1)}


if __name__ == "__main__":
    with Traffic(sys.argv[3:], float(sys.argv[1]), float(sys.argv[2])) as traffic:
        signal.signal(signal.SIGINT, lambda *_: traffic.process.send_signal(signal.SIGINT))
        print(json.dumps(traffic.join(), indent=2))
