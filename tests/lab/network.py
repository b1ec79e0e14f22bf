"""Networks of labs: a bridge of its own for each, with addresses that stay."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import time
from collections.abc import Iterable, Iterator

from tests.lab.host import LABEL, LEASE_SECONDS, Place
from tests.lab.machine import LabError, cache, docker, lock, run

Network = ipaddress.IPv4Network
RANGE = Network("10.91.0.0/16")
_PREFIX = 24
# The first addresses are left to the bridge and to whoever adds something by hand.
_FIRST_HOST = 10
# The network of single hosts with a lasting address. It stays, as the Engine's own bridge does.
_LASTING = "lt-lasting"


def name(lab: str) -> str:
    """The network of a lab on the machine's Engine."""
    return f"lt-{lab}"


def free_subnet(taken: Iterable[Network]) -> Network:
    """The first subnet for a lab that overlaps nothing."""
    used = list(taken)
    for subnet in RANGE.subnets(new_prefix=_PREFIX):
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise LabError(f"Every subnet of {RANGE} is taken. Remove a lab: python -m tests.lab lab-down NAME")


def host_address(subnet: Network, index: int) -> str:
    """The address of a lab's n-th host."""
    if _FIRST_HOST + index >= subnet.num_addresses - 1:
        raise LabError(f"A lab has {subnet.num_addresses - 1 - _FIRST_HOST} hosts at most")
    return str(subnet[_FIRST_HOST + index])


def gateway(subnet: Network) -> str:
    """The machine's own address on a lab's network."""
    return str(subnet[1])


def labs() -> list[str]:
    """The labs that run."""
    rows = docker("network", "ls", "--filter", f"label={LABEL}={cache()}", "--format", "{{.Name}}").splitlines()
    return sorted(row.removeprefix("lt-") for row in rows)


def labels(lab: str) -> dict[str, str]:
    """What the network of a lab says about it; empty where there is no such lab."""
    found = docker("network", "ls", "-q", "--filter", f"label={LABEL}={cache()}", "--filter", f"name=^{name(lab)}$")
    return dict(json.loads(docker("network", "inspect", found))[0]["Labels"]) if found else {}


def subnet(lab: str) -> Network:
    """The addresses of a lab."""
    form = "{{(index .IPAM.Config 0).Subnet}}"
    return Network(docker("network", "inspect", "--format", form, name(lab)))


def create(lab: str, about: dict[str, str]) -> None:
    """Make the network of a lab. The caller holds the lock, so no other lab chooses the same addresses."""
    chosen = free_subnet(_taken())
    lease = {LABEL: str(cache()), f"{LABEL}.until": str(int(time.time()) + LEASE_SECONDS)}
    words = [word for key, value in {**lease, **about}.items() for word in ("--label", f"{key}={value}")]
    docker("network", "create", "--subnet", str(chosen), "--gateway", gateway(chosen), *words, name(lab))


@contextlib.contextmanager
def lasting_place(host: str) -> Iterator[Place]:
    """A place for a host of no lab that keeps its address when it starts again, to be taken before the block ends.

    On the Engine's bridge a host that starts gets the lowest address that is free just then, and is another one to its neighbours.
    """
    with lock("lasting"):
        if not docker("network", "ls", "--quiet", "--filter", f"name=^{_LASTING}$"):
            chosen = free_subnet(_taken())
            docker("network", "create", "--subnet", str(chosen), "--gateway", gateway(chosen), _LASTING)
        hosts = docker("ps", "--all", "--quiet", "--filter", f"network={_LASTING}").split()
        form = '{{(index .NetworkSettings.Networks "' + _LASTING + '").IPAMConfig.IPv4Address}}'
        taken = docker("inspect", "--format", form, *hosts).split() if hosts else []
        own = subnet(_LASTING.removeprefix("lt-"))
        free = next(address for index in range(256) if (address := host_address(own, index)) not in taken)
        yield Place(_LASTING, free, host, 0, {})


def remove(lab: str) -> None:
    """Remove the network of a lab; no error where there is none."""
    if labels(lab):
        docker("network", "rm", name(lab))


def sweep() -> None:
    """Remove networks whose lease is over. The Engine keeps one that still has hosts; the next sweep takes it."""
    form = '{{.Name}} {{.Label "' + LABEL + '.until"}}'
    for row in docker("network", "ls", "--filter", f"label={LABEL}={cache()}", "--format", form).splitlines():
        network, until = row.split()
        if int(until) < time.time():
            docker("network", "rm", network, check=False)


def routed(table: str) -> list[Network]:
    """The destinations of the machine's routes, out of `ip -json route`; the default route takes no addresses."""
    destinations = [route["dst"] for route in json.loads(table)]
    return [Network(destination, strict=False) for destination in destinations if destination != "default"]


def _taken() -> list[Network]:
    """Networks of the Engine (a bridge that is down has no route) and of the machine."""
    networks = docker("network", "ls", "-q", "--filter", "driver=bridge").split()
    form = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
    subnets = docker("network", "inspect", "--format", form, *networks).split()
    return [Network(text) for text in subnets if ":" not in text] + routed(run("ip", "-json", "-4", "route"))
