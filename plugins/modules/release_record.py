#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_record
short_description: Keep how to start a release again, or recall it
version_added: 0.1.0
description:
  - Each host of the application keeps what the last releases were made from, in C(releases) below the platform's directory, for root alone; the
    Compose file, the files beside it, its variables and the IDs of its images. Secrets are not in there, they are taken as they are then.
  - With O(state=recalled) one of them comes back to the controller, the last good one by the ledger, or the one that is named.
  - Refused where there is none, where its images are gone or others by now, and where the database was migrated meanwhile in a way that
    the release may not bear.
attributes:
  action:
    support: full
    description: What is recalled is written to a directory of its own on the controller, gone with the run.
  check_mode:
    support: full
    description: Recalls; keeps nothing.
  diff_mode:
    support: none
    description: Nothing of what runs is changed.
  idempotent:
    support: full
    description: A record that is the same is kept as it is.
options:
  directory:
    description: The platform's directory on the host.
    type: path
    required: true
  state:
    description: V(kept) writes a record, V(recalled) reads one.
    type: str
    choices: [kept, recalled]
    default: kept
  release:
    description: The release. With O(state=recalled) left out for the last good one, which is the one that was kept before the one that serves.
    type: str
    default: ""
  source:
    description: What the action M(lastro.platform.application) returned as C(source).
    type: dict
  keep:
    description: How many records are kept, the last ones; V(0) keeps all.
    type: int
    default: 5
  ignore_migrations:
    description: Recall it whatever happened to the database meanwhile.
    type: bool
    default: false
  project:
    description: With O(state=recalled), the Compose project of the colour that serves, whose containers say which release that is. Else the ledger does.
    type: str
    default: ""
extends_documentation_fragment:
  - lastro.platform.engine
  - lastro.platform.lease
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Find the last good release
  lastro.platform.release_record:
    directory: /var/lib/lastro/shop
    state: recalled
  register: found

- name: Say which
  ansible.builtin.debug:
    msg: "{{ found.release }}, whose Compose file lies at {{ found.compose_file }} until this run ends"
"""

RETURN = r"""
release:
  description: The release.
  returned: success
  type: str
  sample: 1.4.1
digest:
  description: Of the Compose file and the files beside it.
  returned: with O(state=recalled)
  type: str
  sample: 5f2c9e…
serving:
  description: The release that serves.
  returned: with O(state=recalled)
  type: str
  sample: 1.4.2
source:
  description: What it was made from. The text of files is not in it any more.
  returned: with O(state=recalled)
  type: dict
  sample: {env: {LOG_LEVEL: info}, profiles: [], replicas: {web: 3}, allow_privileged: [], images: {"shop/web:1.4.1": {id: "sha256:5f2c9e…"}}}
compose_file:
  description: The Compose file on the controller, its files beside it.
  returned: with O(state=recalled)
  type: str
  sample: /root/.ansible/tmp/release-k3j9/compose.yaml
"""

from ansible_collections.lastro.platform.plugins.module_utils import _release_record as record
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._module import UnloggedModule


def main() -> None:
    """Run the module."""
    module = UnloggedModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["kept", "recalled"], "default": "kept"},
            "release": {"type": "str", "default": ""},
            "source": {"type": "dict"},
            "keep": {"type": "int", "default": 5},
            "ignore_migrations": {"type": "bool", "default": False},
            "project": {"type": "str", "default": ""},
            "engine": {"type": "path", "default": "/var/run/docker.sock"},
            "lease": LEASE_SPEC,
        },
        required_if=[("state", "kept", ["release", "source"])],
        supports_check_mode=True,
    )
    given = module.params
    try:
        if given["state"] == "recalled":
            engine = Engine(given["engine"])
            wanted = (given["release"], engine, given["ignore_migrations"], given["project"])
            found = record.recall(given["directory"], *wanted)
            module.exit_json(changed=False, **found)
        changed = False
        if not module.check_mode:
            with held(given["lease"], check_mode=False):
                changed = record.keep(given["directory"], given["release"], given["source"], given["keep"])
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, given["directory"])))
    module.exit_json(changed=changed, release=given["release"])


if __name__ == "__main__":
    main()
