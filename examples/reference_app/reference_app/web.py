# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web service: `uvicorn --factory reference_app.web:create_app`."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import redis
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from rq import Queue
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from reference_app import faults, jobs, telemetry, traffic
from reference_app.checks import Checker, postgres_probe, redis_probe, storage_probe
from reference_app.database import Job, connect
from reference_app.keys import Caller, find_caller
from reference_app.logs import trace_id
from reference_app.metrics import DATABASE_ERRORS, Metrics
from reference_app.middleware import Misbehave, Trace
from reference_app.settings import Settings, SettingsError, load_settings

_log = logging.getLogger(__name__)


class JobRequest(BaseModel):
    """A job: numbers to add up, how many attempts shall fail first, and how long the work takes."""

    model_config = ConfigDict(extra="forbid")

    values: list[float] = Field(min_length=1, max_length=1000)
    failures: int = Field(default=0, ge=0, le=10)
    seconds: float = Field(default=0, ge=0, le=30)


def create_app() -> FastAPI:
    """What uvicorn calls. A wrong setting ends the process with one clear line instead of a traceback."""
    try:
        settings = load_settings(os.environ)
        settings.require("DATABASE_URL", "API_KEY_SALT")
        return build_app(settings)
    except SettingsError as error:
        raise SystemExit(f"web: {error}") from None


def build_app(settings: Settings) -> FastAPI:
    logging.getLogger().setLevel(settings.log_level)
    engine = connect(settings.database_url, pool_size=5, max_overflow=5, pool_timeout=5)
    redis_client = jobs.connect_redis(settings.redis_url) if settings.redis_url else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        faults.start_background(settings.fault)
        _log.info("serving", extra={"fault": settings.fault.kind if settings.fault else ""})
        yield
        engine.dispose()
        telemetry.flush()

    app = FastAPI(title="reference-app", version=settings.release, lifespan=lifespan)
    app.state.settings, app.state.engine = settings, engine
    _add_probes(app, settings, engine, redis_client)
    _add_jobs(app, settings, redis_client)
    if settings.traffic:
        app.include_router(traffic.routes(settings))
    app.exception_handler(OperationalError)(_database_down)
    app.exception_handler(PoolTimeoutError)(_database_down)
    app.exception_handler(redis.RedisError)(_redis_down)
    if settings.fault:
        app.add_middleware(Misbehave, fault=settings.fault, probe_paths=settings.probe_paths)
    app.add_middleware(Trace, release=settings.release, probe_paths=settings.probe_paths)
    telemetry.start(settings)
    telemetry.instrument(app, settings)
    return app


def _add_probes(app: FastAPI, settings: Settings, engine: Engine, redis_client: redis.Redis | None) -> None:
    timeout = settings.check_timeout_seconds
    probes = {"postgres": postgres_probe(engine), "storage": storage_probe(settings.storage_health_url, timeout)}
    if redis_client:
        probes["redis"] = redis_probe(redis_client)
    checker = Checker(probes, timeout)
    metrics = Metrics(settings, redis_client)
    sick = settings.fault is not None and settings.fault.kind == "never_healthy"

    def health() -> Response:
        """Whether this process answers; depends on nothing, so an outage elsewhere never restarts it."""
        return JSONResponse({"status": "unhealthy" if sick else "ok"}, 503 if sick else 200)

    def ready() -> Response:
        """Whether this process can do its work now."""
        outcome = checker.run(settings.ready_checks)
        good = not sick and not any(outcome.values())
        checks = {label: why or "ok" for label, why in outcome.items()}
        return JSONResponse({"status": "ready" if good else "not ready", "checks": checks}, 200 if good else 503)

    def detailed() -> Response:
        """The same for monitoring: one word a check, and how long they took."""
        started = time.perf_counter()
        outcome = checker.run(settings.detailed_checks)
        good = not sick and not any(outcome.values())
        checks = {label: "unhealthy" if why else "healthy" for label, why in outcome.items()}
        spent = round((time.perf_counter() - started) * 1000, 1)
        body = {"status": "healthy" if good else "unhealthy", "checks": checks, "response_time_ms": spent}
        return JSONResponse(body, 200 if good else 503)

    def version() -> dict[str, str]:
        return {"release": settings.release}

    def show_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    endpoints: dict[str, Callable[[], Any]] = {
        settings.health_path: health,
        settings.ready_path: ready,
        settings.detailed_path: detailed,
        settings.version_path: version,
        settings.metrics_path: show_metrics,
    }
    for path, endpoint in endpoints.items():
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)


def open_session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine) as session:
        yield session


Database = Annotated[Session, Depends(open_session)]


def authenticate(request: Request, session: Database) -> Caller:
    settings: Settings = request.app.state.settings
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = request.headers.get(settings.api_key_header) or (token if scheme.lower() == "bearer" else "")
    caller = find_caller(session, settings.api_key_salt, key) if key else None
    if caller is None:
        raise HTTPException(401, "a valid API key is needed", {"WWW-Authenticate": "Bearer"})
    return caller


Authenticated = Annotated[Caller, Depends(authenticate)]


def _add_jobs(app: FastAPI, settings: Settings, redis_client: redis.Redis | None) -> None:
    queue = Queue(settings.queue, connection=redis_client) if redis_client else None

    @app.get(settings.whoami_path)
    def whoami(caller: Authenticated) -> dict[str, Any]:
        return {"tenant_id": caller.tenant_id, "role": caller.role}

    @app.post(settings.jobs_path, status_code=202)
    def create_job(job: JobRequest, caller: Authenticated, session: Database) -> dict[str, str]:
        if caller.role == "auditor":
            raise HTTPException(403, "an auditor reads only")
        if queue is None:
            raise HTTPException(503, "no queue is configured")
        job_id = str(uuid.uuid4())
        trace = trace_id.get()
        session.add(Job(id=job_id, tenant_id=caller.tenant_id, payload=job.model_dump(), trace_id=trace))
        # Before the queue: a worker may take the job at once and must find it.
        session.commit()
        jobs.enqueue(queue, job_id, job.values, job.failures, settings.job_retries, job.seconds)
        return {"id": job_id, "state": "queued", "trace_id": trace}

    @app.get(settings.jobs_path + "/{job_id}")
    def read_job(job_id: str, caller: Authenticated, session: Database) -> dict[str, Any]:
        job = session.get(Job, job_id)
        if job is None or job.tenant_id != caller.tenant_id:
            raise HTTPException(404, "no such job")
        return {
            "id": job.id,
            "state": job.state,
            "attempts": job.attempts,
            "result": job.result,
            "trace_id": job.trace_id,
        }


async def _database_down(_: Request, error: Exception) -> Response:
    DATABASE_ERRORS.inc()
    cause = error.orig if isinstance(error, DBAPIError) else error
    _log.error("the database did not answer", extra={"error": type(cause).__name__})
    return JSONResponse({"detail": "the database did not answer"}, 503)


async def _redis_down(_: Request, error: Exception) -> Response:
    _log.error("Redis did not answer", extra={"error": type(error).__name__})
    return JSONResponse({"detail": "the queue did not answer"}, 503)
