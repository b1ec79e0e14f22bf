# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where labs stand: subnets that overlap nothing, addresses that stay, names."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tests.lab import labs, network
from tests.lab.image import Variant
from tests.lab.labs import Wanted
from tests.lab.machine import LabError

LAB = IPv4Network("10.91.0.0/24")


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], "10.91.0.0/24"),
        (["172.17.0.0/16", "10.91.0.0/24"], "10.91.1.0/24"),
        (["10.91.0.0/24", "10.91.2.0/24"], "10.91.1.0/24"),
        (["10.91.0.0/22", "10.91.4.7/32"], "10.91.5.0/24"),
    ],
)
def test_a_lab_takes_the_first_subnet_that_overlaps_nothing(taken: list[str], free: str) -> None:
    assert network.free_subnet(IPv4Network(text) for text in taken) == IPv4Network(free)


def test_a_machine_whose_range_is_taken_is_told_what_to_remove() -> None:
    with pytest.raises(LabError, match="lab-down"):
        network.free_subnet([IPv4Network("10.0.0.0/8")])


def test_hosts_follow_the_machine_and_stay_within_the_subnet() -> None:
    assert network.gateway(LAB) == "10.91.0.1"
    assert [network.host_address(LAB, index) for index in (0, 6, 244)] == ["10.91.0.10", "10.91.0.16", "10.91.0.254"]
    with pytest.raises(LabError, match="245 hosts at most"):
        network.host_address(LAB, 245)


def test_routes_take_addresses_and_the_default_route_takes_none() -> None:
    table = [{"dst": "default"}, {"dst": "10.91.1.0/24"}, {"dst": "10.91.2.7"}]
    assert network.routed(json.dumps(table)) == [IPv4Network("10.91.1.0/24"), IPv4Network("10.91.2.7/32")]


@pytest.mark.parametrize(
    ("lab", "hosts"),
    [
        ("Prod", ["app1"]),
        ("prod", ["app_1"]),
        ("prod", ["app1.example.com"]),
        ("prod-", ["app1"]),
        ("prod", ["a" * 25]),
        ("prod", ["controller"]),
        ("prod", ["app1", "app1"]),
    ],
)
def test_names_that_cannot_be_host_names_are_refused(lab: str, hosts: list[str]) -> None:
    labs.check_names("prod-2", ["app1", "a" * 24])
    with pytest.raises(LabError):
        labs.check_names(lab, hosts)


def test_an_inventory_is_given_by_its_name_in_the_clone_or_by_its_path(tmp_path: Path) -> None:
    assert labs.source("dev") == labs.REPOSITORY / "inventories" / "dev"
    assert labs.source("./dev") == Path("dev")
    assert labs.source(str(tmp_path)) == tmp_path


def test_the_kind_of_a_lab_decides_what_its_hosts_are() -> None:
    kinds = {contents: Wanted(Path("prod"), contents=contents).variant for contents in labs.CONTENTS}
    assert kinds == {
        "images": Variant(docker=True, ssh=True),
        "engine": Variant(docker=True, ssh=True),
        "bare": Variant(ssh=True),
    }
    assert Wanted(Path("prod"), suite="bookworm", contents="bare").variant.name == "lastro-lab/bookworm-systemd-ssh"
    with pytest.raises(LabError, match="role docker"):
        _ = Wanted(Path("prod"), suite="bookworm").variant


def test_a_lab_that_runs_differs_from_one_of_another_inventory_or_kind() -> None:
    wanted = [Wanted(Path("a")), Wanted(Path("b")), Wanted(Path("a"), contents="bare"), Wanted(Path("a"), disk_gb=1)]
    assert len({str(one.labels) for one in wanted}) == 4
    assert Wanted(Path("a"), hosts=("app1",)).labels == wanted[0].labels
