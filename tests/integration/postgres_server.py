# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away Postgres with TLS: 17 as the platform has it, or 15, where a test or LASTRO_TEST_POSTGRES says so."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from tests.integration import postgres_images
from tests.support import free_ports, random_name, run_module

# The version of a server where a test asks for none: whole files run on 15 by it.
VARIABLE = "LASTRO_TEST_POSTGRES"
VERSION = int(os.environ.get(VARIABLE, "17"))
SUPERUSER = "super-secret-of-the-server"
LOGINS = ("migrate", "app_a", "app_b", "monitor")
ROLES = ("app_a", "app_b", "migrate", "monitor", "rw", "ro", "owner")


def docker(*arguments: str) -> str:
    done = subprocess.run(["/usr/bin/docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


class Server:
    """A throw-away server that takes TLS only, logs every statement and keeps statistics of them.

    A durable one comes back with its data, at the same port, after it was killed.
    """

    def __init__(self, directory: Path, durable: bool = False, version: int = VERSION) -> None:
        self.name, self.version = random_name(), version
        data = "/var/lib/postgresql/data"
        storage = ["-v", f"{self.name}:{data}"] if durable else ["--tmpfs", f"{data}:uid=999,gid=999,mode=0700"]
        port = str(free_ports(1)[0]) if durable else ""
        material = run_module(
            "tls_certificates",
            {"directory": str(directory / "ca"), "certificates": [{"name": "server", "ips": ["127.0.0.1"]}]},
        )["material"]
        self.ca: str = material["ca"]
        config = directory / "config"
        config.mkdir()
        for name, content in (
            ("server.key", material["certificates"]["server"]["key"]),
            ("server.crt", material["certificates"]["server"]["certificate"]),
            ("password", SUPERUSER),
            ("pg_hba.conf", "hostssl all all all scram-sha-256\n"),
            (
                "postgresql.conf",
                "listen_addresses = '*'\nssl = on\nssl_key_file = '/config/server.key'\nssl_cert_file = "
                "'/config/server.crt'\nhba_file = '/config/pg_hba.conf'\nlog_statement = 'all'\nfsync = off\n"
                "include_dir = '/config/more'\nshared_preload_libraries = 'pg_stat_statements'\n",
            ),
        ):
            (config / name).write_text(content)
            (config / name).chmod(0o400)
            os.chown(config / name, 999, 999)
        (config / "more").mkdir(mode=0o755)
        config.chmod(0o755)
        self.more = config / "more" / "test.conf"
        docker(
            "run", "-d", "--name", self.name, *storage, "-v", f"{config}:/config:ro", "-p", f"127.0.0.1:{port}:5432",
            "-e", "POSTGRES_PASSWORD_FILE=/config/password", "-e", "POSTGRES_INITDB_ARGS=--data-checksums --encoding=UTF8 "
            + postgres_images.LOCALES[version], postgres_images.image(version), "postgres", "-c",
            "config_file=/config/postgresql.conf",
        )  # fmt: skip
        self.port = int(docker("port", self.name, "5432").splitlines()[0].rsplit(":", 1)[1])
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_text(self.ca)
        self.wait()

    def wait(self) -> None:
        """Until it takes connections."""
        end = time.monotonic() + 60
        while subprocess.run(
            ["/usr/bin/docker", "exec", self.name, "pg_isready", "-q", "-h", "127.0.0.1"], check=False
        ).returncode:
            assert time.monotonic() < end, self.logs()
            time.sleep(0.2)

    def crash(self) -> None:
        """End it by SIGKILL, and start it again."""
        docker("kill", "--signal", "KILL", self.name)
        docker("start", self.name)
        self.wait()

    def run(self, *databases: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        given = {"host": "127.0.0.1", "port": self.port, "password": SUPERUSER, "ca": self.ca, "databases": databases}
        return run_module("postgres_databases", {**given, **options}, check, True)

    @contextmanager
    def session(self, user: str = "postgres", password: str = SUPERUSER, database: str = "postgres") -> Iterator[Any]:
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname=database, sslmode="require"
        )
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def sql(self, text: str, **login: str) -> list[tuple[Any, ...]]:
        with self.session(**login) as cursor:
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []

    def logs(self) -> str:
        done = subprocess.run(["/usr/bin/docker", "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr


@contextmanager
def running(directory: Path, durable: bool = False, version: int = VERSION) -> Iterator[Server]:
    server = Server(directory, durable, version)
    try:
        yield server
    finally:
        docker("rm", "-f", "-v", server.name)
        if durable:
            docker("volume", "rm", server.name)


@contextmanager
def database(server: Server) -> Iterator[dict[str, Any]]:
    """What is asked of the module for a database of its own; it goes with its roles."""
    name = random_name("lt_")
    try:
        yield {"name": name, "passwords": {login: f"{login}-of-{name}" for login in LOGINS}}
    finally:
        server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        for kind in ROLES:
            server.sql(f"DROP ROLE IF EXISTS {name}_{kind}")


def login(wanted: dict[str, Any], kind: str) -> dict[str, str]:
    name = wanted["name"]
    return {"user": f"{name}_{kind}", "password": wanted["passwords"][kind], "database": name}


def manager(server: Server, attributes: str) -> dict[str, str]:
    """The URL of another user, as a provider hands it out."""
    role = random_name("lt_admin_")
    server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'managed-by-url' {attributes}")
    return {"url": f"postgresql+psycopg2://{role}:managed-by-url@127.0.0.1:{server.port}/postgres?sslmode=require"}
