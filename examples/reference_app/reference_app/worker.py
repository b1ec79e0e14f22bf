# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker: takes jobs from Redis until SIGTERM, then finishes the one it has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from redis import RedisError
from rq import Queue, Worker

from reference_app import logs, telemetry
from reference_app.container_health import HEARTBEAT
from reference_app.jobs import connect_redis
from reference_app.settings import SettingsError, load_settings


class BeatingWorker(Worker):
    """Leaves each heartbeat that reached Redis where the container's health check sees it."""

    def heartbeat(self, *arguments: Any, **options: Any) -> None:
        super().heartbeat(*arguments, **options)
        Path(HEARTBEAT).touch()


def main() -> int:
    try:
        settings = load_settings(os.environ)
        settings.require("DATABASE_URL", "REDIS_URL")
        connection = connect_redis(settings.redis_url)
    except SettingsError as error:
        raise SystemExit(f"worker: {error}") from None
    logs.configure(settings.log_level)
    telemetry.start(settings)
    # Probes first: they ask whether the worker works, not how long its queue is.
    queues = [Queue(name, connection=connection) for name in (settings.probe_queue, settings.queue)]
    try:
        BeatingWorker(queues, connection=connection, worker_ttl=60).work(logging_level=settings.log_level)
    except RedisError as error:
        raise SystemExit(f"worker: Redis at REDIS_URL: {error}") from None
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
