# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON logs, one object a line, each with the trace id of the request or job it belongs to."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

TRACE_HEADER = "x-trace-id"
trace_id: ContextVar[str] = ContextVar("trace_id", default="")

_ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def keep_or_create(given: str) -> str:
    """The caller's trace id, unless it has none or one that could forge log lines or headers."""
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex


class JsonFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._constant = {
            "service": os.environ.get("OTEL_SERVICE_NAME") or "reference-app",
            "release": os.environ.get("APP_RELEASE") or "unknown",
        }

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "trace_id": trace_id.get(),
            **self._constant,
        }
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(level: str, stream: TextIO = sys.stdout) -> None:
    """For the worker and the command line; uvicorn takes the same from logging.json."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
