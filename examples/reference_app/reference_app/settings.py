# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every setting of the application, read once from the environment (README.md lists them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reference_app.faults import Fault, parse_fault

CHECK_KINDS = ("postgres", "redis", "storage")
ENVIRONMENTS = ("dev", "stage", "prod")
DEV_KEYS = {"admin": "ADMIN_API_KEY", "auditor": "AUDITOR_API_KEY", "client": "CLIENT_API_KEY"}
DEFAULT_SECRETS_DIR = "/run/secrets"


class SettingsError(ValueError):
    """A setting is missing or malformed; the message names it and the cure, never its value."""


@dataclass(frozen=True)
class Settings:
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    api_key_salt: str = field(repr=False)
    dev_keys: Mapping[str, str] = field(repr=False)
    environment: str
    release: str
    service: str
    log_level: str
    fault: Fault | None
    traffic: bool
    stop_seconds: float
    otlp_endpoint: str
    health_path: str
    ready_path: str
    detailed_path: str
    version_path: str
    metrics_path: str
    jobs_path: str
    whoami_path: str
    api_key_header: str
    ready_checks: tuple[tuple[str, str], ...]
    detailed_checks: tuple[tuple[str, str], ...]
    check_timeout_seconds: float
    storage_health_url: str
    queue: str
    job_retries: int
    dlq_metric: str
    retry_metric: str
    multiprocess_metrics: bool

    @property
    def probe_paths(self) -> frozenset[str]:
        """Paths that faults of the request path leave alone: a gate has to see what users see another way."""
        return frozenset({self.health_path, self.ready_path, self.detailed_path, self.version_path, self.metrics_path})

    @property
    def probe_queue(self) -> str:
        """The queue of probe jobs: one a release, so that an older colour's worker cannot answer for a newer one."""
        return f"{self.queue}-probe-{self.release}"

    def require(self, *names: str) -> None:
        """Refuse to go on without these settings, all of them named in one message."""
        missing = [name for name in names if not getattr(self, name.lower())]
        if missing:
            raise SettingsError(f"{', '.join(missing)} must be set, directly, as NAME_FILE or as /run/secrets/NAME")


def load_settings(environ: Mapping[str, str]) -> Settings:
    def text(name: str, default: str = "") -> str:
        return environ.get(name, "").strip() or default

    # Where nobody said, no demo data and no development keys.
    environment = text("APP_ENVIRONMENT", "prod")
    if environment not in ENVIRONMENTS:
        raise SettingsError(f"APP_ENVIRONMENT must be one of {', '.join(ENVIRONMENTS)}")
    release = text("APP_RELEASE", "unknown")
    use_redis = _boolean("USE_REDIS", text("USE_REDIS", "true"))
    redis_url = read_secret(environ, "REDIS_URL") if use_redis else ""
    storage_health_url = text("APP_STORAGE_HEALTH_URL")
    default_checks = "postgres,redis" if use_redis else "postgres"

    settings = Settings(
        database_url=read_secret(environ, "DATABASE_URL"),
        redis_url=redis_url,
        api_key_salt=read_secret(environ, "API_KEY_SALT"),
        dev_keys={role: key for role, name in DEV_KEYS.items() if (key := read_secret(environ, name))},
        environment=environment,
        release=release,
        service=text("OTEL_SERVICE_NAME", "reference-app"),
        log_level=_one_of(
            "APP_LOG_LEVEL", text("APP_LOG_LEVEL", "INFO").upper(), ("DEBUG", "INFO", "WARNING", "ERROR")
        ),
        fault=_fault(text("APP_FAULT"), release),
        traffic=_one_of("APP_TRAFFIC", text("APP_TRAFFIC", "off"), ("on", "off")) == "on",
        stop_seconds=_number("APP_STOP_SECONDS", text("APP_STOP_SECONDS", "10")),
        otlp_endpoint=text("OTEL_EXPORTER_OTLP_ENDPOINT"),
        health_path=_path("APP_HEALTH_PATH", text("APP_HEALTH_PATH", "/health")),
        ready_path=_path("APP_READY_PATH", text("APP_READY_PATH", "/ready")),
        detailed_path=_path("APP_DETAILED_HEALTH_PATH", text("APP_DETAILED_HEALTH_PATH", "/health/detailed")),
        version_path=_path("APP_VERSION_PATH", text("APP_VERSION_PATH", "/version")),
        metrics_path=_path("APP_METRICS_PATH", text("APP_METRICS_PATH", "/metrics")),
        jobs_path=_path("APP_JOBS_PATH", text("APP_JOBS_PATH", "/jobs")),
        whoami_path=_path("APP_WHOAMI_PATH", text("APP_WHOAMI_PATH", "/whoami")),
        api_key_header=text("APP_API_KEY_HEADER", "x-api-key"),
        ready_checks=parse_checks("APP_READY_CHECKS", text("APP_READY_CHECKS", default_checks)),
        detailed_checks=parse_checks("APP_DETAILED_CHECKS", text("APP_DETAILED_CHECKS", default_checks)),
        check_timeout_seconds=_number("APP_CHECK_TIMEOUT_SECONDS", text("APP_CHECK_TIMEOUT_SECONDS", "3")),
        storage_health_url=storage_health_url,
        queue=text("APP_QUEUE", "default"),
        job_retries=int(_number("APP_JOB_RETRIES", text("APP_JOB_RETRIES", "2"))),
        dlq_metric=text("APP_METRIC_DLQ", "event_bus_dlq"),
        retry_metric=text("APP_METRIC_RETRIES", "pipeline_retry_count"),
        multiprocess_metrics=bool(text("PROMETHEUS_MULTIPROC_DIR")),
    )
    _refuse_contradictions(settings)
    return settings


def read_secret(environ: Mapping[str, str], name: str) -> str:
    """NAME, else the file NAME_FILE points to, else NAME in the secrets directory, else empty.

    The last one matters for commands started beside the main process (health checks, probes):
    a wrapper that exported the files for the main process exported nothing for them.
    """
    value, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if value and path:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one")
    if value:
        return value.strip()
    file = Path(path or f"{environ.get('APP_SECRETS_DIR', DEFAULT_SECRETS_DIR)}/{name}")
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        if path:
            raise SettingsError(f"{name}_FILE names a file that does not exist: {path}") from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name} cannot be read from {file}: {type(error).__name__}") from None


def parse_checks(name: str, value: str) -> tuple[tuple[str, str], ...]:
    """`postgres,files=storage` → (("postgres", "postgres"), ("files", "storage")): what it is called, what it is."""
    checks = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        label, _, kind = item.partition("=")
        kind = kind or label
        if kind not in CHECK_KINDS:
            raise SettingsError(f"{name}: unknown check '{kind}', known are {', '.join(CHECK_KINDS)}")
        checks.append((label, kind))
    return tuple(checks)


def _refuse_contradictions(settings: Settings) -> None:
    paths = [
        settings.health_path,
        settings.ready_path,
        settings.detailed_path,
        settings.version_path,
        settings.metrics_path,
        settings.jobs_path,
        settings.whoami_path,
    ]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise SettingsError(f"APP_*_PATH: {', '.join(twice)} is given to two endpoints")
    kinds = {kind for _, kind in settings.ready_checks + settings.detailed_checks}
    if "storage" in kinds and not settings.storage_health_url:
        raise SettingsError("a check of storage needs APP_STORAGE_HEALTH_URL")


def _fault(value: str, release: str) -> Fault | None:
    try:
        return parse_fault(value, release)
    except ValueError as error:
        raise SettingsError(f"APP_FAULT: {error}") from None


def _path(name: str, value: str) -> str:
    if not value.startswith("/") or value == "/":
        raise SettingsError(f"{name} must be a path below /")
    return value


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}")
    return value


def _boolean(name: str, value: str) -> bool:
    return _one_of(name, value.lower(), ("true", "false")) == "true"


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e6:
        raise SettingsError(f"{name} must be a number, 0 or more")
    return number
