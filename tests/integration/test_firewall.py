# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a nested Debian 12 host, with the oldest nftables it supports. What packets do is molecule's part."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible
import pytest

from tests.lab import host as lab
from tests.lab.host import Host
from tests.lab.image import Variant
from tests.lab.machine import DOCKER
from tests.support import REPOSITORY, random_name

LIBRARY = "/usr/local/lib/lt"
COLLECTION = f"{LIBRARY}/ansible_collections/lastro/platform"
TABLE, UNIT = "/etc/lastro/firewall.nft", "lastro-firewall.service"
DROP_IN = "/etc/systemd/system/nftables.service.d/lastro-firewall.conf"
LIST = "nft list table inet lastro"
WEB = {"port": "443", "comment": "HTTPS"}
REDIS = {"port": "6379", "from": ["10.0.0.21", "10.0.0.22", "fd00::/64"], "comment": "Redis"}
VRRP = {"protocol": "vrrp", "from": ["10.0.0.21"]}
RANGE = {"port": "18000-18511", "protocol": "udp", "from": ["10.0.0.0/24"]}


@pytest.fixture(scope="module")
def nested() -> Iterator[Host]:
    name = random_name()
    try:
        host = lab.up(name, Variant("bookworm"))
        copy_modules(host)
        yield host
    finally:
        lab.down(name)


@pytest.fixture
def bare(nested: Host) -> Host:
    """The host with nftables, and without what the test before left."""
    clear(nested)
    nested.run("sh", "-c", "command -v nft || { apt-get update -qq && apt-get install -qqy nftables; }")
    return nested


def clear(host: Host) -> None:
    host.run(
        "sh",
        "-c",
        f"systemctl disable --now {UNIT}; rm -rf /etc/lastro /etc/systemd/system/{UNIT}* {DROP_IN}; systemctl daemon-reload",
        check=False,
    )


def copy_modules(host: Host) -> None:
    """Ansible's module library and the collection, as an executing module would find them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for part in ("__init__.py", "_vendor", "release.py", "module_utils"):
            tar.add(Path(ansible.__file__).parent / part, f"ansible/{part}")
        for part in ("modules", "module_utils"):
            tar.add(REPOSITORY / "plugins" / part, f"ansible_collections/lastro/platform/plugins/{part}")
    host.run("mkdir", "-p", LIBRARY)
    command = [DOCKER, "exec", "-i", host.name, "tar", "-x", "-C", LIBRARY]
    subprocess.run(command, input=packed.getvalue(), check=True)


def keep(host: Host, *rules: dict[str, Any], check: bool = False, ssh: str = "", **more: Any) -> dict[str, Any]:
    """Run the module on the host."""
    arguments = {"platform": "shop", "rules": rules, **more, "_ansible_check_mode": check, "_ansible_diff": True}
    environment = [f"PYTHONPATH={LIBRARY}", *([f"SSH_CONNECTION={ssh}"] if ssh else [])]
    done = host.run(
        *("env", *environment, "python3", "-P", f"{COLLECTION}/plugins/modules/firewall.py"),
        check=False,
        stdin=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def good(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    return result


def live(host: Host) -> str:
    return host.run("sh", "-c", LIST, check=False).stdout


def kept(host: Host) -> str:
    """The table as it is written and as it is loaded, and whether the next boot loads it."""
    return host.run("sh", "-ec", f"cat {TABLE}; nft -s list table inet lastro; systemctl is-enabled {UNIT}").stdout


def read(host: Host, path: str) -> str:
    return host.run("cat", path, check=False).stdout


def test_a_host_without_nftables(nested: Host) -> None:
    clear(nested)
    nested.run("apt-get", "purge", "-qqy", "nftables", check=False)
    planned = good(keep(nested, WEB, check=True))
    assert planned["changed"]
    assert nested.run("test", "-e", "/etc/lastro", check=False).returncode

    asked = keep(nested, WEB)
    assert asked["failed"]
    assert asked["missing"] == "nftables"
    assert read(nested, TABLE) == ""
    assert not good(keep(nested, state="absent"))["changed"]


def test_from_nothing_to_nothing_to_do(bare: Host) -> None:
    planned = good(keep(bare, WEB, REDIS, RANGE, VRRP, check=True))
    assert live(bare) == ""
    first = good(keep(bare, WEB, REDIS, RANGE, VRRP))
    assert first["changes"] == planned["changes"]
    assert first["diff"] == planned["diff"]
    assert first["diff"][0]["after"] == read(bare, TABLE)
    for words in (
        "443 accept",
        "{ 10.0.0.21, 10.0.0.22 }",
        "ip6 saddr fd00::/64",
        "udp ct original proto-dst 18000-18511",
        "ip saddr 10.0.0.21 accept",
    ):
        assert words in live(bare)
    assert bare.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
    assert bare.run("systemctl", "is-active", UNIT).stdout.strip() == "active"
    for check in (True, False):
        assert not good(keep(bare, WEB, REDIS, RANGE, VRRP, check=check))["changed"]


def test_another_rule_replaces_the_table_at_once(bare: Host) -> None:
    keep(bare, WEB)
    bare.run("nft", "add", "table", "ip", "somebody")
    changed = good(keep(bare, REDIS))
    assert changed["changes"] == [
        "/etc/lastro/firewall.d/shop.json: content",
        f"{TABLE}: content",
        "table inet lastro: differs from its file",
    ]
    assert "443" not in live(bare)
    assert "6379" in live(bare)
    bare.run("nft", "delete", "table", "ip", "somebody")


@pytest.mark.parametrize(
    ("damage", "change"),
    [
        ("nft flush chain inet lastro refused", "table inet lastro: differs from its file"),
        ("nft insert rule inet lastro input accept", "table inet lastro: differs from its file"),
        ("nft flush ruleset", "table inet lastro: not loaded"),
        (f"systemctl stop {UNIT}", "table inet lastro: not loaded"),
        (f"systemctl disable {UNIT}", f"{UNIT}: not enabled"),
        (f"echo >> {TABLE}", f"{TABLE}: content"),
        (f"chmod 0644 {TABLE}", f"{TABLE}: mode"),
        (f"rm {DROP_IN}", f"{DROP_IN}: new"),
        (f"rm /etc/systemd/system/{UNIT}", f"/etc/systemd/system/{UNIT}: new"),
    ],
)
def test_what_somebody_changed_is_put_right(bare: Host, damage: str, change: str) -> None:
    keep(bare, WEB)
    whole = kept(bare)
    assert whole.endswith("\nenabled\n")
    bare.run("sh", "-c", damage)
    assert good(keep(bare, WEB, check=True))["changes"] == [change]
    assert good(keep(bare, WEB))["changes"] == [change]
    assert kept(bare) == whole


def test_the_distributions_own_service_flushes_every_table_but_ours_comes_back(bare: Host) -> None:
    keep(bare, WEB)
    whole = live(bare)
    bare.run("sh", "-c", "grep -q 'flush ruleset' /etc/nftables.conf && nft add table ip somebody")
    for verbs in ("start", "reload", "restart", "restart reload", "stop", "start stop"):
        script = " && ".join(f"systemctl {verb} nftables.service" for verb in verbs.split())
        assert bare.run("sh", "-ec", f"systemctl reset-failed; {script}; {LIST}").stdout == whole, verbs
    assert "somebody" not in bare.run("nft", "list", "tables").stdout
    assert not good(keep(bare, WEB))["changed"]


def test_it_starts_however_often_it_was_started(bare: Host) -> None:
    keep(bare, WEB)
    bare.run("sh", "-ec", f"for turn in 1 2 3 4 5 6 7 8; do systemctl restart {UNIT}; done")
    assert "443" in live(bare)


def test_two_platforms_share_the_table(bare: Host) -> None:
    keep(bare, WEB)
    second = good(keep(bare, REDIS, platform="lab"))
    assert second["platforms"] == ["lab", "shop"]
    assert "443" in live(bare)
    assert "6379" in live(bare)
    assert not good(keep(bare, WEB))["changed"]

    assert good(keep(bare, platform="lab", state="absent"))["platforms"] == ["shop"]
    assert "443" in live(bare)
    assert "6379" not in live(bare)

    last = good(keep(bare, state="absent"))
    assert last["platforms"] == []
    assert live(bare) == ""
    left = bare.run("sh", "-c", "find /etc/lastro -type f; find /etc/systemd/system -name 'lastro-firewall*'").stdout
    assert left == ""
    assert not good(keep(bare, state="absent"))["changed"]


def test_a_damaged_part_of_another_platform_stops_the_run(bare: Host) -> None:
    keep(bare, REDIS, platform="lab")
    before = live(bare)
    bare.run("sh", "-c", "echo '{' > /etc/lastro/firewall.d/lab.json")
    refused = keep(bare, WEB)
    assert "/etc/lastro/firewall.d/lab.json cannot be read" in refused["msg"]
    assert live(bare) == before


def test_the_connection_of_the_run_is_not_cut(bare: Host) -> None:
    keep(bare, WEB)
    before = live(bare)
    for more in ({"ssh_from": ["192.0.2.0/24"]}, {"ssh_ports": [2222]}):
        for check in (True, False):
            refused = keep(bare, WEB, ssh="10.0.0.9 50000 10.0.0.11 22", check=check, **more)
            assert "would lock you out: this run came in over SSH from 10.0.0.9 to port 22" in refused["msg"]
    assert live(bare) == before
    assert not good(keep(bare, WEB, ssh="10.0.0.9 50000 10.0.0.11 22"))["changed"]


def test_a_connection_that_sudo_hides_is_seen_too(bare: Host) -> None:
    script = f"env -i PYTHONPATH={LIBRARY} python3 -P {COLLECTION}/plugins/modules/firewall.py; exit 0"
    arguments = {"platform": "shop", "ssh_from": ["192.0.2.0/24"], "_ansible_check_mode": True}
    environment = "SSH_CONNECTION=10.0.0.9 50000 10.0.0.11 22"
    done = bare.run("env", environment, "sh", "-c", script, stdin=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    assert "would lock you out" in json.loads(done.stdout)["msg"]


def test_a_way_out_that_is_named_like_a_bridge_of_docker(bare: Host) -> None:
    refused = keep(bare, WEB, container_interfaces=["eth*"])
    assert "The interface eth0 leads out of this host" in refused["msg"]
    assert live(bare) == ""


def test_where_loading_fails_the_old_table_stays_and_the_next_boot_loads_it(bare: Host) -> None:
    keep(bare, WEB)
    before = read(bare, TABLE), read(bare, "/etc/lastro/firewall.d/shop.json"), live(bare)
    override = f"/etc/systemd/system/{UNIT}.d"
    bare.run(
        "sh", "-c", f"mkdir {override}; printf '[Service]\\nExecReload=\\nExecReload=/bin/false\\n' > {override}/x.conf"
    )
    failed = keep(bare, REDIS)
    assert failed["msg"].startswith(f"`systemctl reload-or-restart {UNIT}` failed")
    assert "The table that was loaded before is still in force" in failed["msg"]
    assert (read(bare, TABLE), read(bare, "/etc/lastro/firewall.d/shop.json"), live(bare)) == before


def test_where_the_first_load_fails_nothing_is_left(bare: Host) -> None:
    override = f"/etc/systemd/system/{UNIT}.d"
    bare.run(
        "sh", "-c", f"mkdir {override}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {override}/x.conf"
    )
    assert "failed" in keep(bare, WEB)["msg"]
    assert read(bare, TABLE) == ""
    assert bare.run("systemctl", "is-enabled", UNIT, check=False).stdout.strip() != "enabled"


def test_a_kernel_that_refuses_the_table_never_sees_it_on_the_host(bare: Host) -> None:
    keep(bare, WEB)
    before = read(bare, TABLE), live(bare)
    bare.run("sh", "-c", "mv /usr/sbin/nft /usr/sbin/nft.real")
    script = '#!/bin/sh\n[ "$1" = -f ] && { echo "Error: syntax error, unexpected newline" >&2; exit 1; }\nexec nft.real "$@"\n'
    bare.run("sh", "-c", "cat > /usr/sbin/nft; chmod 0755 /usr/sbin/nft", stdin=script)
    try:
        refused = keep(bare, REDIS)
        assert "cannot be loaded: Error: syntax error, unexpected newline. Nothing was changed" in refused["msg"]
    finally:
        bare.run("mv", "/usr/sbin/nft.real", "/usr/sbin/nft")
    assert (read(bare, TABLE), live(bare)) == before


def test_a_host_without_systemd() -> None:
    name = random_name()
    try:
        host = lab.up(name, Variant("bookworm", init="none"))
        copy_modules(host)
        refused = keep(host, WEB, check=True)
        assert "This host does not run systemd" in refused["msg"]
        assert "set firewall_enabled to false" in refused["msg"]
        assert not good(keep(host, state="absent"))["changed"]
    finally:
        lab.down(name)
