#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Issue, rotate, revoke, import and prune API keys in a Postgres table
version_added: 0.1.0
description:
  - Keys are made and hashed on the controller. The host and the database get ids and hashes; a plain key goes to O(sink) and nowhere else,
    never to output, log, diff or a command line.
  - A key is C(prefix_environment_id_secret) with a checksum at its end, so that a scanner can tell it without the database
    (O(scanner_rules)). The database has its HMAC-SHA256.
  - Keys are kept in the collection's own table C(lastro_api_keys), which is created, completed and healed, or in a table of the application
    (O(table), O(columns)). What such a table has no column for is refused by name.
  - A rotation is staged in the sink, committed in one transaction, then finished in the sink, which has the old keys until then. Where the sink
    or the transaction fails nothing was rotated. A run that died between is finished by the next one. Of two runs that rotate one key at the same
    time one does, and the other says that it did not.
author:
  - Lastro maintainers (@lastro)
extends_documentation_fragment:
  - lastro.platform.api_key
attributes:
  check_mode:
    support: full
    description: Says which keys are due, and changes nothing.
  diff_mode:
    support: full
    description: Names keys by their ids.
  idempotent:
    support: partial
    description: Keys that are there are not issued again, and what ended is not ended again.
    details: A rotation by O(max_age) rotates nothing when it is run again. One without O(max_age) rotates each time.
options:
  state:
    description:
      - V(present) issues a key for O(name) and O(tenant) where none is good.
      - V(rotated) gives keys successors with the same name, tenant and scopes.
      - V(revoked) ends keys at once.
      - V(listed) reads.
      - V(pruned) removes rows of keys that ended longer than O(keep) ago.
      - V(imported) adds keys that exist already, of this format or any other, for verifiers to find.
    type: str
    required: true
    choices: [present, rotated, revoked, listed, pruned, imported]
  url:
    description: The database, as C(postgresql://user:password@host:port/name).
    type: str
    required: true
  ca:
    description: PEM certificate of the CA that signed the server's.
    type: str
  sslmode:
    description: As libpq knows it; the URL's own wins.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: verify-full
  connect_timeout:
    description: Seconds for a connection.
    type: int
    default: 5
  table:
    description: A table of the application, with its schema where that is not in the search path. The collection's own when not given.
    type: str
  columns:
    description:
      - What the columns of O(table) are. C(id), C(hash), C(created) and C(revoked) are needed. C(key_id), C(prefix), C(last4), C(name), C(tenant),
        C(scopes), C(pepper_version), C(expires), C(last_used), C(first_used), C(replaced_by) and C(retire_seconds) may be given.
      - C(scopes) is an array, or text with blanks between them. C(replaced_by) has the successor's C(key_id) where it is text, else its C(id).
    type: dict
    default: {}
  heal:
    description:
      - For a O(table), whether to make its hashes unique. The own table is always healed.
      - Of rows with one hash one stays, one that is not revoked before those that are, then the newest. The others are removed and reported
        in RV(healed).
    type: bool
    default: false
  prefix:
    description: What the keys of this application begin with; 2 to 15 lower-case letters and digits.
    type: str
  environment:
    description:
      - The environment that keys are for; 2 to 10 lower-case letters and digits.
      - Where it is V(prod) or V(production), keys of another environment are not imported and not rotated.
      - O(state=present), O(state=rotated) and O(state=imported) need it.
    type: str
  name:
    description: For O(state=present), what people call the key.
    type: str
    default: ""
  tenant:
    description: For O(state=present), whose key it is.
    type: str
    default: ""
  scopes:
    description: For O(state=present), what it may do.
    type: list
    elements: str
    default: []
  ids:
    description: Only these keys, by the third part of a key; by their row where the table has no column for that.
    type: list
    elements: str
    default: []
  names:
    description: Only keys of these names.
    type: list
    elements: str
    default: []
  tenants:
    description: Only keys of these tenants.
    type: list
    elements: str
    default: []
  all:
    description: All keys.
    type: bool
    default: false
  max_age:
    description: Only keys older than that, as V(90d), V(12h), V(30m) or V(45s).
    type: str
  overlap:
    description: For O(state=rotated), how long the old keys go on working, never past their own end. V(0s) ends them at once.
    type: str
  retire_on_first_use:
    description:
      - For O(state=rotated), how long an old key goes on working after the first use of its successor. The verifier ends it then.
      - O(overlap), where given beside it, is the most it goes on without.
    type: str
  lifetime:
    description: How long new keys are good. Without it a successor is good as long as the key before it was meant to be; others have no end.
    type: str
  unused_for:
    description: For O(state=revoked), a key that was used in this time is not revoked without O(force). V(0s) does not look.
    type: str
    default: 10m
  force:
    description: Revoke keys although they were used a short time ago.
    type: bool
    default: false
  keep:
    description: For O(state=pruned), for how long the rows of ended keys stay.
    type: str
    default: 90d
  peppers:
    description:
      - Peppers by version, each 32 bytes in hex. New keys are hashed with the highest version, the others are for the keys that have them.
      - To rotate the pepper, add a version and rotate keys as they come due. RV(peppers) says which keys hold on to which version; a version that good
        keys have must not be left out.
    type: dict
    default: {}
  salt:
    description: The salt of an application that has one for all keys. Its text is the key of the HMAC. In the own table it is version 0 of the pepper.
    type: str
  import_file:
    description:
      - For O(state=imported), a file on the controller that only its owner may read. JSON lines, or a YAML list, of entries with C(key) or C(hash),
        and C(name), C(tenant), C(scopes), C(expires), C(environment), C(pepper_version) as they apply.
    type: path
  import_sink:
    description: For O(state=imported), import the keys that O(sink) has.
    type: bool
    default: false
  scanner_rules:
    description: Writes on the controller the rules by which gitleaks and GitHub's secret scanning find keys of O(prefix).
    type: path
  phase:
    description: Used between the controller's part of this module and the host's.
    type: str
    choices: [look, prepare, apply]
    default: look
  request:
    description: Used between the controller's part of this module and the host's.
    type: str
    default: "{}"
requirements:
  - psycopg2 >= 2.9 on the host
  - PostgreSQL 15 or newer
"""

EXAMPLES = r"""
- name: Issue a key for a customer's billing, once
  lastro.platform.api_key:
    state: present
    url: "{{ api_keys_url }}"
    ca: "{{ platform_tls.ca }}"
    prefix: shop
    environment: prod
    name: billing
    tenant: acme
    scopes: [orders:read]
    lifetime: 180d
    peppers: "{{ api_key_peppers }}"
    sink: {type: kv, address: "https://bao.example.com:8200", path: shop/api_keys}

- name: Rotate what is older than 90 days; old keys work for a week
  lastro.platform.api_key:
    state: rotated
    url: "{{ api_keys_url }}"
    prefix: shop
    environment: prod
    max_age: 90d
    overlap: 7d
    peppers: {1: "{{ pepper_1 }}", 2: "{{ pepper_2 }}"}
    sink: {type: vault_file, path: "{{ inventory_dir }}/group_vars/all/api_keys.yml"}
    notify:
      slack: ["{{ slack_url }}"]

- name: Rotate in the table that an application has
  lastro.platform.api_key:
    state: rotated
    url: "{{ equivalence_url }}"
    table: api_keys
    columns: {id: id, hash: key_hash, tenant: tenant_id, scopes: role, created: created_at, revoked: revoked_at}
    prefix: eqv
    environment: prod
    tenants: ["1"]
    overlap: 0s
    salt: "{{ equivalence_salt }}"
    sink: {type: file, path: /root/eqv-keys.jsonl}

- name: Revoke a key that leaked
  lastro.platform.api_key:
    state: revoked
    url: "{{ api_keys_url }}"
    ids: [0VfX3kq81ZbT]
    force: true

- name: Show all keys, and write the rules for scanners
  lastro.platform.api_key:
    state: listed
    url: "{{ api_keys_url }}"
    prefix: shop
    scanner_rules: "{{ playbook_dir }}/gitleaks-api-keys.toml"
  register: api_keys

- name: Take over keys that were made elsewhere
  lastro.platform.api_key:
    state: imported
    url: "{{ api_keys_url }}"
    environment: prod
    import_file: /root/keys-of-the-old-system.jsonl
    peppers: "{{ api_key_peppers }}"

- name: Remove what ended long ago
  lastro.platform.api_key:
    state: pruned
    url: "{{ api_keys_url }}"
    keep: 365d
"""

RETURN = r"""
keys:
  description:
    - The keys of O(state=listed); else those that were, or in check mode would be, issued, rotated, revoked, pruned or imported.
    - C(id), C(row), C(prefix), C(last4), C(name), C(tenant), C(scopes), C(status) and times, as the table has them. After a rotation also
      C(replaces), the id of the old key, and C(old_ends), when that ends.
  returned: success
  type: list
  elements: dict
  sample: [{id: 0VfX3kq81ZbT, row: "42", prefix: shop_prod, name: billing, tenant: acme, replaces: 3cTq0PpZk7aL, old_ends: "2027-01-31T00:00:00+00:00"}]
lost:
  description: Keys that another run rotated at the same time. They were left to it.
  returned: success
  type: list
  elements: str
  sample: []
schema:
  description: What was, or would be, done to the table.
  returned: success
  type: list
  elements: str
  sample: [create lastro_api_keys]
healed:
  description: For each hash that stood more than once, the row that stayed and what was removed.
  returned: when something was done to the table, also by a run that failed afterwards
  type: list
  elements: dict
  sample: [{kept: "7", removed: [{id: "5", tenant: acme}]}]
settled:
  description: Keys that a run before left staged in the sink, by what became of them.
  returned: when there is a sink
  type: dict
  sample: {finished: [0VfX3kq81ZbT], discarded: [], waiting: []}
peppers:
  description: How many good keys hold on to each version of the pepper, before this run.
  returned: success
  type: dict
  sample: {"1": 12, "2": 40}
notices:
  description: What is worth knowing and stops nothing.
  returned: success
  type: list
  elements: str
  sample: []
seconds:
  description: Time spent on making and hashing keys, on the sink, and on the statements.
  returned: when keys were made
  type: dict
  sample: {generate: 0.4, sink: 0.1, statements: 0.6, runs: 1.9}
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils._api_key_host import KeyHost, told
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import argument_spec, check
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._module import UnloggedModule
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import PSYCOPG2_ERROR, Server

# All of it stands in the URL.
LOGIN: dict[str, Any] = {
    **{"host": "", "port": 5432, "user": "", "password": None},  # none given  # nosec B105
    **{"maintenance_database": "", "wait_timeout": 0},
}


class Work:
    """One phase. `committing` says whether the server was asked to keep it, after which nobody knows until it is looked at."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.committing = False

    def run(self, server: Server) -> dict[str, Any]:
        phase = self.params["phase"]
        request = json.loads(self.params["request"])
        with server.connect() as session, session.work(keep=phase != "look") as cursor, told():
            began = time.perf_counter()
            if phase == "look":
                cursor.execute("SET TRANSACTION READ ONLY")
            host = KeyHost(self.params, request, cursor)
            done: dict[str, Any] = getattr(host, phase)()
            done["statement_seconds"] = round(time.perf_counter() - began, 4)
            self.committing = phase != "look"
        return {"changed": phase != "look", **done}

    def undone(self, error: PlatformError) -> bool:
        """Whether nothing was kept for certain. A COMMIT that the server refused did nothing; one without an answer may have."""
        code = getattr(error.__cause__, "pgcode", None) or ""
        refused = bool(code) and code[:2] not in ("08", "57") and code != "40003"
        return refused or not self.committing


def main() -> None:
    """Module entry point."""
    module = UnloggedModule(argument_spec=argument_spec(), supports_check_mode=True)
    if PSYCOPG2_ERROR:
        package = "python3-psycopg2"
        message = missing_required_lib("psycopg2", reason=f"in the distribution's package {package}")
        module.fail_json(msg=message, exception=PSYCOPG2_ERROR, missing_library=package, undone=True)
    params = module.params
    work = Work(params)
    try:
        check(params)
        server = Server({**LOGIN, **params}, time.monotonic, time.sleep)
        module.no_log_values.add(server.settings.get("password") or params["url"])
        if module.check_mode and params["phase"] != "look":
            raise PlatformError("In check mode nothing is changed", "Use the module by its action plugin.")
        result = work.run(server)
    except PlatformError as error:
        module.fail_json(msg=str(error), undone=work.undone(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
