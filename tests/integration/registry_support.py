# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real registries for tests: the catalogue's own image, plain or with TLS and a login; and servers that only pretend."""

from __future__ import annotations

import base64
import http.server
import ipaddress
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.lastro.platform.plugins.filter.htpasswd import htpasswd
from ansible_collections.lastro.platform.plugins.module_utils._image_ca import CERTIFICATES
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import Access

from tests.integration.images_support import ENGINE, catalogue
from tests.support import eventually, free_ports, random_name, run_module

IMAGE = "lastro/registry:2.8"
PASSWORD = "registry-test-only-58d1f0"


def have_image() -> None:
    """The registry's image on this machine, made where it is missing."""
    result = run_module("images", {"images": catalogue(), "only": [IMAGE]})
    assert not result.get("failed"), result


def host_address() -> str:
    """An address of this machine that is no loopback: for those the Engine verifies no certificate."""
    [config] = ENGINE.get("/networks/bridge")["IPAM"]["Config"]
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))


def certificate(folder: Path, address: str) -> tuple[str, str, str]:
    """A CA of its own, and a certificate for the address: CA, certificate, key (PEM)."""
    wanted = [{"name": "registry", "ips": [address]}]
    result = run_module("tls_certificates", {"directory": str(folder), "certificates": wanted})
    tls = result["material"]
    own = tls["certificates"]["registry"]
    return tls["ca"], own["certificate"], own["key"]


@contextmanager
def plain_registry(folder: Path) -> Iterator[str]:
    """A registry on the loopback that the Engine takes without TLS; its address."""
    with _running(folder, {}, "127.0.0.1") as address:
        yield address


@contextmanager
def tls_registry(folder: Path) -> Iterator[Access]:
    """A registry with TLS and a login, as the role runs it. What the Engine was told of it is forgotten at the end."""
    host = host_address()
    ca, own, key = certificate(folder / "ca", host)
    files = {"registry.crt": own, "registry.key": key, "htpasswd": htpasswd(PASSWORD, "platform", folder.name) + "\n"}
    with _running(folder, files, host) as address:
        access = Access(address, "platform", PASSWORD, ca)
        try:
            yield access
        finally:
            forget(access)


def forget(access: Access) -> None:
    """Take the registry's CA from the Engine again."""
    shutil.rmtree(CERTIFICATES / access.address, ignore_errors=True)


def options(access: Access, registry: str = "registry") -> dict[str, str]:
    """The options of a module that say how the registry is reached."""
    return {
        registry: access.address,
        f"{registry}_user": access.user,
        f"{registry}_password": access.password,
        f"{registry}_ca": access.ca,
    }


@contextmanager
def _running(folder: Path, files: dict[str, str], host: str) -> Iterator[str]:
    inside = "/etc/docker/registry"
    config: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
        "http": {"addr": ":5000"},
    }
    if files:
        config["http"]["tls"] = {"certificate": f"{inside}/registry.crt", "key": f"{inside}/registry.key"}
        config["auth"] = {"htpasswd": {"realm": "registry", "path": f"{inside}/htpasswd"}}
    mounted = folder / "config"
    mounted.mkdir(parents=True)
    for name, text in {**files, "config.yml": yaml.safe_dump(config)}.items():
        (mounted / name).write_text(text)
    body = {
        "Image": IMAGE,
        "ExposedPorts": {"5000/tcp": {}},
        "HostConfig": {
            "PortBindings": {"5000/tcp": [{"HostIp": host, "HostPort": ""}]},
            "Binds": [f"{mounted}:{inside}:ro"],
            "ReadonlyRootfs": True,
            "Tmpfs": {"/var/lib/registry": "uid=999,gid=999"},
            "CapDrop": ["ALL"],
        },
    }
    container = ENGINE.post("/containers/create", body, name=random_name())["Id"]
    try:
        ENGINE.post(f"/containers/{container}/start")
        ports = ENGINE.get(f"/containers/{container}/json")["NetworkSettings"]["Ports"]
        address = f"{host}:{ports['5000/tcp'][0]['HostPort']}"
        eventually(
            lambda: "listening on" in ENGINE.logs(container), "the registry listens", 20, lambda: ENGINE.logs(container)
        )
        yield address
    finally:
        ENGINE.delete(f"/containers/{container}", force=1)


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def pretender(folder: Path, answer: Answer | None, plain: bool = False) -> Iterator[Access]:
    """A server with TLS that answers every request by `answer`; None lets requests wait for ever."""
    ca, own, key = certificate(folder / "ca", "127.0.0.1")
    (folder / "own.pem").write_text(own + key)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer is None:
                stopped.wait()
            else:
                answer(self)

        do_HEAD = do_GET

        def log_message(self, *args: Any) -> None: ...

    stopped = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if not plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "own.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    access = Access(f"127.0.0.1:{server.server_port}", "platform", PASSWORD, ca)
    try:
        yield access
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        forget(access)


def says(status: int, body: bytes = b"", kind: str = "text/html") -> Answer:
    """An answer that is always the same."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def wants_token(kind: str) -> Answer:
    """A registry that lets in whoever fetched a token with the right password before."""
    login = "Basic " + base64.b64encode(f"platform:{PASSWORD}".encode()).decode()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        given = handler.headers.get("Authorization", "")
        if handler.path.startswith("/token"):
            says(200, b'{"token": "let-me-in"}' if given == login else b"{}")(handler)
        elif given == "Bearer let-me-in":
            says(200, kind=kind)(handler)
        else:
            handler.send_response(401)
            handler.send_header(
                "WWW-Authenticate", f'Bearer realm="https://{handler.headers["Host"]}/token",service="r",scope="x:pull"'
            )
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    return answer


def closed_port() -> str:
    """An address where nothing listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"
