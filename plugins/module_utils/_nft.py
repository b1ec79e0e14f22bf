# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of this host: its files, its systemd unit and the live table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.lastro.platform.plugins.module_utils import _firewall as decide
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

Run = Callable[..., tuple[int, str, str]]

DIRECTORY = "/etc/lastro"
PARTS = "firewall.d"
TABLE_FILE = "firewall.nft"
UNITS = "/etc/systemd/system"
PACKAGE = "nftables"
UNIT = "lastro-firewall.service"

_ENABLED = Path(UNITS, "sysinit.target.wants", UNIT)
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_ENVIRONMENT = {"LC_ALL": "C", "PATH": _PATH}
_LOG_LINES = "10"

# A firewall that systemd declines to start, as it was started often, would be an open host.
_UNIT_TEXT = f"""\
# Kept by lastro.platform.firewall: what is changed here is lost.
[Unit]
Description=Firewall of the lastro platforms on this host
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target
After=nftables.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
StandardInput=null
ProtectSystem=full
ProtectHome=true
ExecStart=/usr/sbin/nft -f {DIRECTORY}/{TABLE_FILE}
ExecReload=/usr/sbin/nft -f {DIRECTORY}/{TABLE_FILE}
ExecStop=-/usr/sbin/nft delete table {decide.TABLE}

[Install]
WantedBy=sysinit.target
"""

# As its commands, not as a dependency between units: a reload that follows a restart at once would overtake it.
_FLUSHER_TEXT = f"""\
# Kept by lastro.platform.firewall: what is changed here is lost.
# The distribution's service flushes the tables of everybody whenever it starts, reloads or stops.
[Service]
ExecStartPost=-/usr/sbin/nft -f {DIRECTORY}/{TABLE_FILE}
ExecReload=-/usr/sbin/nft -f {DIRECTORY}/{TABLE_FILE}
ExecStopPost=-/usr/sbin/nft -f {DIRECTORY}/{TABLE_FILE}
"""

UNIT_FILES = {UNIT: _UNIT_TEXT, "nftables.service.d/lastro-firewall.conf": _FLUSHER_TEXT}


class Missing(PlatformError):
    """A package that the distribution has and this host lacks."""


class Host:
    """Reads and changes the firewall of this host."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def has_nft(self) -> bool:
        return shutil.which("nft", path=_PATH) is not None

    def require_systemd(self) -> None:
        """PlatformError on a host where nothing would load the table at boot."""
        if not os.path.isdir("/run/systemd/system"):
            raise PlatformError(
                "This host does not run systemd, which loads the firewall at boot before the network is up",
                "Use a host with systemd, or set firewall_enabled to false and filter in front of the host.",
            )

    def enabled(self) -> bool:
        """Whether the table is loaded at boot."""
        return os.path.lexists(_ENABLED)

    def live(self) -> str:
        """The table in the kernel without its counters, in nft's own words; empty where there is none."""
        code, out, error = self._run(["nft", "-s", "list", "table", *decide.TABLE.split()], environ_update=_ENVIRONMENT)
        if code and "No such file or directory" not in error:
            raise PlatformError(f"nft cannot list the table: {error.strip()}", "Load the kernel's module nf_tables.")
        return "" if code else out

    def meaning(self, text: str) -> str:
        """What `live` would say of a table with this text: it is loaded into a network namespace of its own for it.

        So a table that this kernel refuses never reaches the host, and versions of nft may word a table as they like.
        """
        script = f"nft -f - && nft -s list table {decide.TABLE}"
        command = ["unshare", "--net", "sh", "-c", script]
        code, out, error = self._run(command, data=text, environ_update=_ENVIRONMENT)
        if code:
            raise PlatformError(
                f"The table cannot be loaded: {error.strip()[-600:]}. Nothing was changed",
                "Correct the rule it names; where it names none, load the kernel's modules nf_tables and nft_ct.",
            )
        return out

    def uplinks(self) -> set[str]:
        """Interfaces that lead out of this host: those of a default route, and bridges that hold a network card."""
        return {*_default_routes(), *_bridges_with_cards()}

    def session(self) -> decide.Session | None:
        """The SSH connection of this run. sudo hides it from its child, not from the shell it was called by."""
        for variables in _environments(os.getpid()):
            if "SSH_CONNECTION" in variables:
                return decide.session_from(variables["SSH_CONNECTION"])
        return None

    def load(self) -> None:
        """Have the unit load the file, in one transaction: where it fails, the old table stays."""
        self._systemctl("daemon-reload")
        self._systemctl("enable", UNIT)
        self._systemctl("reload-or-restart", UNIT)

    def unload(self) -> None:
        """Delete the table, for good."""
        if os.path.exists(f"{UNITS}/{UNIT}"):
            self._systemctl("disable", "--now", UNIT)
        if self.has_nft and self.live():
            self._run(["nft", "delete", "table", *decide.TABLE.split()], check_rc=True, environ_update=_ENVIRONMENT)

    def forget_unit(self) -> None:
        """Have systemd forget a unit whose file is gone."""
        self._systemctl("daemon-reload")

    def _systemctl(self, *words: str) -> None:
        code, out, error = self._run(["systemctl", *words], environ_update=_ENVIRONMENT)
        if code:
            journal = ["journalctl", "--no-pager", "-u", UNIT, "-n", _LOG_LINES, "-o", "cat"]
            log = self._run(journal, environ_update=_ENVIRONMENT)[1]
            raise PlatformError(
                f"`systemctl {' '.join(words)}` failed: {(error or out).strip()}\n{log.strip()}\nThe table that was "
                "loaded before is still in force",
                f"Remove the cause named there (`systemctl cat {UNIT}` shows what runs) and run again.",
            )


def _default_routes() -> Iterator[str]:
    # Interface, destination and mask, both in hexadecimal.
    for line in _lines("/proc/net/route")[1:]:
        fields = line.split()
        if fields[1] == fields[7] == "00000000":
            yield fields[0]
    # Destination and prefix length first, the interface last. The kernel's own reject route is on lo.
    for line in _lines("/proc/net/ipv6_route"):
        fields = line.split()
        if fields[0] == "0" * 32 and fields[1] == "00" and fields[-1] != "lo":
            yield fields[-1]


def _bridges_with_cards() -> Iterator[str]:
    for port in Path("/sys/class/net").glob("*/brif/*"):
        if (Path("/sys/class/net") / port.name / "device").exists():
            yield port.parent.parent.name


def _environments(pid: int) -> Iterator[dict[str, str]]:
    """The environment of a process, of its parent, and so on."""
    while pid > 1:
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        yield dict(line.split("=", 1) for line in raw.split("\0") if "=" in line)
        pid = int(stat.rpartition(")")[2].split()[1])


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
