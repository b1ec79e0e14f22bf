#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: tls_acme
short_description: Keep the account with an ACME server and the certificate that it signed
version_added: 0.1.0
description:
  - Runs on the one host that keeps the CA, and asks no server. Makes the account's key where there is none, takes up the certificate of an
    order that is done (C(order.key) and C(order.crt) in O(directory)), and says whether one has to be ordered. The role
    P(lastro.platform.tls#role) orders it with M(community.crypto.acme_certificate).
  - Returns the certificate's key as RV(material), so a task that uses this module needs C(no_log=true).
options:
  directory:
    description:
      - Where the account's key (C(account.key)) and the certificate with its chain and key (C(certificate.pem)) lie, mode 0400 in a directory 0700.
      - The directory and its parent are made when missing.
    type: path
    required: true
  url:
    description: The directory URL of the ACME server. A certificate of another one is ordered anew, and handed out until then.
    type: str
    required: true
  contact:
    description: The e-mail address of the account.
    type: str
    default: ""
  terms_agreed:
    description: Whether somebody agreed to the server's terms. Nothing is kept until then.
    type: bool
    default: false
  names:
    description:
      - The DNS names that the certificate has to be for. No wildcards.
      - They are kept in C(names). Without any, as for a timer that knows of no release, those that were kept last count.
    type: list
    elements: str
    default: []
  renew_before_days:
    description: How many days before its end a certificate is ordered anew, but not before half its life is over.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: An account that does not exist yet has no thumbprint, and no certificate is handed out that was not taken up.
  diff_mode:
    support: full
    description: Shows names and dates, never keys.
  idempotent:
    support: full
    description: What is on disk is kept.
requirements:
  - cryptography >= 38
author:
  - Lastro maintainers (@lastro)
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Keep the account
  lastro.platform.tls_acme:
    directory: /var/lib/lastro/shop/secrets/tls/acme
    url: https://acme-v02.api.letsencrypt.org/directory
    contact: ops@example.com
    terms_agreed: true
    names: [shop.example.com]
  register: acme
  no_log: true
"""

RETURN = r"""
thumbprint:
  description: Thumbprint of the account's key (RFC 7638). The answer to a challenge is C(<token>.<thumbprint>).
  returned: success
  type: str
  sample: 9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI
material:
  description: The certificate with its chain, and its key, for templates; empty where there is none or it is over.
  returned: success
  type: dict
  sample: {certificate: "-----BEGIN CERTIFICATE-----...", key: "-----BEGIN PRIVATE KEY-----...", not_after: "2027-02-20T12:00:00Z"}
why:
  description: Why a certificate has to be ordered, empty where none has.
  returned: success
  type: str
  sample: it ends on 2026-12-24
names:
  description: The names it is, or has to be, for.
  returned: success
  type: list
  elements: str
  sample: [shop.example.com]
taken_up:
  description: Whether the certificate of an order was taken up.
  returned: success
  type: bool
  sample: false
not_after:
  description: When the certificate ends, empty where there is none.
  returned: success
  type: str
  sample: "2027-02-20T12:00:00Z"
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils import _acme as acme
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._tls import CRYPTOGRAPHY_ERROR, Store


def run(params: dict[str, Any], check: bool, now: datetime) -> dict[str, Any]:
    """Keep it and describe it: the module's result."""
    store, url = Store(params["directory"]), params["url"]
    account = before = store.content(acme.ACCOUNT)
    if account is None and not check:
        account = acme.create_account()
    thumbprint = "" if account is None else acme.thumbprint(account, str(store.path / acme.ACCOUNT))
    there = acme.held_in(store)
    known = (store.content(acme.NAMES) or b"").decode().split()
    names = sorted(set(params["names"])) or known
    ordered = acme.ordered_in(store, url, names, now)
    changed = bool(before is None or names != known or ordered or store.exposed())
    if not check:
        store.protect()
        if before is None and account:
            store.replace(acme.ACCOUNT, account)
        if names != known:
            store.replace(acme.NAMES, "\n".join(names).encode())
        if ordered:
            acme.take_up(store, ordered)
    current = ordered or there
    material = acme.material(current, now)
    return {
        "changed": changed,
        "thumbprint": thumbprint,
        "material": material,
        "why": acme.why_order(current, names, url, now, timedelta(days=params["renew_before_days"])),
        "names": names,
        "taken_up": bool(ordered),
        "not_after": material.get("not_after", ""),
        "diff": {"before": _told(there, before, known, now), "after": _told(current, account, names, now)},
    }


def _told(signed: acme.Signed | None, account: bytes | None, names: list[str], now: datetime) -> str:
    """What a diff may show."""
    ends = acme.material(signed, now).get("not_after", "none")
    return f"account: {'there' if account else 'none'}\nnames: {' '.join(names)}\ncertificate until: {ends}\n"


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "url": {"type": "str", "required": True},
            "contact": {"type": "str", "default": ""},
            "terms_agreed": {"type": "bool", "default": False},
            "names": {"type": "list", "elements": "str", "default": []},
            "renew_before_days": {"type": "int", "default": 30},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        acme.check(params["url"], params["contact"], params["terms_agreed"], params["names"])
        # A dry run on an empty host has nothing to parse.
        if CRYPTOGRAPHY_ERROR and (not module.check_mode or os.path.isdir(params["directory"])):
            message = missing_required_lib("cryptography", reason="in the distribution's package python3-cryptography")
            module.fail_json(msg=message, exception=CRYPTOGRAPHY_ERROR)
        with held(params["lease"], module.check_mode):
            module.exit_json(**run(params, module.check_mode, datetime.now(UTC)))
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error}. Run as root (`become: true`) on a disk with room.")


if __name__ == "__main__":
    main()
