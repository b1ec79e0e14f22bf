# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release must not cut while it is replaced: long answers, uploads, event streams, WebSockets. Only where APP_TRAFFIC is on."""

from __future__ import annotations

import asyncio
import hashlib
import math
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, WebSocket
from fastapi.responses import StreamingResponse

from reference_app.settings import Settings

_EVENT_SECONDS = 0.2


class Stop:
    """Until when a stream may go on: for ever, or from SIGTERM on for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.deadline = math.inf

    @asynccontextmanager
    async def watched(self, _: object) -> AsyncIterator[None]:
        """Uvicorn waits for open answers at SIGTERM, and tells nobody. It takes its own handler back at the end."""
        uvicorn = signal.getsignal(signal.SIGTERM)

        def note(number: int, frame: Any) -> None:
            self.deadline = min(self.deadline, time.monotonic() + self._seconds)
            if callable(uvicorn):
                uvicorn(number, frame)

        signal.signal(signal.SIGTERM, note)
        yield


def routes(settings: Settings) -> APIRouter:
    stop = Stop(settings.stop_seconds)
    router = APIRouter(prefix="/traffic", lifespan=stop.watched)

    @router.get("/slow")
    async def slow(seconds: Annotated[float, Query(ge=0, le=30)] = 2) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"release": settings.release, "seconds": seconds}

    @router.post("/upload")
    async def upload(request: Request) -> dict[str, Any]:
        size, digest = 0, hashlib.sha256()
        async for part in request.stream():
            size += len(part)
            digest.update(part)
        return {"bytes": size, "sha256": digest.hexdigest()}

    @router.get("/events")
    async def events(seconds: Annotated[float, Query(ge=0, le=3600)] = 5) -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            end = time.monotonic() + seconds
            while (left := min(end, stop.deadline) - time.monotonic()) > 0:
                yield f"event: tick\ndata: {settings.release}\n\n"
                await asyncio.sleep(min(left, _EVENT_SECONDS))
            yield f"event: {'end' if end <= time.monotonic() else 'reconnect'}\ndata: {settings.release}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    @router.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        """Uvicorn closes it at SIGTERM, with 1012: service restart."""
        await websocket.accept(headers=[(b"x-release", settings.release.encode())])
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return router
