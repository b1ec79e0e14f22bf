# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image registry over HTTPS: is it well, what does it hold, and copies that keep their digest.

The Engine pulls and pushes; this asks before it does, because its own messages come late and name no cure.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPSHandler, Request, build_opener

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._images import Reference

ANSWER_SECONDS = 5.0
TRANSFER_SECONDS = 120.0
PARALLEL = 4
INDEX_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    *INDEX_TYPES,
)

_PROXY_CURE = "Check the address in images_registry: a proxy or another server may stand there."


class Refused(PlatformError):
    """A registry answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, problem: str, cure: str) -> None:
        self.status = status
        super().__init__(problem, cure)


@dataclass(frozen=True)
class Access:
    """How a registry is reached: `host:port`, a login, and the CA (PEM) of its certificate, empty for a public one."""

    address: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""

    def engine_header(self) -> dict[str, str]:
        """The login for one request to the Engine, which stores it nowhere."""
        login = {"username": self.user, "password": self.password, "serveraddress": self.address}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login if self.user else {}).encode()).decode()}

    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode() if self.user else ""


@dataclass(frozen=True)
class Manifest:
    """What a digest stands for, as the registry holds it."""

    digest: str
    kind: str
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded

    @property
    def config(self) -> str:
        """The digest of the image's configuration, which is the ID that an Engine gives the image."""
        return str(self.content.get("config", {}).get("digest", ""))

    @property
    def blobs(self) -> list[dict[str, Any]]:
        """Configuration and layers, as descriptors."""
        content = self.content
        return [content[key] for key in ("config",) if key in content] + list(content.get("layers", []))

    @property
    def parts(self) -> list[str]:
        """The digests of the manifests that an index of several platforms stands for."""
        return [entry["digest"] for entry in self.content.get("manifests", [])] if self.kind in INDEX_TYPES else []


class Registry:
    """A client of one registry; repositories are named as in its API, without the address.

    Threads may share it to read; a copy needs one of its own, as uploads continue with the token they began with.
    """

    def __init__(self, access: Access, seconds: float = ANSWER_SECONDS) -> None:
        self.access = access
        self.seconds = seconds
        try:
            context = ssl.create_default_context(cadata=access.ca or None)
        except (ssl.SSLError, ValueError) as error:
            raise PlatformError(
                f"The CA given for the registry {access.address} is no certificate: {error}", "Give it as PEM text."
            ) from error
        self._opener = build_opener(HTTPSHandler(context=context))
        self._login = access.basic()

    def ping(self) -> None:
        """Fail with cause and cure unless it is a registry that lets us in."""
        self._ask("GET", "/v2/").close()

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """The manifest of a tag or digest, None where the registry has none."""
        answer = self._find("GET", f"/v2/{repository}/manifests/{reference}")
        if answer is None:
            return None
        kind, body = self._kind(answer), self._read(answer)
        self._decoded(body, repository)
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if reference.startswith("sha256:") and digest != reference:
            raise PlatformError(
                f"The registry {self.access.address} gave {digest} for {repository}@{reference}",
                "Its storage is damaged: push the image again.",
            )
        return Manifest(digest, kind, body)

    def holds(self, repository: str, digest: str) -> bool:
        """Whether there is a manifest of this digest."""
        answer = self._find("HEAD", f"/v2/{repository}/manifests/{digest}")
        if answer is None:
            return False
        with answer:
            self._kind(answer)
        return True

    def configuration(self, repository: str, manifest: Manifest) -> dict[str, Any]:
        """What an image is made of and how it runs; empty for an index of several platforms."""
        if not manifest.config:
            return {}
        return self._decoded(self._read(self._ask("GET", f"/v2/{repository}/blobs/{manifest.config}")), repository)

    def labels(self, repository: str, manifest: Manifest) -> dict[str, str]:
        """The labels of an image; none for an index of several platforms."""
        labels: dict[str, str] = (self.configuration(repository, manifest).get("config") or {}).get("Labels") or {}
        return labels

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none where the registry does not know it."""
        answer = self._find("GET", f"/v2/{repository}/tags/list")
        if answer is None:
            return []
        return sorted(self._decoded(self._read(answer), repository).get("tags") or [])

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest and with it every tag of it; one that is gone already is no error."""
        try:
            answer = self._find("DELETE", f"/v2/{repository}/manifests/{digest}")
        except Refused as error:
            if error.status != 405:
                raise
            raise PlatformError(
                f"The registry {self.access.address} lets nobody delete", "Run the role registry, which allows it."
            ) from error
        if answer is not None:
            answer.close()

    def copy_from(self, source: Registry, origin: str, repository: str, manifest: Manifest, tag: str = "") -> int:
        """Copy an image from another registry, with the digest it has there; the bytes that travelled."""
        travelled = 0
        for part in manifest.parts:
            inner = source.manifest(origin, part)
            if inner is None:
                raise PlatformError(
                    f"The registry {source.access.address} lacks {origin}@{part}, a part of {manifest.digest}",
                    "Push the image there again.",
                )
            travelled += self.copy_from(source, origin, repository, inner)
        for blob in manifest.blobs:
            travelled += self._copy_blob(source, origin, repository, blob)
        path = f"/v2/{repository}/manifests/{tag or manifest.digest}"
        self._ask("PUT", path, manifest.body, {"Content-Type": manifest.kind}).close()
        return travelled

    def _copy_blob(self, source: Registry, origin: str, repository: str, blob: Mapping[str, Any]) -> int:
        digest, size = str(blob["digest"]), int(blob["size"])
        there = self._find("HEAD", f"/v2/{repository}/blobs/{digest}")
        if there is not None:
            there.close()
            return 0
        with self._ask("POST", f"/v2/{repository}/blobs/uploads/", b"") as begun:
            place = begun.headers.get("Location") or ""
        if not place:
            raise PlatformError(
                f"The registry {self.access.address} begins an upload and does not say where", _PROXY_CURE
            )
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        place += ("&" if "?" in place else "?") + urlencode({"digest": digest})
        with source._ask("GET", f"/v2/{origin}/blobs/{digest}") as content:
            # The registry refuses content that does not have this digest.
            self._ask("PUT", place, content, headers).close()
        return size

    def _read(self, answer: HTTPResponse) -> bytes:
        try:
            with answer:
                return answer.read()
        except (OSError, HTTPException) as error:
            raise PlatformError(
                f"The registry {self.access.address} broke off in the middle of an answer: {error!r}",
                "Check the network between this host and it, read its log, then run again.",
            ) from error

    def _decoded(self, body: bytes, repository: str) -> dict[str, Any]:
        try:
            decoded = json.loads(body)
        except ValueError:
            decoded = None
        if not isinstance(decoded, dict):
            raise PlatformError(
                f"The registry {self.access.address} answers with something else than JSON about {repository}",
                _PROXY_CURE,
            )
        return decoded

    def _kind(self, answer: HTTPResponse) -> str:
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        if kind not in MANIFEST_TYPES:
            raise PlatformError(
                f"The registry {self.access.address} answers with {kind or 'nothing'} where a manifest was asked for",
                _PROXY_CURE,
            )
        return kind

    def _find(self, method: str, path: str) -> HTTPResponse | None:
        try:
            return self._ask(method, path)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def _ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> HTTPResponse:
        # Nobody else is given the login, nor asked by whom it is taken: storage that the registry sends us to.
        login = self._login if self._is_own(path) else ""
        try:
            return self._send(method, path, body, headers, login)
        except HTTPError as error:
            asked = error.code == 401 and self._is_own(error.url)
            challenge = error.headers.get("WWW-Authenticate", "") if asked else ""
            tokens = token_url(challenge)
            if not tokens:
                raise refusal(self.access, error.code, path) from error
        try:
            with self._send("GET", tokens, None, None, self.access.basic()) as answer:
                login = self._login = f"Bearer {token_of(self._read(answer))}"
            return self._send(method, path, body, headers, login)
        except HTTPError as error:
            raise refusal(self.access, error.code, path) from error

    def _url(self, path: str) -> str:
        """Paths are the registry's own; where it sends us on, it may give a whole URL."""
        return urljoin(f"https://{self.access.address}", path)

    def _is_own(self, path: str) -> bool:
        own, other = urlsplit(self._url("/")), urlsplit(self._url(path))
        return own.scheme == other.scheme and _host(own.netloc) == _host(other.netloc)

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str] | None, login: str) -> HTTPResponse:
        url = self._url(path)
        if urlsplit(url).scheme != "https":
            raise PlatformError(
                f"The registry {self.access.address} sends us on to {url.partition('?')[0]}, which is not encrypted",
                "Behind a proxy that speaks TLS for it, tell it its own address (http.host in its configuration).",
            )
        request = Request(url, body, headers or {}, method=method)
        request.add_header("Accept", ", ".join(MANIFEST_TYPES))
        if login:
            # Unredirected: storage that a registry sends us to is not given the login.
            request.add_unredirected_header("Authorization", login)
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=self.seconds)
        except HTTPError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            raise unreachable(self.access.address, error, self.seconds) from error
        return answer


def _host(netloc: str) -> str:
    return netloc.lower().removesuffix(":443")


def repository_of(reference: Reference) -> str:
    """The name of a reference as the registry's API has it, without the address."""
    return reference.name.partition("/")[2]


def token_url(challenge: str) -> str:
    """Where a registry's WWW-Authenticate header says that a token is to be had; empty where it wants none.

    A service without TLS is not asked: the password would travel in clear.
    """
    kind, _space, rest = challenge.partition(" ")
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if kind.lower() != "bearer" or not fields.get("realm", "").startswith("https://"):
        return ""
    query = urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
    return f"{fields['realm']}?{query}" if query else str(fields["realm"])


def token_of(answer: bytes) -> str:
    """The token in the answer of such a service, empty where it holds none."""
    try:
        given = json.loads(answer)
    except ValueError:
        return ""
    return str(given.get("token") or given.get("access_token") or "") if isinstance(given, dict) else ""


def refusal(access: Access, status: int, path: str) -> Refused:
    """The failure of a registry that did answer."""
    # What follows the path is for the one who may upload there.
    who, path = f"The registry {access.address}", path.partition("?")[0]
    log = "Read its log on that host (`docker logs`)"
    if status in (401, 403):
        name = f"the user {access.user}" if access.user else "a request without a login"
        return Refused(
            status,
            f"{who} refuses {name} ({status})",
            "Check the user and the password of the registry in the inventory against those it was set up with.",
        )
    if status == 404 and path == "/v2/":
        return Refused(status, f"{who} is no image registry (404)", "Check the address in images_registry.")
    if status == 429:
        return Refused(status, f"{who} limits how often it may be asked (429)", "Wait, or log in.")
    if status >= 500:
        return Refused(status, f"{who} answers {status} to {path}", f"{log}: often its disk is full. Then run again.")
    return Refused(status, f"{who} answers {status} to {path}", f"{log}.")


def unreachable(address: str, error: Exception, seconds: float) -> PlatformError:
    """The failure of a registry that did not answer, or not as one."""
    who, reason = f"The registry {address}", error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return PlatformError(
            f"{who} shows a certificate that is not trusted: {reason.verify_message}",
            "Check images_registry_ca, and that the certificate is made for this address.",
        )
    if isinstance(reason, ssl.SSLError):
        return PlatformError(f"{who} does not speak TLS: {reason}", "Give it a certificate, as the role registry does.")
    if isinstance(reason, TimeoutError):
        return PlatformError(
            f"{who} does not answer within {seconds:.0f} s",
            "Check the firewalls between this host and it, and that it runs. A host that is new in the inventory is let in by "
            "`playbooks/promote.yml`, which opens the registry's firewall; the machine that promotes by `firewall_extra_rules` in the "
            "inventory's group_vars/registry.yml.",
        )
    if isinstance(reason, ConnectionRefusedError):
        return PlatformError(
            f"{who} is down: nothing listens there", "Start it: role lastro.platform.registry on its host."
        )
    if isinstance(reason, socket.gaierror):
        return PlatformError(
            f"{who} has a name that this host cannot resolve", "Check images_registry and the host's DNS."
        )
    return PlatformError(
        f"{who} cannot be asked: {reason}", "Check the network between this host and it, and that it runs."
    )


def require(registry: Registry, wanted: Mapping[str, Reference]) -> None:
    """Fail, before anything is changed, unless the registry lets us in and holds every image that is wanted."""
    if not wanted:
        return
    registry.ping()
    with ThreadPoolExecutor(PARALLEL) as pool:
        held = pool.map(lambda one: registry.holds(repository_of(one), one.digest), wanted.values())
        missing = [name for name, there in zip(wanted, held, strict=True) if not there]
    if missing:
        listed = ", ".join(f"{name} ({wanted[name].digest})" for name in missing)
        raise PlatformError(
            f"The registry {registry.access.address} does not hold what images_digests names: {listed}",
            "Promote it (playbooks/promote.yml with this inventory), or correct the digest.",
        )
