# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's decisions: sources, leftovers, kinds of hosts, and the copy of a data root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import golden, host, machine
from tests.lab.image import Variant
from tests.lab.machine import LabError

CONFIGURED = [
    ("http://extra.example", "stable"),
    ("http://mirror.example/debian", "bookworm"),
    ("http://mirror.example/security", "bookworm-security"),
]


def test_sources_of_another_suite_come_from_the_same_mirror() -> None:
    assert machine.sources("trixie", CONFIGURED) == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/security trixie-security main",
    ]


def test_a_machine_without_a_debian_mirror_is_told_how_to_name_one() -> None:
    foreign = [("http://mirror.example/ubuntu", "noble")]
    with pytest.raises(LabError, match="LASTRO_LAB_MIRROR"):
        machine.sources("trixie", foreign)
    assert machine.sources("trixie", foreign, "http://named.example") == [
        "deb http://named.example trixie main",
        "deb http://named.example trixie-updates main",
    ]


def test_leftovers_are_expired_hosts_and_disks_without_a_host() -> None:
    until = {"lt-old": 99, "lt-running": 200}
    assert host.leftovers(until, {"lt-old", "lt-running", "lt-orphan"}, now=100) == ["lt-old", "lt-orphan"]


@pytest.mark.parametrize(
    "kind",
    [{"suite": "sid"}, {"init": "openrc"}, {"suite": "bookworm", "docker": True}],
)
def test_kinds_of_hosts_that_do_not_exist_are_refused(kind: dict[str, str | bool]) -> None:
    with pytest.raises(LabError):
        Variant(**kind)  # type: ignore[arg-type]


def test_a_bare_host_has_no_docker_and_no_apt_for_python() -> None:
    assert not {"docker.io", "python3-apt"} & set(Variant().packages)
    assert "docker.io" in Variant(docker=True).packages


def test_a_cloned_data_root_shares_layers_and_nothing_else(tmp_path: Path) -> None:
    source, target = tmp_path / "golden", tmp_path / "host"
    (source / "overlay2" / "layer").mkdir(parents=True)
    (source / "overlay2" / "layer" / "file").write_text("layer")
    (source / "image").mkdir()
    (source / "image" / "db").write_text("database")
    (source / "engine-id").write_text("identity")
    target.mkdir()
    golden.clone(source, target)
    shared, own = target / "overlay2" / "layer" / "file", target / "image" / "db"
    assert shared.stat().st_ino == (source / "overlay2" / "layer" / "file").stat().st_ino
    assert own.stat().st_ino != (source / "image" / "db").stat().st_ino
    assert own.read_text() == "database"
    assert not (target / "engine-id").exists()
