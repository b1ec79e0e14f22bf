# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where plain API keys go: files on the controller. Other sinks are in _key_sinks_remote."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, is_encrypted
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.plugin_utils._key_document import (
    Document,
    Entry,
    as_lines,
    as_yaml,
    discarded,
    finished,
    from_lines,
    from_yaml,
    staged,
)

TRIES = 60


class Conflict(Exception):
    """Somebody else wrote between our reading and our writing."""


class Sink(ABC):
    """Reads and writes one document as a whole; what is between is done again when somebody else was faster."""

    def __init__(self, pause: Callable[[int], None]) -> None:
        # Waits before another try, longer with each.
        self._pause = pause
        self._staged_as: Any = None

    @abstractmethod
    def _load(self) -> tuple[Document, Any]:
        """The document and its version; an empty one where there is none."""

    @abstractmethod
    def _store(self, document: Document, version: Any) -> Any:
        """Write over that version and no other, else Conflict; the new version."""

    def _forget(self, first: Any, last: Any) -> None:  # noqa: B027 - most sinks keep no versions
        """Make versions from the first up to, not with, the last unreadable, where the sink keeps versions."""

    def _alone(self) -> AbstractContextManager[Any]:
        """While this is held nobody else of this machine writes."""
        return nullcontext()

    def read(self) -> Document:
        return self._load()[0]

    def stage(self, entries: Sequence[Entry]) -> None:
        """Have new keys beside those that are current, by one write."""
        self._staged_as = self._change(lambda document: staged(document, entries))

    def finish(self, entries: Sequence[Entry], gone: Collection[str] = (), lost: Collection[str] = ()) -> None:
        """Put keys that were committed in the place of those they replace, and forget those that were not."""
        version = self._change(lambda document: discarded(finished(document, entries, gone), lost))
        if lost:
            self._forget_staging(version)

    def discard(self, ids: Collection[str]) -> None:
        """Leave nothing of keys that were staged and not committed."""
        self._forget_staging(self._change(lambda document: discarded(document, ids)))

    def _forget_staging(self, version: Any) -> None:
        """Older versions of the sink still have what this run staged in vain."""
        if self._staged_as is not None and version is not None:
            self._forget(self._staged_as, version)

    def _change(self, change: Callable[[Document], Document]) -> Any:
        for attempt in range(TRIES):
            with self._alone(), suppress(Conflict):
                document, version = self._load()
                changed = change(document)
                return version if changed == document else self._store(changed, version)
            self._pause(attempt)
        raise PlatformError(
            f"The sink was written by somebody else {TRIES} times in a row", "Run again when fewer runs use it at once."
        )


class FileSink(Sink):
    """A file that only its owner can read, replaced as a whole."""

    def __init__(self, path: str, pause: Callable[[int], None]) -> None:
        super().__init__(pause)
        self.path = Path(path)
        self.yaml = self.path.suffix in (".yml", ".yaml")

    def _load(self) -> tuple[Document, Any]:
        content = private_file(self.path)
        if content is None:
            return {"keys": {}, "pending": {}}, None
        return self._decoded(content), None

    def _decoded(self, content: bytes) -> Document:
        try:
            text = content.decode()
            return from_yaml(yaml.load(text, Loader=LOADER)) if self.yaml else from_lines(text)  # a safe loader  # nosec B506
        except (ValueError, yaml.YAMLError):
            # The error itself may show what stands there.
            raise PlatformError(
                f"{self.path} is no file of keys", "Name another one as the sink; this one is left as it is."
            ) from None

    def _encoded(self, document: Document) -> bytes:
        return (as_yaml(document) if self.yaml else as_lines(document)).encode()

    def _store(self, document: Document, version: Any) -> Any:
        try:
            write_private(self.path, self._encoded(document))
        except OSError as error:
            raise of_the_host(error, str(self.path.parent)) from error
        return None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise of_the_host(error, str(self.path.parent)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class VaultFileSink(FileSink):
    """A YAML mapping that ansible-vault encrypted, for use as a file of variables."""

    def __init__(self, path: str, vault_id: str | None, secrets: Sequence[Any], pause: Callable[[int], None]) -> None:
        super().__init__(path, pause)
        self.yaml = True
        self._vault = VaultLib(secrets=list(secrets))
        chosen = [secret for name, secret in secrets if vault_id in (None, name)]
        if not chosen:
            wanted = f" for the vault identity {vault_id}" if vault_id else ""
            raise PlatformError(
                f"There is no vault password{wanted} to encrypt {path} with",
                "Start ansible-playbook with --vault-id or --vault-password-file.",
            )
        self._secret = chosen[0]
        self._vault_id = vault_id

    def _decoded(self, content: bytes) -> Document:
        if not is_encrypted(content):
            raise PlatformError(
                f"{self.path} is not encrypted", "Encrypt it with `ansible-vault encrypt`, or name another file."
            )
        try:
            plain = self._vault.decrypt(content)
        except AnsibleVaultError:
            raise PlatformError(
                f"No vault password of this run opens {self.path}", "Give the one that it was encrypted with."
            ) from None
        return super()._decoded(plain)

    def _encoded(self, document: Document) -> bytes:
        encrypted: bytes = self._vault.encrypt(super()._encoded(document), self._secret, self._vault_id)
        return encrypted


def private_file(path: Path) -> bytes | None:
    """The content of a file that nobody else can read or write; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise of_the_host(error, str(path)) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PlatformError(
                f"Others can read {path}, or it is not yours",
                f"Take it over (`chown $USER {path}; chmod 0600 {path}`), and rotate the keys in it if somebody may have read them.",
            )
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once and for good; only its owner can read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
