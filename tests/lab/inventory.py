"""Inventories for a lab: the operator's own one, with nothing but addresses and access laid over it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.machine import LabError

# What `ansible-inventory --list` prints.
Listing = dict[str, Any]
_VARIABLES = ("group_vars", "host_vars")


@dataclass(frozen=True)
class Access:
    """How the controller reaches the hosts of a lab: files in the lab's folder."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key; the public one is beside it."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The pinned keys of the hosts."""
        return self.folder / "known_hosts"

    @property
    def overlay(self) -> Path:
        """The inventory that says how to reach the hosts, and nothing else."""
        return self.folder / "inventory"

    @property
    def selection(self) -> Path:
        """What was selected of the operator's inventory, where not all of it."""
        return self.folder / "selection"

    def control_socket(self, host: str) -> Path:
        """The shared connection to a host. Addresses come back in other labs, so it must not be Ansible's own."""
        return self.folder / "ssh" / host

    def variables(self, host: str, address: str) -> dict[str, str]:
        """What the overlay says of a host."""
        options = {
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "ControlPath": self.control_socket(host),
        }
        return {
            "ansible_host": address,
            "platform_private_address": address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(f"-o {key}={value}" for key, value in options.items()),
        }


def read(source: Path) -> Listing:
    """Groups, hosts and the variables that stand beside them."""
    if not source.exists():
        raise LabError(f"There is no inventory {source}")
    done = subprocess.run(
        [tool("ansible-inventory"), "--inventory", str(source), "--list", "--export"],
        # Files of group_vars and host_vars stay unread: they may be encrypted, and a lab needs no vault password.
        env={**os.environ, "ANSIBLE_VARS_ENABLED": "", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"Reading the inventory {source} failed: {done.stderr.strip()}")
    listing: Listing = json.loads(done.stdout)
    return listing


def tool(name: str) -> str:
    """A program of the Python environment this process runs in."""
    program = Path(sys.executable).parent / name
    if not program.exists():
        raise LabError(f"{program} is missing. Use the Python of the clone's environment: .venv/bin/python")
    return str(program)


def hosts(listing: Listing) -> list[str]:
    """All hosts, in the order in which the inventory names them."""
    names: dict[str, None] = {}
    for group in _groups(listing):
        names.update(dict.fromkeys(listing.get(group, {}).get("hosts", [])))
    return list(names)


def select(listing: Listing, wanted: Sequence[str]) -> list[str]:
    """The wanted hosts in the inventory's order, all of them where none is named."""
    known = hosts(listing)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not known:
        raise LabError(f"No host {', '.join(unknown)} in the inventory; it has: {', '.join(known) or 'none'}")
    return [host for host in known if host in wanted] if wanted else known


def selection(listing: Listing, kept: Sequence[str], folder: Path) -> Listing:
    """The inventory with the kept hosts alone, as a source of its own.

    `--limit` would leave the others in their groups, and so in every list of addresses. Groups stay when they are
    empty: playbooks ask for them. `folder` is the inventory's, whose files its variables may name.
    """
    variables = listing["_meta"]["hostvars"]
    children: dict[str, Any] = {}
    for group in _groups(listing):
        about = listing.get(group, {})
        children[group] = {
            "hosts": {host: {} for host in about.get("hosts", []) if host in kept},
            "vars": about.get("vars", {}),
            "children": {child: {} for child in about.get("children", [])},
        }
    del children["all"], children["ungrouped"]
    everywhere = {host: {**variables.get(host, {}), "inventory_dir": str(folder)} for host in kept}
    return {"all": {"vars": listing["all"].get("vars", {}), "hosts": everywhere, "children": children}}


def write_selection(target: Path, source: Path, listing: Listing, kept: Sequence[str]) -> None:
    """Put a selection into a folder, with the variable files of the inventory it was made from."""
    folder = source if source.is_dir() else source.parent
    _empty(target)
    (target / "hosts.json").write_text(json.dumps(selection(listing, kept, folder), indent=2))
    for name in _VARIABLES:
        if (folder / name).is_dir():
            (target / name).symlink_to(folder / name)


def write_overlay(target: Path, addresses: dict[str, str], access: Access) -> None:
    """Put the overlay into a folder: JSON, which Ansible reads as YAML.

    The variables stand in host_vars: those of the last inventory win over all others, wherever they stand there.
    """
    _empty(target)
    (target / "hosts.json").write_text(json.dumps({"all": {"hosts": {host: {} for host in addresses}}}, indent=2))
    (target / "host_vars").mkdir()
    for host, address in addresses.items():
        (target / "host_vars" / f"{host}.json").write_text(json.dumps(access.variables(host, address), indent=2))


def _groups(listing: Listing) -> list[str]:
    """All groups, empty ones too, in the inventory's order."""
    names: dict[str, None] = {"all": None}
    for group in ("all", *[name for name in listing if name != "_meta"]):
        names.update(dict.fromkeys([group, *listing.get(group, {}).get("children", [])]))
    return list(names)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
