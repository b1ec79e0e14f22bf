#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lease
short_description: Take the lease of a platform, or give it back
version_added: 0.1.0
description:
  - One run at a time may change a platform. It takes the lease on every host of the proxy, and gives it back at its end; where it can't, as it
    was killed, the lease ends by itself, by the clock of the host.
  - Each run has a number, higher than that of the one before. A module that is given O(ignore:lease) does nothing where a newer run was, so that
    one that hung and comes back late changes nothing any more.
  - Where the run that holds the lease was started on this very machine and is dead, its lease is taken over at once.
  - Warns where the last release by the ledger failed, or is open still.
  - Every change that the run makes on the host renews the lease. While it isn't taken by another, it is the run's own also after its end.
attributes:
  action:
    support: full
    description: Who it is and from where is found on the controller.
  check_mode:
    support: full
    description: Says whether the lease could be had; takes nothing.
  diff_mode:
    support: none
    description: Nothing of what runs is changed.
  idempotent:
    support: full
    description: The lease is what a run has, not what a host is like, so taking it never counts as a change.
options:
  directory:
    description: The platform's directory on the host.
    type: path
    required: true
  run:
    description: What tells this run from every other one.
    type: str
    required: true
  state:
    description:
      - V(taken) takes the lease, V(renewed) has it last its full time from now on, V(returned) gives it back.
      - V(fenced) is for hosts without a lease. It keeps every run with a lower O(number) out, once what those have under way there is done.
    type: str
    choices: [taken, fenced, renewed, returned]
    default: taken
  number:
    description:
      - With O(state=fenced), the number of the run.
      - With O(state=taken), the highest number that any host of the platform knows. The run's is higher.
    type: int
    default: 0
  doing:
    description: What the run does, for whoever is refused meanwhile.
    type: str
    default: a run
  seconds:
    description: How long the lease lasts after the last change that the run made on the host.
    type: float
    default: 1200
  take_over:
    description: Number of a run that is known to be dead, whose lease is to be taken.
    type: int
    default: 0
  holder:
    description: Who this is; the action plugin finds it.
    type: dict
    default: {}
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Take the lease
  lastro.platform.release_lease:
    directory: /var/lib/lastro/shop
    run: 20261130T172106Z-3f9ac1
    doing: deploy of 1.4.2
  register: lease

- name: Change something, unless a newer run has begun
  lastro.platform.proxy_switch:
    directory: /var/lib/lastro/shop/proxy
    colour: green
    lease: "{{ lease.lease }}"

- name: Give it back
  lastro.platform.release_lease:
    directory: /var/lib/lastro/shop
    run: 20261130T172106Z-3f9ac1
    state: returned
"""

RETURN = r"""
lease:
  description: What a module that changes something is to be given; the number is the run's on this host.
  returned: when O(state=taken)
  type: dict
  sample: {directory: /var/lib/lastro/shop, run: 20261130T172106Z-3f9ac1, number: 42}
held_by:
  description: The run that has the lease, where it was refused.
  returned: when it was refused
  type: dict
  sample:
    number: 41
    run: 20261130T171503Z-9b20d7
    since: 1796231703.2
    until: 1796232903.2
    seconds: 1200
    holder: {who: ana, where: "ci-7 (pid 4242)", doing: deploy of 1.4.1, process: {}}
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _lease, _ledger
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host


def concern_of(directory: str) -> str:
    """What whoever changes a platform should know of its last release; empty where that one is closed."""
    last = _ledger.last(_ledger.read(directory).entries)
    said = {
        "open": "is open still: nobody has seen yet that all is well with it (playbooks/close.yml)",
        "failed": "failed, and the one before serves (playbooks/status.yml says why)",
    }
    return f"The last release, {last['release']}, {said[last['state']]}." if last["state"] in said else ""


def other(given: dict[str, Any]) -> None:
    """Whatever is not about taking it."""
    if given["state"] == "fenced":
        _lease.fence(given["directory"], given["run"], given["number"])
    elif given["state"] == "renewed":
        _lease.renew(given["directory"], given["run"])
    else:
        _lease.give_back(given["directory"], given["run"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["taken", "fenced", "renewed", "returned"], "default": "taken"},
            "number": {"type": "int", "default": 0},
            "doing": {"type": "str", "default": "a run"},
            "seconds": {"type": "float", "default": 1200},
            "take_over": {"type": "int", "default": 0},
            "holder": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        if given["state"] != "taken":
            if not module.check_mode:
                other(given)
            module.exit_json(changed=False)
        holder = {**given["holder"], "doing": given["doing"]}
        wanted = _lease.Lease(given["number"], given["run"], seconds=given["seconds"], holder=holder)
        if module.check_mode:
            taken = _lease.granted(_lease.read(given["directory"]), wanted, given["take_over"], time.time())
        else:
            taken = _lease.take(given["directory"], wanted, given["take_over"])
    except _lease.Held as error:
        module.fail_json(msg=str(error), held_by=asdict(error.lease))
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, given["directory"])))
    if concern := concern_of(given["directory"]):
        module.warn(concern)
    lease = {"directory": given["directory"], "run": taken.run, "number": taken.number}
    module.exit_json(changed=False, lease=lease)


if __name__ == "__main__":
    main()
