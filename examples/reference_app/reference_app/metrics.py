# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus metrics; README.md lists them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector
from rq import Queue, Worker

from reference_app.jobs import RETRIES_KEY
from reference_app.settings import Settings

REQUESTS = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram("http_request_duration_seconds", "Time to answer.", ["route"])
DATABASE_ERRORS = Counter("app_database_errors_total", "Requests that failed because Postgres did not answer.")


class QueueCollector(Collector):
    """The queue as Redis has it at the moment of the scrape; without Redis only `app_redis_up 0`."""

    def __init__(self, settings: Settings, connection: redis.Redis) -> None:
        self._settings = settings
        self._connection = connection

    def collect(self) -> Iterable[Metric]:
        try:
            figures = self._read()
        except redis.RedisError:
            yield GaugeMetricFamily("app_redis_up", "Whether Redis answered.", 0)
            return
        yield GaugeMetricFamily("app_redis_up", "Whether Redis answered.", 1)
        for name, help_text, value in figures:
            yield GaugeMetricFamily(name, help_text, value)

    def _read(self) -> list[tuple[str, str, float]]:
        queue = Queue(self._settings.queue, connection=self._connection)
        next_job = queue.fetch_job(queue.job_ids[0]) if queue.count else None
        waited = 0.0
        if next_job and next_job.enqueued_at:
            waited = (datetime.now(UTC) - next_job.enqueued_at.replace(tzinfo=UTC)).total_seconds()
        workers = Worker.all(connection=self._connection, queue=queue)
        return [
            (self._settings.dlq_metric, "Jobs that failed for good.", queue.failed_job_registry.count),
            (self._settings.retry_metric, "Attempts after the first.", int(self._connection.get(RETRIES_KEY) or 0)),  # type: ignore[arg-type]
            ("rq_queue_jobs", "Jobs that wait.", queue.count),
            ("rq_queue_oldest_job_seconds", "How long the next job has waited.", waited),
            ("rq_workers", "Workers that listen.", len(workers)),
        ]


class InfoCollector(Collector):
    def __init__(self, release: str) -> None:
        self._release = release

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("app_info", "Which release answers.", labels=["release"])
        info.add_metric([self._release], 1)
        yield info


class Metrics:
    def __init__(self, settings: Settings, connection: redis.Redis | None) -> None:
        self._own = CollectorRegistry()
        self._own.register(InfoCollector(settings.release))
        if connection:
            self._own.register(QueueCollector(settings, connection))
        self._process: CollectorRegistry = REGISTRY
        if settings.multiprocess_metrics:
            # Several uvicorn workers: each scrape adds up the files they all write.
            self._process = CollectorRegistry()
            MultiProcessCollector(self._process)  # type: ignore[no-untyped-call]

    def render(self) -> bytes:
        return generate_latest(self._process) + generate_latest(self._own)
