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
  - Without O(colour) it only brings things in order. A map that is missing is created without a colour, so nothing is served before a
    first switch; where the map file and what HAProxy has in memory differ (a run was killed in between), memory is what serves and is
    written to the file.
  - A switch sets servers ready, waits until HAProxy's own checks find each ready server of the new colour up, writes the
    map file, then HAProxy's memory (that of workers still finishing after a reload, too), reads it back, and only then
    puts servers into maintenance. If the servers do not come up, nothing was switched and the module fails.
  - A switch with O(state=provisional) is in HAProxy's memory only. The map file goes on naming the colour of before, so a restart of HAProxy or
    its host ends there, and a timer of the host takes the switch back after O(undo_seconds) unless O(state=confirmed) came before. It needs
    nobody else for that. Whatever runs next on this proxy takes it back at once.
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
  state:
    description:
      - V(served) is for good.
      - V(provisional) serves O(colour) until it is confirmed or O(undo_seconds) are over, and leaves the servers of the other colour as they are.
        Where nothing served before, nothing does so again.
      - V(confirmed) makes that for good. It fails where the switch was taken back already.
    type: str
    choices: [served, provisional, confirmed]
    default: served
  release:
    description: The release that is switched to, for messages.
    type: str
    default: ""
  undo_seconds:
    description: Seconds after which a provisional switch is taken back.
    type: float
    default: 60
  share:
    description:
      - With O(state=provisional), how many percent of the clients get O(colour), the next step with a higher one, the last with V(100). Whoever is among the
        first five of a hundred is among the first twenty-five, too.
      - A request with the header C(x-canary) of V(1) gets it whatever the share is, while it is tried.
      - Only a colour that everybody gets can be confirmed.
    type: int
    default: 100
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
  servers:
    description:
      - What another proxy that serves O(colour) returned as RV(servers), for one that was built anew. What rests there or is not there goes into maintenance,
        all else is made ready. Names are compared without the port. Not beside O(slots).
    type: dict
  wait_timeout:
    description: Seconds to wait for the servers of a new colour.
    type: float
    default: 10
  drain_seconds:
    description:
      - How long to wait at the end until nothing is open any more on servers in maintenance. They get nothing new, so requests, streams and
        WebSockets end there by themselves. What is open after that is returned in RV(open_sessions).
      - Right after a reload also until no connection is idle in a worker of before that has the colour of before still, which is 15 s at most.
    type: float
    default: 0
  candidate:
    description:
      - Files that are about to be written to O(directory). If one differs from what is there, HAProxy is asked in a
        container of its own whether it accepts them. The module fails when it does not, and writes nothing.
      - Servers that they add to a backend begin in maintenance, as there may be nothing there yet; O(slots) makes them ready.
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
      outage:
        description:
          - Take files, too, whose C(config/haproxy.cfg) has none of the servers with which a backend of the colour that
            serves does so now. Without it the module fails and nothing is written.
        type: bool
        default: false
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
extends_documentation_fragment:
  - lastro.platform.lease
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

- name: Try blue for two minutes
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    colour: blue
    state: provisional
    undo_seconds: 120

- name: Keep it
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    colour: blue
    state: confirmed

- name: Have a proxy that was built anew serve what the first one does, with the same servers
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    colour: green
    servers: "{{ hostvars.edge1.first_proxy.servers }}"

- name: Take the old colour out, and wait until its last request has ended
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    slots:
      blue: {web: 0}
    drain_seconds: 30
"""

RETURN = r"""
elapsed_seconds:
  description: Time spent inside the module.
  type: float
  returned: success
  sample: 0.21
active:
  description: The colour served before and after, null where there is none.
  type: dict
  returned: success
  sample: {before: blue, after: green}
since:
  description: When the map file was written, in seconds since 1970 by this host's clock; null without one.
  type: int
  returned: success
  sample: 1785312000
map:
  description: The colour in the map file and in HAProxy's memory at the end, null where there is none.
  type: dict
  returned: success
  sample: {file: green, runtime: green}
provisional:
  description: The switch that waits to be confirmed, with the time on this host (seconds since 1970) at which it is taken back. Null without one.
  type: dict
  returned: success
  sample: {release: "1.4.2", before: blue, after: green, share: 100, until: 1785312000}
canary:
  description: The colour that is tried and the percentage of clients that get it. Null where none is.
  type: dict
  returned: success
  sample: {colour: green, share: 5}
undone:
  description: The switch of an earlier run that this one took back. Null without one.
  type: dict
  returned: success
  sample: {release: "1.4.2", before: blue, after: green}
running:
  description: Whether HAProxy answered on its admin socket.
  type: bool
  returned: success
  sample: true
servers:
  description:
    - State of each server at the end, as backend → server → C(up), C(down), C(drain) or C(maintenance).
    - C(unchecked) counts as up for HAProxy, but no passed check stands behind it.
  type: dict
  returned: success
  sample: {web_blue: {"dev-0:18000": up, "dev-1:18001": maintenance}}
open_sessions:
  description: With O(drain_seconds), requests, streams and WebSockets that are open still on servers in maintenance; else 0.
  type: int
  returned: success
  sample: 0
slots:
  description:
    - How many slots are ready at the end, as colour → service → number, the form of O(slots).
    - Null where they are not the first ones, or not as many on each host.
  type: dict
  returned: success
  sample: {blue: {web: 1}, green: {web: 0}}
"""

import time

from ansible_collections.lastro.platform.plugins.module_utils._colour import COLOURS
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._module import UnloggedModule
from ansible_collections.lastro.platform.plugins.module_utils._proxy import Proxy, run
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import secret_texts


def main() -> None:
    text, flag = {"type": "str"}, {"type": "bool", "default": False, "no_log": False}
    required = {"type": "str", "required": True}
    file = {"path": required, "content": {**required, "no_log": False}, "mode": text, "owner": text, "secret": flag}
    files = {"type": "list", "elements": "dict", "required": True, "options": file}
    module = UnloggedModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "colour": {"type": "str", "choices": list(COLOURS)},
            "state": {"type": "str", "choices": ["served", "provisional", "confirmed"], "default": "served"},
            "release": {"type": "str", "default": ""},
            "undo_seconds": {"type": "float", "default": 60},
            "share": {"type": "int", "default": 100},
            "slots": {"type": "dict"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "servers": {"type": "dict"},
            "wait_timeout": {"type": "float", "default": 10},
            "drain_seconds": {"type": "float", "default": 0},
            "candidate": {
                "type": "dict",
                "options": {
                    "image": required,
                    "user": {"type": "str", "default": "99:99"},
                    "outage": flag,
                    "files": files,
                },
            },
            "engine": {"type": "path", "default": "/var/run/docker.sock"},
            "lease": LEASE_SPEC,
        },
        mutually_exclusive=[("slots", "servers")],
        required_if=[("state", "provisional", ["colour"]), ("state", "confirmed", ["colour"])],
        supports_check_mode=True,
    )
    given = module.params["candidate"]
    module.no_log_values.update(secret_texts(given["files"] if given else []))
    began = time.monotonic()
    try:
        proxy = Proxy(module.params["directory"], time.monotonic, time.sleep)
        with held(module.params["lease"], module.check_mode):
            result = run(module.params, module.check_mode, proxy)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, module.params["directory"])))
    module.exit_json(elapsed_seconds=round(time.monotonic() - began, 3), **result)


if __name__ == "__main__":
    main()
