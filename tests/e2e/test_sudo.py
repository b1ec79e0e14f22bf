# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make deploy` on Debian 12, by somebody who is not root and may use sudo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Machine, fresh_machine
from tests.fleet import changes


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with fresh_machine("bookworm", user="ops") as made:
        yield made


def test_deploy_with_sudo_ends_with_the_platform_serving(machine: Machine) -> None:
    machine.run("make deploy", timeout=1200)
    assert machine.get("/health") == {"status": "ok"}
    assert changes(machine.run("make deploy")) == {"dev": 0}


def test_what_the_operator_has_stays_the_operators(machine: Machine) -> None:
    assert machine.run("find . ! -user ops | head") == ""


def test_destroy_with_sudo_leaves_nothing(machine: Machine) -> None:
    machine.run("make destroy DATA=yes")
    left = machine.host.run(
        "sh", "-c", "docker volume ls -q; docker ps -aq; ls /var/lib/lastro 2>/dev/null", check=False
    )
    assert left.stdout.strip() == ""
