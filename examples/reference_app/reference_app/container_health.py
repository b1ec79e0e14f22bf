# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks of containers: the image's own for the web service, with the argument `worker` the worker's.

Standard library only: they start every few seconds, and on a busy host SQLAlchemy alone takes seconds to import.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# The worker touches it with each heartbeat it could send to Redis; while idle that is every 45 s.
HEARTBEAT = Path(tempfile.gettempdir()) / "worker-heartbeat"
HEARTBEAT_MAX_AGE_SECONDS = 90


def web() -> None:
    path = os.environ.get("APP_HEALTH_PATH") or "/health"
    urllib.request.urlopen(f"http://127.0.0.1:8000{path}", timeout=5).close()


def worker() -> None:
    age = time.time() - HEARTBEAT.stat().st_mtime
    if age > HEARTBEAT_MAX_AGE_SECONDS:
        raise SystemExit(f"the last heartbeat was {age:.0f} s ago")


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["worker"] else web()
