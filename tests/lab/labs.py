"""Start, find and remove labs. What a lab is stands in labels on the machine's Engine, its keys in the cache folder."""

from __future__ import annotations

import ipaddress
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab import faults, golden, host, image, inventory, network
from tests.lab.host import LABEL, Host, Place
from tests.lab.image import Variant
from tests.lab.lab import CONTROLLER, REPOSITORY, Lab
from tests.lab.machine import LabError, cache, docker, lock, run

# What a host has: Docker with this machine's lastro/* images, Docker alone, or nothing.
CONTENTS = ("images", "engine", "bare")
# Strangers have addresses far from those of the inventory, which stay the same whoever is added.
_FIRST_STRANGER = 200
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


@dataclass(frozen=True)
class Wanted:
    """A lab to be: an inventory, which of its hosts (none named: all), and what is on them.

    `strangers` are hosts on the same network that are in no inventory.
    """

    source: Path
    hosts: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    suite: str = "trixie"
    contents: str = "images"
    disk_gb: int = 20

    @property
    def variant(self) -> Variant:
        """The kind of its hosts."""
        return Variant(self.suite, docker=self.contents != "bare", ssh=True)

    @property
    def labels(self) -> dict[str, str]:
        """What does not change while a lab runs."""
        kind = f"{self.suite} {self.contents} {self.disk_gb} GB"
        return {f"{LABEL}.source": str(self.source.resolve()), f"{LABEL}.kind": kind}


@dataclass(frozen=True)
class Row:
    """One host in `status`."""

    lab: str
    host: str
    address: str
    state: str
    lease_minutes: int


def up(name: str, wanted: Wanted) -> Lab:
    """Start a lab, or bring one that runs to what is wanted: hosts that are there stay, others go."""
    listing = inventory.read(wanted.source)
    kept = inventory.select(listing, wanted.hosts)
    known = inventory.hosts(listing)
    check_names(name, [*known, *wanted.strangers])
    # Before the network, so that a lab that cannot be had leaves nothing behind.
    image.reference(wanted.variant)
    fill = golden.filler() if wanted.contents == "images" else None
    with lock("hosts"):
        _sweep()
        _own_network(name, wanted)
    subnet = network.subnet(name)
    addresses = {member: network.host_address(subnet, known.index(member)) for member in kept}
    for index, stranger in enumerate(wanted.strangers):
        addresses[stranger] = network.host_address(subnet, _FIRST_STRANGER + index)
    host.down(*[container(name, row.host) for row in rows(name) if row.host not in addresses])

    lab = Lab(name, wanted.source, {member: Host(container(name, member)) for member in addresses}, addresses)
    public = _key(lab)
    with ThreadPoolExecutor(len(addresses)) as pool:
        keys = list(pool.map(lambda member: _start(lab, member, wanted, fill, public), addresses))
    pinned = [f"{address} {key}\n" for address, key in zip(addresses.values(), keys, strict=True)]
    lab.access.known_hosts.write_text("".join(pinned))
    inventory.write_overlay(lab.access.overlay, {member: addresses[member] for member in kept}, lab.access)
    if kept == known:
        shutil.rmtree(lab.access.selection, ignore_errors=True)
    else:
        inventory.write_selection(lab.access.selection, wanted.source, listing, kept)
    return lab


def down(name: str) -> None:
    """Remove a lab with its disks and keys; no error where there is none."""
    host.down(*[container(name, row.host) for row in rows(name)])
    network.remove(name)
    shutil.rmtree(cache() / "labs" / name, ignore_errors=True)


def find(name: str | None = None) -> Lab:
    """A running lab by its name; without one, the only lab there is."""
    names = network.labs()
    if name not in names and (name or len(names) != 1):
        problem = f"There is no lab {name}" if name else "Which lab?"
        raise LabError(f"{problem} Running: {', '.join(names) or 'none'}. Start one: python -m tests.lab lab-up prod")
    name = name or names[0]
    found = {row.host: row for row in rows(name)}
    hosts = {member: Host(container(name, member)) for member in found}
    source = Path(network.labels(name)[f"{LABEL}.source"])
    return Lab(name, source, hosts, {member: row.address for member, row in found.items()})


def rows(name: str | None = None) -> list[Row]:
    """The hosts of a lab, or of all labs, by address."""
    keys = [f"{LABEL}.{key}" for key in ("lab", "host", "address", "until")]
    form = "\t".join([*['{{.Label "' + key + '"}}' for key in keys], "{{.State}}"])
    only = f"label={LABEL}.lab={name}" if name else f"label={LABEL}.lab"
    lines = docker("ps", "-a", "--filter", f"label={LABEL}={cache()}", "--filter", only, "--format", form).splitlines()
    found = []
    for line in lines:
        lab, member, address, until, state = line.split("\t")
        found.append(Row(lab, member, address, state, int(int(until) - time.time()) // 60))
    return sorted(found, key=lambda row: (row.lab, ipaddress.ip_address(row.address)))


def container(lab: str, member: str) -> str:
    """The name of a host's container."""
    return f"lt-{lab}-{member}"


def source(text: str) -> Path:
    """An inventory by its name in this clone, or by its path."""
    ours = REPOSITORY / "inventories" / text
    return ours if "/" not in text and ours.exists() else Path(text)


def check_names(lab: str, members: list[str]) -> None:
    """Names become names of containers and of host names."""
    for name in (lab, *members):
        if not _NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a lab or a host in one: use up to 24 of a-z, 0-9 and hyphens")
    if CONTROLLER in members or len(set(members)) < len(members):
        raise LabError(f"Names of hosts are {CONTROLLER!r} or not unique: {', '.join(members)}")


def _sweep() -> None:
    """Remove what killed or forgotten runs left. The caller holds the lock."""
    host.sweep()
    network.sweep()
    running = network.labs()
    for folder in (cache() / "labs").glob("*"):
        if folder.name not in running:
            shutil.rmtree(folder)


def _own_network(name: str, wanted: Wanted) -> None:
    there = network.labels(name)
    if not there:
        network.create(name, wanted.labels)
    for key, value in wanted.labels.items():
        if there and there[key] != value:
            raise LabError(
                f"The lab {name} runs with {there[key]}, not with {value}. "
                f"Remove it first (python -m tests.lab lab-down {name}) or give this one another --name."
            )


def _key(lab: Lab) -> str:
    """The public key of a lab's controller, made at its first start."""
    folder = lab.access.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lab.access.control_socket("").mkdir(mode=0o700, exist_ok=True)
    if not lab.access.key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab.name}", "-f", lab.access.key)
    return lab.access.key.with_suffix(".pub").read_text()


def _start(lab: Lab, member: str, wanted: Wanted, fill: Callable[[Path], None] | None, public: str) -> str:
    """Start a host, or leave it running; its public key."""
    name, address = lab.hosts[member].name, lab.addresses[member]
    if docker("ps", "-aq", "--filter", f"name=^/{name}$"):
        faults.resume(lab.hosts[member])
        faults.power_on(lab.hosts[member])
    else:
        labels = {f"{LABEL}.lab": lab.name, f"{LABEL}.host": member, f"{LABEL}.address": address}
        host.up(name, wanted.variant, fill, Place(network.name(lab.name), address, member, wanted.disk_gb, labels))
    script = (
        "install -d -m 0700 /root/.ssh && umask 077 && cat >/root/.ssh/authorized_keys && cut -d' ' -f1,2 " + _HOST_KEY
    )
    return lab.hosts[member].run("sh", "-c", script, stdin=public).stdout.strip()
