# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine API over its Unix socket, with nothing but the standard library.

Targets need no Python package for it (docs/decisions/engine-api.md says why not the SDK).
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

SOCKET = "/var/run/docker.sock"
# 1.41 is Engine 20.10, the oldest the collection supports; every later Engine still answers it.
API = "/v1.41"


class EngineError(PlatformError):
    """The Engine refused a request (`status` is its HTTP status), is not there (0), or did not answer (504)."""

    def __init__(self, status: int, problem: str, cure: str = "") -> None:
        self.status = status
        super().__init__(problem, cure)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A client of one Engine. Paths are those of the Engine API, without the version."""

    def __init__(self, path: str = SOCKET, timeout: float | None = 60.0) -> None:
        self.path = path
        self.timeout = timeout

    def get(self, path: str, **query: Any) -> Any:
        """GET, decoded from JSON."""
        return _decode(self._request("GET", path, query)[1])

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST a JSON body; the answer decoded from JSON, None when it is empty."""
        return _decode(self._request("POST", path, query, body)[1])

    def delete(self, path: str, **query: Any) -> None:
        """DELETE; a thing that is gone already is no error."""
        try:
            self._request("DELETE", path, query)
        except EngineError as error:
            if error.status != 404:
                raise

    def exists(self, path: str, **query: Any) -> bool:
        """Whether HEAD answers 200: the cheap question for archive paths."""
        try:
            self._request("HEAD", path, query)
        except EngineError as error:
            if error.status != 404:
                raise
            return False
        return True

    def find(self, path: str, **query: Any) -> Any | None:
        """GET, or None where the Engine answers 404."""
        try:
            return self.get(path, **query)
        except EngineError as error:
            if error.status != 404:
                raise
            return None

    def stream(
        self,
        path: str,
        body: Iterable[bytes] | bytes | None = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Iterator[dict[str, Any]]:
        """POST and yield the JSON objects of the answer as they come (builds, pulls, loads)."""
        connection, answer = self._open("POST", path, query, body, headers or {})
        try:
            for line in answer:
                if line.strip():
                    yield json.loads(line)
        finally:
            connection.close()

    def containers(self, **labels: str) -> list[dict[str, Any]]:
        """All containers, stopped ones too, that carry every label given (dots as `__`)."""
        wanted = [f"{name.replace('__', '.')}={value}" for name, value in labels.items()]
        found: list[dict[str, Any]] = self.get("/containers/json", all="true", filters={"label": wanted})
        return found

    def logs(self, container: str, tail: int = 40) -> str:
        """The last lines of a container, standard output and error in the order they came."""
        raw = self._request("GET", f"/containers/{quote(container)}/logs", {"stdout": 1, "stderr": 1, "tail": tail})[1]
        return demultiplex(raw).decode(errors="replace")

    def run(self, container: str, command: list[str], **options: Any) -> tuple[int, str]:
        """Run a command inside a container: (exit code, what it printed). `options` are those of the exec API."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": command, **options}
        created = self.post(f"/containers/{quote(container)}/exec", body)["Id"]
        raw = self._request("POST", f"/exec/{created}/start", {}, {"Detach": False, "Tty": False})[1]
        code = self.get(f"/exec/{created}/json")["ExitCode"]
        return int(code if code is not None else 1), demultiplex(raw).decode(errors="replace")

    def version(self) -> str:
        """The Engine's version, as `20.10.24`."""
        return str(self.get("/version")["Version"])

    def _request(self, method: str, path: str, query: dict[str, Any], body: Any = None) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection, answer = self._open(method, path, query, data, headers)
        try:
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, query: dict[str, Any], body: Any, headers: dict[str, str]
    ) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        text = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()}
        target = f"{API}{path}" + (f"?{urlencode(text)}" if text else "")
        connection = _UnixConnection(self.path, self.timeout)
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._failed(error) from error
        if answer.status >= 400:
            raw = answer.read()
            connection.close()
            raise EngineError(answer.status, f"Docker Engine, {method} {path}: {_message(raw, answer.status)}")
        return connection, answer

    def _failed(self, error: Exception) -> EngineError:
        problem = f"The Docker Engine does not answer on {self.path}: {error}"
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            return EngineError(
                0, problem, "Start it (`service docker start`), or let the role lastro.platform.docker install it."
            )
        # It hangs, broke off, or does not let us in: nobody may take that for a host on which nothing runs.
        return EngineError(HTTPStatus.GATEWAY_TIMEOUT, problem, "Look at its journal, and run this as root.")


def demultiplex(raw: bytes) -> bytes:
    """Join the frames of an attached stream; a stream of a container with a terminal comes as it is."""
    text, at = bytearray(), 0
    while at + 8 <= len(raw) and raw[at] in (0, 1, 2) and raw[at + 1 : at + 4] == b"\0\0\0":
        (size,) = struct.unpack(">I", raw[at + 4 : at + 8])
        text += raw[at + 8 : at + 8 + size]
        at += 8 + size
    return bytes(text) + raw[at:]


def _decode(raw: bytes) -> Any:
    return json.loads(raw) if raw.strip() else None


def _message(raw: bytes, status: int) -> str:
    try:
        return str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        return raw.decode(errors="replace").strip() or f"HTTP {status}"
