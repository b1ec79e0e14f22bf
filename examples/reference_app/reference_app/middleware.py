# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What surrounds every request: trace id, log line, metrics, and the faults of the request path."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_app import telemetry
from reference_app.faults import ErrorShare, Fault
from reference_app.logs import TRACE_HEADER, keep_or_create, trace_id
from reference_app.metrics import REQUESTS, SECONDS

_log = logging.getLogger("reference_app.request")


class Trace:
    """Outermost: keeps or creates the trace id, answers with it and with the release, logs and counts the request."""

    def __init__(self, app: ASGIApp, release: str, probe_paths: frozenset[str]) -> None:
        self._app = app
        self._release = release
        self._probe_paths = probe_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = keep_or_create(Headers(scope=scope).get(TRACE_HEADER, "") or telemetry.current_trace_id())
        token = trace_id.set(trace)
        telemetry.note_trace_id()
        started, status = time.perf_counter(), 500

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({TRACE_HEADER: trace, "x-release": self._release})
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            self._report(scope, status, time.perf_counter() - started)
            trace_id.reset(token)

    def _report(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern, not the path: a label with ids in it grows without end.
        route = getattr(scope.get("route"), "path", "unmatched")
        REQUESTS.labels(scope["method"], route, str(status)).inc()
        SECONDS.labels(route).observe(seconds)
        quiet = scope["path"] in self._probe_paths and status < 400
        _log.log(
            logging.DEBUG if quiet else logging.INFO,
            "%s %s %s",
            scope["method"],
            scope["path"],
            status,
            extra={"status": status, "duration_ms": round(seconds * 1000, 1)},
        )


class Misbehave:
    """Innermost: errors, slowness and silence on every path but those that probes use."""

    def __init__(self, app: ASGIApp, fault: Fault, probe_paths: frozenset[str]) -> None:
        self._app = app
        self._fault = fault
        self._probe_paths = probe_paths
        self._share = ErrorShare(fault.amount)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in self._probe_paths:
            if self._fault.kind == "slow":
                await asyncio.sleep(self._fault.amount / 1000)
            elif self._fault.kind == "timeout":
                await asyncio.Event().wait()
            elif self._fault.kind == "error_percent" and self._share.next_fails():
                await JSONResponse({"detail": "failing as told by the fault error_percent"}, 500)(scope, receive, send)
                return
        await self._app(scope, receive, send)
