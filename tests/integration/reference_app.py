# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the reference application run it in: Postgres and Redis over TLS, its image, secrets as files."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import eventually, random_name

APP = Path(__file__).resolve().parents[2] / "examples" / "reference_app"
PYTHON_IMAGE = os.environ.get("LASTRO_PYTHON_IMAGE", "lastro/python:3.13")
POSTGRES_IMAGE = os.environ.get("LASTRO_POSTGRES_IMAGE", "lastro/postgres:17")
REDIS_IMAGE = os.environ.get("LASTRO_REDIS_IMAGE", "lastro/redis:8")
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["/usr/bin/docker", *arguments], check=False, capture_output=True, text=True, timeout=600)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Container:
    name: str
    port: int = 0

    def request(
        self, method: str, path: str, body: Any = None, timeout: float = 10, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def answers(self, path: str = "/health", status: int = 200) -> bool:
        try:
            return self.get(path, timeout=2).status == status
        except OSError:
            return False

    def logs(self) -> str:
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def log_entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.logs().splitlines()]

    def logged(self, trace: str) -> dict[str, Any]:
        """What it wrote down of a trace, once it has."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found.extend(entry for entry in self.log_entries() if entry["trace_id"] == trace)
            return bool(found)

        eventually(there, f"{trace} in the log", evidence=self.logs)
        return found[0]

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(docker("inspect", "--format", "{{json .State}}", self.name).stdout)
        return state


class World:
    """A network with Postgres and Redis on it, the application's image, and the secrets as files."""

    def __init__(self, directory: Path) -> None:
        self.prefix = random_name("lt-refapp-")
        self.image = f"{self.prefix}:r1"
        self.directory = directory
        self.containers: list[str] = []
        self.images = [self.image]
        self.keys = {role: secrets.token_urlsafe(48) for role in ("admin", "auditor", "client")}
        self.salt = secrets.token_hex(32)
        self.password = secrets.token_urlsafe(16)

    def build(self, release: str, *options: str) -> str:
        image = f"{self.prefix}:{release}"
        self.images.append(image)
        arguments = ["--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}", "--build-arg", f"RELEASE={release}", *options]
        return docker("build", *arguments, "--tag", image, str(APP)).stdout

    def start(self, name: str, image: str, *options: str, command: tuple[str, ...] = ()) -> Container:
        container = f"{self.prefix}-{name}"
        self.containers.append(container)
        docker("run", "--detach", "--name", container, "--network", self.prefix, *options, image, *command)
        return Container(container)

    def app_options(self, **environment: str) -> list[str]:
        settings = {"APP_ENVIRONMENT": "dev", **environment}
        variables = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        return [*HARDENED, "--volume", f"{self.directory / 'secrets'}:/run/secrets:ro", *variables]

    def web(
        self, image: str = "", healthy: bool = True, options: tuple[str, ...] = (), **environment: str
    ) -> Container:
        name = f"web-{secrets.token_hex(3)}"
        published = ("--publish", "127.0.0.1::8000")
        web = self.start(name, image or self.image, *self.app_options(**environment), *published, *options)
        eventually(lambda: bool(docker("port", web.name, "8000", check=False).stdout), "a published port")
        web.port = int(docker("port", web.name, "8000").stdout.split(":")[-1])
        if healthy:
            eventually(web.answers, "healthy", evidence=web.logs)
        return web

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["python3", "-m", "reference_app.cli", *arguments]
        options = ["--rm", "--network", self.prefix, *self.app_options(**environment)]
        return docker("run", *options, self.image, *command, check=False)

    def sql(self, statement: str) -> str:
        arguments = ["psql", "-U", "app", "-h", "127.0.0.1", "-d", "app", "-qAtc", statement]
        return docker("exec", "--env", f"PGPASSWORD={self.password}", f"{self.prefix}-postgres", *arguments).stdout

    def address(self, name: str) -> str:
        """Of a container on the application's network."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", form, f"{self.prefix}-{name}").stdout.strip()

    def key(self, role: str) -> dict[str, str]:
        return {"x-api-key": self.keys[role]}

    def remove(self, containers: list[str]) -> None:
        if containers:
            docker("rm", "--force", "--volumes", *containers, check=False)
        self.containers = [name for name in self.containers if name not in containers]

    def close(self) -> None:
        self.remove(self.containers)
        docker("network", "rm", self.prefix, check=False)
        docker("rmi", "--force", *self.images, check=False)


def server_files(directory: Path, password: str) -> None:
    """What Postgres and Redis read: a CA, one certificate with both their names, the account of the application."""
    directory.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    # Python 3.13 verifies strictly: a CA has to say that it signs certificates.
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-x509", *usage, *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=lt CA")
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (directory / "names").write_text("subjectAltName=DNS:postgres,DNS:redis\n")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.crt", *signing)
    (directory / "users.acl").write_text(f"user default off\nuser app on >{password} ~* &* +@all\n")
    (directory / "password").write_text(password)
    for path in directory.iterdir():
        os.chown(path, 999, 999)
    (directory / "server.key").chmod(0o400)
    directory.chmod(0o755)


def write_secrets(world: World) -> None:
    directory = world.directory / "secrets"
    directory.mkdir()
    ca = "/run/secrets/ca.crt"
    database = f"postgresql+psycopg2://app:{world.password}@postgres:5432/app?sslmode=verify-full&sslrootcert={ca}"
    files = {
        "DATABASE_URL": database,
        "REDIS_URL": f"rediss://app:{world.password}@redis:6379/0?ssl_ca_certs={ca}",
        "API_KEY_SALT": world.salt,
        "ca.crt": (world.directory / "tls" / "ca.crt").read_text(),
        **{f"{role.upper()}_API_KEY": key for role, key in world.keys.items()},
    }
    for name, content in files.items():
        path = directory / name
        path.write_text(content + "\n")
        path.chmod(0o400)
        os.chown(path, 10001, 10001)
    directory.chmod(0o700)
    os.chown(directory, 10001, 10001)


def start_postgres(world: World, name: str, *options: str) -> Container:
    mount = ("--volume", f"{world.directory / 'tls'}:/tls:ro")
    account = ("POSTGRES_USER=app", "POSTGRES_PASSWORD_FILE=/tls/password", "POSTGRES_DB=app")
    environment = [part for variable in account for part in ("--env", variable)]
    postgres_tls = ("-c", "ssl=on", "-c", "ssl_cert_file=/tls/server.crt", "-c", "ssl_key_file=/tls/server.key")
    return world.start(name, POSTGRES_IMAGE, *options, *mount, *environment, command=("postgres", *postgres_tls))


def start_servers(world: World) -> None:
    mount = ("--volume", f"{world.directory / 'tls'}:/tls:ro")
    start_postgres(world, "postgres", "--network-alias", "postgres")
    redis_tls = ("--port", "0", "--tls-port", "6379", "--tls-cert-file", "/tls/server.crt", "--tls-auth-clients", "no")
    world.start(
        "redis",
        REDIS_IMAGE,
        *("--network-alias", "redis", "--workdir", "/tmp", *mount),
        command=(
            *("redis-server", *redis_tls, "--tls-key-file", "/tls/server.key", "--tls-ca-cert-file", "/tls/ca.crt"),
            *("--aclfile", "/tls/users.acl", "--save", ""),
        ),
    )


def run_job(web: Container, world: World, body: Any, **headers: str) -> dict[str, Any]:
    created = web.request("POST", "/jobs", body, headers={**world.key("client"), **headers})
    assert created.status == 202, created.body
    path = f"/jobs/{created.json['id']}"
    job: dict[str, Any] = {}

    def finished() -> bool:
        job.update(web.get(path, headers=world.key("client")).json)
        return bool(job["state"] == "done" or job["attempts"] == 3)

    eventually(finished, f"job finished, last seen {job}")
    return job


def metric(web: Container, name: str) -> float:
    lines = web.get("/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


def accepts_connections(server: Container) -> bool:
    # Over TCP: while it creates the database, the image's server listens on its socket only.
    return docker("exec", server.name, "pg_isready", "-h", "127.0.0.1", "-d", "app", check=False).returncode == 0


@contextmanager
def running(directory: Path) -> Iterator[World]:
    """Servers that answer, and the image of release r1."""
    world = World(directory)
    # The containers' users have to be able to walk down to what is mounted.
    for parent in (world.directory, world.directory.parent):
        parent.chmod(0o755)
    try:
        docker("network", "create", world.prefix)
        server_files(world.directory / "tls", world.password)
        write_secrets(world)
        start_servers(world)
        world.build("r1")
        server = Container(f"{world.prefix}-postgres")
        eventually(lambda: accepts_connections(server), "Postgres takes connections", 60, server.logs)
        yield world
    finally:
        world.close()
