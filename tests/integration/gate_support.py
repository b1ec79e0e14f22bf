# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the module `health_gate` share: a run that shows no secret, a certificate."""

from __future__ import annotations

import datetime
import ipaddress
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.servers import S3_LOGIN, Jobs, RabbitMQ
from tests.support import run_module

PASSWORD = "hush-4711-postgres"
REDIS_PASSWORD = "hush-4712-redis"
TOKEN = "hush-4713-token"
SECRETS = (PASSWORD, REDIS_PASSWORD, TOKEN, S3_LOGIN[1], Jobs.password, RabbitMQ.password)


def gate(*checks: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    args = {"checks": list(checks), "timeout_seconds": 0, **options}
    result = run_module("health_gate", args, check=check)
    assert not [secret for secret in SECRETS if secret in json.dumps(result)]
    return result


def only(result: dict[str, Any]) -> dict[str, Any]:
    (found,) = result["checks"]
    assert isinstance(found, dict)
    return found


def make_certificate(directory: Path, days: int) -> None:
    """Write cert.pem and key.pem for 127.0.0.1, readable by any container user."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lt-health-gate")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory.chmod(0o755)
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
