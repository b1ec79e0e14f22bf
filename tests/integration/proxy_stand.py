"""A proxy of the role on this machine's loopback, and small web servers as its slots."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import Admin

from tests.support import REPOSITORY, eventually, free_ports, random_name, run_module


class Slot(http.server.ThreadingHTTPServer):
    """A web server that answers with its name and counts what is not a health check. It can be told to fail every so many, and to be slow."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str, port: int) -> None:
        self.name, self.hits, self.headers = name, 0, {}
        self.fails_every, self.takes_seconds = 0, 0.0
        # Paths of files that it does not have.
        self.lacks: set[str] = set()
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """HAProxy resets the connections of its checks, which is nothing to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    server: Slot

    def do_GET(self) -> None:
        if self.headers["Host"] != "lastro-proxy-check":
            self.server.hits += 1
            self.server.headers = dict(self.headers)
            time.sleep(self.server.takes_seconds)
        fails = self.server.fails_every and self.server.hits % self.server.fails_every == 1
        body = self.server.name.encode()
        found = 404 if self.path in self.server.lacks else 200
        self.send_response(500 if fails and self.headers["Host"] != "lastro-proxy-check" else found)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args: Any) -> None: ...


class Stand:
    """A proxy of the role, and the slots behind it: two blue, two green."""

    def __init__(self, directory: Path, health: str = "/", **variables: Any) -> None:
        self.name = random_name()
        ports = free_ports(7)
        self.http, self.metrics, self.https = ports[4:]
        self.ports = {"blue": ports[:2], "green": ports[2:4]}
        self.directory = directory / "proxy"
        self.play = directory / "play.yml"
        self.play.write_text(
            "- hosts: all\n  connection: local\n  gather_facts: false\n  roles: [lastro.platform.proxy]\n"
        )
        self.variables: dict[str, Any] = {
            "ansible_python_interpreter": sys.executable,
            "platform_name": self.name,
            "platform_state_dir": str(directory),
            "platform_private_address": "127.0.0.1",
            "proxy_bind_address": "127.0.0.1",
            "proxy_http_port": self.http,
            "proxy_https_port": self.https,
            "proxy_metrics_port": self.metrics,
            "proxy_drain_seconds": 10,
            "proxy_check_interval_ms": 300,
            "proxy_app_hosts": [{"name": "here", "address": "127.0.0.1"}],
            "proxy_routes": [{"service": "web", "hosts": ["web.example"], "health": health, "ports": self.ports}],
            **variables,
        }
        self.slots = {
            (colour, slot): Slot(f"{colour}{slot}", port)
            for colour, of in self.ports.items()
            for slot, port in enumerate(of)
        }
        self.admin = Admin(str(self.directory / "run" / "admin.sock"))

    def role(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        chosen = self.play.with_name("variables.json")
        chosen.write_text(json.dumps({**self.variables, **variables}))
        playbook = str(Path(sys.executable).parent / "ansible-playbook")
        return subprocess.run(
            [playbook, "-i", "localhost,", "-e", f"@{chosen}", str(self.play), *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def switch(self, colour: str | None = None, check: bool = False, **options: Any) -> dict[str, Any]:
        args = {"directory": str(self.directory), **({"colour": colour} if colour else {}), **options}
        return run_module("proxy_switch", args, check=check, diff=True)

    def get(
        self, path: str = "/", method: str = "GET", body: str | None = None, client: str = "127.0.0.1", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10, source_address=(client, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body, headers={"Host": "web.example", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}

    def file(self) -> str:
        return (self.directory / "maps" / "colour.map").read_text()

    def states(self) -> dict[str, str]:
        found = self.switch()["servers"]
        return {
            f"{backend}/{server.split(':')[0]}": state for backend, of in found.items() for server, state in of.items()
        }

    def container(self) -> Any:
        return docker.from_env().containers.get(f"{self.name}-proxy-haproxy-1")

    def reload(self) -> None:
        before = self.pid()
        self.container().kill("USR2")
        wait_for(lambda: self.pid() not in ("", before))

    def restart(self) -> None:
        self.container().restart()
        wait_for(lambda: self.pid() != "")

    def pid(self) -> str:
        lines = (self.admin.ask("show info") or "").splitlines()
        return next((line for line in lines if line.startswith("Pid:")), "")

    def remove(self) -> None:
        """The proxy and its slots; their directory is the caller's."""
        run_module("stack", {"project": f"{self.name}-proxy", "directory": str(self.directory), "state": "absent"})
        for slot in self.slots.values():
            slot.stop()

    def rest(self) -> None:
        """The state every test starts from: blue serves, everything is ready and up."""
        assert not self.switch("blue", slots={"blue": {"web": 2}, "green": {"web": 2}}).get("failed")
        wait_for(lambda: set(self.states().values()) == {"up"})


@contextlib.contextmanager
def running(health: str = "/", **variables: Any) -> Iterator[Stand]:
    # Not pytest's own directory: the path of a Unix socket may have 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="lt-"))
    made = Stand(directory, health, **variables)
    done = made.role()
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        made.remove()
        shutil.rmtree(directory)


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    eventually(condition, "what the proxy was waited for", seconds)
