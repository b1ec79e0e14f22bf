#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_certificate
short_description: Have a proxy show another certificate, without a reload
version_added: 0.1.0
description:
  - Runs on the proxy's host and speaks to HAProxy's admin socket. The configuration is that of the role P(lastro.platform.proxy#role), which it
    leaves as it is.
  - HAProxy checks the certificate first; what it does not take is never written. New connections get it at once, those that are open go on.
  - What HAProxy works with is compared, so that a run that was killed is completed by the next. Where HAProxy does not run, only the file is written.
author:
  - Lastro maintainers (@lastro)
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows fingerprints.
  idempotent:
    support: full
    description: A certificate that is shown already is left alone.
options:
  directory:
    description: Directory of the proxy's stack, with C(secrets/) and C(run/).
    type: path
    required: true
  content:
    description: Certificate chain and key as PEM.
    type: str
    required: true
  owner:
    description: Who owns the file, C(uid:gid).
    type: str
    default: "0:0"
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Show the new certificate
  lastro.platform.proxy_certificate:
    directory: /var/lib/lastro/shop/proxy
    content: "{{ lookup('ansible.builtin.file', 'files/shop.pem') }}"
    owner: "99:99"
"""

RETURN = r"""
before:
  description: SHA-1 fingerprint of the certificate that was shown; empty where HAProxy does not run.
  returned: success
  type: str
  sample: 5E8FF9BF55BA3508199D22E984129BE6E1A3B5D0
after:
  description: SHA-1 fingerprint of the one that is shown.
  returned: success
  type: str
  sample: 0F8CE1FDA9A1C4B6A2D0D7A5A6D0B3A6C2F1E9B7
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _proxy_certificate as certificate
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    ManagedFile,
    StackDirectory,
    parse_owner,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "owner": {"type": "str", "default": "0:0"},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    directory, content = StackDirectory(module.params["directory"]), module.params["content"]
    try:
        owner = parse_owner(certificate.FILE, module.params["owner"])
        file = ManagedFile(certificate.FILE, content.encode(), 0o400, *owner, secret=True)
        wanted = certificate.fingerprint(content)
        before = certificate.shown(directory)
        shows = before in ("", wanted)
        changed = not shows or bool(directory.differs(file))
        if changed and not module.check_mode:
            with held(module.params["lease"], module.check_mode), directory.locked():
                if not shows:
                    certificate.show(directory, content)
                certificate.keep(directory, file)
                if certificate.shown(directory) not in ("", wanted):
                    raise PlatformError("HAProxy took the certificate and shows another", "Run again.")
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, module.params["directory"])))
    module.exit_json(
        changed=changed,
        before=before,
        after=wanted,
        diff={"before": f"certificate {before}\n", "after": f"certificate {wanted}\n"},
    )


if __name__ == "__main__":
    main()
