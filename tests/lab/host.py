"""Start, use and remove nested hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import image
from tests.lab.image import Variant
from tests.lab.machine import DOCKER, LabError, cache, docker, lock, resolver, run

LABEL = "lastro.lab"
# A host older than this belongs to a run that was killed, or that somebody forgot.
LEASE_SECONDS = 3 * 3600
# Sixteen hosts that boot at once share two cores.
BOOT_SECONDS = 120
_FLAGS = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm", "--cgroupns=private"),
    *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),
)


@dataclass(frozen=True)
class Place:
    """Where a host stands: its network with a fixed address, its own name, and the size of its disk (0: the machine's)."""

    network: str
    address: str
    hostname: str
    disk_gb: int
    labels: dict[str, str]

    def flags(self) -> list[str]:
        """Options of `docker run`. A host that reboots ends its container, which the Engine then starts again."""
        # The Engine's own resolver answers at a loopback address, which containers inside the host cannot reach.
        names = ("--hostname", self.hostname, "-v", f"{resolver()}:/etc/resolv.conf:ro")
        labels = [word for key, value in self.labels.items() for word in ("--label", f"{key}={value}")]
        return ["--restart=unless-stopped", "--network", self.network, "--ip", self.address, *names, *labels]


@dataclass(frozen=True)
class Host:
    """A running nested host, known by the name of its container."""

    name: str

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as root on the host."""
        words = [DOCKER, "exec", *(["-i"] if stdin is not None else []), self.name, *command]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise LabError(
                f"{self.name}: `{' '.join(command)}` ({done.returncode}): {done.stdout}{done.stderr}".strip()
            )
        return done

    @property
    def address(self) -> str:
        """Its address on the machine's bridge."""
        return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name)

    @property
    def disk(self) -> Path:
        """The folder behind its /var/lib/docker."""
        return disk(self.name)

    def wait(self, what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Until a condition holds; LabError with the host's log where it does not in time."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise LabError(f"{self.name}: {what} not reached in {seconds:g} s\n{logs(self.name)}")
            time.sleep(0.1)


def disk(name: str) -> Path:
    """Where the Docker data root of a host is kept: overlayfs needs a real file system below it."""
    return cache() / "hosts" / name


def up(
    name: str,
    variant: Variant | None = None,
    fill: Callable[[Path], None] | None = None,
    place: Place | None = None,
) -> Host:
    """Start a host, in the place of one with the same name, and wait until it has booted.

    `fill` puts something into its Docker data root before it starts. Without a place it stands on the Engine's bridge.
    """
    variant = variant or Variant()
    ref = image.reference(variant)
    with lock("hosts"):
        sweep()
        _remove(name)
        root = disk(name)
        root.mkdir(parents=True)
        if fill:
            fill(root)
        labels = ("--label", f"{LABEL}={cache()}", "--label", f"{LABEL}.until={int(time.time()) + LEASE_SECONDS}")
        init = {"systemd": ("--stop-signal", "SIGRTMIN+3"), "none": ("--init",)}.get(variant.init, ())
        if place and place.disk_gb:
            _make_disk(root / "lab.img", place.disk_gb)
        stand = place.flags() if place else ["--restart=no", "--hostname", name]
        docker("run", "-d", "--name", name, *_FLAGS, *stand, *labels, *init, "-v", f"{root}:/var/lib/docker", ref)
    host = Host(name)
    host.wait("boot", lambda: booted(host, variant), BOOT_SECONDS)
    return host


def down(*names: str) -> None:
    """Remove hosts with their disks; no error where there are none."""
    with lock("hosts"):
        _remove(*names)


def sweep(now: float | None = None) -> list[str]:
    """Remove hosts whose lease is over and disks without a host. The caller holds the lock."""
    form = '{{.Names}} {{.Label "' + LABEL + '.until"}}'
    rows = docker("ps", "-a", "--filter", f"label={LABEL}={cache()}", "--format", form).splitlines()
    until = {name: int(end) for name, end in (row.split() for row in rows)}
    folders = {path.name for path in (cache() / "hosts").glob("*")}
    gone = leftovers(until, folders, time.time() if now is None else now)
    _remove(*gone)
    return gone


def leftovers(until: dict[str, int], disks: set[str], now: float) -> list[str]:
    """Which hosts to remove, given the end of each one's lease and the disks that exist."""
    return sorted({name for name, end in until.items() if end < now} | (disks - set(until)))


def logs(name: str, lines: int = 60) -> str:
    """What a host has to say: its journal or Engine log, and the logs of its containers that do not run well."""
    script = f"""
    if [ -d /run/systemd/system ]; then systemctl --failed --no-legend; journalctl --no-pager -n {lines}
    else tail -n {lines} /var/log/docker.log; fi
    for id in $(docker ps -aq --filter status=exited --filter status=restarting --filter health=unhealthy); do
        docker inspect -f '--- {{{{.Name}}}} {{{{.State.Status}}}} {{{{.State.ExitCode}}}}' "$id"; docker logs --tail 40 "$id"
    done"""
    questions = [[DOCKER, "logs", "--tail", "20", name], [DOCKER, "exec", name, "sh", "-c", script]]
    answers = [subprocess.run(words, capture_output=True, text=True, check=False) for words in questions]
    return "\n".join(f"{done.stdout}{done.stderr}" for done in answers).strip()


def booted(host: Host, variant: Variant) -> bool:
    """Whether init has started everything, and the Engine where there is one."""
    if docker("inspect", "--format", "{{.State.Running}}", host.name) != "true":
        raise LabError(f"{host.name} stopped while booting: {logs(host.name)}")
    if variant.init == "systemd":
        # Waiting inside asks once: questions to many hosts, every tenth of a second, are what slows their boots.
        question = ("timeout", "30", "systemctl", "is-system-running", "--wait")
        state = host.run(*question, check=False).stdout.strip()
        started = state in ("running", "degraded")
    else:
        started = host.run("mountpoint", "-q", "/run", check=False).returncode == 0
    if started and variant.docker and variant.init == "systemd":
        return host.run("docker", "version", check=False).returncode == 0
    return started


def _make_disk(image: Path, gigabytes: int) -> None:
    """A file system with an end, in a file that takes no room; boot.sh mounts it."""
    with image.open("wb") as handle:
        handle.truncate(gigabytes * 2**30)
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", image)


def _remove(*names: str) -> None:
    there = docker("ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}}").splitlines()
    if gone := [name for name in names if name in there]:
        docker("rm", "--force", "--volumes", *gone)
    run("rm", "-rf", *[disk(name) for name in names])
