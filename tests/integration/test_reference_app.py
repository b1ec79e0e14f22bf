# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference application as an image, against real Postgres and Redis over verified TLS."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import select
import time
from collections.abc import Iterator

import pytest

from tests.integration.reference_app import (
    APP,
    HARDENED,
    PYTHON_IMAGE,
    Container,
    World,
    docker,
    eventually,
    metric,
    run_job,
    running,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("refapp")) as world:
        yield world


@pytest.fixture(scope="module")
def migrated(world: World) -> World:
    done = world.cli("migrate-seed")
    assert done.returncode == 0, done.stderr
    return world


@pytest.fixture(scope="module")
def web(migrated: World) -> Container:
    return migrated.web()


@pytest.fixture(scope="module")
def worker(migrated: World) -> Container:
    options = migrated.app_options()
    return migrated.start("worker", migrated.image, *options, command=("python3", "-m", "reference_app.worker"))


@pytest.fixture(autouse=True)
def tidied(world: World) -> Iterator[None]:
    """Whatever a test starts goes with it: what runs on slows down the tests after it."""
    shared = list(world.containers)
    yield
    world.remove([name for name in world.containers if name not in shared])


def test_unit_tests_pass_in_the_image(world: World) -> None:
    tests = ("--volume", f"{APP / 'tests'}:/app/tests:ro")
    command = ("python3", "-m", "unittest", "discover", "-s", "/app/tests", "-t", "/app")
    done = docker("run", "--rm", *HARDENED, *tests, world.image, *command, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ran 0 tests" not in done.stderr


def test_image_is_small_and_numeric_and_renaming_a_release_builds_one_layer(world: World) -> None:
    image = json.loads(docker("image", "inspect", world.image).stdout)[0]
    base = json.loads(docker("image", "inspect", PYTHON_IMAGE).stdout)[0]
    assert image["Config"]["User"] == "10001:10001"
    assert image["Size"] - base["Size"] < 150_000_000
    assert image["Size"] < 1_000_000_000
    world.build("r2")
    renamed = json.loads(docker("image", "inspect", f"{world.prefix}:r2").stdout)[0]
    assert renamed["RootFS"] == image["RootFS"]
    assert docker("run", "--rm", world.image, "sh", "-c", "ls /app").stdout.split() == [
        "alembic.ini",
        "logging.json",
        "migrations",
        "reference_app",
        "requirements.lock",
        "scripts",
        "src",
        "venv",
    ]


def test_wrong_usage_and_unreachable_database_have_their_own_exit_codes(world: World) -> None:
    assert world.cli("no-such-command").returncode == 2
    assert world.cli("healthcheck", APP_SECRETS_DIR="/nowhere").returncode == 2
    done = world.cli("healthcheck", "--url", "postgresql://app:hidden-word@postgres:1/app")
    assert done.returncode == 1
    assert "hidden-word" not in done.stderr + done.stdout


def test_a_certificate_for_another_name_is_refused(world: World) -> None:
    docker("network", "disconnect", world.prefix, f"{world.prefix}-postgres")
    docker("network", "connect", "--alias", "postgres", "--alias", "impostor", world.prefix, f"{world.prefix}-postgres")
    query = "sslmode=verify-full&sslrootcert=/run/secrets/ca.crt"
    done = world.cli("healthcheck", "--url", f"postgresql://app:{world.password}@impostor:5432/app?{query}")
    assert done.returncode == 1
    assert "does not match host name" in done.stderr


def test_api_keys(migrated: World, web: Container) -> None:
    assert web.get("/whoami").status == 401
    assert web.get("/whoami", headers={"x-api-key": "wrong"}).status == 401
    for role, key in migrated.keys.items():
        assert web.get("/whoami", headers={"x-api-key": key}).json["role"] == role
        assert web.get("/whoami", headers={"authorization": f"Bearer {key}"}).json["role"] == role
    auditor = web.request("POST", "/jobs", {"values": [1]}, headers=migrated.key("auditor"))
    assert auditor.status == 403
    migrated.sql("UPDATE api_keys SET revoked_at = now() WHERE role = 'admin'")
    assert web.get("/whoami", headers=migrated.key("admin")).status == 401
    assert json.loads(migrated.cli("seed").stdout)["changed"] is False


def test_job_flow_keeps_one_trace(migrated: World, web: Container, worker: Container) -> None:
    job = run_job(web, migrated, {"values": [1, 2, 6]}, **{"x-trace-id": "trace-of-this-test"})
    assert job["state"] == "done"
    assert job["result"] == {"count": 3, "sum": 9.0, "mean": 3.0}
    assert job["trace_id"] == "trace-of-this-test"
    # Both write it down after the answer is there.
    for container in (web, worker):
        container.logged("trace-of-this-test")
    assert web.get(f"/jobs/{job['id']}", headers={"x-api-key": "wrong"}).status == 401


def test_spans_of_request_and_job_are_one_trace(migrated: World) -> None:
    mount = ("--volume", f"{APP / 'tests'}:/app/tests:ro", "--network-alias", "otlp")
    sink = migrated.start("otlp", migrated.image, *HARDENED, *mount, command=("python3", "-m", "tests.otlp_sink"))
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otlp:4318",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "APP_QUEUE": "otlp",
    }
    command = ("python3", "-m", "reference_app.worker")
    migrated.start("worker-otlp", migrated.image, *migrated.app_options(**settings), command=command)
    job = run_job(migrated.web(**settings), migrated, {"values": [1]})

    def spans() -> set[str]:
        return {entry["name"] for entry in sink.log_entries() if entry["trace_id"] == job["trace_id"]}

    eventually(lambda: {"POST /jobs", "process job"} <= spans(), "both spans", evidence=sink.logs)


def test_retries_and_dead_letters_are_counted(migrated: World, web: Container, worker: Container) -> None:
    dead, retried = metric(web, "event_bus_dlq"), metric(web, "pipeline_retry_count")
    assert run_job(web, migrated, {"values": [1], "failures": 1})["attempts"] == 2
    assert (metric(web, "event_bus_dlq"), metric(web, "pipeline_retry_count")) == (dead, retried + 1)
    assert run_job(web, migrated, {"values": [1], "failures": 9})["state"] == "failed"
    eventually(lambda: metric(web, "event_bus_dlq") == dead + 1, "one dead letter")
    assert metric(web, "pipeline_retry_count") == retried + 3


def test_probe_job_is_worked_by_this_release(migrated: World, worker: Container) -> None:
    done = migrated.cli("probe-job")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["worker"] == docker("exec", worker.name, "hostname").stdout.strip()
    other = migrated.cli("probe-job", "--timeout", "1", APP_RELEASE="other")
    assert other.returncode == 1
    assert "no worker of release other listens" in other.stderr
    health = ("python3", "-m", "reference_app.container_health", "worker")
    docker("exec", worker.name, *health)
    docker("kill", "--signal", "STOP", worker.name)
    try:
        docker("exec", worker.name, "touch", "--date", "2 minutes ago", "/tmp/worker-heartbeat")
        assert "the last heartbeat was" in docker("exec", worker.name, *health, check=False).stderr
    finally:
        docker("kill", "--signal", "CONT", worker.name)


def test_probes_answer_get_and_head(web: Container) -> None:
    assert web.get("/health").json == {"status": "ok"}
    assert web.get("/ready").json == {"status": "ready", "checks": {"postgres": "ok", "redis": "ok"}}
    detailed = web.get("/health/detailed").json
    assert detailed.pop("response_time_ms") > 0
    assert detailed == {"status": "healthy", "checks": {"postgres": "healthy", "redis": "healthy"}}
    assert web.get("/version").json == {"release": "r1"}
    for path in ("/health", "/ready", "/health/detailed", "/version", "/metrics"):
        head = web.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
    assert "app_info" in web.get("/metrics").body.decode()


def test_several_processes_count_together(migrated: World) -> None:
    web = migrated.web(WEB_CONCURRENCY="4", PROMETHEUS_MULTIPROC_DIR="/tmp")
    # A connection each, so that all processes get some.
    assert {web.get("/version").status for _ in range(40)} == {200}

    def counted() -> float:
        lines = web.get("/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(r'http_requests_total{.*"/version"', line))

    # A process counts a request after it answered it, so the last one may still be missing.
    eventually(lambda: counted() == 40, "every request counted", evidence=lambda: str(counted()))
    assert [counted() for _ in range(8)] == [40] * 8
    files = docker("exec", web.name, "sh", "-c", "ls /tmp/counter_*.db").stdout.split()
    assert len(files) >= 2, "one process answered everything"


def test_endpoints_take_other_names(migrated: World) -> None:
    web = migrated.web(
        healthy=False,
        APP_HEALTH_PATH="/api/v1/health",
        APP_DETAILED_HEALTH_PATH="/health",
        APP_DETAILED_CHECKS="database=postgres,storage",
        APP_STORAGE_HEALTH_URL="http://storage.invalid/",
        APP_METRIC_DLQ="dead_letters",
    )
    eventually(lambda: web.answers("/api/v1/health"), "the health path that was asked for")
    answer = web.get("/health")
    assert answer.status == 503
    assert answer.json["checks"] == {"database": "healthy", "storage": "unhealthy"}
    assert metric(web, "dead_letters") >= 0


def test_logs_are_json_with_trace_and_without_secrets(migrated: World, web: Container) -> None:
    kept = web.get("/nowhere", headers={"x-trace-id": "abc-1"})
    assert kept.headers["x-trace-id"] == "abc-1"
    created = web.get("/health").headers["x-trace-id"]
    assert len(created) == 32
    forged = web.get("/nowhere", headers={"x-trace-id": '"}{"level":"x'}).headers["x-trace-id"]
    assert len(forged) == 32
    entry = web.logged("abc-1")
    assert (entry["status"], entry["message"], entry["release"]) == (404, "GET /nowhere 404", "r1")
    for secret in (migrated.password, migrated.salt, *migrated.keys.values()):
        assert secret not in web.logs()
        assert secret not in docker("inspect", web.name).stdout


def test_invalid_data_is_refused_with_422(migrated: World, web: Container) -> None:
    for body in ({}, {"values": []}, {"values": ["x"]}, {"values": [1], "unknown": 1}):
        assert web.request("POST", "/jobs", body, headers=migrated.key("client")).status == 422


def test_readiness_follows_postgres_and_redis_and_health_does_not(migrated: World, web: Container) -> None:
    for server in ("postgres", "redis"):
        docker("pause", f"{migrated.prefix}-{server}")
        try:
            ready = web.get("/ready")
            assert ready.status == 503
            assert ready.json["checks"][server] != "ok"
            assert web.get("/health").status == 200
        finally:
            docker("unpause", f"{migrated.prefix}-{server}")
        eventually(lambda: web.answers("/ready"), f"ready again after {server} came back")


def test_sigterm_lets_the_request_under_way_finish(migrated: World) -> None:
    web = migrated.web(APP_FAULT="slow:3000")
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/whoami", headers=migrated.key("client"))
        # The process has the first request when it has answered the second.
        assert web.get("/health").status == 200
        assert select.select([connection.sock], [], [], 0)[0] == [], "answered before the signal"
        docker("stop", "--time", "20", web.name)
        assert connection.getresponse().status == 200
    assert web.state()["ExitCode"] in (0, 143)


class Stopped:
    """A worker that is told to stop, on a queue of its own, and who gives it work."""

    def __init__(self, world: World, name: str) -> None:
        settings = {"APP_RELEASE": name, "APP_QUEUE": name}
        self.world, self.options = world, world.app_options(**settings)
        self.worker = self.start(name)
        eventually(lambda: world.cli("probe-job", **settings).returncode == 0, "the worker works")
        self.web = world.web(**settings)

    def start(self, name: str) -> Container:
        return self.world.start(
            name, self.world.image, *self.options, command=("python3", "-m", "reference_app.worker")
        )

    def post(self, seconds: float) -> str:
        body = {"values": [1], "seconds": seconds}
        return str(self.web.request("POST", "/jobs", body, headers=self.world.key("client")).json["id"])

    def state(self, job: str) -> tuple[str, int]:
        found = self.web.get(f"/jobs/{job}", headers=self.world.key("client")).json
        return found["state"], found["attempts"]


def test_sigterm_lets_the_worker_finish_the_job_at_hand(migrated: World) -> None:
    told = Stopped(migrated, "stopped")
    at_hand = told.post(4)
    time.sleep(1)
    assert told.state(at_hand)[0] != "done"
    later = told.post(0)
    docker("stop", "--time", "20", told.worker.name)
    assert told.worker.state()["ExitCode"] == 0
    assert all(told.worker.log_entries())
    assert told.state(at_hand) == ("done", 1)
    assert told.state(later)[0] == "queued", "nobody has it: it is the next worker's"
    told.start("next")
    eventually(lambda: told.state(later) == ("done", 1), "the next worker has it")


def test_sigterm_loses_no_job_that_the_worker_was_just_given(migrated: World) -> None:
    told = Stopped(migrated, "given")
    # Redis hands the job to whoever waits; who does not run cannot take it.
    docker("kill", "--signal", "STOP", told.worker.name)
    given = told.post(0)
    for signal in ("TERM", "CONT"):
        docker("kill", "--signal", signal, told.worker.name)
    eventually(lambda: not told.worker.state()["Running"], "the worker has stopped")
    assert told.worker.state()["ExitCode"] == 0
    assert told.state(given) == ("done", 1)


@pytest.mark.parametrize("how", ["environment", "release name"])
def test_fault_never_healthy(migrated: World, how: str) -> None:
    if how == "environment":
        web = migrated.web(healthy=False, APP_FAULT="never_healthy")
    else:
        migrated.build("bad-fault.never_healthy")
        web = migrated.web(f"{migrated.prefix}:bad-fault.never_healthy", healthy=False)
    eventually(lambda: web.answers("/health", 503), "unhealthy")
    assert web.get("/ready").status == 503
    check = docker("exec", web.name, "python3", "-m", "reference_app.container_health", check=False)
    assert check.returncode == 1
    assert "/health answered: HTTP/1.1 503" in check.stderr


def test_fault_error_percent_spares_probes(migrated: World) -> None:
    web = migrated.web(APP_FAULT="error_percent:25")
    statuses = [web.get("/whoami", headers=migrated.key("client")).status for _ in range(40)]
    assert statuses.count(500) == 10
    assert statuses.count(200) == 30
    assert {web.get("/health").status for _ in range(20)} == {200}


def test_fault_timeout(migrated: World) -> None:
    web = migrated.web(APP_FAULT="timeout")
    with pytest.raises(TimeoutError):
        web.get("/whoami", timeout=2)
    assert web.answers("/health")


def test_fault_crash_after(migrated: World) -> None:
    web = migrated.start("crash", migrated.image, *migrated.app_options(APP_FAULT="crash_after:2"))
    eventually(lambda: not web.state()["Running"], "crashed")
    assert web.state()["ExitCode"] == 70
    assert [entry["message"] for entry in web.log_entries()][-1].startswith("crashing as told")


def test_fault_leak_ends_with_the_memory_limit(migrated: World) -> None:
    web = migrated.web(healthy=False, options=("--memory", "192m", "--memory-swap", "192m"), APP_FAULT="leak")
    eventually(lambda: not web.state()["Running"], "killed")
    assert web.state()["OOMKilled"] is True


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"APP_SECRETS_DIR": "/nowhere"}, "DATABASE_URL, API_KEY_SALT must be set"),
        ({"APP_FAULT": "explode"}, "unknown fault 'explode'"),
        ({"APP_READY_CHECKS": "mongo"}, "unknown check 'mongo'"),
    ],
)
def test_a_wrong_setting_stops_the_web_service_with_one_line(
    migrated: World, environment: dict[str, str], message: str
) -> None:
    web = migrated.start(f"wrong-{secrets.token_hex(3)}", migrated.image, *migrated.app_options(**environment))
    eventually(lambda: not web.state()["Running"], "stopped")
    assert web.state()["ExitCode"] == 1
    assert message in web.logs()
    assert len(web.logs().splitlines()) == 1


def test_image_health_check_needs_no_secret(web: Container) -> None:
    eventually(lambda: bool(web.state()["Health"]["Status"] == "healthy"), "healthy by its own check", 40)
