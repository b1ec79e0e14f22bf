# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks of containers: the image's own for the web service, with the argument `worker` the worker's.

They run every few seconds for as long as the container lives, so they import next to nothing: urllib alone would
take twice as much processor time as all the rest.
"""

from __future__ import annotations

import os
import socket
import sys
import time

# The worker touches it with each heartbeat it could send to Redis; while idle that is every 45 s.
HEARTBEAT = "/tmp/worker-heartbeat"
HEARTBEAT_MAX_AGE_SECONDS = 90


def web() -> None:
    path = os.environ.get("APP_HEALTH_PATH") or "/health"
    with socket.create_connection(("127.0.0.1", 8000), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        status = connection.makefile("rb").readline().decode(errors="replace").strip()
    if " 200 " not in status:
        raise SystemExit(f"{path} answered: {status or 'nothing'}")


def worker() -> None:
    age = time.time() - os.stat(HEARTBEAT).st_mtime
    if age > HEARTBEAT_MAX_AGE_SECONDS:
        raise SystemExit(f"the last heartbeat was {age:.0f} s ago")


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["worker"] else web()
