# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA on a real disk, judged by openssl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbook import play
from tests.support import REPOSITORY, run_module

POSTGRES = {"name": "postgres", "dns": ["localhost", "postgres"], "ips": ["127.0.0.1"]}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "secrets" / "tls"


def keep(directory: Path, check: bool = False, **changes: Any) -> dict[str, Any]:
    return run_module(
        "tls_certificates", {"directory": str(directory), "certificates": [POSTGRES], **changes}, check, True
    )


def openssl(*arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_nothing_to_nothing_to_do(directory: Path) -> None:
    planned = keep(directory, check=True)
    assert planned["changed"]
    assert planned["certificates"]["postgres"] == {"action": "create", "why": "it does not exist", "not_after": ""}
    empty = {"certificate": "", "key": "", "not_after": ""}
    assert planned["material"] == {"ca": "", "certificates": {"postgres": empty}}
    assert not directory.parent.parent.exists()

    first = keep(directory)
    assert first["changed"]
    assert first["ca"]["action"] == "create"
    material = first["material"]
    assert material["ca"] == (directory / "ca.crt").read_text()
    assert material["certificates"]["postgres"]["key"] == (directory / "postgres.key").read_text()

    for check in (True, False):
        again = keep(directory, check=check)
        assert not again["changed"]
        assert again["material"] == first["material"]


def test_openssl_agrees(directory: Path) -> None:
    keep(directory)
    crt, ca = str(directory / "postgres.crt"), str(directory / "ca.crt")
    verify = ["verify", "-x509_strict", "-CAfile", ca, "-verify_hostname", "localhost"]
    assert "OK" in openssl(*verify, "-purpose", "sslserver", crt)
    assert "OK" in openssl("verify", "-x509_strict", "-CAfile", ca, "-verify_ip", "127.0.0.1", crt)
    assert "OK" in openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslclient", crt)
    assert "ASN1 OID: prime256v1" in openssl("x509", "-noout", "-text", "-in", crt)


def test_others_cannot_read_it_and_loosened_modes_are_taken_back(directory: Path) -> None:
    keep(directory)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in directory.iterdir()}
    assert modes == dict.fromkeys(["ca.key", "ca.crt", "postgres.key", "postgres.crt"], "0o400")
    assert [oct(path.stat().st_mode & 0o777) for path in (directory, directory.parent)] == ["0o700", "0o700"]

    (directory / "postgres.key").chmod(0o644)
    repaired = keep(directory)
    assert repaired["changed"]
    assert repaired["protected"] == [str(directory / "postgres.key")]
    assert repaired["certificates"]["postgres"]["action"] == "none"
    assert not keep(directory)["changed"]


def test_new_names_renew_one_certificate_and_leave_the_others(directory: Path) -> None:
    redis = {"name": "redis", "dns": ["localhost"], "ips": []}
    before = keep(directory, certificates=[POSTGRES, redis])
    wanted = [{**POSTGRES, "dns": ["localhost", "db"]}, redis]

    planned = keep(directory, certificates=wanted, check=True)
    assert planned["certificates"]["postgres"]["action"] == "renew"
    assert planned["material"]["certificates"]["postgres"]["key"] == ""

    after = keep(directory, certificates=wanted)
    assert {name: entry["action"] for name, entry in after["certificates"].items()} == {
        "postgres": "renew",
        "redis": "none",
    }
    old, new = (result["material"]["certificates"] for result in (before, after))
    assert old["redis"] == new["redis"]
    assert old["postgres"]["key"] != new["postgres"]["key"]
    assert "DNS:db" in openssl("x509", "-noout", "-text", "-in", str(directory / "postgres.crt"))


def test_a_certificate_near_its_end_is_renewed(directory: Path) -> None:
    keep(directory, valid_days=20, renew_before_days=5)
    assert not keep(directory, valid_days=365, renew_before_days=19)["changed"]
    renewed = keep(directory, valid_days=365, renew_before_days=21)
    assert renewed["certificates"]["postgres"]["why"].startswith("it expires on")


def test_the_end_of_the_ca_is_announced(directory: Path) -> None:
    assert not keep(directory, ca_valid_days=20, valid_days=365, renew_before_days=30)["ca"]["notice"]
    again = keep(directory, valid_days=365, renew_before_days=30)
    assert not again["changed"], "certificates that end with their CA gain nothing by a renewal"
    assert "platform's CA ends on" in again["ca"]["notice"]
    assert again["ca"]["notice"] in json.dumps(again["warnings"])


@pytest.mark.parametrize("damage", ["missing", "corrupt", "other"])
def test_a_lost_ca_key_is_refused_and_nothing_is_regenerated(directory: Path, damage: str) -> None:
    keep(directory)
    key = directory / "ca.key"
    other = (directory / "postgres.key").read_bytes()
    key.unlink()
    if damage != "missing":
        key.write_bytes(other if damage == "other" else b"nonsense")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for check in (True, False):
        refused = keep(directory, check=check)
        assert refused["failed"]
        assert "Restore `ca.key`" in refused["msg"]
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("left", [["ca.key"], ["ca.key", "ca.crt"], ["ca.key", "ca.crt", "postgres.key"]])
def test_a_run_killed_at_any_write_is_repaired_by_the_next(directory: Path, left: list[str]) -> None:
    keep(directory)
    for path in directory.iterdir():
        if path.name not in left:
            path.unlink()
    assert keep(directory)["changed"]
    assert "OK" in openssl("verify", "-CAfile", str(directory / "ca.crt"), str(directory / "postgres.crt"))
    assert not keep(directory)["changed"]


def test_a_lost_ca_is_not_made_anew_while_its_certificates_are_in_use(directory: Path, tmp_path: Path) -> None:
    in_use = {"relied_on": ["shop-postgres on data1", "shop-redis on data1"]}
    for check in (True, False):
        refused = keep(directory, check=check, **in_use)
        assert refused["failed"]
        assert (
            f"There is no CA in {directory}, but certificates of one are or may be in use: shop-postgres on data1, shop-redis on data1."
            in refused["msg"]
        )
        assert "Bring the directory back from the backup" in refused["msg"]
        assert "-e tls_new_ca=true" in refused["msg"]
    # Before the library is asked for, which a rebuilt host does not have yet.
    assert "There is no CA" in without_cryptography(tmp_path, directory, check=False, **in_use)["msg"]
    assert not directory.parent.exists()
    keep(directory)
    assert not keep(directory, **in_use)["changed"]


@pytest.mark.parametrize(
    ("in_use", "variables", "said"),
    [
        ("postgres on data1", {}, "There is no CA in"),
        ("redis on data1", {}, "There is no CA in"),
        ("registry on control2", {}, "There is no CA in"),
        ("postgres on data1", {"tls_new_ca": True}, "postgres"),
        ("blue on data1", {}, "postgres"),
        ("eu-postgres on data1", {}, "postgres"),
        ("", {}, "postgres"),
        # A playbook without the role platform.
        ("nobody looked at all", {}, "postgres"),
        # `deploy --limit control`.
        ("whatever runs on unseen", {}, "There is no CA in"),
    ],
)
def test_the_role_knows_what_runs_on_every_host(
    tmp_path: Path, in_use: str, variables: dict[str, Any], said: str
) -> None:
    project, _on, host = in_use.partition(" on ")
    databases = ["data1", "unseen"] if host == "unseen" else ["data1"]
    given = {**variables, "platform_name": "shop", "platform_state_dir": str(tmp_path / "state")}
    hosts = {name: {"platform_host": {"docker": {"projects": []}}} for name in ("control2", "data1")}
    if in_use == "nobody looked at all":
        hosts = {}
    if host in hosts:
        hosts[host]["platform_host"]["docker"]["projects"] = [f"shop-{project}"]
    done = play(
        tmp_path,
        [{"hosts": "control", "gather_facts": False, "roles": ["lastro.platform.tls"]}],
        # The host that kept the CA was rebuilt under another name.
        {"control": {"hosts": {"control2": {}}}, "postgres": {"hosts": {host: {} for host in databases}}},
        hosts,
        {**given, "platform_private_address": "10.0.0.1"},
    )
    assert said in done.stdout, done.stdout
    assert (tmp_path / "state/secrets/tls/ca.crt").exists() is (done.returncode == 0)
    if done.returncode:
        where = in_use if host == "unseen" else f"shop-{in_use}"
        assert f"are or may be in use: {where}" in done.stdout.replace("\n    ", " ")


def test_keys_show_nowhere_but_in_the_material(directory: Path) -> None:
    result = keep(directory)
    del result["material"]
    assert "BEGIN" not in json.dumps(result)
    assert "-----BEGIN PRIVATE KEY" not in json.dumps(result["diff"])


def without_cryptography(tmp_path: Path, directory: Path, check: bool, **more: Any) -> dict[str, Any]:
    """Run the module where importing the library fails, as on a bare host."""
    hidden = tmp_path / "hidden"
    (hidden / "cryptography").mkdir(parents=True, exist_ok=True)
    (hidden / "cryptography" / "__init__.py").write_text("raise ImportError('hidden by the test')\n")
    arguments = {"directory": str(directory), "certificates": [POSTGRES], "_ansible_check_mode": check, **more}
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "plugins/modules/tls_certificates.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": f"{hidden}:{REPOSITORY / 'collections'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_host_without_the_library_says_what_it_lacks(tmp_path: Path, directory: Path) -> None:
    planned = without_cryptography(tmp_path, directory, check=True)
    assert planned["certificates"]["postgres"]["action"] == "create"
    refused = without_cryptography(tmp_path, directory, check=False)
    assert refused["missing_library"] == "python3-cryptography"
    assert not directory.exists()
    keep(directory)
    assert without_cryptography(tmp_path, directory, check=True)["missing_library"] == "python3-cryptography"
