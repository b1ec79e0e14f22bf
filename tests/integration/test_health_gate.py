"""health_gate against a real Postgres, a real Redis (plain and TLS), an HTTPS server, containers and commands."""

from __future__ import annotations

import http.server
import json
import shlex
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration import postgres_images, postgres_server
from tests.integration.gate_support import PASSWORD, REDIS_PASSWORD, gate, make_certificate, only
from tests.support import random_name


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with cert.pem and key.pem for 127.0.0.1, readable by any container user."""
    directory = tmp_path_factory.mktemp("tls")
    make_certificate(directory, days=1)
    return directory


@pytest.fixture(scope="module")
def containers(certificate: Path) -> Iterator[dict[str, Any]]:
    """A Postgres and a Redis of the platform's own images; ports are the Engine's choice."""
    client = docker.from_env()
    (certificate / "password").write_text(PASSWORD)
    names = {"postgres": random_name(), "redis": random_name()}
    started = [
        client.containers.run(
            postgres_images.image(postgres_server.VERSION),
            name=names["postgres"],
            environment={"POSTGRES_PASSWORD_FILE": "/tls/password"},
            volumes={str(certificate): {"bind": "/tls", "mode": "ro"}},
            tmpfs={"/var/lib/postgresql/data": "uid=999,gid=999"},
            ports={"5432/tcp": ("127.0.0.1", None)},
            detach=True,
        ),
        client.containers.run(
            "lastro/redis:8",
            shlex.split(
                f"redis-server --save '' --requirepass {REDIS_PASSWORD} --user probe on >{REDIS_PASSWORD} +ping "
                "--tls-port 6380 --tls-cert-file /tls/cert.pem --tls-key-file /tls/key.pem --tls-auth-clients no"
            ),
            name=names["redis"],
            volumes={str(certificate): {"bind": "/tls", "mode": "ro"}},
            ports={"6379/tcp": ("127.0.0.1", None), "6380/tcp": ("127.0.0.1", None)},
            detach=True,
        ),
    ]
    try:
        for container in started:
            container.reload()
        postgres, redis = (container.ports for container in started)
        yield {
            **names,
            "postgres_port": int(postgres["5432/tcp"][0]["HostPort"]),
            "redis_port": int(redis["6379/tcp"][0]["HostPort"]),
            "redis_tls_port": int(redis["6380/tcp"][0]["HostPort"]),
        }
    finally:
        for container in started:
            container.remove(force=True, v=True)
        client.close()


@pytest.fixture(scope="module")
def postgres(containers: dict[str, Any]) -> dict[str, Any]:
    """A check of the Postgres, which has been waited for by the gate itself."""
    check = {
        "name": "db",
        "type": "postgres",
        "host": "127.0.0.1",
        "port": containers["postgres_port"],
        "user": "postgres",
        "password": PASSWORD,
    }
    result = gate(check, timeout_seconds=60, consecutive=3, interval_seconds=0.5)
    assert result["ok"], result
    assert only(result)["attempts"] >= 3
    return check


@pytest.fixture(scope="module")
def redis(containers: dict[str, Any]) -> dict[str, Any]:
    check = {
        "name": "cache",
        "type": "redis",
        "host": "127.0.0.1",
        "port": containers["redis_port"],
        "password": REDIS_PASSWORD,
    }
    assert gate(check, timeout_seconds=30, interval_seconds=0.2)["ok"]
    return check


def test_postgres_query_and_expected(postgres: dict[str, Any]) -> None:
    good = gate({**postgres, "query": "SELECT count(*) FROM generate_series(1, 7)", "expected": "7"})
    assert good["ok"]
    assert only(good)["last_answer"] == "7"
    bad = gate({**postgres, "query": "SELECT 8", "expected": "7"})
    assert (bad["ok"], bad["failed"], bad["failed_checks"]) == (False, True, ["db"])
    assert "db" in bad["msg"]
    assert "'7'" in bad["msg"]


def test_postgres_refusals_are_evaluated(postgres: dict[str, Any]) -> None:
    login = only(gate({**postgres, "password": "wrong-one"}))
    assert (login["ok"], login["evaluated"]) == (False, True)
    assert "authentication failed" in login["last_error"]
    query = only(gate({**postgres, "query": "SELECT * FROM nowhere"}))
    assert (query["ok"], query["evaluated"]) == (False, True)
    slow = only(gate({**postgres, "query": "SELECT pg_sleep(9)", "timeout_seconds": 0.3}))
    assert "statement timeout" in slow["last_error"]
    assert slow["latency_ms"] < 3000


def test_redis_plain_acl_and_tls(redis: dict[str, Any], containers: dict[str, Any], certificate: Path) -> None:
    tls = {**redis, "port": containers["redis_tls_port"], "tls": True}
    result = gate(
        redis,
        {**redis, "name": "user", "user": "probe"},
        {**redis, "name": "size", "command": ["DBSIZE"], "expected": "0"},
        {**tls, "name": "tls by path", "ca": str(certificate / "cert.pem")},
        {**tls, "name": "tls by PEM", "ca": (certificate / "cert.pem").read_text()},
        {**tls, "name": "tls unverified", "validate_certs": False},
    )
    assert result["ok"], result
    assert [check["last_answer"] for check in result["checks"]] == ["PONG", "PONG", "0", "PONG", "PONG", "PONG"]
    bad = gate(
        {**redis, "name": "no password", "password": None},
        {**redis, "name": "not allowed", "user": "probe", "command": ["DBSIZE"]},
        {**tls, "name": "unknown CA"},
    )
    assert bad["failed_checks"] == ["no password", "not allowed", "unknown CA"]
    assert all(check["evaluated"] for check in bad["checks"])
    errors = [check["last_error"] for check in bad["checks"]]
    assert errors[0].startswith("NOAUTH")
    assert errors[1].startswith("NOPERM")
    assert "certificate is refused" in errors[2]


def test_container(redis: dict[str, Any], containers: dict[str, Any]) -> None:
    check = {"name": "c", "type": "container", "container": containers["redis"], "restarts_max": 0}
    good = only(gate(check))
    assert good["ok"]
    assert good["last_answer"].startswith("running")
    missing = gate({**check, "container": "lt-no-such-container"})
    assert (only(missing)["ok"], only(missing)["evaluated"]) == (False, False)


@pytest.mark.parametrize(
    ("command", "ok", "said"),
    [
        (["sh", "-c", "echo one; echo two"], True, "rc 0 two"),
        (["sh", "-c", "echo why not >&2; exit 3"], False, "sh -c echo why not >&2; exit 3 ended with 3: why not"),
        (["sleep", "60"], False, "sleep did not end in time"),
        (["no-such-program"], False, "no-such-program ended with 12"),
    ],
)
def test_a_command_in_a_container(containers: dict[str, Any], command: list[str], ok: bool, said: str) -> None:
    check = {
        "name": "c",
        "type": "container",
        "container": containers["redis"],
        "command": command,
        "timeout_seconds": 1,
    }
    found = only(gate(check))
    assert found["ok"] == ok
    assert said in found["last_answer"] + found["last_error"]


def test_https_verifies_against_the_given_ca(certificate: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["X-Api-Key"] == PASSWORD else 403)
            self.end_headers()
            self.wfile.write(f'{{"status": "ok", "you sent": "{self.headers["X-Api-Key"]}"}}'.encode())

        def log_message(self, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    check = {
        "name": "web",
        "type": "http",
        "url": f"https://127.0.0.1:{server.server_port}/",
        "secret_headers": {"X-Api-Key": PASSWORD},
        "json": [{"path": "status", "equals": "ok"}],
    }
    try:
        # `gate` asserts that the echoed secret is in no result.
        assert gate({**check, "ca": str(certificate / "cert.pem")})["ok"]
        assert gate({**check, "ca": (certificate / "cert.pem").read_text()})["ok"]
        assert gate({**check, "validate_certs": False})["ok"]
        unknown = only(gate(check))
        assert (unknown["ok"], unknown["evaluated"]) == (False, True)
        assert "certificate is refused" in unknown["last_error"]
    finally:
        server.shutdown()
        server.server_close()


def test_waits_until_the_thing_appears() -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        timer = threading.Timer(1.5, late.listen)
        timer.start()
        check = {"name": "late", "type": "tcp", "host": "127.0.0.1", "port": late.getsockname()[1]}
        result = gate(check, timeout_seconds=20, interval_seconds=0.2, consecutive=2)
        timer.join()
    assert result["ok"]
    assert only(result)["attempts"] > 4
    assert 1 < result["elapsed_seconds"] < 5


def test_checks_run_side_by_side_and_the_time_is_kept() -> None:
    sleepers = [
        {"name": f"s{index}", "type": "command", "argv": ["sleep", "0.6"], "timeout_seconds": 5} for index in range(8)
    ]
    result = gate(*sleepers)
    assert result["ok"]
    assert result["elapsed_seconds"] < 2.4, "eight checks of 0.6 s ran one after the other"
    began = time.monotonic()
    late = gate({"name": "never", "type": "command", "argv": ["false"]}, timeout_seconds=2, interval_seconds=0.5)
    assert time.monotonic() - began < 5
    assert late["failed"]
    assert only(late)["attempts"] in (4, 5)
    assert "never (command false): rc 1, wanted 0" in late["msg"]
    assert "Cure: run `false` by hand" in late["msg"]


def test_check_mode_evaluates_once_and_never_fails() -> None:
    result = gate(
        {"name": "absent", "type": "container", "container": "lt-no-such-container"},
        {"name": "false", "type": "command", "argv": ["false"]},
        {"name": "true", "type": "command", "argv": ["true"]},
        check=True,
        timeout_seconds=60,
        consecutive=5,
    )
    assert not result.get("failed")
    assert not result["changed"]
    assert not result["ok"]
    states = {check["name"]: (check["ok"], check["evaluated"], check["attempts"]) for check in result["checks"]}
    assert states == {"absent": (False, False, 1), "false": (False, True, 1), "true": (True, True, 1)}
    assert result["failed_checks"] == ["absent", "false"]
    assert result["elapsed_seconds"] < 2


@pytest.mark.parametrize(
    ("check", "word"),
    [
        ({"name": "x", "type": "tcp", "host": "h"}, "port"),
        ({"name": "x", "type": "ftp"}, "ftp"),
        ({"name": "x", "type": "tcp", "host": "h", "port": 1, "colour": "blue"}, "colour"),
        ({"name": "x", "type": "tcp", "host": "h", "port": 1, "argv": ["true"]}, "takes no argv"),
        ({"name": "x", "type": "http", "url": "http://h/", "json": [{"path": "a"}]}, "equals"),
        ({"name": "x", "type": "http", "url": "http://h/", "status": "fine"}, "fine"),
    ],
)
def test_malformed_checks_are_refused(check: dict[str, Any], word: str) -> None:
    result = gate(check)
    assert result["failed"]
    assert word in result["msg"]


def test_missing_psycopg2_is_named_only_where_it_is_needed() -> None:
    """None in sys.modules is what an interpreter without the package amounts to."""
    without = (
        "import runpy, sys; sys.modules['psycopg2'] = None; path = sys.argv.pop(); "
        "runpy.run_path(path, run_name='__main__')"
    )
    module = Path(__file__).parents[2] / "plugins" / "modules" / "health_gate.py"

    def run(checks: list[dict[str, Any]], check: bool) -> dict[str, Any]:
        args = {"checks": checks, "timeout_seconds": 0, "_ansible_check_mode": check}
        done = subprocess.run(
            [sys.executable, "-c", without, str(module)],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": args}),
            env={"PYTHONPATH": str(module.parents[2] / "collections")},
            capture_output=True,
            text=True,
            check=False,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    database = {"name": "db", "type": "postgres", "host": "127.0.0.1", "port": 1, "user": "x"}
    assert "psycopg2" in run([database], check=False)["msg"]
    assert only(run([database], check=True))["evaluated"] is False
    assert run([{"name": "t", "type": "command", "argv": ["true"]}], check=False)["ok"]
