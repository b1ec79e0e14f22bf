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
from rq.job import Job

from reference_app import logs, telemetry
from reference_app.container_health import HEARTBEAT
from reference_app.jobs import connect_redis
from reference_app.settings import SettingsError, load_settings

# How long Redis is waited for before it is seen whether to stop.
WAIT_SECONDS = 1


class CarefulWorker(Worker):
    """Loses no job at SIGTERM, and leaves each heartbeat that reached Redis where the container's health check sees it."""

    def heartbeat(self, *arguments: Any, **options: Any) -> None:
        super().heartbeat(*arguments, **options)
        Path(HEARTBEAT).touch()

    def _shutdown(self) -> None:
        """RQ's own leaves the queue by an exception, at once, and drops a job that Redis has just handed over."""
        self._stop_requested = True

    def dequeue_job_and_maintain_ttl(self, *_: Any) -> tuple[Job, Queue] | None:
        found = None
        while not (found or self._stop_requested):
            found = super().dequeue_job_and_maintain_ttl(WAIT_SECONDS, WAIT_SECONDS)
        return found


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
        CarefulWorker(queues, connection=connection, worker_ttl=60).work(logging_level=settings.log_level)
    except RedisError as error:
        raise SystemExit(f"worker: Redis at REDIS_URL: {error}") from None
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
