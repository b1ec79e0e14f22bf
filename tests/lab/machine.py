"""What the lab takes from the machine it runs on: its Engine, its mirror, its extra CAs, a cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

DOCKER = "/usr/bin/docker"
SITE_CAS = Path("/usr/local/share/ca-certificates")
# Settings of apt that say how this site reaches its mirror; a host inside needs the same ones.
_APT_SETTINGS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")


class LabError(Exception):
    """A nested host cannot be had; the text says why and what to do."""


def run(*command: str | Path, stdin: str | None = None, check: bool = True) -> str:
    """Standard output of a command; LabError with its last words where it fails."""
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        words = " ".join(str(word) for word in command[:4])
        raise LabError(f"`{words} …` failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def docker(*words: str | Path, check: bool = True) -> str:
    """The Docker client on the machine's own Engine."""
    return run(DOCKER, *words, check=check).strip()


def cache() -> Path:
    """The folder of images, golden data roots and the disks of running hosts."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "lastro" / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """One process at a time; the kernel lets go when the holder dies."""
    with (cache() / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def mirror(suite: str) -> list[str]:
    """The sources of a suite, as one-line entries, from the mirror this machine is configured with.

    A machine that is not Debian names its mirror in LASTRO_LAB_MIRROR.
    """
    # The only question about sources that apt answers before any list was downloaded.
    listing = run("apt-get", "--print-uris", "update")
    found = re.findall(r"^'(\S+)/dists/([^/']+)/InRelease'", listing, re.MULTILINE)
    return sources(suite, found, os.environ.get("LASTRO_LAB_MIRROR"))


def sources(suite: str, configured: list[tuple[str, str]], override: str | None = None) -> list[str]:
    """Entries of a suite, its updates and its security updates, given the configured (URI, release) pairs."""
    debian = ("bookworm", "trixie")
    main = override or next((uri for uri, release in configured if release in debian), None)
    if main is None:
        raise LabError("This machine has no Debian mirror configured. Name one: LASTRO_LAB_MIRROR=http://…/debian")
    security = next((uri for uri, release in configured if release in [f"{name}-security" for name in debian]), None)
    entries = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    return entries + ([f"deb {security} {suite}-security main"] if security else [])


def apt_settings() -> str:
    """The lines of apt's configuration that a host inside needs to reach the same mirror."""
    lines = run("apt-config", "dump", *_APT_SETTINGS).splitlines()
    return "".join(f"{line}\n" for line in lines if not line.endswith('"";'))


def resolver() -> Path:
    """The file that names this machine's name servers, not the one of a resolver that only the machine itself reaches."""
    upstream = Path("/run/systemd/resolve/resolv.conf")
    return upstream if upstream.exists() else Path("/etc/resolv.conf")


def site_cas() -> list[Path]:
    """The certificates an operator of this site would add to each host."""
    return sorted(SITE_CAS.glob("*.crt"))
