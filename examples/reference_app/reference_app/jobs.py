# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline: a request becomes a job in Postgres and on the queue, the worker computes it, the result is read back.

Job functions take plain arguments only: while a deploy runs, a job enqueued by one release may be worked by another.
"""

from __future__ import annotations

import logging
import os
import socket
import statistics
import time
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
from rq import Queue, Retry, Worker, get_current_job
from rq.job import Job as QueueJob
from rq.job import JobStatus
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from reference_app import telemetry
from reference_app.database import Job, connect
from reference_app.logs import keep_or_create, trace_id
from reference_app.settings import Settings, SettingsError, load_settings

# Retries since the beginning, over all releases: a deploy window watches whether it grows.
RETRIES_KEY = "reference-app:retries"
_log = logging.getLogger(__name__)


class ProbeFailed(Exception):
    """The queue is not worked as it should be; the message says what was seen."""


def connect_redis(url: str) -> redis.Redis:
    """Connecting takes at most 2 s. No read timeout: a worker blocks on its queue."""
    try:
        return redis.Redis.from_url(url, socket_connect_timeout=2, health_check_interval=30)
    except (ValueError, TypeError):
        raise SettingsError("REDIS_URL is not a redis:// or rediss:// URL") from None


def enqueue(queue: Queue, job_id: str, values: list[float], failures: int, retries: int, seconds: float = 0) -> None:
    """Put a job on the queue with the trace it belongs to."""
    meta = {"trace_id": trace_id.get(), "carrier": telemetry.carrier()}
    retry = Retry(max=retries) if retries else None
    # A worker of the release before knows no argument that nobody needs.
    args = (job_id, values, failures, seconds) if seconds else (job_id, values, failures)
    queue.enqueue_call(process, args=args, job_id=job_id, meta=meta, retry=retry, timeout=60)


def process(job_id: str, values: list[float], failures: int, seconds: float = 0) -> None:
    """What the worker runs, and works `seconds` on. The first `failures` attempts fail: that is how retries and dead letters are tested."""
    current = get_current_job()
    if current is None:
        raise RuntimeError("process runs on a worker only")
    meta = current.get_meta()
    token = trace_id.set(keep_or_create(meta.get("trace_id", "")))
    attempt = meta["attempts"] = meta.get("attempts", 0) + 1
    current.save_meta()  # type: ignore[no-untyped-call]
    if attempt > 1:
        current.connection.incr(RETRIES_KEY)
    try:
        with telemetry.span("process job", meta.get("carrier", {})), Session(_worker_engine()) as session:
            try:
                if attempt <= failures:
                    raise RuntimeError(f"told to fail {failures} times, this is attempt {attempt}")
                time.sleep(seconds)
                _finish(session, job_id, attempt, "done", compute(values))
            except Exception as error:
                session.rollback()
                _finish(session, job_id, attempt, "failed", {"error": str(error)})
                raise
    finally:
        telemetry.flush()
        trace_id.reset(token)


def compute(values: list[float]) -> dict[str, float]:
    return {"count": len(values), "sum": sum(values), "mean": statistics.fmean(values)}


def _finish(session: Session, job_id: str, attempt: int, state: str, result: dict[str, Any]) -> None:
    job = session.get(Job, job_id)
    if job is None:
        _log.warning("the job is no longer in the database", extra={"job_id": job_id})
        return
    job.state, job.attempts, job.result, job.finished_at = state, attempt, result, datetime.now(UTC)
    session.commit()
    _log.info("job %s", state, extra={"job_id": job_id, "attempt": attempt})


@cache
def _worker_engine() -> Engine:
    # The worker forks for each job: a pooled connection would be shared between processes.
    return connect(load_settings(os.environ).database_url, poolclass=NullPool)


def echo(nonce: str) -> str:
    """The probe job: what comes back shows that this very job was worked, and by whom."""
    return f"{nonce} {socket.gethostname()}"


def probe(settings: Settings, timeout_seconds: float) -> str:
    """Have a worker of this release process a job; returns that worker's host name."""
    settings.require("REDIS_URL")
    connection = connect_redis(settings.redis_url)
    nonce = uuid.uuid4().hex
    queue = Queue(settings.probe_queue, connection=connection)
    wait = int(timeout_seconds) + 1
    job = queue.enqueue_call(echo, args=(nonce,), result_ttl=wait, ttl=wait, failure_ttl=wait, timeout=wait)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        status = job.get_status()
        if status is JobStatus.FINISHED and (result := job.latest_result()):
            answer, _, worker = str(result.return_value).partition(" ")
            if answer != nonce:
                raise ProbeFailed("the worker returned another job's result")
            return worker
        if status is JobStatus.FAILED:
            raise ProbeFailed("the worker took the probe job and failed")
        time.sleep(0.1)
    _withdraw(job)
    listening = [worker for worker in Worker.all(connection=connection) if queue.name in worker.queue_names()]
    if listening:
        raise ProbeFailed(f"{len(listening)} worker(s) of release {settings.release} listen but did not work the job")
    raise ProbeFailed(
        f"no worker of release {settings.release} listens on this Redis: is it running, and is its REDIS_URL the same?"
    )


def _withdraw(job: QueueJob) -> None:
    """Take an unanswered probe off the queue, so that a late worker does not work through old probes."""
    job.cancel()
    job.delete()
