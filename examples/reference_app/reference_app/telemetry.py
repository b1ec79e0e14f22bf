# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenTelemetry traces; without OTEL_EXPORTER_OTLP_ENDPOINT nothing of it is even imported.

The exporter reads the other OTEL_* variables by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reference_app.logs import trace_id
from reference_app.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import TracerProvider

_provider: TracerProvider | None = None


def start(settings: Settings) -> None:
    global _provider  # noqa: PLW0603 (one process, one provider)
    if not settings.otlp_endpoint:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": settings.service, "service.version": settings.release})
    _provider = TracerProvider(resource=resource)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(_provider)


def instrument(app: FastAPI, settings: Settings) -> None:
    if _provider:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        excluded = ",".join(f"{path}$" for path in sorted(settings.probe_paths))
        FastAPIInstrumentor.instrument_app(app, tracer_provider=_provider, excluded_urls=excluded)


def current_trace_id() -> str:
    """The running span's trace id, empty when there is none."""
    if not _provider:
        return ""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""


def note_trace_id() -> None:
    """Write the log's trace id on the running span: a caller's own id may differ from the span's."""
    if _provider:
        from opentelemetry import trace

        trace.get_current_span().set_attribute("trace_id", trace_id.get())


def carrier() -> dict[str, str]:
    """What a job takes along so that its span joins the request's trace."""
    headers: dict[str, str] = {}
    if _provider:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


@contextmanager
def span(name: str, parent: dict[str, str]) -> Iterator[None]:
    if not _provider:
        yield
        return
    from opentelemetry import propagate

    with _provider.get_tracer(__name__).start_as_current_span(name, context=propagate.extract(parent)):
        note_trace_id()
        yield


def flush() -> None:
    """Send what is buffered: the worker's process for one job ends without running exit handlers."""
    if _provider:
        _provider.force_flush(2000)
