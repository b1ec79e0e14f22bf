# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Docker host needs, as a pure function of what was read on it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _docker_host as decide
from ansible_collections.lastro.platform.plugins.module_utils._docker_host import (
    Parts,
    Release,
    Repository,
    Settings,
)
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

BOOKWORM = Release("debian", "12", "bookworm")
TRIXIE = Release("debian", "13", "trixie")
NOBLE = Release("ubuntu", "24.04", "noble")
BARE = Parts(engine=False, client=False, compose=None, iptables=False, apparmor=None)
COMPLETE = Parts(engine=True, client=True, compose="2.26.1-4", iptables=True, apparmor=None)
MIRROR = {"bookworm": "http://mirror.example/debian", "bookworm-updates": "http://mirror.example/debian"}
REPOSITORY = Repository("https://mirror.example/docker", "-----BEGIN PGP PUBLIC KEY BLOCK-----")
PIN = "/etc/apt/preferences.d/lastro-compose"
SOURCE = "/etc/apt/sources.list.d/lastro-compose.sources"


@pytest.mark.parametrize(
    ("host", "parts", "expected"),
    [
        pytest.param(TRIXIE, BARE, ["docker.io", "docker-cli", "docker-compose", "iptables"], id="trixie"),
        pytest.param(BOOKWORM, BARE, ["docker.io", "docker-compose", "iptables"], id="bookworm-client-is-in-docker.io"),
        pytest.param(NOBLE, BARE, ["docker.io", "docker-compose-v2", "iptables"], id="ubuntu"),
        pytest.param(TRIXIE, COMPLETE, [], id="nothing-to-do"),
        pytest.param(TRIXIE, Parts(True, True, "2.19.9", True, None), ["docker-compose"], id="compose-too-old"),
        pytest.param(TRIXIE, Parts(True, True, "2.26.1", True, True), [], id="apparmor-there"),
        pytest.param(TRIXIE, Parts(True, True, "2.26.1", True, False), ["apparmor"], id="apparmor-missing"),
    ],
)
def test_packages_of_the_distribution(host: Release, parts: Parts, expected: list[str]) -> None:
    plan = decide.installation(host, parts, "distribution", None, MIRROR)
    assert list(plan.packages) == expected
    assert all(plan.packages.values()), "every package says why"


def test_bookworm_takes_one_package_from_trixie_and_pins_before_the_source_exists() -> None:
    files = decide.installation(BOOKWORM, BARE, "distribution", None, MIRROR).files
    assert list(files) == [PIN, SOURCE]
    assert "Package: docker-compose\nPin: release n=trixie\nPin-Priority: 990\n" in files[PIN]
    assert "Package: *\nPin: release n=trixie\nPin-Priority: -1\n" in files[PIN]
    assert "URIs: http://mirror.example/debian\nSuites: trixie\n" in files[SOURCE]


def test_the_pin_is_kept_up_while_the_source_is_there() -> None:
    suites = {**MIRROR, "trixie": "http://mirror.example/debian"}
    plan = decide.installation(BOOKWORM, COMPLETE, "distribution", None, suites, pinned=True)
    assert plan.packages == {}
    assert list(plan.files) == [PIN, SOURCE]


def test_a_suite_the_operator_configured_is_not_pinned_away() -> None:
    suites = {**MIRROR, "trixie": "http://mirror.example/debian"}
    files = decide.installation(BOOKWORM, BARE, "distribution", None, suites).files
    assert list(files) == [PIN]
    assert "Package: *" not in files[PIN]


def test_docker_s_own_repository() -> None:
    plan = decide.installation(TRIXIE, BARE, "docker", REPOSITORY, {})
    assert set(plan.packages) == {"docker-ce", "docker-ce-cli", "docker-compose-plugin", "containerd.io", "iptables"}
    source = plan.files["/etc/apt/sources.list.d/lastro-docker.sources"]
    assert "URIs: https://mirror.example/docker\nSuites: trixie\nComponents: stable\n" in source
    assert "Signed-By: /etc/apt/keyrings/lastro-docker.asc" in source
    assert decide.installation(TRIXIE, COMPLETE, "docker", None, {}).files == {}


@pytest.mark.parametrize(
    ("host", "source", "suites", "words"),
    [
        pytest.param(Release("alpine", "3.20", ""), "distribution", {}, "docker_source: none", id="unknown-system"),
        pytest.param(Release("debian", "11", "bullseye"), "distribution", {}, "debian 12", id="unknown-version"),
        pytest.param(TRIXIE, "docker", {}, "docker_repository_key", id="no-repository"),
        pytest.param(BOOKWORM, "distribution", {}, "mirror", id="no-mirror"),
    ],
)
def test_refusals_name_the_cure(host: Release, source: str, suites: dict[str, str], words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        decide.installation(host, BARE, source, None, suites)


def test_source_none_installs_nothing_anywhere() -> None:
    plan = decide.installation(Release("alpine", "3.20", ""), BARE, "none", None, {})
    assert (plan.packages, plan.files) == ({}, {})


def test_release_reads_both_quotings() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'
    assert decide.release(text) == BOOKWORM


def test_suites_are_read_from_apt_s_own_listing() -> None:
    listing = (
        "'http://one.example/debian/dists/bookworm/InRelease' one.example_debian_dists_bookworm_InRelease 0 \n"
        "'http://two.example/debian/dists/bookworm/InRelease' two.example_debian_dists_bookworm_InRelease 0 \n"
        "'http://one.example/security/dists/bookworm-security/InRelease' x 0 \n"
        "'http://one.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0 \n"
    )
    assert decide.suites(listing) == {
        "bookworm": "http://one.example/debian",
        "bookworm-security": "http://one.example/security",
    }


def test_half_installed_packages_are_found() -> None:
    status = (
        "containerd installed\ndocker.io half-configured\niptables unpacked\nrunc not-installed\ntini config-files\n"
    )
    assert decide.broken(status) == ["docker.io", "iptables"]


@pytest.mark.parametrize(
    ("found", "minimum", "good"),
    [
        ("20.10.24+dfsg1", decide.ENGINE_MINIMUM, True),
        ("19.03.15", decide.ENGINE_MINIMUM, False),
        ("v2.20.0", decide.COMPOSE_MINIMUM, True),
        ("5.6.1", decide.COMPOSE_MINIMUM, True),
        ("2.9.0", decide.COMPOSE_MINIMUM, False),
    ],
)
def test_versions_that_are_too_old_are_refused(found: str, minimum: tuple[int, ...], good: bool) -> None:
    if good:
        decide.refuse_old("It", found, minimum)
    else:
        with pytest.raises(PlatformError, match="too old"):
            decide.refuse_old("It", found, minimum)


OURS: dict[str, Any] = {
    "log-driver": "json-file",
    "log-opts": {"max-size": "20m", "max-file": "5"},
    "live-restore": True,
}


@pytest.mark.parametrize(
    ("existing", "settings", "swarm", "expected"),
    [
        pytest.param({}, Settings(), False, OURS, id="nothing-before"),
        pytest.param({"dns": ["10.0.0.1"]}, Settings(), False, {**OURS, "dns": ["10.0.0.1"]}, id="operator-s-key"),
        pytest.param(
            {"log-opts": {"tag": "x", "max-size": "1m"}},
            Settings(),
            False,
            {**OURS, "log-opts": {"tag": "x", "max-size": "20m", "max-file": "5"}},
            id="operator-s-log-options",
        ),
        pytest.param(
            {"log-driver": "journald", "log-opts": {"tag": "x"}},
            Settings(),
            False,
            {"log-driver": "journald", "log-opts": {"tag": "x"}, "live-restore": True},
            id="operator-s-driver",
        ),
        pytest.param(
            {"log-driver": "journald", "log-opts": {"tag": "x"}},
            Settings(log_driver="local"),
            False,
            {**OURS, "log-driver": "local"},
            id="told-another-driver",
        ),
        pytest.param(
            {"log-opts": {"max-size": "1m"}},
            Settings(log_driver="journald"),
            False,
            {"log-driver": "journald", "live-restore": True},
            id="options-of-another-driver-go",
        ),
        pytest.param(
            {"live-restore": True},
            Settings(),
            True,
            {key: value for key, value in OURS.items() if key != "live-restore"},
            id="swarm",
        ),
        pytest.param(
            {},
            Settings(
                address_pools=({"base": "10.200.0.0/16", "size": 24},),
                registry_mirrors=("https://mirror.example",),
                options={"log-driver": "local", "debug": True},
            ),
            False,
            {
                **OURS,
                "default-address-pools": [{"base": "10.200.0.0/16", "size": 24}],
                "registry-mirrors": ["https://mirror.example"],
                "log-driver": "local",
                "debug": True,
            },
            id="everything",
        ),
    ],
)
def test_the_operator_s_configuration_is_merged(
    existing: dict[str, Any], settings: Settings, swarm: bool, expected: dict[str, Any]
) -> None:
    merged = decide.configuration(existing, settings, swarm)
    assert merged == expected
    assert decide.changed_keys(merged, decide.configuration(merged, settings, swarm)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "debug": true\n  "ipv6": true\n}\n', "daemon.json, line 3"),
        ("[]", "must be a JSON object"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        decide.parse_configuration(text, "/etc/docker/daemon.json")


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_an_empty_configuration_is_none(text: str | None) -> None:
    assert decide.parse_configuration(text, "x") == {}


@pytest.mark.parametrize(
    ("systemd", "first", "expected"),
    [(True, "systemd", "systemd"), (False, "init", "sysvinit"), (False, "docker-init", "none"), (False, "sh", "none")],
)
def test_init_system(systemd: bool, first: str, expected: str) -> None:
    assert decide.init_system(systemd, first) == expected


def test_the_gateway_is_the_first_address() -> None:
    body = decide.network_body("shop", "172.30.77.0/24", None)
    assert body["IPAM"]["Config"] == [{"Subnet": "172.30.77.0/24", "Gateway": "172.30.77.1"}]
    assert "IPAM" not in decide.network_body("shop", None, None)


@pytest.mark.parametrize(
    ("driver", "subnet", "gateway", "words"),
    [
        ("bridge", "172.30.77.0/24", "172.30.77.1", ""),
        ("bridge", "172.30.78.0/24", "172.30.78.1", "172.30.78.0/24"),
        ("bridge", "172.30.77.0/24", "172.30.77.254", "172.30.77.254"),
        ("overlay", "172.30.77.0/24", "172.30.77.1", "overlay"),
    ],
)
def test_network_difference(driver: str, subnet: str, gateway: str, words: str) -> None:
    found = {"Driver": driver, "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway}]}}
    difference = decide.network_difference(found, decide.network_body("shop", "172.30.77.0/24", None))
    assert words in difference
    assert bool(difference) == bool(words)
