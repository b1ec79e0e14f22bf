#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Open a host's ports to those who need them, published container ports included
version_added: 0.1.0
description:
  - Keeps one nftables table, C(inet lastro), with what the platforms on this host allow. New connections that nobody allowed
    are dropped. No other table is touched, and Docker's own rules still see what is allowed here.
  - A published port is known by the port that was asked for, before Docker translates it. What comes from a container on
    this host, or from the host itself, is not filtered.
  - Each platform has its part in C(/etc/lastro/firewall.d). A systemd unit of its own loads the table before the network is up.
  - The table is tried in a network namespace of its own, then replaced in one transaction. Where that fails, the old one stays.
  - Refuses rules that would cut the SSH connection of the run itself. Connections that are open already are not cut.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Tries the table, too, unless nftables is missing.
  diff_mode:
    support: full
    description: Shows the file of the table, and the table in the kernel where only that differs.
  idempotent:
    support: full
    description: Files, unit and the table in the kernel are compared, so a rule deleted by hand comes back.
requirements:
  - systemd
  - nftables 1.0.6 or later
options:
  platform:
    description: The platform whose part this is.
    type: str
    required: true
  state:
    description: V(absent) takes the platform's part away, and with the last part the table, its unit and its files.
    type: str
    choices: [present, absent]
    default: present
  rules:
    description: The ports to open. What several platforms allow adds up.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: A port, or a range such as V(18000-18511). Not given with V(vrrp).
        type: str
      protocol:
        description: The protocol.
        type: str
        choices: [tcp, udp, vrrp]
        default: tcp
      from:
        description: Addresses and networks that may use it. An empty list is nobody.
        type: list
        elements: str
        default: [0.0.0.0/0, "::/0"]
      comment:
        description: What it is; shown by C(nft list).
        type: str
        default: ""
  ssh_ports:
    description: Ports of the host's SSH server. None when somebody closes SSH on purpose.
    type: list
    elements: int
    default: [22]
  ssh_from:
    description: Addresses and networks that may log in.
    type: list
    elements: str
    default: [0.0.0.0/0, "::/0"]
  container_interfaces:
    description: Names, or beginnings of names, of the bridges that lead to this host's containers.
    type: list
    elements: str
    default: [docker0, docker_gwbridge, br-*]
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Let two application hosts use Redis
  lastro.platform.firewall:
    platform: shop
    rules:
      - {port: "6379", from: [10.0.0.21, 10.0.0.22], comment: Redis}
    ssh_from: [10.0.0.0/24]

- name: Open a website to everybody
  lastro.platform.firewall:
    platform: shop
    rules:
      - {port: "80", comment: HTTP}
      - {port: "443", comment: HTTPS}
      - {port: "443", protocol: udp, comment: HTTP/3}

- name: Take the platform's part away
  lastro.platform.firewall:
    platform: shop
    state: absent
"""

RETURN = r"""
changes:
  description: What was, or in check mode would be, put right, and why.
  returned: success
  type: list
  elements: str
  sample: ["/etc/lastro/firewall.nft: content", "table inet lastro: differs from its file"]
platforms:
  description: The platforms that have a part of the table.
  returned: success
  type: list
  elements: str
  sample: [shop]
missing:
  description: The distribution's package that this host lacks; the run failed for no other reason.
  returned: when nft is not installed
  type: str
  sample: nftables
"""

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _firewall as decide
from ansible_collections.lastro.platform.plugins.module_utils import _nft as nft
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import ManagedFile, StackDirectory

TABLE_PATH = os.path.join(nft.DIRECTORY, nft.TABLE_FILE)


@dataclass(frozen=True)
class Entry:
    """A file as it was found and as it is wanted; None where there is, or should be, none."""

    directory: StackDirectory
    path: str
    before: ManagedFile | None
    wanted: ManagedFile | None

    @property
    def difference(self) -> str:
        unwanted = "not wanted" if self.before and not self.wanted else ""
        why = self.directory.differs(self.wanted) if self.wanted else unwanted
        return f"{os.path.join(self.directory.path, self.path)}: {why}" if why else ""

    def put(self, file: ManagedFile | None) -> None:
        if file:
            self.directory.write(file)
        else:
            self.directory.remove(self.path)


class Run:
    """One run: what the host has, how it differs from what is wanted, and putting it right."""

    def __init__(self, params: dict[str, Any], host: nft.Host) -> None:
        self.host = host
        platform, kept = params["platform"], StackDirectory(nft.DIRECTORY)
        part = decide.part_from(platform, params)
        self.parts = _parts(kept)
        self.parts.pop(platform, None)
        if params["state"] == "present":
            self.parts[platform] = part
        self.text = decide.render(self.parts.values()) if self.parts else ""
        part_text = decide.part_text(part) if platform in self.parts else ""
        self.table = _entry(kept, nft.TABLE_FILE, 0o600, self.text)
        units = {path: text if self.parts else "" for path, text in nft.UNIT_FILES.items()}
        self.entries = [
            _entry(kept, f"{nft.PARTS}/{platform}.json", 0o600, part_text),
            self.table,
            *(_entry(StackDirectory(nft.UNITS), path, 0o644, text) for path, text in units.items()),
        ]

    def difference(self) -> dict[str, Any]:
        """The module's result. Refuses what must not be loaded."""
        if self.parts:
            self.host.require_systemd()
            decide.refuse_open_uplink(self.parts.values(), self.host.uplinks())
            decide.refuse_lockout(self.parts.values(), self.host.session())
        changes = [entry.difference for entry in self.entries if entry.difference]
        if self.host.enabled() != bool(self.parts):
            changes.append(f"{nft.UNIT}: {'not enabled' if self.parts else 'not wanted'}")
        live, expected = self._live_and_expected()
        if live != expected:
            why = "not wanted" if not expected else "differs from its file" if live else "not loaded"
            changes.append(f"table {decide.TABLE}: {why}")
        diff = self._diff(live, expected)
        return {"changed": bool(changes), "changes": changes, "platforms": sorted(self.parts), "diff": diff}

    def _diff(self, live: str, expected: str) -> list[dict[str, str]]:
        name, before, after = TABLE_PATH, self.table.before.content.decode() if self.table.before else "", self.text
        if before == after:
            name, before, after = f"table {decide.TABLE} in the kernel", live, expected
        return [{"before_header": name, "after_header": name, "before": before, "after": after}]

    def _live_and_expected(self) -> tuple[str, str]:
        """The table in the kernel, and how it would be listed if it were right."""
        if not self.host.has_nft:
            return "", self.text
        return self.host.live(), self.host.meaning(self.text) if self.text else ""

    def act(self) -> None:
        """Write and load, or unload and remove."""
        if not self.parts:
            self._remove()
            return
        if not self.host.has_nft:
            raise nft.Missing(f"The package {nft.PACKAGE} is not installed", f"Install it: apt install {nft.PACKAGE}")
        for entry in self.entries:
            entry.put(entry.wanted)
        try:
            self.host.load()
        except PlatformError:
            # As they were, so that the next boot loads what is in force now.
            if self.table.before:
                for entry in self.entries:
                    entry.put(entry.before)
            else:
                self._remove()
            raise
        live, expected = self._live_and_expected()
        if live != expected:
            raise PlatformError(
                f"Right after it was loaded, the table {decide.TABLE} is another one", "Find out what else changes it."
            )

    def _remove(self) -> None:
        self.host.unload()
        for entry in self.entries:
            entry.put(None)
        self.host.forget_unit()


def _parts(kept: StackDirectory) -> dict[str, decide.Part]:
    """What each platform on this host asked for, in its last run."""
    folder = os.path.join(kept.path, nft.PARTS)
    parts = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        platform, extension = os.path.splitext(name)
        if extension == ".json":
            text = (kept.read(f"{nft.PARTS}/{name}") or b"").decode(errors="replace")
            parts[platform] = decide.part_from_text(platform, text, os.path.join(folder, name))
    return parts


def _entry(directory: StackDirectory, path: str, mode: int, text: str) -> Entry:
    def file(content: bytes | None) -> ManagedFile | None:
        return ManagedFile(path, content, mode, 0, 0) if content else None

    return Entry(directory, path, file(directory.read(path)), file(text.encode()))


def main() -> None:
    addresses = {"type": "list", "elements": "str", "default": list(decide.EVERYWHERE)}
    rule = {
        "port": {"type": "str"},
        "protocol": {"choices": list(decide.PROTOCOLS), "default": "tcp"},
        "from": addresses,
        "comment": {"type": "str", "default": ""},
    }
    interfaces = {"type": "list", "elements": "str", "default": list(decide.CONTAINER_INTERFACES)}
    module = AnsibleModule(
        argument_spec={
            "platform": {"type": "str", "required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "rules": {"type": "list", "elements": "dict", "default": [], "options": rule},
            "ssh_ports": {"type": "list", "elements": "int", "default": [22]},
            "ssh_from": addresses,
            "container_interfaces": interfaces,
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    keeping = os.path.isdir(nft.DIRECTORY) or module.params["state"] == "present"
    one_at_a_time = keeping and not module.check_mode
    try:
        with (
            held(module.params["lease"], module.check_mode),
            StackDirectory(nft.DIRECTORY).locked() if one_at_a_time else contextlib.nullcontext(),
        ):
            run = Run(module.params, nft.Host(module.run_command))
            result = run.difference()
            if result["changed"] and not module.check_mode:
                run.act()
        module.exit_json(**result)
    except nft.Missing as error:
        module.fail_json(msg=str(error), missing=nft.PACKAGE)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, nft.DIRECTORY)))


if __name__ == "__main__":
    main()
