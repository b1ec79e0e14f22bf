# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that a proxy shows: the file that HAProxy starts with, and its memory, where it is replaced without a reload."""

from __future__ import annotations

import hashlib
import os
import re
import ssl

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._haproxy import Admin
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import ManagedFile, StackDirectory

FILE = "secrets/proxy.pem"
# The certificate's name in HAProxy is its path in the container.
NAME = "/haproxy/secrets/proxy.pem"
SERVICE = "haproxy"
_FIRST = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SHOWN = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]{40})$", re.MULTILINE)


def fingerprint(pem: str) -> str:
    """Of the first certificate, as HAProxy shows it."""
    first = _FIRST.search(pem)
    if not first:
        raise PlatformError(
            "There is no certificate in what the proxy is to show", "Give the chain and the key as PEM."
        )
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(first[0]), usedforsecurity=False).hexdigest().upper()


def shown(directory: StackDirectory) -> str:
    """The fingerprint of the certificate that new connections get; empty where HAProxy does not run."""
    answer = _admin(directory).ask(f"show ssl cert {NAME}")
    if answer is None:
        return ""
    found = _SHOWN.search(answer)
    if not found:
        raise PlatformError(f"HAProxy serves no HTTPS: {answer.strip()}", "Deploy first, which has it serve HTTPS.")
    return found[1]


def show(directory: StackDirectory, pem: str) -> None:
    """Have new connections get it. HAProxy takes it as a whole or not at all; connections that are open stay as they are."""
    # An empty line would end it.
    lines = "\n".join(line for line in pem.splitlines() if line.strip())
    admin = _admin(directory)
    for command in (f"set ssl cert {NAME} <<\n{lines}\n", f"commit ssl cert {NAME}"):
        answer = admin.ask(command) or ""
        if not re.search(r"^(Transaction (created|updated) |Success!)", answer, re.MULTILINE):
            admin.ask(f"abort ssl cert {NAME}")
            raise PlatformError(
                f"HAProxy does not take the certificate: {' '.join(answer.split())}",
                "It goes on with the one before. See that key and chain belong together.",
            )


def keep(directory: StackDirectory, file: ManagedFile) -> None:
    """Have HAProxy start with it, and note for the module `stack` that it was taken up: no reload is due."""
    directory.write(file)
    record = directory.record()
    loaded = record["loaded"]
    if file.path in loaded.get(SERVICE, {}):
        loaded[SERVICE][file.path] = file.digest
        directory.write_record(record["files"], loaded)


def _admin(directory: StackDirectory) -> Admin:
    return Admin(os.path.join(directory.path, "run", "admin.sock"))
