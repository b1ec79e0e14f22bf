#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_ledger
short_description: Add an entry to the ledger of releases, or read it
version_added: 0.1.0
description:
  - Each host keeps what happened to the platform's releases in C(ledger.jsonl), a line of JSON for each entry. The file only grows, and each
    line has the hash of the one before, so a line that was changed, removed or added is found.
  - Nothing that serves is decided by it, but for the release to which playbooks/rollback.yml goes back.
attributes:
  check_mode:
    support: full
    description: Adds nothing.
  diff_mode:
    support: none
    description: An entry is about a change; it is none.
  idempotent:
    support: full
    description: An entry whose C(run) and C(event) are in the ledger already is not added again.
options:
  directory:
    description: The platform's directory on the host.
    type: path
    required: true
  entry:
    description:
      - What to add, for example as below. It has C(event) and C(run), and C(outcome) (V(kept) or V(failed)) and C(release) where the event is
        V(release) or V(rollback), C(closes) where it is V(closed), C(migrations) where it is V(migrated). Without it the ledger is read.
      - Who it was, from where, and C(before), the release that was kept before, are added.
    type: dict
  holder:
    description: Who this is; the action plugin finds it.
    type: dict
    default: {}
extends_documentation_fragment:
  - lastro.platform.lease
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Say that a release was kept
  lastro.platform.release_ledger:
    directory: /var/lib/lastro/shop
    entry:
      event: release
      outcome: kept
      run: 20261130T172106Z-3f9ac1
      release: 1.4.2
      colour: green

- name: Read it
  lastro.platform.release_ledger:
    directory: /var/lib/lastro/shop
  register: ledger
"""

RETURN = r"""
entries:
  description: The entries, oldest first, up to the first that is not what was written.
  returned: always
  type: list
  elements: dict
  sample:
    - {n: 1, at: 1796231703.211, event: release, outcome: kept, run: 20261130T172106Z-3f9ac1, release: 1.4.2, colour: green, previous: "0000…", hash: 5f2c9e…}
last:
  description: The newest release or rollback, and whether it failed, is open or is closed. Empty strings where there is none.
  returned: always
  type: dict
  sample: {run: 20261130T172106Z-3f9ac1, release: 1.4.2, state: open}
problem:
  description: What is wrong with the line after these; empty where nothing is.
  returned: always
  type: str
  sample: line 7 was changed after it was written
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _ledger
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "entry": {"type": "dict"},
            "holder": {"type": "dict", "default": {}},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    directory, entry = module.params["directory"], module.params["entry"]
    try:
        before = _ledger.read(directory)
        if entry:
            if problem := _ledger.lacking(entry):
                raise PlatformError(f"That is no entry of a ledger: {problem}", "See the example of `release_ledger`.")
            there = any((one.get("event"), one.get("run")) == (entry["event"], entry["run"]) for one in before.entries)
            if not there and not module.check_mode:
                more = {key: module.params["holder"].get(key, "") for key in ("who", "where")}
                more["before"] = {"release": _ledger.kept(before.entries)}
                with held(module.params["lease"], check_mode=False):
                    _ledger.append(directory, {**more, **entry})
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, directory)))
    after = before if module.check_mode or not entry else _ledger.read(directory)
    if after.problem:
        module.warn(
            f"The ledger {directory}/{_ledger.FILE} of this host was tampered with: {after.problem}. Compare it with another host's."
        )
    module.exit_json(changed=False, entries=after.entries, last=_ledger.last(after.entries), problem=after.problem)


if __name__ == "__main__":
    main()
