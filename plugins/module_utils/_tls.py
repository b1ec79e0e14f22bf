# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform's own CA: what is to be issued and why (pure), and issuing it (cryptography)."""

from __future__ import annotations

import ipaddress
import os
import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    CRYPTOGRAPHY_ERROR: str | None = None
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()

CA = "ca"
# Peers whose clocks are a little behind must not see a certificate that is not valid yet.
CLOCK_SKEW = timedelta(minutes=10)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_DNS = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """A certificate as the inventory asks for it."""

    name: str
    common_name: str
    dns: frozenset[str]
    ips: frozenset[str]


@dataclass(frozen=True)
class Material:
    """A key and its certificate, PEM as it lies on disk; either may be missing or damaged."""

    key: bytes | None
    certificate: bytes | None

    @property
    def missing(self) -> bool:
        return self.key is None and self.certificate is None


@dataclass(frozen=True)
class Pair:
    """A key and the certificate that belongs to it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def not_after(self) -> datetime:
        return not_after(self.certificate)

    def pem(self) -> Material:
        """Both as PEM, the key unencrypted: the directory's mode protects it."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Material(key, self.certificate.public_bytes(serialization.Encoding.PEM))


def wanted_from(certificates: Iterable[dict[str, Any]]) -> list[Wanted]:
    """The option `certificates`, checked: names fit for files, DNS names and addresses that are ones."""
    found: dict[str, Wanted] = {}
    for item in certificates:
        name = item["name"]
        if not _NAME.fullmatch(name) or name == CA:
            raise PlatformError(
                f"`{name}` cannot be the name of a certificate",
                f"Use lower-case letters, digits, dots, dashes and underscores, and not `{CA}`.",
            )
        if name in found:
            raise PlatformError(f"The certificate `{name}` is asked for twice", "Give each certificate its own name.")
        found[name] = Wanted(name, item.get("common_name") or name, _dns(item), _ips(item))
    return list(found.values())


def _dns(item: dict[str, Any]) -> frozenset[str]:
    names = frozenset(item.get("dns") or [])
    for name in names:
        if not _DNS.fullmatch(name):
            raise PlatformError(f"`{name}` in `dns` of the certificate `{item['name']}` is no DNS name", "Correct it.")
    return names


def _ips(item: dict[str, Any]) -> frozenset[str]:
    try:
        return frozenset(str(ipaddress.ip_address(ip)) for ip in item.get("ips") or [])
    except ValueError as error:
        problem = f"`ips` of the certificate `{item['name']}`: {error}"
        raise PlatformError(problem, "Give addresses there and names in `dns`.") from error


def check_terms(valid_days: int, renew_before_days: int) -> None:
    """Refuse terms under which every run would renew everything."""
    if not 0 < renew_before_days < valid_days:
        raise PlatformError(
            f"renew_before_days ({renew_before_days}) has to lie between 0 and valid_days ({valid_days})",
            "Lower renew_before_days or raise valid_days.",
        )


def check_may_begin(directory: str, relied_on: Sequence[str]) -> None:
    """Refuse to begin with a CA where something may run with certificates of one: that one is lost, or kept by another host."""
    if relied_on:
        raise PlatformError(
            f"There is no CA in {directory}, but certificates of one are or may be in use: {', '.join(relied_on)}",
            "Run without --limit where a host was not looked at. Bring the directory back from the backup of the host that "
            "kept the CA. To begin with a new CA instead, pass -e tls_new_ca=true: until that deploy has switched to a new "
            "colour, the one that serves opens no connection.",
        )


def load_ca(found: Material, issued: bool, directory: str, now: datetime) -> Pair | None:
    """The CA as it is on disk, None where there is none yet. Everything in between is refused: to replace
    a CA silently would cut every peer that still trusts the old one.
    """
    if found.certificate is None and not issued:
        return None  # a key alone is what a run killed half-way through creating the CA leaves
    cure = (
        f"Restore `{CA}.key` and `{CA}.crt` in {directory} from the backup of the platform's secrets. To begin with a "
        "new CA instead (every certificate is then issued anew), move that directory away and pass -e tls_new_ca=true."
    )
    if found.key is None:
        raise PlatformError(f"The CA's key is missing in {directory} although certificates exist", cure)
    pair = load_pair(found)
    if pair is None:
        raise PlatformError(f"The CA in {directory} is damaged: `{CA}.key` and `{CA}.crt` do not belong together", cure)
    if pair.not_after <= now:
        raise PlatformError(f"The CA in {directory} expired on {pair.not_after:%Y-%m-%d}", cure)
    return pair


def why_issue(found: Material, wanted: Wanted, ca: Pair, now: datetime, renew_before: timedelta) -> str:
    """Why a certificate has to be issued, empty when the one there will do."""
    if found.missing:
        return "it does not exist"
    pair = load_pair(found)
    if pair is None:
        return "key and certificate do not belong together"
    certificate = pair.certificate
    if not signed_by(certificate, ca):
        return "it is not signed by this CA"
    if names_of(certificate) != (wanted.common_name, wanted.dns, wanted.ips):
        return "its names changed"
    # A certificate that already lives as long as the CA would get no further by being renewed.
    if pair.not_after - now < renew_before and pair.not_after < ca.not_after:
        return f"it expires on {pair.not_after:%Y-%m-%d}"
    return ""


def load_pair(found: Material) -> Pair | None:
    """Key and certificate, None where one is missing or damaged or they are not of one pair."""
    if found.key is None or found.certificate is None:
        return None
    try:
        key = serialization.load_pem_private_key(found.key, None)
        certificate = x509.load_pem_x509_certificate(found.certificate)
    except (ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or _spki(key.public_key()) != _spki(certificate.public_key()):
        return None
    return Pair(key, certificate)


def _spki(key: Any) -> bytes:
    """A public key as bytes: before release 40 of cryptography, keys themselves do not compare."""
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def signed_by(certificate: x509.Certificate, ca: Pair) -> bool:
    """Whether this very CA signed the certificate; a CA of the same name with another key did not."""
    algorithm = certificate.signature_hash_algorithm
    if certificate.issuer != ca.certificate.subject or algorithm is None:
        return False
    try:
        ca.key.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def names_of(certificate: x509.Certificate) -> tuple[str, frozenset[str], frozenset[str]]:
    """Common name, DNS names and addresses of a certificate."""
    common = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "".join(common), frozenset(), frozenset()
    dns = frozenset(names.get_values_for_type(x509.DNSName))
    return "".join(common), dns, frozenset(str(ip) for ip in names.get_values_for_type(x509.IPAddress))


def not_after(certificate: x509.Certificate) -> datetime:
    """The end of a certificate, in UTC; releases of cryptography before 42 know only the naive form."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)


def not_before(certificate: x509.Certificate) -> datetime:
    """The beginning of a certificate, as `not_after`."""
    if hasattr(certificate, "not_valid_before_utc"):
        return certificate.not_valid_before_utc
    return certificate.not_valid_before.replace(tzinfo=UTC)


def describe_end(found: Material) -> str:
    """The end of a certificate for people and results: ISO 8601, empty when there is none."""
    if found.certificate is None:
        return ""
    try:
        return not_after(x509.load_pem_x509_certificate(found.certificate)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return "damaged"


def create_ca(name: str, now: datetime, valid_days: int) -> Pair:
    """A new self-signed CA that may sign certificates, but no further CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key, now, now + timedelta(days=valid_days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(ca=True), critical=True)
    return Pair(key, builder.sign(key, hashes.SHA256()))


def issue(wanted: Wanted, ca: Pair, now: datetime, valid_days: int) -> Pair:
    """A certificate for servers and clients alike, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)])
    end = min(now + timedelta(days=valid_days), ca.not_after)
    builder = _builder(subject, ca.certificate.subject, key, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(ca=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(wanted.dns)]
    names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in sorted(wanted.ips)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(key, builder.sign(ca.key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


class Store:
    """The directory that keeps `<name>.key` and `<name>.crt`, files 0400 in a directory 0700."""

    def __init__(self, directory: str) -> None:
        self.path = Path(directory)

    def read(self, name: str) -> Material:
        """What is there under a name."""
        return Material(self.content(f"{name}.key"), self.content(f"{name}.crt"))

    def names(self) -> list[str]:
        """The names that have a certificate, the CA's left out."""
        return sorted({path.stem for path in self._files() if path.suffix != ".pem"} - {CA})

    def exposed(self) -> list[Path]:
        """The directory and the files in it whose mode lets others in."""
        if not self.path.is_dir():
            return []
        loose = [self.path] if self.path.stat().st_mode & 0o777 != 0o700 else []
        return loose + [path for path in self._files() if path.stat().st_mode & 0o777 != 0o400]

    def protect(self) -> None:
        """Make the directory, and take back modes that let others in."""
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        for directory in (self.path.parent, self.path):
            directory.mkdir(mode=0o700, exist_ok=True)
        for path in self.exposed():
            path.chmod(0o700 if path.is_dir() else 0o400)

    def write(self, name: str, pair: Pair) -> Material:
        """Write a pair, each file by rename; a kill between the two is seen as a pair that does not match."""
        material = pair.pem()
        for suffix, content in (("key", material.key), ("crt", material.certificate)):
            self.replace(f"{name}.{suffix}", content or b"")
        return material

    def replace(self, name: str, content: bytes) -> None:
        """Write one file by rename."""
        temporary = self.path / f".{name}.new"  # a fixed name: what a killed run left is replaced, not kept
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o400)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path / name)

    def remove(self, *names: str) -> None:
        """Remove files, also those that are not there."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return sorted(path for path in self.path.iterdir() if path.suffix in (".key", ".crt", ".pem"))

    def content(self, name: str) -> bytes | None:
        """The content of one file."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
