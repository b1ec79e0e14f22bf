# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's firewall says, decided from what each platform on it asks for. Nothing here touches the host."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

TABLE = "inet lastro"
EVERYWHERE = ("0.0.0.0/0", "::/0")
# What the Engine calls its bridges: the first one, Swarm's, and br-<start of the network's ID>.
CONTAINER_INTERFACES = ("docker0", "docker_gwbridge", "br-*")
# By the words nftables has for them; VRRP, by which two hosts agree on an address, has a number alone, and no ports.
PROTOCOLS = {"tcp": "tcp", "udp": "udp", "vrrp": "112"}

_PLATFORM = re.compile(r"[a-z][a-z0-9-]{0,30}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
# 15 characters are the kernel's limit; nftables knows a wildcard at the end only.
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}|[A-Za-z0-9][A-Za-z0-9_.-]{0,13}\*")
# 128 bytes are the kernel's limit for a comment; the platform's name stands in front.
_COMMENT = re.compile(r"[^\x00-\x1f\"\\]{0,80}")

_FRAME = """\
# Kept by lastro.platform.firewall from /etc/lastro/firewall.d: what is changed here is lost.
add table {table}
delete table {table}
table {table} {{
	# Seen from both hooks below. A published port is known by the one that was asked for, before Docker translated it.
	chain allowed {{
{allowed}
	}}

	chain refused {{
		limit rate 10/minute burst 10 packets log prefix "lastro firewall: "
		counter drop
	}}

	chain published {{
		jump allowed
		goto refused
	}}

	chain input {{
		type filter hook input priority filter - 10; policy accept;
		ct state established,related accept
		ct state invalid drop
		iifname "lo" accept
{containers_in}
		icmp type {{ destination-unreachable, echo-request, time-exceeded, parameter-problem }} accept
		icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request }} accept
		icmpv6 type {{ mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report }} accept
		icmpv6 type {{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }} accept
		# The answer to a multicast question belongs to no connection; without it a host loses its address when the lease ends.
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
{ssh}
		jump allowed
		goto refused
	}}

	# Before Docker's own rules, which still see what is accepted here.
	chain forward {{
		type filter hook forward priority filter - 10; policy accept;
		ct state established,related accept
{containers_in}
		ct status dnat goto published
		# A neighbour that routes to a container's own address.
{containers_out}
	}}
}}
"""


@dataclass(frozen=True)
class Rule:
    """Ports (0 for a protocol without), and the addresses that may reach them."""

    first: int
    last: int
    protocol: str
    sources: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class Part:
    """What one platform asks of the host's firewall."""

    platform: str
    rules: tuple[Rule, ...]
    ssh_ports: tuple[int, ...]
    ssh_from: tuple[str, ...]
    container_interfaces: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """The SSH connection that a run came in by, as sshd tells it in SSH_CONNECTION."""

    client: str
    server: str
    port: int


def part_from(platform: str, given: Mapping[str, Any]) -> Part:
    """A platform's part, from the module's options or from the file that keeps them."""
    if not _PLATFORM.fullmatch(platform):
        raise PlatformError(
            f"The platform's name {platform!r} is malformed",
            "Use lower-case letters, digits and -, a letter first, 31 characters at most.",
        )
    ssh_from = _networks("ssh_from", given["ssh_from"])
    ssh_ports = tuple(_port("ssh_ports", port) for port in given["ssh_ports"])
    if ssh_ports and not ssh_from:
        raise PlatformError(
            "ssh_from is empty, so that nobody could log in", "Name the networks of your operators, or leave it out."
        )
    for name in given["container_interfaces"]:
        if not _INTERFACE.fullmatch(name):
            raise PlatformError(
                f"container_interfaces: {name!r} is no name of an interface", 'Give names, or beginnings as "br-*".'
            )
    rules = tuple(_rule(entry) for entry in given["rules"])
    return Part(platform, rules, ssh_ports, ssh_from, tuple(given["container_interfaces"]))


def part_text(part: Part) -> str:
    """The file that keeps a part; `part_from_text` reads it."""
    rules = [
        {"port": _ports(rule), "protocol": rule.protocol, "from": rule.sources, "comment": rule.comment}
        for rule in part.rules
    ]
    kept = {"rules": rules, "ssh_ports": part.ssh_ports, "ssh_from": part.ssh_from}
    return json.dumps({**kept, "container_interfaces": part.container_interfaces}, indent=1) + "\n"


def part_from_text(platform: str, text: str, path: str) -> Part:
    """A part as it was kept, perhaps by another platform's run."""
    try:
        return part_from(platform, json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, PlatformError) as error:
        raise PlatformError(
            f"{path} cannot be read ({type(error).__name__}: {error})",
            f"Deploy the platform {platform} again, or remove the file if there is no such platform any more.",
        ) from error


def _rule(entry: Mapping[str, Any]) -> Rule:
    given, protocol = entry.get("port"), entry["protocol"]
    port = "" if given is None else str(given).strip()
    where = f"port {port}" if port else str(protocol)
    if protocol not in PROTOCOLS:
        raise PlatformError(f"Port {port}: unknown protocol {protocol!r}", "Use tcp, udp or vrrp.")
    if protocol == "vrrp" and port:
        raise PlatformError(f"Port {port}: vrrp has no ports", "Leave the port out.")
    first, last = (0, 0) if protocol == "vrrp" else _range(port)
    comment = entry.get("comment") or ""
    if not _COMMENT.fullmatch(comment) or len(comment.encode()) > 80:
        raise PlatformError(
            f"The comment of {where} cannot be kept by the kernel",
            "Use one line of at most 80 bytes without quotation marks and backslashes.",
        )
    return Rule(first, last, protocol, _networks(where, entry["from"]), comment)


def _range(text: str) -> tuple[int, int]:
    found = _PORTS.fullmatch(text)
    if not found:
        raise PlatformError(f"The port {text!r} is malformed", 'Give a number, or a range as "18000-18511".')
    first = _port("rules", found[1])
    last = _port("rules", found[2] or found[1])
    if first > last:
        raise PlatformError(f"The range of ports {text} ends before it begins", "Turn it round.")
    return first, last


def _port(where: str, value: int | str) -> int:
    if not 1 <= int(value) <= 65535:
        raise PlatformError(f"{where}: there is no port {value}", "Ports go from 1 to 65535.")
    return int(value)


def _networks(where: str, sources: Sequence[str]) -> tuple[str, ...]:
    """The sources without those that others contain: nftables refuses overlaps."""
    networks = []
    for source in sources:
        try:
            networks.append(ipaddress.ip_network(source))
        except ValueError as error:
            raise PlatformError(
                f"{where}: {source!r} is no address and no network ({error})",
                "Give addresses, or networks with their first address, as 10.0.0.7 or 10.0.0.0/24.",
            ) from error
    four = ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv6Network))
    return (*map(str, four), *map(str, six))


def render(parts: Collection[Part]) -> str:
    """The file for `nft -f`: one table with what any of the platforms allows, loaded as a whole or not at all."""
    ordered = sorted(parts, key=lambda part: part.platform)
    interfaces = sorted({name for part in ordered for name in part.container_interfaces})
    return _FRAME.format(
        table=TABLE,
        allowed=_block(line for part in ordered for rule in part.rules for line in _rule_lines(part.platform, rule)),
        ssh=_block(line for part in ordered for line in _ssh_lines(part)),
        containers_in=_block(f'iifname "{name}" accept' for name in interfaces),
        containers_out=_block(f'oifname "{name}" goto refused' for name in interfaces),
    )


def _block(lines: Iterator[str]) -> str:
    return "\n".join(f"\t\t{line}" for line in lines) or "\t\t# None."


def _rule_lines(platform: str, rule: Rule) -> Iterator[str]:
    comment = f"{platform}: {rule.comment}" if rule.comment else platform
    for source in _source_matches(rule.sources):
        ports = f" ct original proto-dst {_ports(rule)}" if rule.last else ""
        yield f'meta l4proto {PROTOCOLS[rule.protocol]}{ports}{source} accept comment "{comment}"'


def _ssh_lines(part: Part) -> Iterator[str]:
    for port in part.ssh_ports:
        for source in _source_matches(part.ssh_from):
            yield f'tcp dport {port}{source} accept comment "{part.platform}: SSH"'


def _source_matches(sources: Sequence[str]) -> Iterator[str]:
    """One match for each address family, none where nobody is meant, an empty one where everybody is."""
    if set(EVERYWHERE) <= set(sources):
        yield ""
        return
    for family, protocol, everybody in (("ip", "ipv4", "0.0.0.0/0"), ("ip6", "ipv6", "::/0")):
        found = [source for source in sources if (":" in source) == (family == "ip6")]
        names = [source.removesuffix("/128" if family == "ip6" else "/32") for source in found]
        if everybody in names:
            yield f" meta nfproto {protocol}"
        elif len(names) == 1:
            yield f" {family} saddr {names[0]}"
        elif names:
            yield f" {family} saddr {{ {', '.join(names)} }}"


def _ports(rule: Rule) -> str:
    if not rule.last:
        return ""
    return str(rule.first) if rule.first == rule.last else f"{rule.first}-{rule.last}"


def session_from(text: str) -> Session | None:
    """The connection named by SSH_CONNECTION; None where that is not an IP connection."""
    try:
        client, _port_of_client, server, port = text.split()
        return Session(str(_address(client)), str(_address(server)), int(port))
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def refuse_lockout(parts: Collection[Part], session: Session | None) -> None:
    """Refuse rules under which the operator could not log in again the way this run did."""
    if session is None or not parts:
        return
    client = ipaddress.ip_address(session.client)
    if client.is_loopback or session.client == session.server:
        return
    for part in parts:
        doors = [(port, port, part.ssh_from) for port in part.ssh_ports]
        doors += [(rule.first, rule.last, rule.sources) for rule in part.rules if rule.protocol == "tcp"]
        if any(first <= session.port <= last and _within(client, sources) for first, last, sources in doors):
            return
    raise PlatformError(
        f"These rules would lock you out: this run came in over SSH from {session.client} to port {session.port} of "
        f"{session.server}, which they do not allow. Nothing was changed",
        "Add the address to firewall_ssh_from and the port to firewall_ssh_ports.",
    )


def _within(client: ipaddress.IPv4Address | ipaddress.IPv6Address, sources: Sequence[str]) -> bool:
    return any(client in ipaddress.ip_network(source) for source in sources)


def refuse_open_uplink(parts: Collection[Part], uplinks: Collection[str]) -> None:
    """Refuse to take an interface that leads outside for one that leads to containers: all of it would be allowed."""
    for part in parts:
        for pattern in part.container_interfaces:
            caught = sorted(name for name in uplinks if fnmatch.fnmatchcase(name, pattern))
            if caught:
                raise PlatformError(
                    f"The interface {caught[0]} leads out of this host, but {pattern!r} in container_interfaces takes "
                    "whatever comes from it for a container's. Nothing was changed",
                    "Rename the interface, or name the Engine's bridges one by one in firewall_container_interfaces.",
                )
