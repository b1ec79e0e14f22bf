# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts of a lab: Ansible reaches them over SSH, and what happens to one of them happens to nothing else."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.lab import faults, host, labs
from tests.lab.lab import CONTROLLER, Lab
from tests.lab.labs import Wanted
from tests.lab.machine import cache, docker

pytest_plugins = ["tests.lab.fixtures"]

HOSTS = """
all:
  children:
    app: {hosts: {web1: {}, web2: {}}}
    postgres: {hosts: {data1: {platform_private_address: 10.0.0.2}}}
"""
IMAGE = "lastro/base:trixie"
CONNECT = "use IO::Socket::INET; exit !IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 1)"
LISTEN = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 8000, Listen => 9); while (1) { $s->accept }"
BANNER = (
    f"{CONNECT.replace('exit !', '$s =')} or exit 1; $SIG{{ALRM}} = sub {{ exit 2 }}; alarm $ARGV[2]; print scalar <$s>"
)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    source = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    source.write_text(HOSTS)
    return Wanted(source, hosts=("web1", "data1"))


@pytest.fixture
def healed(lab: Lab) -> Iterator[Lab]:
    yield lab
    lab.heal_all()


@pytest.fixture(scope="module")
def service(lab: Lab) -> str:
    """A container on data1 as roles make them, with a port; its ID."""
    command = ["sh", "-c", 'date +%s%N >>/data/starts; exec perl -e "$0"', LISTEN]
    options = ["--detach", "--init", "--restart=unless-stopped", "--volume=lt_data:/data", "--publish=8000:8000"]
    ident = lab.host("data1").run("docker", "run", *options, IMAGE, *command).stdout.strip()
    lab.host("data1").wait("a listener", lambda: connects(lab, "web1", "data1", 8000))
    return ident


def ping(lab: Lab) -> dict[str, str]:
    """What Ansible says of each host."""
    said = lab.ansible("ansible", "all", "-m", "ansible.builtin.ping", "-T", "3", check=False).stdout
    answers = re.split(r"^(\S+) \| ", said, flags=re.MULTILINE)[1:]
    return dict(zip(answers[::2], answers[1::2], strict=True))


def reached(lab: Lab) -> dict[str, bool]:
    return {name: answer.startswith("SUCCESS") for name, answer in ping(lab).items()}


def connects(lab: Lab, one: str, other: str, port: int = 22) -> bool:
    peer = (lab.addresses[other], str(port))
    # To the port of a container from a container, as applications do; to sshd from the host itself.
    inside = ("docker", "run", "--rm", IMAGE) if port == 8000 else ()
    return lab.host(one).run(*inside, "perl", "-e", CONNECT, *peer, check=False).returncode == 0


def boot_ids(lab: Lab) -> dict[str, str]:
    return {name: member.run("cat", faults.BOOT_ID).stdout for name, member in lab.hosts.items()}


def test_ansible_reaches_the_selected_hosts_by_address(lab: Lab) -> None:
    assert reached(lab) == {"web1": True, "data1": True}
    message = "msg='{{ platform_private_address }} {{ groups.app }}'"
    answer = lab.ansible("ansible", "data1", "-m", "ansible.builtin.debug", "-a", message).stdout
    assert f"{lab.addresses['data1']} ['web1']" in answer
    assert lab.host("data1").run("hostname").stdout == "data1\n"


def test_a_host_with_another_key_is_not_spoken_to(lab: Lab) -> None:
    pinned = lab.access.known_hosts.read_text()
    web1, data1 = (line.split(" ", 1)[1] for line in pinned.splitlines())
    assert web1 != data1
    try:
        lab.access.known_hosts.write_text(pinned.replace(web1, data1))
        for name in lab.hosts:
            lab.access.control_socket(name).unlink(missing_ok=True)
        answers = ping(lab)
    finally:
        lab.access.known_hosts.write_text(pinned)
    assert answers["data1"].startswith("SUCCESS")
    assert "Host key verification failed" in answers["web1"]


def test_two_hosts_are_cut_from_each_other_and_from_nothing_else(healed: Lab, service: str) -> None:
    assert connects(healed, "web1", "data1")
    healed.cut("web1", "data1")
    healed.cut("web1", "data1")
    assert not connects(healed, "web1", "data1")
    assert not connects(healed, "data1", "web1")
    assert not connects(healed, "web1", "data1", 8000)
    assert reached(healed) == {"web1": True, "data1": True}
    healed.heal("data1", "web1")
    assert connects(healed, "web1", "data1")
    assert connects(healed, "data1", "web1")
    assert connects(healed, "web1", "data1", 8000)


def test_a_host_that_the_controller_is_cut_from_is_unreachable(healed: Lab) -> None:
    healed.cut("web1", CONTROLLER)
    assert reached(healed) == {"web1": False, "data1": True}
    assert connects(healed, "data1", "web1")
    healed.heal_all()
    assert reached(healed) == {"web1": True, "data1": True}


def power_cycle(lab: Lab, name: str) -> None:
    lab.power_off(name)
    assert [row.state for row in labs.rows(lab.name)] == ["running", "exited"]
    lab.power_on(name)


@pytest.mark.parametrize("restart", [Lab.reboot, power_cycle])
def test_a_host_comes_back_with_its_address_its_data_and_its_containers(
    lab: Lab, service: str, restart: Callable[[Lab, str], None]
) -> None:
    data1 = lab.host("data1")
    data1.run("cp", "/etc/hostname", "/var/lib/lastro/kept")
    starts, before = data1.run("docker", "exec", service, "cat", "/data/starts").stdout, boot_ids(lab)
    restart(lab, "data1")
    after = boot_ids(lab)
    assert after["web1"] == before["web1"]
    assert after["data1"] != before["data1"]
    assert data1.address == lab.addresses["data1"]
    assert data1.run("cat", "/var/lib/lastro/kept").stdout == "data1\n"
    data1.wait("container", lambda: data1.run("docker", "exec", service, "true", check=False).returncode == 0)
    again = data1.run("docker", "exec", service, "cat", "/data/starts").stdout
    assert again.startswith(starts)
    assert len(again.split()) == len(starts.split()) + 1
    assert reached(lab) == {"web1": True, "data1": True}


def test_a_host_that_hangs_takes_connections_and_answers_nothing(lab: Lab) -> None:
    look = ("perl", "-e", BANNER, lab.addresses["data1"], "22")
    assert "SSH-2.0" in lab.host("web1").run(*look, "30").stdout
    lab.hang("data1")
    try:
        assert lab.host("web1").run(*look, "2", check=False).returncode == 2
        assert [row.state for row in labs.rows(lab.name)] == ["running", "paused"]
    finally:
        lab.resume("data1")
    assert "SSH-2.0" in lab.host("web1").run(*look, "30").stdout


def test_a_full_disk_is_that_of_one_host(lab: Lab, service: str) -> None:
    data1, program = lab.host("data1"), ("cp", "--remove-destination", "/bin/bash")
    writes = ((*program, "/var/lib/lastro/file"), ("docker", "exec", service, *program, "/data/file"))
    machine = shutil.disk_usage(cache()).free
    lab.fill("data1")
    for write in writes:
        assert "No space left on device" in data1.run(*write, check=False).stderr
    lab.host("web1").run(*writes[0])
    assert machine - shutil.disk_usage(cache()).free < 10 * 2**30
    lab.fill("data1", 100)
    left = int(data1.run("df", "--output=avail", "--block-size=1M", "/var/lib/lastro").stdout.split()[-1])
    assert 90 < left <= 100
    lab.free("data1")
    for write in writes:
        data1.run(*write)


def test_up_again_keeps_what_runs_and_brings_what_is_wanted(lab: Lab, wanted: Wanted) -> None:
    def started() -> dict[str, str]:
        return {
            name: docker("inspect", "--format", "{{.State.StartedAt}}", one.name) for name, one in lab.hosts.items()
        }

    before = started()
    more = labs.up(lab.name, dataclasses.replace(wanted, strangers=("scanner",)))
    assert connects(more, "scanner", "web1")
    assert "scanner" not in more.ansible("ansible", "all", "--list-hosts").stdout
    assert labs.find(lab.name).addresses == more.addresses
    labs.up(lab.name, wanted)
    assert [row.host for row in labs.rows(lab.name)] == ["web1", "data1"]
    assert not host.disk(more.hosts["scanner"].name).exists()
    assert started() == before
