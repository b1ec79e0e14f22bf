#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_mode
short_description: Let people in, show them a page, or have their requests wait
version_added: 0.1.0
description:
  - Runs on the proxy's host and speaks to HAProxy's admin socket. The configuration is that of the role P(lastro.platform.proxy#role).
  - V(maintenance) answers 503 with the page of the role to everybody but the addresses that it lets through. It holds across restarts and
    deploys until it is V(open) again.
  - V(held) has requests wait instead of failing, for what takes a few seconds. It ends by itself after O(seconds), at a restart, and with V(open).
author:
  - Lastro maintainers (@lastro)
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows the mode before and after.
  idempotent:
    support: partial
    description: A hold begins anew each time.
options:
  directory:
    description: Directory of the proxy's stack, with C(maps/) and C(run/).
    type: path
    required: true
  mode:
    description: What it is to be.
    type: str
    choices: [open, maintenance, held]
    required: true
  seconds:
    description: How long requests wait at most while it is V(held), from 1 to 60.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Show the page
  lastro.platform.proxy_mode:
    directory: /var/lib/lastro/shop/proxy
    mode: maintenance

- name: Have requests wait while the database fails over
  lastro.platform.proxy_mode:
    directory: /var/lib/lastro/shop/proxy
    mode: held
    seconds: 20
"""

RETURN = r"""
before:
  description: What it was; empty where HAProxy does not run.
  returned: success
  type: str
  sample: open
after:
  description: What it is.
  returned: success
  type: str
  sample: maintenance
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_mode as modes
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import StackDirectory


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "mode": {"type": "str", "choices": [modes.OPEN, modes.MAINTENANCE, modes.HELD], "required": True},
            "seconds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    wanted, seconds = module.params["mode"], module.params["seconds"]
    directory = StackDirectory(module.params["directory"])
    try:
        if wanted == modes.HELD and not 1 <= seconds <= modes.HOLD_SECONDS_MAX:
            raise PlatformError(
                f"Requests can't wait for {seconds} s",
                f"Give 1 to {modes.HOLD_SECONDS_MAX}: clients don't wait longer.",
            )
        found = modes.read(directory)
        if wanted == modes.HELD and not found.now:
            raise PlatformError("HAProxy does not run, so nothing comes in that could wait", "Start the proxy.")
        if wanted == modes.HELD and found.file == modes.MAINTENANCE:
            raise PlatformError(
                "It is in maintenance, where requests get the page instead of waiting", "Open it first."
            )
        kept = modes.OPEN if wanted == modes.HELD else wanted
        changed = wanted == modes.HELD or found.now not in ("", wanted) or found.file != kept
        if changed and not module.check_mode:
            with directory.locked():
                modes.become(directory, wanted, seconds)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, module.params["directory"])))
    before = found.now or found.file
    module.exit_json(
        changed=changed, before=before, after=wanted, diff={"before": f"mode {before}\n", "after": f"mode {wanted}\n"}
    )


if __name__ == "__main__":
    main()
