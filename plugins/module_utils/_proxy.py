# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy of one host: what serves, what should, and the steps between that can each be the last of a killed run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _haproxy as haproxy
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_candidate as candidate
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_memory as memory
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_mode
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_provisional as provisional
from ansible_collections.lastro.platform.plugins.module_utils._colour import COLOURS, Decision, decide, render_map
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
    parse_file,
)

STATE_FILE = "run/servers.state"
POLL_SECONDS = 0.1
# After a reload no connection is idle for longer: `timeout http-keep-alive` at most, and one more.
IDLE_SECONDS = 16


@dataclass(frozen=True)
class Seen:
    """The proxy as it is: `runtime` and `servers` are HAProxy's own words, None and empty while it does not run."""

    has_file: bool
    file: str | None
    runtime: str | None
    running: bool
    servers: list[haproxy.Server]
    # A colour that is tried, and by how many percent of the clients.
    canary: str | None = None
    share: int = 0


class Proxy:
    """The proxy of one host: its directory and its sockets."""

    def __init__(self, directory: str, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.directory = StackDirectory(directory)
        self.admin = haproxy.Admin(os.path.join(directory, "run/admin.sock"))
        self.master = haproxy.Admin(os.path.join(directory, "run/master.sock"))
        self.clock = clock
        self.sleep = sleep

    def read(self) -> Seen:
        """One look: two small files and one connection."""
        text = self.directory.read(memory.MAP_FILE)
        answer = self.admin.ask(f"show map {memory.MAP_NAME}", "show servers state")
        entries, mark, servers = (answer or "").partition("# be_id")
        map_now = memory.entries_in(entries)
        file = memory.parse_map((text or b"").decode())
        return Seen(
            has_file=text is not None,
            file=file,
            runtime=map_now.get(memory.KEY),
            running=answer is not None,
            servers=haproxy.parse_servers(mark + servers),
            canary=map_now.get(memory.CANARY),
            share=int(map_now.get(memory.SHARE, 0)),
        )

    def since(self) -> int | None:
        """When the map file was written: of two proxies that differ the later one knows what was decided last."""
        try:
            return int(os.stat(os.path.join(self.directory.path, memory.MAP_FILE)).st_mtime)
        except FileNotFoundError:
            return None

    def maintenance(self) -> set[tuple[str, str]]:
        """Backend and server of those that the state file holds in maintenance."""
        text = (self.directory.read(STATE_FILE) or b"").decode()
        return {(s.backend, s.name) for s in haproxy.parse_servers(text) if s.state == "maintenance"}

    def set_states(self, servers: list[haproxy.Server], state: str) -> None:
        if servers:
            answer = self.admin.ask(*(f"set server {s.backend}/{s.name} state {state}" for s in servers)) or ""
            if answer.strip():
                raise PlatformError(f"HAProxy did not set servers to {state}: {answer.strip()}")

    def wait_up(self, colour: str, serving: str | None, timeout: float) -> None:
        deadline = self.clock() + timeout
        while late := haproxy.not_ready(self.read().servers, colour):
            if self.clock() >= deadline:
                now = f"{serving} goes on serving" if serving else "nothing serves"
                raise PlatformError(
                    f"{colour} was not switched to, {now}: after {timeout:g} s {', '.join(late)}",
                    "Look at the containers of these servers and at the health path of their route.",
                )
            self.sleep(POLL_SECONDS)

    def old_workers(self) -> list[int]:
        """Those that finish what was open in them at a reload."""
        return memory.old_workers(self.master.ask("show proc") or "")

    def open_on(self, servers: Sequence[haproxy.Server]) -> int:
        """Sessions on these servers, those of old workers too."""
        answers = [self.admin.ask("show stat") or ""]
        answers += [self.master.ask(f"@!{worker} show stat") or "" for worker in self.old_workers()]
        return sum(haproxy.open_sessions(text, servers) for text in answers)

    def may_be_asked(self, colour: str | None) -> bool:
        """Whether an old worker that could not follow the switch to this colour may get a request still, on a connection that is idle."""
        if haproxy.uptime_seconds(self.admin.ask("show info") or "") > IDLE_SECONDS:
            return False
        for worker in self.old_workers():
            answer = self.master.ask(f"@!{worker} show map {memory.MAP_NAME}") or ""
            if memory.parse_memory(answer) != colour and haproxy.connections(
                self.master.ask(f"@!{worker} show stat") or ""
            ):
                return True
        return False

    def wait_drained(self, timeout: float) -> int:
        """Until nothing is open on servers in maintenance, nor will be, or the time is over: how much is open then."""
        deadline = self.clock() + timeout
        now = self.read()
        resting = [server for server in now.servers if server.state == "maintenance"]
        while ((left := self.open_on(resting)) or self.may_be_asked(now.runtime)) and self.clock() < deadline:
            self.sleep(POLL_SECONDS)
        return left

    def write_map(self, colour: str | None) -> None:
        self.directory.ensure(ManagedDirectory("maps", 0o755, 0, 0))
        self.directory.write(ManagedFile(memory.MAP_FILE, render_map(colour).encode(), 0o644, 0, 0))

    def write_state(self, servers: list[haproxy.Server], newcomers: Iterable[tuple[str, str]] = ()) -> None:
        states = {(s.backend, s.name): s.state == "maintenance" for s in servers}
        text = haproxy.render_state({**states, **dict.fromkeys(sorted(newcomers), True)})
        self.directory.write(ManagedFile(STATE_FILE, text.encode(), 0o644, 0, 0))

    def set_map(self, colour: str | None, canary: str | None = None, share: int = 0) -> None:
        """In memory; then read back."""
        try:
            memory.serve(self.directory.path, colour, canary, share)
        except OSError as error:
            raise PlatformError(
                f"HAProxy does not answer: {error}", "Look at the log of the proxy's container."
            ) from error
        now = self.read()
        if (now.runtime, now.canary, now.share) != (colour, canary, share):
            if now.runtime is not None and not provisional.pending(self.directory):
                self.write_map(now.runtime)
            tried = f" and {canary} to {share} % of the clients" if canary else ""
            raise PlatformError(
                f"HAProxy still serves {now.runtime} after it was told to serve {colour}{tried}",
                "Look at the log of the proxy's container, and whether its configuration is the role's own.",
            )


@dataclass(frozen=True)
class Plan:
    """What differs from what is wanted."""

    decision: Decision
    ready: list[haproxy.Server]
    rest: list[haproxy.Server]
    write_map: bool
    write_state: bool
    # In memory only, until somebody confirms it.
    provisional: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.write_map or self.write_state or self.ready or self.rest)


def plan(seen: Seen, kept: set[tuple[str, str]], options: dict[str, Any]) -> Plan:
    decision = decide(seen.file, seen.runtime, options["colour"])
    of_slots = haproxy.want_slots(seen.servers, options["slots"], options["hosts"])
    wanted = haproxy.want_like(seen.servers, options["servers"]) if options["servers"] else of_slots
    there = {(s.backend, s.name) for s in seen.servers}
    tentative = options["state"] == "provisional" and decision.switches
    if tentative:
        # What serves now has to be able to do so again.
        wanted = {server: ready for server, ready in wanted.items() if ready or server.colour == decision.after}
    down = {(s.backend, s.name) for s in seen.servers if not wanted.get(s, s.state != "maintenance")}
    return Plan(
        decision=decision,
        provisional=tentative,
        ready=[s for s, ready in wanted.items() if ready and s.state in ("maintenance", "drain")],
        rest=[s for s, ready in wanted.items() if not ready and s.state != "maintenance"],
        write_map=not seen.has_file or seen.file != decision.after or (seen.running and seen.runtime != decision.after),
        write_state=seen.running and down != kept & there,
    )


def refuse_share(share: int) -> None:
    if not 1 <= share <= memory.ALL:
        raise PlatformError(f"A share of {share} % is none", "Give a number from 1 to 100; 100 serves everybody.")


def refuse(seen: Seen, decision: Decision, slots: dict[str, dict[str, int]]) -> None:
    """Stop before anything is changed where the wish cannot be fulfilled."""
    if not seen.running and decision.switches:
        raise PlatformError(
            f"HAProxy does not run, so {decision.after} cannot be checked before it serves",
            "Start the proxy (role lastro.platform.proxy), then switch.",
        )
    if seen.running and (problems := haproxy.unknown_slots(seen.servers, slots)):
        raise PlatformError(
            f"The proxy's configuration lacks what is asked for: {'; '.join(problems)}",
            "Run the role lastro.platform.proxy with the routes of this release first.",
        )


def refuse_unknown(decision: Decision, wanted: str | None, directory: str) -> None:
    """Somebody wrote into the map what is no colour: nobody may guess which one it should be."""
    if decision.before and decision.before not in COLOURS and not wanted:
        raise PlatformError(
            f"The proxy is told to serve {decision.before}, which is no colour, so it serves nothing",
            "See which colour runs on the hosts of the application (`docker ps`), and have it served:"
            f" ansible proxy -b -m lastro.platform.proxy_switch -a 'directory={directory} colour={COLOURS[0]}'",
        )


def refuse_outage(seen: Seen, decision: Decision, given: dict[str, Any] | None) -> None:
    """The colour that serves runs where the configuration of now says, until another one is switched to."""
    if not given or given["outage"]:
        return
    if lost := haproxy.left_without(seen.servers, decision.before, new_config(given)):
        raise PlatformError(
            f"The new configuration leaves {decision.before}, which serves, without the servers it has: {', '.join(lost)}",
            "A changed app_port_base, a renamed service or an address that moved does this. Take it back, or accept that"
            " nothing is served until the release is switched to: -e proxy_allow_outage=true",
        )


def new_config(candidate: dict[str, Any] | None) -> str:
    """The text of the configuration that is about to be written; empty where none is."""
    files = candidate["files"] if candidate else []
    return "".join(file["content"] for file in files if file["path"] == "config/haproxy.cfg")


def apply(proxy: Proxy, seen: Seen, todo: Plan, options: dict[str, Any]) -> None:
    decision = todo.decision
    if decision.repair and seen.runtime is not None:
        proxy.write_map(seen.runtime)
    proxy.set_states(todo.ready, "ready")
    if decision.after and decision.switches:
        # Slots of the new colour that stay empty: nobody uses them yet, and nobody waits for them.
        proxy.set_states([s for s in todo.rest if s.backend.endswith(f"_{decision.after}")], "maint")
        proxy.wait_up(decision.after, decision.before, options["wait_timeout"])
    if todo.provisional and decision.after:
        share = options["share"]
        provisional.arm(
            proxy.directory, decision.before, decision.after, options["release"], options["undo_seconds"], share
        )
        if share == memory.ALL or decision.before is None:
            proxy.set_map(decision.after)
        else:
            proxy.set_map(decision.before, decision.after, share)
    elif todo.write_map:
        proxy.write_map(decision.after)
        if decision.after and seen.running and seen.runtime != decision.after:
            proxy.set_map(decision.after)
    proxy.set_states(todo.rest, "maint")
    if todo.write_state or todo.ready or todo.rest:
        proxy.write_state(proxy.read().servers)


def settled(proxy: Proxy, seen: Seen, options: dict[str, Any], check_mode: bool) -> tuple[Seen, dict[str, Any] | None]:
    """The proxy without a switch that is provisional still, but for the one that is to be confirmed now; and the one that was taken back."""
    switch = provisional.pending(proxy.directory)
    if options["state"] == "confirmed":
        if switch and switch.after == options["colour"] and seen.runtime == switch.after:
            if not check_mode:
                proxy.write_map(switch.after)
                provisional.confirm(proxy.directory, switch)
            return replace(seen, has_file=True, file=switch.after), None
        if not check_mode and (switch or seen.runtime != options["colour"]):
            why = provisional.undone(proxy.directory) or f"HAProxy serves {seen.runtime or 'nothing'}"
            raise PlatformError(
                f"{options['colour']} can't be confirmed: {why}",
                "Read why, then release again: nothing is in the way of it.",
            )
    if not switch:
        if seen.canary and not check_mode:
            # Nobody's: an undo that could not be armed, or a hand.
            proxy.set_map(seen.runtime)
            return proxy.read(), {"release": "", "before": seen.runtime, "after": seen.canary}
        return seen, None
    if options["state"] == "provisional" and goes_on(switch, options):
        return seen, None
    if check_mode:
        back = switch.before if seen.runtime == switch.after != seen.file else seen.runtime
        return replace(seen, runtime=back), None
    taken_back = provisional.settle(proxy.directory, switch)
    return proxy.read(), {
        "release": switch.release,
        "before": switch.before,
        "after": switch.after,
    } if taken_back else None


def goes_on(switch: provisional.Provisional, options: dict[str, Any]) -> bool:
    """Whether what is asked for is the next step of the canary that is under way."""
    same = (switch.after, switch.release) == (options["colour"], options["release"])
    return same and switch.share < options["share"]


def picture(colour: str | None, maintenance: set[tuple[str, str]]) -> str:
    """For the diff."""
    lines = sorted(f"{backend}/{name} maintenance" for backend, name in maintenance)
    return "\n".join([*([f"{memory.KEY} {colour}"] if colour else []), *lines]) + "\n"


def run(options: dict[str, Any], check_mode: bool, proxy: Proxy) -> dict[str, Any]:
    """Read, compare, (check mode ends), act, read back."""
    options = {**options, "slots": parse_slots(options["slots"] or {})}
    refuse_share(options["share"])
    with contextlib.nullcontext() if check_mode else proxy.directory.locked():
        found, kept = proxy.read(), proxy.maintenance()
        seen, undone = settled(proxy, found, options, check_mode)
        todo = plan(seen, kept, options)
        refuse_unknown(todo.decision, options["colour"], proxy.directory.path)
        refuse_outage(seen, todo.decision, options["candidate"])
        newcomers = haproxy.newcomers(seen.servers, new_config(options["candidate"])) - kept
        if not check_mode:
            _proxy_mode.ensure(proxy.directory)
            refuse(seen, todo.decision, options["slots"])
            if todo.changed:
                apply(proxy, seen, todo, options)
            try_candidate(options)
            if newcomers:
                # HAProxy takes a server that it has not checked yet for up, and would send requests to one that is not there.
                proxy.write_state(proxy.read().servers, newcomers)
    # Without the lock: what is left open is nobody else's business.
    left = (
        proxy.wait_drained(options["drain_seconds"])
        if options["drain_seconds"] and seen.running and not check_mode
        else 0
    )
    now = found if check_mode else proxy.read() if todo.changed else seen
    before = {(s.backend, s.name) for s in seen.servers if s.state == "maintenance"}
    after = (before | newcomers | {(s.backend, s.name) for s in todo.rest}) - {(s.backend, s.name) for s in todo.ready}
    return {
        "changed": todo.changed or bool(newcomers) or bool(undone) or seen.file != found.file,
        "since": proxy.since(),
        "active": {"before": todo.decision.before, "after": todo.decision.after},
        "map": {"file": now.file, "runtime": now.runtime},
        "canary": {"colour": now.canary, "share": now.share} if now.canary else None,
        "provisional": told(provisional.pending(proxy.directory)),
        "undone": undone,
        "running": seen.running,
        "servers": haproxy.table(now.servers),
        "slots": haproxy.ready_slots(now.servers),
        "open_sessions": left,
        "diff": {"before": picture(found.file, before), "after": picture(todo.decision.after, after)},
    }


def told(switch: provisional.Provisional | None) -> dict[str, Any] | None:
    """A switch that waits to be confirmed, as the module returns it."""
    if not switch:
        return None
    told_of = ("release", "before", "after", "share")
    return {**{name: getattr(switch, name) for name in told_of}, "until": round(switch.until)}


def try_candidate(options: dict[str, Any]) -> None:
    """After the map is in order, as the configuration names it."""
    given = options["candidate"]
    if given:
        files = [parse_file(entry) for entry in given["files"]]
        if candidate.changed(options["directory"], files):
            candidate.require_accepted(
                Engine(options["engine"]), options["directory"], given["image"], given["user"], files
            )


def parse_slots(slots: dict[str, Any]) -> dict[str, dict[str, int]]:
    """`slots` in numbers; anything else is refused."""
    try:
        parsed = {colour: {name: int(count) for name, count in (of or {}).items()} for colour, of in slots.items()}
    except (AttributeError, TypeError, ValueError):
        parsed = {"": {}}
    if set(parsed) - set(COLOURS) or any(count < 0 for of in parsed.values() for count in of.values()):
        raise PlatformError(
            "slots is not colour → service → number of ready slots", "For example {green: {web: 2}, blue: {web: 0}}."
        )
    return parsed
