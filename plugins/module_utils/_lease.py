# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run may change a platform: its lease on the hosts of the proxy, and the fence on every host (docs/decisions/lease.md).

`lease.json` in the platform's directory is both. The fence is the number of the newest run that the host knows; it never falls. Where the
run holds the lease, the file says until when, by this host's own clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import ManagedFile, StackDirectory

FILE = "lease.json"
LOCK = "lease.lock"
POLL_SECONDS = 0.1
# How long to wait for changes of a run that has no lease any more, and for another process that reads or writes the file.
DRAIN_SECONDS = 300.0
FILE_SECONDS = 30.0
# A clock that is corrected by less than this was not set back.
CLOCK_SECONDS = 60.0
# The option `lease` of a module that changes something; documented in plugins/doc_fragments/lease.py.
LEASE_SPEC: dict[str, Any] = {
    "type": "dict",
    "options": {
        "directory": {"type": "path", "required": True},
        "run": {"type": "str", "required": True},
        "number": {"type": "int", "required": True},
    },
}


@dataclass(frozen=True)
class Lease:
    """The newest run that a host knows. `until` is 0 where that run holds no lease: it never had one here, or gave it back."""

    number: int
    run: str
    until: float = 0
    since: float = 0
    seconds: float = 0
    # Who it is, from where, what it does: `who`, `where`, `doing`; `process` tells its controller whether it is alive.
    holder: dict[str, Any] = field(default_factory=dict)

    def holds(self, now: float) -> bool:
        """Whether it lasts still. One that ends later than it could was taken before the clock was set back, and is over."""
        return now < self.until <= now + self.seconds + CLOCK_SECONDS

    def said(self) -> str:
        """Who that is, in words."""
        known = {"who": "somebody", "where": "somewhere", "doing": "a run", **self.holder}
        return f"run {self.number} ({known['doing']}, by {known['who']} from {known['where']}, since {utc(self.since)})"


class Held(PlatformError):
    """Another run holds the lease."""

    def __init__(self, lease: Lease, now: float) -> None:
        self.lease = lease
        ends = lease.until
        super().__init__(
            f"This platform is being changed by {lease.said()}",
            f"Wait: its lease ends at {utc(ends)}, in {ends - now:.0f} s, unless it goes on. If you know that it is dead, take its"
            f" place: -e platform_lease_take_over={lease.number}. Whatever it tries afterwards is refused.",
        )


def utc(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(when))


def read(directory: str) -> Lease | None:
    """What this host knows; None where no run with a lease was here yet."""
    content = StackDirectory(directory).read(FILE)
    if content is None:
        return None
    try:
        return Lease(**json.loads(content))
    except (TypeError, ValueError):
        raise PlatformError(
            f"{os.path.join(directory, FILE)} says nothing of a lease", "Remove it when no deploy runs, then run again."
        ) from None


def granted(found: Lease | None, wanted: Lease, take_over: int, now: float) -> Lease:
    """The lease for a run that asks for it; Held where another has it. `take_over` is the number of a run that is known to be dead.

    `wanted.number` is the highest number that the platform's hosts know: this one's is higher.
    """
    if found and found.run == wanted.run:
        number = found.number
    elif found and found.holds(now) and found.number != take_over:
        raise Held(found, now)
    else:
        number = max(found.number if found else 0, wanted.number) + 1
    return replace(wanted, number=number, since=now, until=now + wanted.seconds)


def passed(found: Lease | None, run: str, number: int, now: float) -> Lease:
    """What the host knows after a change of this run, which is refused where a newer one was here."""
    if found and found.run == run:
        # Hosts that did not know each other gave the run different numbers; it carries the highest.
        own = replace(found, number=max(found.number, number))
        return replace(own, until=now + found.seconds) if found.until else own
    if not found or (number > found.number and not found.holds(now)):
        return Lease(number, run)
    raise PlatformError(
        f"This run, number {number}, lost its lease to {found.said()}",
        "Nothing was changed here. See what that one did (playbooks/status.yml), then deploy again if it is needed still.",
    )


def _lock(path: str, kind: int, wait: float) -> int:
    """The handle of a lock on a file or directory; it goes with its process. OSError where somebody else has it for too long."""
    handle = os.open(path, os.O_RDONLY | (0 if os.path.isdir(path) else os.O_CREAT), 0o600)
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                raise
            time.sleep(POLL_SECONDS)


def _change(directory: str, decide: Callable[[Lease | None], Lease | None]) -> Lease | None:
    """Read, decide, write, alone."""
    path = os.path.join(directory, LOCK)
    try:
        handle = _lock(path, fcntl.LOCK_EX, FILE_SECONDS)
    except BlockingIOError:
        raise PlatformError(
            f"Another process has had {path} for {FILE_SECONDS:g} s", "Find it (`fuser`), then run again."
        ) from None
    try:
        found = read(directory)
        decided = decide(found)
        if decided and decided != found:
            try:
                StackDirectory(directory).write(ManagedFile(FILE, json.dumps(asdict(decided)).encode(), 0o644, 0, 0))
            except OSError:
                # A full disk ends no run that is at work already, least of all one that goes back: its lease is not renewed, and no more.
                if not found or found.run != decided.run:
                    raise
        return decided
    finally:
        os.close(handle)


@contextlib.contextmanager
def _drained(directory: str, seconds: float) -> Iterator[int]:
    """While no change of any run is under way on this host; what is yielded is the handle of the lock."""
    try:
        handle = _lock(directory, fcntl.LOCK_EX, seconds)
    except BlockingIOError:
        raise PlatformError(
            f"A change of a run that has no lease any more has been under way here for {seconds:g} s",
            "Let it end, or find its process (`ps -ef | grep -i ansible`) and end it, then run again.",
        ) from None
    try:
        yield handle
    finally:
        os.close(handle)


def take(directory: str, wanted: Lease, take_over: int, drain: float = DRAIN_SECONDS) -> Lease:
    """Become the run that may change this host, once no change of another is under way on it."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    # First without the lock of the changes: it is refused at once where somebody works.
    granted(read(directory), wanted, take_over, time.time())
    with _drained(directory, drain):
        taken = _change(directory, lambda found: granted(found, wanted, take_over, time.time()))
    if taken is None:
        raise AssertionError("`granted` answers or raises")
    return taken


def fence(directory: str, run: str, number: int, drain: float = DRAIN_SECONDS) -> None:
    """Keep every older run out of this host, once what it has under way is done."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    with _drained(directory, drain):
        _change(directory, lambda found: passed(found, run, number, time.time()))


def renew(directory: str, run: str) -> None:
    """Have the lease of this run last its full time from now on, where it has it still."""
    if os.path.isdir(directory):
        _change(
            directory,
            lambda found: (
                replace(found, until=time.time() + found.seconds)
                if found and found.run == run and found.until
                else None
            ),
        )


def give_back(directory: str, run: str) -> None:
    """End the lease of this run; the fence stays."""
    if os.path.isdir(directory):
        _change(directory, lambda found: replace(found, until=0) if found and found.run == run else None)


@contextlib.contextmanager
def held(lease: Mapping[str, Any] | None, check_mode: bool) -> Iterator[None]:
    """While a run changes this host: refused where it lost its lease, and nobody takes it meanwhile. Renews it where it is held.

    Without `lease`, or in check mode, there is nothing to hold.
    """
    if lease is None or check_mode:
        yield
        return
    directory, run, number = lease["directory"], lease["run"], lease["number"]
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        known = read(directory)
        if not known or known.run != run:
            # The first change of this run here: those of older ones end before it begins.
            fence(directory, run, number)
        handle = _lock(directory, fcntl.LOCK_SH, DRAIN_SECONDS)
    except BlockingIOError:
        raise PlatformError(
            f"Another run has been taking the lease here for {DRAIN_SECONDS:g} s", "Run again."
        ) from None
    except OSError as error:
        raise of_the_host(error, directory) from error
    try:
        try:
            _change(directory, lambda found: passed(found, run, number, time.time()))
        except OSError as error:
            raise of_the_host(error, directory) from error
        yield
    finally:
        os.close(handle)


def require(lease: Mapping[str, Any] | None, check_mode: bool) -> None:
    """As `held`, for what takes long and changes nothing that serves, an image that is built for example: nobody waits for it."""
    with held(lease, check_mode):
        pass
