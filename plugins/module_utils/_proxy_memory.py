# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The colour in HAProxy's memory, and a switch that is taken back when nobody confirms it.

`proxy_switch` imports this file, and leaves its text on the proxy's host as a program of its own: `undo.py DIRECTORY TOKEN`. That one works when the
machine that started the release is gone, so it needs Python alone, and imports nothing of this collection.

A provisional switch is in HAProxy's memory only. The map file still names the colour of before, so whatever happens to HAProxy or its host
meanwhile ends there too. The marker beside it says until when somebody has to confirm.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Set
from typing import Any

KEY = "active"
# A colour that is tried, and the share of the clients, in percent, that gets it.
CANARY, SHARE = "canary", "share"
ALL = 100
MAP_FILE = "maps/colour.map"
# The map's name in HAProxy is its path in the container.
MAP_NAME = "/haproxy/maps/colour.map"
# `srv_admin_state` in `show servers state`, and its bits for whatever maintenance.
ADMIN_STATE, MAINTENANCE = 6, 0x01 | 0x02 | 0x04 | 0x20
MARKER = "provisional.json"
UNDONE = "undone.json"
TRIES = 600
TRY_SECONDS = 1.0


def ask(path: str, commands: tuple[str, ...], timeout: float = 5.0) -> str | None:
    """Send commands to a socket of HAProxy on one connection; all that is answered, None where it does not run. OSError where it hangs."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with connection:
            connection.connect(path)
            connection.sendall(("; ".join(commands) + "\n").encode())
            # The master's socket would wait for more.
            connection.shutdown(socket.SHUT_WR)
            parts = iter(lambda: connection.recv(65536), b"")
            return b"".join(parts).decode(errors="replace")
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def old_workers(text: str) -> list[int]:
    """`show proc` of the master: the workers that a reload left to finish their connections."""
    _new, _heading, old = text.partition("# old workers")
    return [int(line.split()[0]) for line in old.partition("#")[0].splitlines() if line.split()]


def parse_map(text: str) -> str | None:
    """The colour in the text of a map, None where there is none."""
    return _entries(text.splitlines()).get(KEY)


def _entries(lines: list[str]) -> dict[str, str]:
    return {words[0]: words[1] for line in reversed(lines) if len(words := line.split()) >= 2 and words[0] != "#"}


def entries_in(text: str) -> dict[str, str]:
    """The answer to `show map`, where each entry is preceded by its address."""
    return _entries([line.partition(" ")[2] for line in text.splitlines()])


def parse_memory(text: str) -> str | None:
    """The colour in the answer to `show map`."""
    return entries_in(text).get(KEY)


def commands(there: dict[str, str], wanted: dict[str, str]) -> tuple[str, ...]:
    """What brings a map to its entries, in an order in which no client goes back and forth: first what all get, then what a share gets."""

    def put(key: str) -> list[str]:
        new = key in wanted and there.get(key) != wanted[key]
        return [f"{'set' if key in there else 'add'} map {MAP_NAME} {key} {wanted[key]}"] if new else []

    gone = [f"del map {MAP_NAME} {key}" for key in (SHARE, CANARY, KEY) if key in there and key not in wanted]
    return (*put(KEY), *gone, *put(CANARY), *put(SHARE))


def serve(directory: str, colour: str | None, canary: str | None = None, share: int = 0) -> None:
    """Give all of them a colour, and a share of them another one that is tried."""
    wanted = {KEY: colour or "", CANARY: canary or "", SHARE: str(share) if canary else ""}
    wanted = {key: value for key, value in wanted.items() if value}
    admin, _master = sockets(directory)
    ready = ready_servers(ask(admin, ("show servers state",)) or "")
    needed = {server for server in ready if server.partition("/")[0].rpartition("_")[2] in wanted.values()}
    tell(directory, MAP_NAME, lambda there: commands(there, wanted), needed)


def ready_servers(text: str) -> set[str]:
    """`show servers state`: backend/server of those that are not in maintenance."""
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {f"{row[1]}/{row[3]}" for row in rows if len(row) > ADMIN_STATE and not int(row[ADMIN_STATE]) & MAINTENANCE}


def sockets(directory: str) -> tuple[str, str]:
    """The one of the worker that serves, and the master's."""
    return os.path.join(directory, "run", "admin.sock"), os.path.join(directory, "run", "master.sock")


def tell(
    directory: str, name: str, todo: Callable[[dict[str, str]], tuple[str, ...]], needed: Set[str] = frozenset()
) -> None:
    """Change a map in memory of the worker that serves, and of those that finish connections after a reload, which would go on as before.

    `todo` makes the commands from the entries that are there. An old worker where one of the servers of `needed` is in maintenance or missing
    keeps what it has: nobody can change servers there any more (HAProxy: "Proxy is disabled").
    """
    admin, master = sockets(directory)
    for worker in old_workers(ask(master, ("show proc",)) or ""):
        if needed and not needed <= ready_servers(ask(master, (f"@!{worker} show servers state",)) or ""):
            continue
        there = entries_in(ask(master, (f"@!{worker} show map {name}",)) or "")
        for command in todo(there):
            ask(master, (f"@!{worker} {command}",))
    if said := todo(in_memory(directory, name)):
        ask(admin, said)


def in_memory(directory: str, name: str = MAP_NAME) -> dict[str, str]:
    """The entries of a map that HAProxy works with now; empty where it does not run or has none."""
    admin, _master = sockets(directory)
    return entries_in(ask(admin, (f"show map {name}",)) or "")


def colour_of_file(directory: str) -> str | None:
    """What serves after a restart."""
    with contextlib.suppress(OSError), open(os.path.join(directory, MAP_FILE), encoding="utf-8") as file:
        return parse_map(file.read())
    return None


def read_json(directory: str, name: str) -> dict[str, Any] | None:
    """The marker or what became of the last one; None where there is none."""
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """While nobody else changes this proxy: the lock of every module that works on the directory."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def take_back(directory: str, marker: dict[str, Any]) -> bool:
    """Serve what the file names again, and forget the marker; whether it was provisional still. Under the lock."""
    confirmed = colour_of_file(directory) == marker["after"]
    if not confirmed:
        serve(directory, marker["before"])
        if marker["after"] in in_memory(directory).values():
            raise OSError(f"HAProxy still serves {marker['after']}")
    # A crash before this line has the next one do it all again, which is the same.
    os.unlink(os.path.join(directory, MARKER))
    return not confirmed


def undo(directory: str, token: str) -> None:
    """Wait until the time of the provisional switch that is there is over, then take it back unless it was confirmed.

    Also one that came after the one this was started for, the next step of a canary: should its own undo never have been started, this one is it.
    """
    while marker := read_json(directory, MARKER):
        left = marker["until"] - time.time()
        if left <= 0:
            break
        time.sleep(min(left, TRY_SECONDS))
    with locked(directory):
        marker = read_json(directory, MARKER)
        if marker and marker["until"] <= time.time() and take_back(directory, marker):
            said = {**marker, "undone_at": time.time(), "why": "nobody confirmed it in time", "by": token}
            with open(os.path.join(directory, UNDONE), "w", encoding="utf-8") as file:
                json.dump(said, file)


def main(directory: str, token: str) -> None:
    for _again in range(TRIES):
        with contextlib.suppress(OSError, ValueError):
            return undo(directory, token)
        time.sleep(TRY_SECONDS)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
