# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where plain API keys go: secret managers. Both write over the version they read and over no other."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._key_document import Document
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import Conflict, Sink

TIMEOUT_SECONDS = 20
PARTS = ("keys", "pending")
# What OpenBao and Vault take as one request. They end the connection while more is sent, which says nothing.
KV_BYTES = 32 * 2**20
SMALLER = "Use one path a tenant, as all keys of a sink are in one secret, or raise `max_entry_size` of its integrated storage."
# What AWS takes as one secret.
AWS_BYTES = 65536
STAGED = "LASTRO_STAGED"
Pause = Callable[[int], None]


class _NoRedirect(HTTPRedirectHandler):
    """The token goes to the address it was given for, and to no other."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        return None


class KvSink(Sink):
    """A secret of the KV engine, version 2, of OpenBao or HashiCorp Vault."""

    def __init__(self, options: Mapping[str, Any], environment: Mapping[str, str], pause: Pause) -> None:
        super().__init__(pause)
        self.address = str(options["address"] or "").rstrip("/")
        self.mount, self.path = options["mount"], options["path"]
        try:
            url = urlsplit(self.address)
            known = url.scheme in ("https", "http") and url.hostname and url.port != 0
        except ValueError:
            known = False
        if not known:
            raise PlatformError("The sink's `address` is no URL", "Write it as https://bao.example.com:8200.")
        if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise PlatformError(f"The sink {self.address} would get token and keys unencrypted", "Use https.")
        self._headers = {"X-Vault-Token": _token(options, environment), "Content-Type": "application/json"}
        if options["namespace"]:
            self._headers["X-Vault-Namespace"] = options["namespace"]
        # In plain text to this machine, and not by way of a proxy.
        proxies = [ProxyHandler({})] if url.scheme == "http" else []
        self._opener = build_opener(_NoRedirect, HTTPSHandler(context=_trust(options["ca_file"])), *proxies)

    def _load(self) -> tuple[Document, Any]:
        status, answer = self._call("GET", "data")
        data = answer.get("data") or {}
        # Where the newest version was deleted there is no content, and still a version.
        version = int((data.get("metadata") or {}).get("version", 0))
        document = data.get("data") or {}
        if status not in (200, 404) or answer.get("errors"):
            raise self._refused(status, answer)
        if status == 404:
            self._check_mount()
        return {**document, **{part: self._unpacked(part, document.get(part, "{}")) for part in PARTS}}, version

    def _unpacked(self, part: str, text: Any) -> dict[str, Any]:
        with suppress(TypeError, ValueError):
            found = json.loads(text)
            if isinstance(found, dict):
                return found
        raise PlatformError(f"`{part}` of the secret {self.path} is no mapping as JSON text", "Name another path.")

    def _check_mount(self) -> None:
        """An engine of version 1 would take the first write for a secret of another path."""
        status, answer = self._call("GET", "", path=f"sys/internal/ui/mounts/{self.mount}")
        options = (answer.get("data") or {}).get("options") or {}
        if status == 200 and options.get("version") != "2":
            raise PlatformError(
                f"{self.mount} is no KV engine of version 2",
                "Name another `mount`, or upgrade it (`bao kv enable-versioning`).",
            )

    def _store(self, document: Document, version: Any) -> Any:
        # As text, because OpenBao takes no request of more than 1,000 strings, names among them.
        data = {**document, **{part: json.dumps(document[part], separators=(",", ":")) for part in PARTS}}
        status, answer = self._call("POST", "data", {"options": {"cas": version}, "data": data})
        if status == 400 and "check-and-set" in " ".join(answer.get("errors", [])):
            raise Conflict
        if status != 200:
            raise self._refused(status, answer)
        return int(answer["data"]["version"])

    def _forget(self, first: Any, last: Any) -> None:
        status, answer = self._call("POST", "destroy", {"versions": list(range(first, last))})
        if status not in (200, 204):
            raise self._refused(status, answer)

    def _call(self, method: str, what: str, body: Any = None, path: str = "") -> tuple[int, dict[str, Any]]:
        url = f"{self.address}/v1/{quote(path or f'{self.mount}/{what}/{self.path}')}"
        content = None if body is None else json.dumps(body).encode()
        if content and len(content) > KV_BYTES:
            raise self._refused(413, {"errors": [f"{len(content)} bytes are more than the {KV_BYTES} of a request"]})
        request = Request(url, data=content, method=method, headers=self._headers)
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return response.status, _json(response.read())
        except HTTPError as error:
            return error.code, _json(error.read())
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise PlatformError(
                f"The sink {self.address} does not answer: {reason}",
                "Start it, or correct `address` and `ca_file` of the sink.",
            ) from None

    def _refused(self, status: int, answer: Mapping[str, Any]) -> PlatformError:
        said = "; ".join(str(error).strip() for error in answer.get("errors") or []) or f"HTTP {status}"
        cures = {
            403: f"Give a token whose policy may read and write {self.mount}/data/{self.path}, and update {self.mount}/destroy/{self.path}.",
            404: f"Mount a KV engine of version 2 at {self.mount}, or correct `mount`.",
            413: "Use one path a tenant: all keys of a sink are in one secret.",
            503: "It is sealed or in maintenance: unseal it.",
        }
        other = "Use the address of the active node." if 300 <= status < 400 else "See its log."
        if "too large" in said or "exceed" in said:
            other = SMALLER
        return PlatformError(f"The sink {self.address} refused {self.path}: {said}", cures.get(status, other))


def _token(options: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    if options["token_file"]:
        try:
            token = Path(options["token_file"]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            token = ""  # none given  # nosec B105
        where = f"The file {options['token_file']}"
    else:
        token = environment.get(options["token_variable"], "").strip()
        where = f"The variable {options['token_variable']} of the controller's environment"
    if not token or not token.isascii() or not token.isprintable():
        raise PlatformError(f"{where} has no token for the sink", "Put one there; it is never an argument.")
    return token


def _trust(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise PlatformError(
            f"{ca_file} can't be read as a CA: {error.strerror or error}", "Correct the sink's `ca_file`."
        ) from None


def _json(content: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(content or b"{}")
        if isinstance(found, dict):
            return found
    return {}


class AwsSink(Sink):
    """A secret of AWS Secrets Manager. A version becomes the current one only if the one that was read still is."""

    def __init__(self, path: str, client: Any, pause: Pause) -> None:
        super().__init__(pause)
        self.path = path
        self._client = client

    def _load(self) -> tuple[Document, Any]:
        found = self._ask("get_secret_value", missing=None, SecretId=self.path, VersionStage="AWSCURRENT")
        if found is None:
            return {"keys": {}, "pending": {}}, None
        text = str(found.get("SecretString", ""))
        document = _json(text.encode())
        foreign = "SecretBinary" in found or (text.strip() and not document and text.strip() != "{}")
        if foreign or not all(isinstance(document.setdefault(part, {}), dict) for part in ("keys", "pending")):
            raise PlatformError(f"The secret {self.path} holds something else", "Name another one.")
        return document, found["VersionId"]

    def _store(self, document: Document, version: Any) -> Any:
        content = json.dumps(document, ensure_ascii=False)
        if len(content.encode()) > AWS_BYTES:
            raise PlatformError(
                f"The keys are more than the {AWS_BYTES} bytes that AWS takes as one secret",
                "Use one secret a tenant, or another sink.",
            )
        if version is None:
            token = str(uuid.uuid4())
            return self._ask("create_secret", Name=self.path, SecretString=content, ClientRequestToken=token)[
                "VersionId"
            ]
        new = self._ask(
            "put_secret_value",
            SecretId=self.path,
            SecretString=content,
            ClientRequestToken=str(uuid.uuid4()),
            VersionStages=[STAGED],
        )["VersionId"]
        self._ask(
            "update_secret_version_stage",
            SecretId=self.path,
            VersionStage="AWSCURRENT",
            MoveToVersionId=new,
            RemoveFromVersionId=version,
        )
        return new

    def _forget(self, first: Any, last: Any) -> None:
        """AWS deletes a version that has no label. One that lost it already is let be."""
        with suppress(Conflict):
            self._ask(
                "update_secret_version_stage", SecretId=self.path, VersionStage="AWSPREVIOUS", RemoveFromVersionId=first
            )

    def _ask(self, call: str, missing: Any = ..., **arguments: Any) -> Any:
        try:
            return getattr(self._client, call)(**arguments)
        except Exception as error:
            # botocore's errors are known by their code only; boto3 may be absent where this file is.
            code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
            if code == "ResourceNotFoundException" and missing is not ...:
                return missing
            if code == "ResourceExistsException" or (
                code == "InvalidParameterException" and call == "update_secret_version_stage"
            ):
                raise Conflict from None
            raise PlatformError(
                f"AWS Secrets Manager refused {call} of {self.path}: {code}", "See its name in AWS's documentation."
            ) from None


def aws_client(load_lookup: Callable[[str], Any], options: Mapping[str, Any]) -> Any:
    """A client that logs in as the collection amazon.aws does."""
    lookup = load_lookup("amazon.aws.secretsmanager_secret")
    if lookup is None:
        raise PlatformError(
            "The sink aws_secrets_manager needs the collection amazon.aws on the controller",
            "ansible-galaxy collection install amazon.aws",
        )
    if not find_spec("boto3"):
        raise PlatformError("The sink aws_secrets_manager needs boto3 on the controller", "pip install boto3")
    given = {name: options[name] for name in ("region", "profile") if options[name]}
    lookup.set_options(direct=given)
    return lookup.client("secretsmanager")
