"""What happens to hosts in production, done to one host of the lab and nothing else."""

from __future__ import annotations

import subprocess

from tests.lab.host import BOOT_SECONDS, Host, booted
from tests.lab.image import Variant
from tests.lab.machine import LabError, docker

BOOT_ID = "/proc/sys/kernel/random/boot_id"
# boot.sh mounts it; /var/lib/lastro and the Engine's volumes lie on it.
DISK = "/var/lib/lab"


def state(host: Host) -> str:
    """What its container does: running, paused, exited and so on."""
    return docker("inspect", "--format", "{{.State.Status}}", host.name)


def drop(host: Host, source: str) -> None:
    """Lose every packet that arrives from an address, on its way to the host or to a container on it."""
    if not _firewall(host, "--check", source):
        inserted = _firewall(host, "--insert", source)
        if not inserted:
            raise LabError(f"{host.name}: no rule against {source}. Is iptables on this machine, with its table raw?")


def accept(host: Host, source: str) -> None:
    """Take packets from an address again."""
    while _firewall(host, "--delete", source):
        pass


def hang(host: Host) -> None:
    """Stop all its processes; its network still answers the way a kernel does."""
    if state(host) == "running":
        docker("pause", host.name)


def resume(host: Host) -> None:
    """Let a host that hangs go on."""
    if state(host) == "paused":
        docker("unpause", host.name)


def power_off(host: Host) -> None:
    """Kill everything on it at once; its disk stays."""
    if state(host) != "exited":
        docker("kill", "--signal", "KILL", host.name)


def power_on(host: Host) -> None:
    """Boot a host that is off, and wait until it is up."""
    docker("start", host.name)
    host.wait("boot", lambda: booted(host, Variant()), BOOT_SECONDS)


def reboot(host: Host) -> None:
    """Shut it down properly from inside, and wait until it is up again."""
    before = host.run("cat", BOOT_ID).stdout
    host.run("systemctl", "reboot", check=False)

    def anew() -> bool:
        return host.run("cat", BOOT_ID, check=False).stdout not in ("", before)

    host.wait("a new boot", anew, BOOT_SECONDS)
    host.wait("boot", lambda: booted(host, Variant()), BOOT_SECONDS)


def fill(host: Host, leave_mb: int = 0) -> None:
    """Leave so much space on its disk; blocks are only reserved, so the machine's disk loses none."""
    free(host)
    blocks = leave_mb * 256
    script = f"""
    left() {{ df --output=avail --block-size=4K {DISK} | tail -n 1; }}
    fallocate --length $((($(left) - {blocks}) * 4096)) {DISK}/fill
    [ $(left) -le {blocks} ]"""
    if host.run("sh", "-c", script, check=False).returncode:
        raise LabError(f"{host.name}: filling its disk left {_free_mb(host)} MB")


def free(host: Host) -> None:
    """Give the space back."""
    if host.run("mountpoint", "-q", DISK, check=False).returncode:
        raise LabError(f"{host.name} has no disk of its own to fill. Hosts of a lab have: python -m tests.lab lab-up")
    host.run("rm", "--force", f"{DISK}/fill")


def _free_mb(host: Host) -> int:
    return int(host.run("df", "--output=avail", "--block-size=1M", DISK).stdout.split()[-1])


def _firewall(host: Host, action: str, source: str) -> bool:
    """Whether iptables did it, in the host's network namespace and in a table that neither Docker nor a role writes to."""
    pid = docker("inspect", "--format", "{{.State.Pid}}", host.name)
    if pid == "0":
        raise LabError(f"{host.name} is off and has no network to cut. Start it first: power-on")
    rule = ("--table", "raw", action, "PREROUTING", "--source", source, "--jump", "DROP")
    words = ["nsenter", "--target", pid, "--net", "iptables", "--wait", *rule]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
