#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_hardening
short_description: Security updates, SSH server, network settings, audit and file modes of a platform's host
version_added: 0.1.0
description:
  - Everything in one execution. What must not be done is refused before anything is changed. O(sysctl) is the first change, and
    where the kernel refuses a value it is taken back and the only one.
  - Security updates are installed unattended, but for what would restart the Docker Engine; what waits is reported.
  - The SSH server's settings are one file, C(/etc/ssh/sshd_config.d/10-lastro.conf). sshd tries it beforehand, with the host's
    other files; where another file has the last word, or the connecting user would be locked out, nothing is changed. Then
    sshd is reloaded, not restarted.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Says item by item what would be done and why, also on a host without the packages. sshd tries its file here, too.
  diff_mode:
    support: full
    description: Shows the files; and item by item what is done and why.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  updates:
    description:
      - Whether security updates are installed unattended. With systemd its timers are enabled, unless somebody masked them;
        without, cron has to start them. Where nothing does, RV(findings) says so.
    type: bool
    default: true
  updates_held:
    description: What is not upgraded unattended, as regular expressions that match the beginning of package names.
    type: list
    elements: str
    default: [docker, containerd, runc]
  reboot:
    description: V(never), or the time of the day at which a host whose updates need it reboots, as V(03:30).
    type: str
    default: never
  ssh:
    description: Whether the SSH server is hardened.
    type: bool
    default: true
  ssh_options:
    description: Other values, or more keywords, of C(sshd_config).
    type: dict
    default: {}
  login_user:
    description: Who logs in, and must not be locked out. The user that C(sudo) was called by, or else the one this runs as.
    type: str
  sysctl:
    description: Kernel settings below C(net.), now and at boot. Those that forward packets are refused, as Docker sets them.
    type: dict
    default: {}
  auditd:
    description: Whether auditd is installed and watches the Engine, the SSH server's files and O(state_dir).
    type: bool
    default: false
  state_dir:
    description: The platform's directory on the host.
    type: path
    required: true
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Harden a host
  lastro.platform.host_hardening:
    state_dir: /var/lib/lastro/shop
    sysctl:
      net.ipv4.conf.all.accept_redirects: 0

- name: Reboot at night where an update needs it, and let three groups log in
  lastro.platform.host_hardening:
    state_dir: /var/lib/lastro/shop
    reboot: "03:30"
    ssh_options:
      AllowGroups: [root, deploy, operators]
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: C(install), C(write), C(remove), C(enable), C(reload), C(set), C(load), C(own) or C(protect).
      type: str
      returned: always
    item:
      description: The package, file, timer, service or setting.
      type: str
      returned: always
    why:
      description: The reason.
      type: str
      returned: always
  sample: [{action: enable, item: apt-daily.timer, why: it starts the updates and is off}]
findings:
  description: What this module leaves to a person, in sentences. Also shown as warnings.
  returned: always
  type: list
  elements: str
  sample: ["Whoever is in the group docker is root on this host: ann. Take them out and let them use sudo."]
updates_waiting:
  description: Newer versions of packages that are held.
  returned: always
  type: list
  elements: dict
  contains:
    package:
      description: The package.
      type: str
      returned: always
    installed:
      description: The version there is.
      type: str
      returned: always
    candidate:
      description: The version there could be.
      type: str
      returned: always
  sample: [{package: docker.io, installed: 26.1.5+dfsg1-9, candidate: 26.1.5+dfsg1-10}]
ssh:
  description: What sshd makes of the settings, by keyword. Empty where no SSH server is hardened.
  returned: always
  type: dict
  sample: {passwordauthentication: "no", permitrootlogin: without-password}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._hardening_host import reconcile
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "updates": {"type": "bool", "default": True},
            "updates_held": {"type": "list", "elements": "str", "default": ["docker", "containerd", "runc"]},
            "reboot": {"default": "never"},
            "ssh": {"type": "bool", "default": True},
            "ssh_options": {"type": "dict", "default": {}},
            "login_user": {},
            "sysctl": {"type": "dict", "default": {}},
            "auditd": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "required": True},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        with held(module.params["lease"], module.check_mode):
            result = reconcile(module)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, "/etc")))
    for finding in result["findings"]:
        module.warn(finding)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
