# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cost of a fleet is worked out with: the inventory of a size, counts, the controller's memory, the verdict, the page."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tests.proof import controller, fleet, hosts, hosts_page
from tests.proof.controller import Process

LISTING = {
    "_meta": {"hostvars": {"app1": {"ansible_host": "198.51.100.21"}}},
    "all": {"children": ["ungrouped", "proxy", "app", "postgres"], "vars": {"ansible_user": "root"}},
    "proxy": {"hosts": ["proxy1"]},
    "app": {"hosts": ["app1", "app2"]},
    "postgres": {"hosts": ["postgres1"]},
}
OUTPUT = """
TASK [lastro.platform.platform : Look] ****
ok: [core1]
ok: [app1]

RUNNING HANDLER [lastro.platform.proxy : Reload] ****
ok: [core1]

PLAY RECAP ****
app1                       : ok=11   changed=0    unreachable=0    failed=0
core1                      : ok=32   changed=0    unreachable=0    failed=0
"""


def size(count: int, seconds: float, memory_mb: int = 200, changes: int = 0) -> dict[str, Any]:
    return {
        "hosts": count,
        "seconds": {"median": seconds, "runs": [seconds]},
        "controller_cpu_seconds": 9.5,
        "tasks": 40,
        "tasks_on_all_hosts": 20 * count,
        "modules": 10 + 7 * count,
        "controller_memory_mb": memory_mb,
        "changes": changes,
    }


@pytest.mark.parametrize(("count", "apps"), [(2, ["app1"]), (4, ["app1", "app2", "app3"])])
def test_more_hosts_are_more_hosts_of_the_application(count: int, apps: list[str]) -> None:
    made = hosts.spread(LISTING, count)["all"]
    assert list(made["hosts"]) == ["core1", *apps]
    assert {group: list(about["hosts"]) for group, about in made["children"].items()} == {
        "proxy": ["core1"],
        "app": apps,
        "postgres": ["core1"],
    }
    assert made["vars"] == {"ansible_user": "root"}


@pytest.mark.parametrize(
    ("sizes", "good"),
    [
        ([size(2, 20), size(4, 30), size(8, 59.9)], True),
        ([size(2, 20), size(4, 30), size(8, 60)], False),
        ([size(2, 20), size(4, 40.1), size(8, 50)], False),
        ([size(2, 20), size(4, 30, memory_mb=1024)], False),
        ([size(2, 20), size(4, 30, changes=1)], False),
    ],
)
def test_it_holds_while_twice_the_hosts_cost_less_than_twice_the_time(sizes: list[dict[str, Any]], good: bool) -> None:
    assert hosts.holds(sizes) is good


def proved(**differs: Any) -> dict[str, Any]:
    return {
        "seconds": {"lab_up": 60.0, "first_deploy": 170.0},
        "nothing_to_do_seconds": {"median": 25.0, "runs": [24.0, 25.0, 60.0]},
        "changes_with_nothing_to_do": 0,
        "open_to_strangers": {"proxy1": [22, 80, 443], "app1": [22]},
        "batches_of_one_host": {"holds": True},
        "a_host_that_is_off_stops_the_run": {"proxy1": True, "app1": True},
        **differs,
    }


@pytest.mark.parametrize(
    ("differs", "good"),
    [
        ({}, True),
        ({"seconds": {"lab_up": 60.1}}, False),
        ({"nothing_to_do_seconds": {"median": 25.1}}, False),
        ({"changes_with_nothing_to_do": 1}, False),
        ({"open_to_strangers": {"proxy1": [22, 80, 443], "app1": [22, 8080]}}, False),
        ({"open_to_strangers": {"proxy1": [22, 80], "app1": [22]}}, False),
        ({"batches_of_one_host": {"holds": False}}, False),
        ({"a_host_that_is_off_stops_the_run": {"proxy1": True, "app1": False}}, False),
    ],
)
def test_the_fleet_s_proof_holds_within_its_bars(differs: dict[str, Any], good: bool) -> None:
    assert fleet.holds(proved(**differs)) is good


def test_tasks_are_counted_once_and_for_each_host() -> None:
    assert controller.tasks(OUTPUT) == {"tasks": 2, "tasks_on_all_hosts": 43}


@pytest.mark.parametrize(
    ("processes", "members"),
    [
        ([], set()),
        ([Process(1, 0, "init"), Process(7, 1, "bash")], set()),
        # A worker, what it started, and a shared connection that somebody else adopted.
        (
            [
                Process(1, 0, "init"),
                Process(10, 7, "ansible-playbook -i /labs/x/inventory"),
                Process(12, 11, "python module.py"),
                Process(11, 10, "sh"),
                Process(20, 1, "ssh: /labs/x/ssh/app1 [mux]"),
                Process(30, 1, "ssh: /labs/y/ssh/app1 [mux]"),
            ],
            {10, 11, 12, 20},
        ),
    ],
)
def test_a_run_is_who_names_the_lab_and_all_they_start(processes: list[Process], members: set[int]) -> None:
    assert controller.family(processes, "/labs/x") == members


def test_memory_is_that_of_all_processes_at_their_peak(tmp_path: Path) -> None:
    eat = "import subprocess, sys, time; block = bytearray(40 * 2**20); time.sleep(1.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {eat!r}]); block = bytearray(10 * 2**20)"
    with controller.memory(str(tmp_path)) as peak:
        subprocess.run([sys.executable, "-c", start, str(tmp_path)], check=True)
    assert 40 < peak.megabytes < 80


def test_work_is_that_of_processes_that_ended_and_the_machine_s_cpus_show_it() -> None:
    before = controller.cpu_seconds()
    work = "import time\nprint(flush=True)\nwhile time.process_time() < 1: pass"
    with subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        worker.stdout.readline()  # it is at work from here on
        assert controller.cpus_busy(0.5) > 0.3
    assert 0.9 < controller.cpu_seconds() - before < 1.5


@pytest.mark.parametrize(
    ("value", "top"), [(1, 1), (9.2, 10), (10, 10), (46, 50), (101, 150), (760, 1000), (1024, 1500)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert hosts_page.round_up(value) == top


def test_the_page_shows_every_size(tmp_path: Path) -> None:
    sizes = [size(2, 20.4), size(4, 25.1), size(16, 61.7)]
    hosts_page.write(tmp_path, {"sizes": sizes, "memory_limit_mb": 1024, "forks": 5})
    shown = [line for line in (tmp_path / "hosts.md").read_text().splitlines() if line.startswith("|")]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in shown[2:]] == [
        ["2", "20.4", "10.2", "9.5", "40", "40", "24", "200"],
        ["4", "25.1", "6.3", "9.5", "40", "80", "38", "200"],
        ["16", "61.7", "3.9", "9.5", "40", "320", "122", "200"],
    ]
    drawn = ElementTree.fromstring((tmp_path / "hosts.svg").read_text())
    assert {"20.4", "25.1", "61.7", "24", "38", "122", "200"} <= {text.strip() for text in drawn.itertext()}
