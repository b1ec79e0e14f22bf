# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates from a real ACME server (Pebble), shown by a real HAProxy: ordered, renewed, and kept when the server is gone."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _acme as acme
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_certificate as certificate
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import StackDirectory
from ansible_collections.lastro.platform.plugins.module_utils._tls import Store, Wanted, create_ca, issue
from cryptography import x509

from tests.integration.playbook import play
from tests.integration.proxy_stand import Stand
from tests.integration.servers import Pebble, docker, pebble
from tests.load import Load
from tests.support import run_module

NAMES = ["shop.example", "www.shop.example"]


class Site:
    """A host with the CA and a proxy, and the ACME server that it asks."""

    def __init__(self, directory: Path, stand: Stand, server: Pebble) -> None:
        self.directory, self.stand, self.server = directory, stand, server
        self.root = directory / "root.pem"
        self.root.write_text(server.root())
        self.store = Store(str(directory / "secrets/tls/acme"))
        self.variables: dict[str, Any] = {
            **stand.variables,
            "proxy_redirect_https": True,
            "proxy_trusted_proxies": ["127.0.0.0/8"],
            "tls_acme_directory": server.url,
            "tls_acme_ca": str(server.ca),
            "tls_acme_contact": "ops@shop.example",
            "tls_acme_terms_agreed": True,
            "platform_application": {
                "routes": [{"hosts": [*NAMES, "*.shops.example", "localhost"]}, {"service": "any"}]
            },
        }

    def play(self, playbook: Any, *arguments: str, **variables: Any) -> CompletedProcess[str]:
        groups: dict[str, Any] = {name: {"hosts": {"edge": {}}} for name in ("control", "proxy")}
        return play(self.directory, playbook, groups, {"edge": {}}, {**self.variables, **variables}, *arguments)

    def certificates(self, *arguments: str, **variables: Any) -> CompletedProcess[str]:
        return self.play("certificates", *arguments, **variables)

    def deploy(self, **variables: Any) -> CompletedProcess[str]:
        """What playbooks/deploy.yml does for certificates."""
        platform_tls = "{{ hostvars[groups.control | first].platform_tls }}"
        common = {"gather_facts": False}
        return self.play(
            [
                {**common, "hosts": "control", "roles": ["lastro.platform.tls"]},
                {
                    **common,
                    "hosts": "proxy",
                    "roles": ["lastro.platform.proxy"],
                    "vars": {"platform_tls": platform_tls},
                },
            ],
            **variables,
        )

    def shown(self, name: str = NAMES[0]) -> tuple[int, set[str]]:
        """Serial number and names of what HAProxy shows, verified as a browser that trusts Pebble's root does."""
        context = ssl.create_default_context(cafile=str(self.root))
        with (
            socket.create_connection(("127.0.0.1", self.stand.https), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            found = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return found.serial_number, set(names.get_values_for_type(x509.DNSName))

    def age(self) -> None:
        """Put a certificate of the same names in its place that ends in ten days."""
        now = datetime.now(UTC)
        ca = create_ca("old", now - timedelta(days=100), 200)
        pair = issue(Wanted("old", "old", frozenset(NAMES), frozenset()), ca, now - timedelta(days=80), 90)
        key, certificate = pair.pem().key or b"", pair.pem().certificate or b""
        self.store.replace(acme.CERTIFICATE, acme.Signed(self.server.url, certificate, key, pair).text())


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # Not pytest's own directory: the path of a Unix socket may have 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="lt-"))
    (directory / "pebble").mkdir()
    stand = Stand(directory)
    try:
        with pebble(directory / "pebble", stand.http) as server:
            made = Site(directory, stand, server)
            # As before anybody thought of ACME.
            done = made.deploy(tls_acme_directory="")
            assert done.returncode == 0, done.stdout + done.stderr
            assert not stand.switch("blue", slots={"blue": {"web": 2}, "green": {"web": 0}}).get("failed")
            yield made
    finally:
        stand.remove()
        shutil.rmtree(directory)


def said(done: CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def keep(site: Site, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"directory": str(site.store.path), "url": site.server.url, "terms_agreed": True, **options}
    return run_module("tls_acme", given, check, diff=True)


def mode(site: Site, wanted: str) -> None:
    assert run_module("proxy_mode", {"directory": str(site.stand.directory), "mode": wanted})["changed"]


def show(site: Site, content: str) -> dict[str, Any]:
    return run_module(
        "proxy_certificate", {"directory": str(site.stand.directory), "content": content, "owner": "99:99"}, diff=True
    )


def test_it_is_ordered_and_shown_once_the_proxies_answer_for_the_account(site: Site) -> None:
    refused = site.certificates()
    assert refused.returncode != 0
    assert "edge: Failed to validate challenge for dns:" in said(refused), refused.stdout
    assert "returned 404" in said(refused)
    assert "the proxies answer for this account after a deploy. What serves goes on serving." in said(refused)

    deployed = site.deploy()
    assert deployed.returncode == 0, deployed.stdout
    assert "is to be ordered (there is none)" in said(deployed)
    with pytest.raises(ssl.SSLCertVerificationError):
        site.shown()
    challenge, stranger = "/.well-known/acme-challenge/a-token_1", {"X-Forwarded-For": "203.0.113.7"}
    answer = f"a-token_1.{keep(site)['thumbprint']}"
    assert site.stand.get(challenge)[:2] == (200, answer)
    for other in ("/", f"{challenge}/more", f"{challenge}%0d%0a", "/.well-known/acme-challenge/"):
        assert site.stand.get(other)[0] == 308, "sent to https"
    mode(site, "maintenance")
    assert [site.stand.get(path, **stranger)[0] for path in (challenge, "/")] == [200, 503]
    mode(site, "open")

    done = site.certificates("-vvv", "--diff")
    assert done.returncode == 0, done.stdout
    for output in (refused, deployed, done):
        assert "PRIVATE KEY" not in output.stdout + output.stderr
    serial, names = site.shown()
    assert names == set(NAMES), "of the routes those that are neither patterns nor local"
    assert site.shown(NAMES[1])[0] == serial
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in site.store.path.iterdir()}
    assert modes == dict.fromkeys(["account.key", "certificate.pem", "names"], "0o400")
    assert oct(site.store.path.stat().st_mode & 0o777) == "0o700"

    # As a timer runs it, which knows of no release.
    again = site.certificates(platform_application={})
    assert (again.returncode, "changed=0" in again.stdout) == (0, True), again.stdout


def test_it_is_renewed_before_it_ends_and_no_request_is_lost(site: Site) -> None:
    before = site.shown()[0]
    worker = site.stand.pid()
    site.age()
    with Load(f"https://127.0.0.1:{site.stand.https}/", 100, host="web.example") as load:
        done = site.certificates(platform_application={})
    assert done.returncode == 0, done.stdout
    assert "it ends on" in said(done)
    serial, names = site.shown()
    assert serial != before
    assert names == set(NAMES)
    summary = load.summary()
    assert (summary["failed"], summary["requests"] > 200) == (0, True), summary
    assert site.stand.pid() == worker, "nothing was reloaded"
    # HAProxy starts with it, too.
    site.stand.reload()
    assert site.shown()[0] == serial


def test_what_was_killed_is_completed(site: Site) -> None:
    """Between the order and its being taken up, and between the proxy's memory and its file."""
    serial, held = site.shown()[0], keep(site)["material"]
    content = (site.stand.directory / certificate.FILE).read_text()
    assert not show(site, content)["changed"]
    own = "".join((site.directory / "secrets/tls" / name).read_text() for name in ("proxy.crt", "proxy.key"))
    certificate.show(StackDirectory(str(site.stand.directory)), own)
    with pytest.raises(ssl.SSLCertVerificationError):
        site.shown()
    assert show(site, content)["changed"]
    assert site.shown()[0] == serial

    signed = acme.held_in(site.store)
    assert signed
    site.store.replace("order.key", signed.key)
    site.store.replace("order.crt", signed.chain)
    site.age()
    assert keep(site, check=True)["taken_up"]
    taken = keep(site)
    assert (taken["changed"], taken["taken_up"], taken["why"], taken["material"]) == (True, True, "", held)
    assert not keep(site)["changed"]
    # One that is no use is not taken up.
    site.store.replace("order.crt", signed.chain)
    site.store.replace("order.key", (site.directory / "secrets/tls/redis.key").read_bytes())
    assert not keep(site)["taken_up"]
    assert keep(site)["material"] == held


def test_a_damaged_account_is_refused_and_nothing_is_written(site: Site, tmp_path: Path) -> None:
    directory = tmp_path / "tls/acme"
    assert keep(site, directory=str(directory), names=NAMES)["changed"]
    for damage in (b"", b"nonsense"):
        Store(str(directory)).replace("account.key", damage)
        refused = keep(site, directory=str(directory), names=["other.example"])
        assert f"The ACME account's key {directory}/account.key can't be used" in refused["msg"]
        assert (directory / "account.key").read_bytes() == damage
        assert (directory / "names").read_text().split() == NAMES


def test_a_certificate_that_haproxy_does_not_take_is_not_written(site: Site) -> None:
    serial, there = site.shown()[0], (site.stand.directory / certificate.FILE).read_bytes()
    chain, key = ((site.directory / "secrets/tls" / name).read_text() for name in ("proxy.crt", "redis.key"))
    refused = show(site, f"{chain}\n{key}\n")
    assert "HAProxy does not take the certificate" in refused["msg"]
    assert (site.shown()[0], (site.stand.directory / certificate.FILE).read_bytes()) == (serial, there)
    assert "no certificate in what" in show(site, key)["msg"]


def test_without_haproxy_only_the_file_is_written(site: Site, tmp_path: Path) -> None:
    held = keep(site)["material"]
    wanted = {"directory": str(tmp_path), "content": f"{held['certificate']}\n{held['key']}\n"}
    assert run_module("proxy_certificate", wanted, check=True)["changed"]
    assert list(tmp_path.iterdir()) == []
    assert (run_module("proxy_certificate", wanted)["before"], oct((tmp_path / certificate.FILE).stat().st_mode)) == (
        "",
        "0o100400",
    )
    assert not run_module("proxy_certificate", wanted)["changed"]


def test_other_names_are_ordered_and_without_the_server_the_old_one_serves(site: Site) -> None:
    more = [*NAMES, "api.shop.example"]
    planned = site.certificates("--check", tls_acme_names=more)
    assert planned.returncode == 0, planned.stdout
    assert "for api.shop.example, shop.example, www.shop.example is ordered: it is for" in said(planned)
    assert site.shown()[1] == set(NAMES)
    done = site.certificates(tls_acme_names=more)
    assert done.returncode == 0, done.stdout
    serial, names = site.shown("api.shop.example")
    assert names == set(more)

    docker("stop", "--time=0", site.server.name)
    refused = site.certificates(tls_acme_names=NAMES)
    assert refused.returncode != 0
    assert f"edge: {site.server.url} is no directory of an ACME server, or can't be reached: " in said(refused), (
        refused.stdout
    )
    assert "Connection refused" in said(refused)
    assert "What serves goes on serving, until 20" in said(refused)
    assert site.shown()[0] == serial
    deployed = site.deploy(tls_acme_names=NAMES)
    assert (deployed.returncode, "changed=0" in deployed.stdout) == (0, True), deployed.stdout
    assert site.shown()[0] == serial
    # Nobody waits for its lease.
    assert '"until": 0' in (site.directory / "lease.json").read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"terms_agreed": False}, "Nobody agreed to the terms of the ACME server https://127.0.0.1"),
        ({"names": ["shop.example", "*.shop.example"]}, "tls_acme_names has *.shop.example, and an ACME server signs"),
        ({"names": ["10.0.0.1", "Shop.example"]}, "tls_acme_names has 10.0.0.1, Shop.example, which is no DNS name"),
        ({"contact": "ops"}, "tls_acme_contact is `ops`, which is no e-mail address"),
        ({"url": "http://acme.example/dir"}, "`http://acme.example/dir` is no directory of an ACME server"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(
    site: Site, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    refused = keep(site, **{"directory": str(tmp_path / "tls/acme"), **wrong})
    assert message in refused["msg"]
    assert list(tmp_path.iterdir()) == []
