#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_switch
short_description: Choose the colour the proxy serves, and which of its servers take part
version_added: 0.1.0
description:
  - The only writer of the proxy's colour map. It runs on the proxy host and speaks to HAProxy's admin socket.
  - Without O(colour) it only brings things in order. The map is created when missing; where the map file and what HAProxy has
    in memory differ (a run was killed in between), memory is what serves and is written to the file.
  - A switch sets servers ready, waits until HAProxy's own checks find each ready server of the new colour up, writes the
    map file, then HAProxy's memory (that of workers still finishing after a reload, too), reads it back, and only then
    puts servers into maintenance. If the servers do not come up, nothing was switched and the module fails.
  - Which servers are in maintenance is kept in HAProxy's state file, so it survives reload and restart.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Reads and says what would change. Servers are not waited for and O(candidate) is not tried.
  diff_mode:
    support: full
    description: Shows the colour and the servers in maintenance.
  idempotent:
    support: full
    description: A second run sends one read to the admin socket.
options:
  directory:
    description: Directory of the proxy's stack, with C(maps/) and C(run/).
    type: path
    required: true
  colour:
    description: The colour to serve. What serves is kept when not given.
    type: str
    choices: [blue, green]
  initial:
    description: The colour of a map that is created.
    type: str
    choices: [blue, green]
    default: blue
  slots:
    description:
      - How many slots are ready, counted from the first, as colour → service → number, on each host. The others of that service
        and colour go into maintenance. What is not named is left as it is.
    type: dict
  hosts:
    description: Names of the hosts whose servers O(slots) is about. All when not given.
    type: list
    elements: str
    default: []
  wait_timeout:
    description: Seconds to wait for the servers of a new colour.
    type: float
    default: 10
  candidate:
    description:
      - Files that are about to be written to O(directory). If one differs from what is there, HAProxy is asked in a
        container of its own whether it accepts them. The module fails when it does not, and writes nothing.
    type: dict
    suboptions:
      image:
        description: HAProxy's image.
        type: str
        required: true
      user:
        description: Numeric user and group of the proxy.
        type: str
        default: "99:99"
      files:
        description: As O(ignore:files) of M(lastro.platform.stack).
        type: list
        elements: dict
        required: true
        suboptions:
          path:
            description: Path in the directory, below C(config/) or C(secrets/).
            type: str
            required: true
          content:
            description: Content of the file.
            type: str
            required: true
          mode:
            description: Octal mode.
            type: str
          owner:
            description: Numeric C(uid:gid).
            type: str
          secret:
            description: Whether the content is secret.
            type: bool
            default: false
  engine:
    description: The Docker Engine's socket, for O(candidate).
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Bring map and memory in order
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy

- name: Serve green, with two web servers a host
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    colour: green
    slots:
      green: {web: 2}

- name: Take the old colour out once it is drained
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    slots:
      blue: {web: 0}
"""

RETURN = r"""
active:
  description: The colour served before and after. C(before) is null where there was none.
  type: dict
  returned: success
  sample: {before: blue, after: green}
map:
  description: The colour in the map file and in HAProxy's memory at the end, null where there is none.
  type: dict
  returned: success
  sample: {file: green, runtime: green}
running:
  description: Whether HAProxy answered on its admin socket.
  type: bool
  returned: success
  sample: true
servers:
  description: State of each server at the end, as backend → server → C(up), C(unchecked), C(down), C(drain) or C(maintenance).
  type: dict
  returned: success
  sample: {web_blue: {"dev-0:18000": up, "dev-1:18001": maintenance}}
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _haproxy as haproxy
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_candidate as candidate
from ansible_collections.lastro.platform.plugins.module_utils._colour import (
    COLOURS,
    KEY,
    Decision,
    decide,
    parse_map,
    render_map,
)
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedDirectory,
    ManagedFile,
    StackDirectory,
    parse_file,
)

MAP_FILE = "maps/colour.map"
STATE_FILE = "run/servers.state"
# The map's name in HAProxy is its path in the container.
MAP_NAME = f"{candidate.MOUNTS['maps']}/colour.map"
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Seen:
    """The proxy as it is: `runtime` and `servers` are HAProxy's own words, None and empty while it does not run."""

    file: str | None
    runtime: str | None
    running: bool
    servers: list[haproxy.Server]


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
        text = (self.directory.read(MAP_FILE) or b"").decode()
        answer = self.admin.ask(f"show map {MAP_NAME}", "show servers state")
        entries, mark, servers = (answer or "").partition("# be_id")
        # In memory each entry is preceded by its address.
        runtime = parse_map("\n".join(line.partition(" ")[2] for line in entries.splitlines()))
        return Seen(parse_map(text), runtime, answer is not None, haproxy.parse_servers(mark + servers))

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
                raise PlatformError(
                    f"{colour} was not switched to, {serving} goes on serving: after {timeout:g} s {', '.join(late)}",
                    "Look at the containers of these servers and at the health path of their route.",
                )
            self.sleep(POLL_SECONDS)

    def write_map(self, colour: str) -> None:
        self.directory.ensure(ManagedDirectory("maps", 0o755, 0, 0))
        self.directory.write(ManagedFile(MAP_FILE, render_map(colour).encode(), 0o644, 0, 0))

    def write_state(self, servers: list[haproxy.Server]) -> None:
        text = haproxy.render_state({(s.backend, s.name): s.state == "maintenance" for s in servers})
        self.directory.write(ManagedFile(STATE_FILE, text.encode(), 0o644, 0, 0))

    def set_map(self, colour: str, present: bool) -> None:
        """In memory of the worker that serves, and of those that finish connections after a reload; then read back."""
        command = f"{'set' if present else 'add'} map {MAP_NAME} {KEY} {colour}"
        for worker in haproxy.parse_old_workers(self.master.ask("show proc") or ""):
            self.master.ask(f"@!{worker} {command}")
        self.admin.ask(command)
        runtime = self.read().runtime
        if runtime != colour:
            if runtime is not None:
                self.write_map(runtime)
            raise PlatformError(
                f"HAProxy still serves {runtime} after it was told to serve {colour}",
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

    @property
    def changed(self) -> bool:
        return bool(self.write_map or self.write_state or self.ready or self.rest)


def plan(seen: Seen, kept: set[tuple[str, str]], options: dict[str, Any]) -> Plan:
    decision = decide(seen.file, seen.runtime, options["colour"], options["initial"])
    wanted = haproxy.want_slots(seen.servers, options["slots"], options["hosts"])
    there = {(s.backend, s.name) for s in seen.servers}
    down = {(s.backend, s.name) for s in seen.servers if not wanted.get(s, s.state != "maintenance")}
    return Plan(
        decision=decision,
        ready=[s for s, ready in wanted.items() if ready and s.state in ("maintenance", "drain")],
        rest=[s for s, ready in wanted.items() if not ready and s.state != "maintenance"],
        write_map=seen.file != decision.after or (seen.running and seen.runtime != decision.after),
        write_state=seen.running and down != kept & there,
    )


def refuse(seen: Seen, decision: Decision, slots: dict[str, dict[str, int]]) -> None:
    """Stop before anything is changed where the wish cannot be fulfilled."""
    if not seen.running and seen.file is not None and decision.switches:
        raise PlatformError(
            f"HAProxy does not run, so {decision.after} cannot be checked before it serves",
            "Start the proxy (role lastro.platform.proxy), then switch.",
        )
    if seen.running and (problems := haproxy.unknown_slots(seen.servers, slots)):
        raise PlatformError(
            f"The proxy's configuration lacks what is asked for: {'; '.join(problems)}",
            "Run the role lastro.platform.proxy with the routes of this release first.",
        )


def apply(proxy: Proxy, seen: Seen, todo: Plan, options: dict[str, Any]) -> None:
    decision = todo.decision
    if decision.repair and seen.runtime is not None:
        proxy.write_map(seen.runtime)
    proxy.set_states(todo.ready, "ready")
    if decision.switches:
        proxy.wait_up(decision.after, decision.before, options["wait_timeout"])
    if todo.write_map:
        proxy.write_map(decision.after)
        if seen.running and seen.runtime != decision.after:
            proxy.set_map(decision.after, present=seen.runtime is not None)
    proxy.set_states(todo.rest, "maint")
    if todo.write_state or todo.ready or todo.rest:
        proxy.write_state(proxy.read().servers)


def picture(colour: str | None, maintenance: set[tuple[str, str]]) -> str:
    """For the diff."""
    lines = sorted(f"{backend}/{name} maintenance" for backend, name in maintenance)
    return "\n".join([*([f"{KEY} {colour}"] if colour else []), *lines]) + "\n"


def main() -> None:
    text, flag = {"type": "str"}, {"type": "bool", "default": False, "no_log": False}
    required = {"type": "str", "required": True}
    file = {"path": required, "content": {**required, "no_log": False}, "mode": text, "owner": text, "secret": flag}
    files = {"type": "list", "elements": "dict", "required": True, "options": file}
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "colour": {"type": "str", "choices": list(COLOURS)},
            "initial": {"type": "str", "choices": list(COLOURS), "default": "blue"},
            "slots": {"type": "dict"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "wait_timeout": {"type": "float", "default": 10},
            "candidate": {
                "type": "dict",
                "options": {"image": required, "user": {"type": "str", "default": "99:99"}, "files": files},
            },
            "engine": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
        # The invocation would be written to the system's log, the certificate's key in `candidate` included.
        no_log=True,
    )
    given = module.params["candidate"]
    for entry in given["files"] if given else []:
        if entry["secret"]:
            module.no_log_values.update([entry["content"], *(x for x in entry["content"].splitlines() if len(x) >= 8)])
    try:
        module.exit_json(
            **run(module.params, module.check_mode, Proxy(module.params["directory"], time.monotonic, time.sleep))
        )
    except PlatformError as error:
        module.fail_json(msg=str(error))


def run(options: dict[str, Any], check_mode: bool, proxy: Proxy) -> dict[str, Any]:
    """Read, compare, (check mode ends), act, read back."""
    options = {**options, "slots": parse_slots(options["slots"] or {})}
    with contextlib.nullcontext() if check_mode else proxy.directory.locked():
        seen, kept = proxy.read(), proxy.maintenance()
        todo = plan(seen, kept, options)
        if not check_mode:
            refuse(seen, todo.decision, options["slots"])
            if todo.changed:
                apply(proxy, seen, todo, options)
            try_candidate(options)
        now = proxy.read() if todo.changed and not check_mode else seen
    before = {(s.backend, s.name) for s in seen.servers if s.state == "maintenance"}
    after = (before | {(s.backend, s.name) for s in todo.rest}) - {(s.backend, s.name) for s in todo.ready}
    return {
        "changed": todo.changed,
        "active": {"before": todo.decision.before, "after": todo.decision.after},
        "map": {"file": now.file, "runtime": now.runtime},
        "running": seen.running,
        "servers": haproxy.table(now.servers),
        "diff": {"before": picture(seen.file, before), "after": picture(todo.decision.after, after)},
    }


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


if __name__ == "__main__":
    main()
