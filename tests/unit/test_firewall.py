# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the firewall decides: which rules, merged how, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.lastro.platform.plugins.filter.firewall_rules import firewall_rules
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._firewall import (
    CONTAINER_INTERFACES,
    EVERYWHERE,
    Part,
    Session,
    part_from,
    part_from_text,
    part_text,
    refuse_lockout,
    refuse_open_uplink,
    render,
    session_from,
)

from tests.support import REPOSITORY

OPERATOR = Session("10.0.0.9", "10.0.0.11", 22)


def rule(port: str | int | None, *sources: str, protocol: str = "tcp", comment: str = "") -> dict[str, Any]:
    return {"port": port, "protocol": protocol, "from": list(sources), "comment": comment}


def part(*rules: dict[str, Any], platform: str = "shop", **changes: Any) -> Part:
    given = {"rules": rules, "ssh_ports": [22], "ssh_from": EVERYWHERE, "container_interfaces": CONTAINER_INTERFACES}
    return part_from(platform, {**given, **changes})


def chain(text: str, name: str) -> list[str]:
    """The rules of a chain, without comments."""
    body = text.split(f"\tchain {name} {{\n")[1].split("\n\t}")[0]
    return [line.strip() for line in body.splitlines() if not line.strip().startswith("#")]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (rule(443, *EVERYWHERE), ["tcp ct original proto-dst 443 accept"]),
        (rule("443", *EVERYWHERE, protocol="udp"), ["udp ct original proto-dst 443 accept"]),
        (rule(None, "10.0.0.3", protocol="vrrp"), ["112 ip saddr 10.0.0.3 accept"]),
        (rule("18000-18511", "10.0.0.3"), ["tcp ct original proto-dst 18000-18511 ip saddr 10.0.0.3 accept"]),
        (rule(80, "10.0.0.3", "10.0.0.9"), ["tcp ct original proto-dst 80 ip saddr { 10.0.0.3, 10.0.0.9 } accept"]),
        # nftables refuses a set whose elements overlap.
        (rule(80, "10.0.0.0/8", "10.0.0.3", "10.0.0.3"), ["tcp ct original proto-dst 80 ip saddr 10.0.0.0/8 accept"]),
        (
            rule(80, "10.0.0.3", "fd00::3", "fd00::8/125"),
            [
                "tcp ct original proto-dst 80 ip saddr 10.0.0.3 accept",
                "tcp ct original proto-dst 80 ip6 saddr { fd00::3, fd00::8/125 } accept",
            ],
        ),
        (
            rule(80, "0.0.0.0/0", "fd00::/8"),
            [
                "tcp ct original proto-dst 80 meta nfproto ipv4 accept",
                "tcp ct original proto-dst 80 ip6 saddr fd00::/8 accept",
            ],
        ),
        (rule(80, "::/0"), ["tcp ct original proto-dst 80 meta nfproto ipv6 accept"]),
        (rule(80), []),
    ],
)
def test_a_rule_in_the_words_of_nftables(given: dict[str, Any], lines: list[str]) -> None:
    text = render([part(given)])
    assert chain(text, "allowed") == [f'meta l4proto {line} comment "shop"' for line in lines]


def test_what_several_platforms_allow_adds_up() -> None:
    shop = part(rule(443, *EVERYWHERE, comment="HTTPS"), ssh_from=["10.0.0.0/24"])
    lab = part(rule(8443, "10.0.0.3"), platform="lab", ssh_ports=[2222], container_interfaces=["docker0", "lab0"])
    text = render([shop, lab])
    assert text == render([lab, shop])
    assert chain(text, "allowed") == [
        'meta l4proto tcp ct original proto-dst 8443 ip saddr 10.0.0.3 accept comment "lab"',
        'meta l4proto tcp ct original proto-dst 443 accept comment "shop: HTTPS"',
    ]
    assert [line for line in chain(text, "input") if "SSH" in line] == [
        'tcp dport 2222 accept comment "lab: SSH"',
        'tcp dport 22 ip saddr 10.0.0.0/24 accept comment "shop: SSH"',
    ]
    for name in ("br-*", "docker0", "docker_gwbridge", "lab0"):
        assert f'iifname "{name}" accept' in chain(text, "input")
        assert f'iifname "{name}" accept' in chain(text, "forward")
        assert f'oifname "{name}" goto refused' in chain(text, "forward")


def test_both_hooks_end_in_a_drop_and_only_the_own_table_is_replaced() -> None:
    text = render([part(rule(443, *EVERYWHERE))])
    assert chain(text, "input")[-2:] == ["jump allowed", "goto refused"]
    assert chain(text, "published") == ["jump allowed", "goto refused"]
    forward = chain(text, "forward")
    assert forward.index("ct status dnat goto published") < forward.index('oifname "docker0" goto refused')
    assert chain(text, "refused")[-1] == "counter drop"
    assert "flush" not in text
    assert [line for line in text.splitlines() if line.startswith(("add", "delete", "table"))] == [
        "add table inet lastro",
        "delete table inet lastro",
        "table inet lastro {",
    ]


def test_a_part_is_read_as_it_was_kept() -> None:
    application = rule("18000-18511", "10.0.0.3", "fd00::/8", comment="application")
    kept = part(application, rule(53, protocol="udp"), rule(None, "10.0.0.3", protocol="vrrp"))
    assert part_from_text("shop", part_text(kept), "kept") == kept


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"rules": [1]}', part_text(part()).replace("22", "0")])
def test_a_damaged_part_names_its_file_and_the_cure(text: str) -> None:
    with pytest.raises(PlatformError, match=r"/x/lab\.json cannot be read .* Deploy the platform lab again"):
        part_from_text("lab", text, "/x/lab.json")


@pytest.mark.parametrize(
    ("problem", "rules", "changes"),
    [
        ("The port 'http' is malformed", [rule("http")], {}),
        ("The port '1-2-3' is malformed", [rule("1-2-3")], {}),
        ("rules: there is no port 0", [rule(0)], {}),
        ("rules: there is no port 70000", [rule("1-70000")], {}),
        ("ports 20-10 ends before it begins", [rule("20-10")], {}),
        ("Port 53: unknown protocol 'icmp'", [rule(53, protocol="icmp")], {}),
        ("Port 53: vrrp has no ports", [rule(53, protocol="vrrp")], {}),
        ("The port '' is malformed", [rule(None)], {}),
        ("vrrp: 'app1' is no address", [rule(None, "app1", protocol="vrrp")], {}),
        ("port 80: '10.0.0.1/24' is no address and no network", [rule(80, "10.0.0.1/24")], {}),
        ("port 80: 'app1' is no address", [rule(80, "app1")], {}),
        ("comment of port 80 cannot be kept", [rule(80, comment='say "hello"')], {}),
        ("comment of port 80 cannot be kept", [rule(80, comment="a\n} flush ruleset")], {}),
        ("comment of port 80 cannot be kept", [rule(80, comment="ä" * 41)], {}),
        ("ssh_from is empty, so that nobody could log in", [], {"ssh_from": []}),
        ("ssh_from: '10.0.0.999' is no address", [], {"ssh_from": ["10.0.0.999"]}),
        ("ssh_ports: there is no port 0", [], {"ssh_ports": [0]}),
        (r"'br-\*-x' is no name of an interface", [], {"container_interfaces": ["br-*-x"]}),
        (r"'\*' is no name of an interface", [], {"container_interfaces": ["*"]}),
        ("'a_name_of_17_char' is no name", [], {"container_interfaces": ["a_name_of_17_char"]}),
        ("name '../x' is malformed", [], {"platform": "../x"}),
    ],
)
def test_what_is_refused(problem: str, rules: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    with pytest.raises(PlatformError, match=problem):
        part(*rules, **changes)


@pytest.mark.parametrize(
    ("text", "session"),
    [
        ("10.0.0.9 50000 10.0.0.11 22", OPERATOR),
        ("fe80::1%eth0 50000 fe80::2%eth0 2222", Session("fe80::1", "fe80::2", 2222)),
        ("::ffff:10.0.0.9 50000 ::ffff:10.0.0.11 22", OPERATOR),
        ("UNKNOWN 65535 UNKNOWN 65535", None),
        ("", None),
    ],
)
def test_the_connection_of_the_run(text: str, session: Session | None) -> None:
    assert session_from(text) == session


NARROW = part(ssh_from=["192.0.2.0/24"])


@pytest.mark.parametrize(
    ("parts", "session", "cut"),
    [
        ([part()], OPERATOR, False),
        ([part(ssh_from=["10.0.0.0/24"])], OPERATOR, False),
        ([NARROW], OPERATOR, True),
        ([NARROW], None, False),
        ([NARROW, part(platform="lab")], OPERATOR, False),
        ([], OPERATOR, False),
        ([part(ssh_ports=[2222])], OPERATOR, True),
        ([part(ssh_ports=[2222])], Session("10.0.0.9", "10.0.0.11", 2222), False),
        ([part(rule("1-100", "10.0.0.9"), ssh_ports=[])], OPERATOR, False),
        ([part(rule("1-100", "10.0.0.8"), ssh_ports=[])], OPERATOR, True),
        ([part(rule("1-100", *EVERYWHERE, protocol="udp"), ssh_ports=[])], OPERATOR, True),
        ([NARROW], Session("127.0.0.1", "127.0.0.1", 22), False),
        ([NARROW], Session("10.0.0.11", "10.0.0.11", 22), False),
        ([part(ssh_from=["0.0.0.0/0"])], Session("fd00::9", "fd00::11", 22), True),
    ],
)
def test_nobody_is_locked_out(parts: list[Part], session: Session | None, cut: bool) -> None:
    if not cut:
        refuse_lockout(parts, session)
        return
    assert session
    with pytest.raises(PlatformError) as caught:
        refuse_lockout(parts, session)
    for word in (session.client, f"port {session.port}", session.server, "firewall_ssh_from", "Nothing was changed"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("uplinks", "caught"),
    [(["eth0", "wg0", "br0"], ""), (["eth0", "br-lan"], "br-lan"), (["docker0"], "docker0"), ([], "")],
)
def test_a_way_out_is_not_taken_for_containers(uplinks: list[str], caught: str) -> None:
    if not caught:
        refuse_open_uplink([part()], uplinks)
        return
    with pytest.raises(PlatformError, match=f"The interface {caught} leads out of this host"):
        refuse_open_uplink([part()], uplinks)


GROUPS = {
    "all": ["app1", "app2", "proxy1", "postgres1", "control1"],
    "app": ["app1", "app2"],
    "proxy": ["proxy1"],
    "postgres": ["postgres1"],
    "control": ["control1"],
    "monitoring": ["control1"],
    "registry": ["control1"],
}
ADDRESSES = {"app1": "10.0.0.11", "app2": "10.0.0.12", "proxy1": "10.0.0.13", "postgres1": "10.0.0.14", "control1": "10.0.0.16"}  # fmt: skip


def rules_of(*group_names: str, addresses: dict[str, str] = ADDRESSES, virtual: bool = False) -> dict[str, list[str]]:
    """Port → sources for a host in these groups, by the services of the role's own defaults."""
    text = (REPOSITORY / "roles/firewall/defaults/main.yml").read_text()
    services = yaml.safe_load(text)["firewall_services"]
    ports = {"postgres_port": 5432, "postgres_pgbackrest_port": 8432, "redis_port": 6379, "registry_port": 5000}
    ports |= {"proxy_http_port": 80, "proxy_https_port": 443, "proxy_metrics_port": 8404}
    for service in services:
        if service.get("protocol") == "vrrp":
            service["from"] = ["proxy"] if virtual else []
            continue
        name = str(service["port"]).strip("{} ").partition(" ")[0]
        service["port"] = ports.get(name, "18000-18511")
    found = firewall_rules(services, group_names, GROUPS, addresses)
    return {rule.get("port", rule["protocol"]): rule["from"] for rule in found}


def test_each_service_is_open_to_those_who_need_it() -> None:
    app, control = ["10.0.0.11", "10.0.0.12"], "10.0.0.16"
    assert rules_of("postgres") == {"5432": [*app, control]}
    assert rules_of("proxy") == {"80": list(EVERYWHERE), "443": list(EVERYWHERE), "8404": [control]}
    assert rules_of("proxy", virtual=True)["vrrp"] == ["10.0.0.13"]
    assert rules_of("app") == {"18000-18511": [control, "10.0.0.13"]}
    (everybody_of_the_inventory,) = rules_of("control", "monitoring", "registry").values()
    assert sorted(everybody_of_the_inventory) == sorted(ADDRESSES.values())
    assert rules_of("monitoring") == {}


def test_a_service_without_clients_is_open_to_nobody() -> None:
    """No host in the group backup: pgBackRest's port must not be open to everybody instead."""
    assert "8432" not in rules_of("postgres")


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="The host app2 has no platform_private_address"):
        rules_of("postgres", addresses={**ADDRESSES, "app2": ""})
