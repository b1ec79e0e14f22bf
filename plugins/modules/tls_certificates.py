#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: tls_certificates
short_description: Keep a small CA of the platform's own and the certificates it signs
version_added: 0.1.0
description:
  - Runs on the one host that keeps the CA. Creates the CA and the certificates that are missing, and renews those that
    expire soon, whose names changed, or that another CA signed. Each renewal makes a new key.
  - Returns the keys as RV(material), so a task that uses this module needs C(no_log=true); the module cannot censor a value
    and return it too.
  - A CA that is damaged, incomplete or expired is refused and never replaced. With O(relied_on) so is one that is missing.
    Certificates no longer asked for stay.
options:
  directory:
    description:
      - Where keys and certificates lie (C(NAME.key), C(NAME.crt), the CA's as C(ca)), mode 0400 in a directory 0700.
      - The directory and its parent are made when missing.
    type: path
    required: true
  ca_name:
    description: Common name of the CA, used when it is created.
    type: str
    default: Lastro platform CA
  ca_valid_days:
    description: How many days a new CA is valid.
    type: int
    default: 3650
  relied_on:
    description:
      - What runs with certificates of a CA already, or may, in words, as C(shop-postgres on data1). Where something does and
        O(directory) has no CA, none is created, as its peers would not trust it.
    type: list
    elements: str
    default: []
  certificates:
    description: The certificates wanted. Each serves servers and clients.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the files, and of the certificate in the results.
        type: str
        required: true
      common_name:
        description: Common name; the certificate's name by default.
        type: str
      dns:
        description: DNS names the certificate is good for.
        type: list
        elements: str
        default: []
      ips:
        description: IP addresses the certificate is good for.
        type: list
        elements: str
        default: []
  valid_days:
    description: How many days a certificate is valid; never longer than the CA.
    type: int
    default: 365
  renew_before_days:
    description: How many days before its end a certificate is renewed. The end of the CA is announced as early.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description:
      - Material that does not exist yet, or would be replaced, is an empty string in RV(material), so that later
        templates render and show as changed. An empty host needs no C(cryptography) for it.
  diff_mode:
    support: full
    description: Shows names and dates, never keys.
  idempotent:
    support: full
    description: What is on disk is kept until it is close to its end, or other names are wanted.
requirements:
  - cryptography >= 38 on the host that keeps the CA
author:
  - Lastro maintainers (@lastro)
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Keep the platform's certificates
  lastro.platform.tls_certificates:
    directory: /var/lib/lastro/lastro/secrets/tls
    certificates:
      - name: postgres
        dns: [localhost, postgres]
        ips: [172.30.77.1]
  register: tls
  no_log: true
"""

RETURN = r"""
material:
  description: The CA's certificate, and each certificate with its key, for templates. No fact, as those may be kept in a cache on disk.
  returned: success
  type: dict
  sample:
    ca: "-----BEGIN CERTIFICATE-----..."
    certificates:
      postgres: {certificate: "-----BEGIN CERTIFICATE-----...", key: "-----BEGIN PRIVATE KEY-----...",
                 not_after: "2027-11-22T12:00:00Z"}
ca:
  description:
    - What was done to the CA (C(none) or C(create)) and when it ends. C(notice) says so when that is soon; it is a
      warning too, but C(no_log) hides warnings.
  returned: success
  type: dict
  sample: {action: none, why: "", not_after: "2036-11-19T12:00:00Z", notice: ""}
certificates:
  description: What was done to each certificate (C(none), C(create) or C(renew)), why, and when it ends.
  returned: success
  type: dict
  sample: {postgres: {action: renew, why: it expires on 2026-12-01, not_after: "2027-11-22T12:00:00Z"}}
protected:
  description: Paths whose mode let others in and was taken back.
  returned: success
  type: list
  elements: str
  sample: []
missing_library:
  description: The distribution's package that the host lacks; the run failed for no other reason.
  returned: when cryptography cannot be imported
  type: str
  sample: python3-cryptography
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._tls import (
    CA,
    CRYPTOGRAPHY_ERROR,
    Material,
    Pair,
    Store,
    Wanted,
    check_may_begin,
    check_terms,
    create_ca,
    describe_end,
    issue,
    load_ca,
    wanted_from,
    why_issue,
)

Outcome = dict[str, str]
ABSENT = Material(None, None)


class Run:
    """One run: plan from what the directory holds, then, unless in check mode, act and read back."""

    def __init__(self, params: dict[str, Any], check: bool, now: datetime) -> None:
        check_terms(params["valid_days"], params["renew_before_days"])
        self.params = params
        self.check = check
        self.now = now
        self.renew_before = timedelta(days=params["renew_before_days"])
        self.wanted = wanted_from(params["certificates"])
        self.store = Store(params["directory"])
        self.before = {name: self.store.read(name) for name in [CA, *(item.name for item in self.wanted)]}
        if self.empty:
            check_may_begin(params["directory"], params["relied_on"])

    @property
    def empty(self) -> bool:
        return self.before[CA].certificate is None and not self.store.names()

    def plan(self) -> tuple[Pair | None, dict[str, Outcome]]:
        """The CA as found, and for the CA and each certificate what to do and why."""
        if self.empty:
            names = [CA, *(item.name for item in self.wanted)]
            return None, {name: {"action": "create", "why": "it does not exist"} for name in names}
        ca = load_ca(self.before[CA], bool(self.store.names()), str(self.store.path), self.now)
        if ca is None:
            raise AssertionError("a store that is not empty has a CA or was refused")
        plan = {CA: {"action": "none", "why": ""}}
        for item in self.wanted:
            found = self.before[item.name]
            why = why_issue(found, item, ca, self.now, self.renew_before)
            action = "none" if not why else "create" if found.missing else "renew"
            plan[item.name] = {"action": action, "why": why}
        return ca, plan

    def act(self, ca: Pair | None, plan: dict[str, Outcome]) -> None:
        """Protect the directory, then write what the plan asks for, the CA first."""
        self.store.protect()
        if ca is None:
            ca = create_ca(self.params["ca_name"], self.now, self.params["ca_valid_days"])
            self.store.write(CA, ca)
        for item in self.wanted:
            if plan[item.name]["action"] != "none":
                self.store.write(item.name, issue(item, ca, self.now, self.params["valid_days"]))

    def after(self, plan: dict[str, Outcome]) -> dict[str, Material]:
        """What later tasks get: what is on disk; in check mode nothing for what would be replaced."""
        if self.check:
            return {name: ABSENT if plan[name]["action"] != "none" else self.before[name] for name in plan}
        return {name: self.store.read(name) for name in plan}


def run(params: dict[str, Any], check: bool, now: datetime) -> dict[str, Any]:
    """Do it and describe it: the module's result."""
    this = Run(params, check, now)
    ca, plan = this.plan()
    exposed = [str(path) for path in this.store.exposed()]
    changed = bool(exposed) or any(outcome["action"] != "none" for outcome in plan.values())
    if changed and not check:
        this.act(ca, plan)
    after = this.after(plan)
    outcomes = {name: {**outcome, "not_after": describe_end(after[name])} for name, outcome in plan.items()}
    return {
        "changed": changed,
        "material": _material(after, this.wanted),
        "ca": {**outcomes.pop(CA), "notice": _notice(ca, now, this.renew_before)},
        "certificates": outcomes,
        "protected": exposed,
        "diff": {
            "before": {name: describe_end(this.before[name]) for name in plan} if not this.empty else {},
            "after": {name: describe_end(after[name]) or plan[name]["why"] for name in plan},
        },
    }


def _material(after: dict[str, Material], wanted: list[Wanted]) -> dict[str, Any]:
    def entry(found: Material) -> dict[str, str]:
        return {"certificate": _text(found.certificate), "key": _text(found.key), "not_after": describe_end(found)}

    return {
        "ca": _text(after[CA].certificate),
        "certificates": {item.name: entry(after[item.name]) for item in wanted},
    }


def _text(pem: bytes | None) -> str:
    return (pem or b"").decode()


def _notice(ca: Pair | None, now: datetime, renew_before: timedelta) -> str:
    if ca is None or ca.not_after - now >= renew_before:
        return ""
    return (
        f"The platform's CA ends on {ca.not_after:%Y-%m-%d}, and every certificate with it. Plan its replacement: move "
        "its directory away and deploy with -e tls_new_ca=true; every service then gets a new certificate."
    )


def main() -> None:
    """Module entry point."""
    certificate = {
        "name": {"type": "str", "required": True},
        "common_name": {"type": "str"},
        "dns": {"type": "list", "elements": "str", "default": []},
        "ips": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "ca_name": {"type": "str", "default": "Lastro platform CA"},
            "ca_valid_days": {"type": "int", "default": 3650},
            "relied_on": {"type": "list", "elements": "str", "default": []},
            "certificates": {"type": "list", "elements": "dict", "required": True, "options": certificate},
            "valid_days": {"type": "int", "default": 365},
            "renew_before_days": {"type": "int", "default": 30},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        # What is refused is refused before a library is installed for it.
        if CRYPTOGRAPHY_ERROR and not (Run(module.params, True, _now()).empty and module.check_mode):
            package = "python3-cryptography"
            message = missing_required_lib("cryptography", reason=f"in the distribution's package {package}")
            module.fail_json(msg=message, exception=CRYPTOGRAPHY_ERROR, missing_library=package)
        with held(module.params["lease"], module.check_mode):
            result = run(module.params, module.check_mode, _now())
        if result["ca"]["notice"]:
            module.warn(result["ca"]["notice"])
        module.exit_json(**result)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error}. Run as root (`become: true`) on a disk with room.")


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
