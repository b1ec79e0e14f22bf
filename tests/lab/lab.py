"""A running lab: hosts by their names in an inventory, reached over SSH like any others, and what can happen to them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tests.lab import faults, host, inventory, network
from tests.lab.host import Host
from tests.lab.inventory import Access
from tests.lab.machine import LabError, cache

REPOSITORY = Path(__file__).resolve().parents[2]
# The machine itself, on which Ansible runs, as a peer that hosts can be cut from.
CONTROLLER = "controller"


@dataclass(frozen=True)
class Lab:
    """The hosts of a lab, with their addresses."""

    name: str
    source: Path
    hosts: dict[str, Host]
    addresses: dict[str, str]

    @property
    def access(self) -> Access:
        """Its keys, inventories and shared connections."""
        return Access(cache() / "labs" / self.name)

    @property
    def inventories(self) -> tuple[Path, Path]:
        """The operator's inventory, or what was selected of it, and the overlay."""
        selection = self.access.selection
        return (selection if selection.exists() else self.source, self.access.overlay)

    @property
    def arguments(self) -> list[str]:
        """What a command of Ansible needs to reach this lab."""
        return [word for source in self.inventories for word in ("-i", str(source))]

    def ansible(
        self, program: str, *arguments: str, check: bool = True, timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of Ansible against the lab, from the clone; both streams in one."""
        done = subprocess.run(
            [inventory.tool(program), *self.arguments, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise LabError(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        return done

    def run_playbook(
        self, playbook: str, *arguments: str, check: bool = True, timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """`ansible-playbook` with the lab's inventories."""
        return self.ansible("ansible-playbook", playbook, *arguments, check=check, timeout=timeout)

    def host(self, name: str) -> Host:
        """A host by its name in the inventory."""
        if name not in self.hosts:
            raise LabError(f"No host {name} in the lab {self.name}; it has: {', '.join(self.hosts)}")
        return self.hosts[name]

    def logs(self, name: str) -> str:
        """What a host has to say."""
        return host.logs(self.host(name).name)

    def cut(self, one: str, other: str) -> None:
        """Cut two hosts from each other, both directions, until `heal`. A host that reboots forgets its half."""
        self._both_ways(faults.drop, one, other)

    def heal(self, one: str, other: str) -> None:
        """Join two hosts that were cut from each other."""
        self._both_ways(faults.accept, one, other)

    def heal_all(self) -> None:
        """Join all hosts; those that are off have forgotten already."""
        on = [name for name, member in self.hosts.items() if faults.state(member) != "exited"]
        for one, other in combinations([*on, CONTROLLER], 2):
            self.heal(one, other)

    def hang(self, name: str) -> None:
        """Stop all processes of a host."""
        faults.hang(self._forgotten(name))

    def resume(self, name: str) -> None:
        """Let a host that hangs go on."""
        faults.resume(self.host(name))

    def power_off(self, name: str) -> None:
        """Take a host's power away."""
        faults.power_off(self._forgotten(name))

    def power_on(self, name: str) -> None:
        """Boot a host that is off."""
        faults.power_on(self.host(name))

    def reboot(self, name: str) -> None:
        """Reboot a host from inside."""
        faults.reboot(self._forgotten(name))

    def fill(self, name: str, leave_mb: int = 0) -> None:
        """Fill the disk of a host, but for so many MB."""
        faults.fill(self.host(name), leave_mb)

    def free(self, name: str) -> None:
        """Give the space back."""
        faults.free(self.host(name))

    def _both_ways(self, act: Callable[[Host, str], None], one: str, other: str) -> None:
        known = {**self.addresses, CONTROLLER: network.gateway(network.subnet(self.name))}
        for name in {one, other} - {CONTROLLER}:
            self.host(name)
        for name, peer in ((one, other), (other, one)):
            if name != CONTROLLER:
                act(self._forgotten(name), known[peer])

    def _forgotten(self, name: str) -> Host:
        """A host that the next command connects to anew: Ansible would wait for a shared connection that is dead."""
        self.access.control_socket(name).unlink(missing_ok=True)
        return self.host(name)
