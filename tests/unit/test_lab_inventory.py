# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab makes of an inventory, read back by Ansible itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import inventory
from tests.lab.inventory import Access
from tests.lab.machine import LabError

HOSTS = """
all:
  vars: {ansible_user: operator, everywhere: 1}
  hosts:
    web2: {ansible_host: 198.51.100.2, platform_private_address: 10.0.0.2, note: "{{ everywhere }}"}
    web1: {platform_private_address: 10.0.0.1}
    data1: {}
  children:
    proxy: {hosts: {web1: {}, web2: {}}}
    app: {hosts: {web1: {}}, vars: {colour: blue}}
    postgres: {hosts: {data1: {}}}
    registry: {hosts: {}}
    public: {children: {proxy: {}, registry: {}}}
"""
# Nobody has the password, as nobody needs it for a lab.
VAULT = "$ANSIBLE_VAULT;1.1;AES256\n6161\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "prod"
    (folder / "group_vars" / "app").mkdir(parents=True)
    (folder / "host_vars").mkdir()
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "group_vars" / "app" / "main.yml").write_text("replicas: 2\nansible_port: 2222\n")
    (folder / "host_vars" / "web1.yml").write_text("ansible_host: 203.0.113.9\nplatform_private_address: 10.9.9.9\n")
    return folder


def evaluated(host: str, expression: str, *sources: Path) -> Any:
    """What Ansible makes of an expression on a host, variable files included."""
    words = [word for path in sources for word in ("-i", str(path))]
    module = ["-m", "ansible.builtin.debug", "-a", f"msg={{{{ {expression} }}}}"]
    done = subprocess.run(
        [inventory.tool("ansible"), host, *words, *module],
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.partition("=> ")[2])["msg"]


def test_hosts_are_read_in_the_order_of_groups_and_without_the_vault(source: Path) -> None:
    (source / "group_vars" / "app" / "vault.yml").write_text(VAULT)
    listing = inventory.read(source)
    assert inventory.hosts(listing) == ["web1", "web2", "data1"]
    assert inventory.select(listing, ()) == ["web1", "web2", "data1"]
    assert inventory.select(listing, ("data1", "web2")) == ["web2", "data1"]
    with pytest.raises(LabError, match=r"No host web3 in the inventory; it has: web1, web2, data1"):
        inventory.select(listing, ("web1", "web3"))


@pytest.mark.parametrize("text", [None, "all: [", "all: {hosts: {}}"])
def test_what_is_no_inventory_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "hosts.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LabError):
        inventory.select(inventory.read(path), ())


def test_the_overlay_wins_over_every_place_and_touches_nothing_else(source: Path, tmp_path: Path) -> None:
    access = Access(tmp_path / "lab")
    inventory.write_overlay(access.overlay, {"web1": "10.91.0.10", "web2": "10.91.0.11"}, access)
    names = [*access.variables("web1", ""), "replicas", "colour", "inventory_dir"]
    found = evaluated("web1", f"dict({names} | zip({names} | map('extract', vars)))", source, access.overlay)
    assert found == {
        **access.variables("web1", "10.91.0.10"),
        "replicas": 2,
        "colour": "blue",
        "inventory_dir": str(source),
    }
    assert found["ansible_host"] == found["platform_private_address"] == "10.91.0.10"
    assert "StrictHostKeyChecking=yes" in found["ansible_ssh_common_args"]
    assert f"UserKnownHostsFile={access.known_hosts}" in found["ansible_ssh_common_args"]


def test_a_selection_is_the_inventory_without_the_other_hosts(source: Path, tmp_path: Path) -> None:
    access = Access(tmp_path / "lab")
    inventory.write_selection(access.selection, source, inventory.read(source), ["web1", "data1"])
    inventory.write_overlay(access.overlay, {"web1": "10.91.0.10", "data1": "10.91.0.12"}, access)
    found = evaluated(
        "web1",
        "[groups, group_names, replicas, everywhere, inventory_dir, ansible_host]",
        access.selection,
        access.overlay,
    )
    groups = {"proxy": ["web1"], "app": ["web1"], "postgres": ["data1"], "registry": [], "public": ["web1"]}
    assert {name: members for name, members in found[0].items() if name not in ("all", "ungrouped")} == groups
    assert sorted(found[0]["all"]) == ["data1", "web1"]
    assert found[1:] == [["app", "proxy", "public"], 2, 1, str(source), "10.91.0.10"]


def test_a_single_file_keeps_the_variables_beside_it(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "selection"
    file = source / "hosts.yml"
    inventory.write_selection(target, file, inventory.read(file), ["web2"])
    assert (target / "group_vars").resolve() == source / "group_vars"
    hosts = json.loads((target / "hosts.json").read_text())["all"]["hosts"]
    assert hosts == {
        "web2": {
            "ansible_host": "198.51.100.2",
            "platform_private_address": "10.0.0.2",
            "note": "{{ everywhere }}",
            "inventory_dir": str(source),
        }
    }
