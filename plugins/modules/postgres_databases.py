#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgres_databases
short_description: Give each database of a Postgres server its roles, rights, extensions and first content
version_added: 0.1.0
description:
  - One execution brings all databases of a server to what is asked for. For a database C(db) these are the roles
    C(db_owner), C(db_rw) and C(db_ro) that nobody logs in as, with default privileges on what the owner creates; the
    login C(db_migrate), which acts as the owner under a lock and a statement timeout; the logins C(db_app_a) and
    C(db_app_b), of which one is open, or both while a release changes from one to the other; and C(db_monitor). C(PUBLIC) loses its rights.
  - Passwords are compared with what the server stores, and set as SCRAM verifiers computed here. A password is never part
    of a statement.
  - On a managed server what the user may do is found out, and each thing it may not do is named with what it costs. A user
    that cannot create roles manages nothing; the server is only checked.
  - Databases and roles that are no longer asked for are left alone.
options:
  url:
    description: The server as C(postgresql://user:password@host:port/database), instead of the single options.
    type: str
  host:
    description: Address of the server.
    type: str
    default: localhost
  port:
    description: Port of the server.
    type: int
    default: 5432
  user:
    description: Who to connect as.
    type: str
    default: postgres
  password:
    description: The user's password.
    type: str
  maintenance_database:
    description: The database to connect to first.
    type: str
    default: postgres
  sslmode:
    description: libpq's C(sslmode).
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: verify-full
  ca:
    description: PEM certificate of the CA that signed the server's.
    type: str
  connect_timeout:
    description: Seconds to wait for one connection.
    type: int
    default: 5
  wait_timeout:
    description: Seconds to go on trying while nothing answers.
    type: int
    default: 0
  databases:
    description: The databases wanted.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the database; lower-case letters, digits and underscores.
        type: str
        required: true
      passwords:
        description: Passwords of the logins. Needed where roles can be created.
        type: dict
        suboptions:
          migrate:
            description: Password of C(db_migrate).
            type: str
          app_a:
            description: Password of C(db_app_a).
            type: str
          app_b:
            description: Password of C(db_app_b).
            type: str
          monitor:
            description: Password of C(db_monitor).
            type: str
      active:
        description:
          - Which of the two application logins is open. When it changes, the other stays as it is, password included,
            until O(close_inactive) closes it.
        type: str
        choices: [a, b]
        default: a
      extensions:
        description: Extensions to create. One that the server lacks is a warning.
        type: list
        elements: str
        default: []
      init_sql:
        description: Statements the owner runs once, in one transaction, when the database is created.
        type: str
        default: ""
      lock_timeout:
        description: C(lock_timeout) of C(db_migrate).
        type: str
        default: 5s
      statement_timeout:
        description: C(statement_timeout) of C(db_migrate).
        type: str
        default: 15min
      connection_limit:
        description: How many connections each application login may hold, -1 for no limit.
        type: int
        default: -1
  close_inactive:
    description:
      - Close application logins that are not active and with which nobody is connected. To be used when the release that
        uses the active one serves and the one before was stopped.
    type: bool
    default: false
  expect:
    description: What the cluster has to be. Anything else is refused before a change, with the way out.
    type: dict
    default: {}
    suboptions:
      version:
        description: Major version.
        type: str
      encoding:
        description: Encoding of new databases, as C(UTF8).
        type: str
      locale:
        description: Provider and locale of new databases, as C(builtin:C.UTF-8) or C(libc:C).
        type: str
  not_there_yet:
    description: In check mode, that the server would only be created by this run. It is not looked for then.
    type: bool
    default: false
  data_volume:
    description: Docker volume with the server's data. Its major version is looked at where no server answers.
    type: str
  only_check:
    description:
      - Only refuse a server, or where none answers a O(data_volume), that is not what O(expect) says. Changes nothing.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Where no server answers at O(host), everything is reported as to be created. A O(url) has to answer.
  diff_mode:
    support: full
    description: Shows what is done in words, never a password or verifier.
  idempotent:
    support: full
    description: What the server has is read and compared, passwords by their verifiers.
requirements:
  - psycopg2 >= 2.9
  - PostgreSQL 15 or newer
author:
  - Lastro maintainers (@lastro)
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Keep the application's database
  lastro.platform.postgres_databases:
    host: 172.30.77.1
    password: "{{ platform_secrets.postgres_superuser_password }}"
    ca: "{{ platform_tls.ca }}"
    databases:
      - name: app
        extensions: [vector]
        passwords:
          migrate: "{{ platform_secrets.postgres_app_migrate_password }}"
          app_a: "{{ platform_secrets.postgres_app_a_password }}"
          app_b: "{{ platform_secrets.postgres_app_b_password }}"
          monitor: "{{ platform_secrets.postgres_app_monitor_password }}"

- name: Check a managed server
  lastro.platform.postgres_databases:
    url: "{{ postgres_url }}"
    sslmode: require
    databases: [{name: app}]
"""

RETURN = r"""
reachable:
  description: Whether a server answered; false only in check mode.
  returned: success
  type: bool
  sample: true
managed:
  description: Whether the user can create roles. Where not, the server was only checked.
  returned: success
  type: bool
  sample: true
server_version:
  description: The server's version, empty where none answered.
  returned: success
  type: str
  sample: "17.6"
capabilities:
  description: What the user may do and the server can do; for each extension C(installed), C(available), C(forbidden) or C(missing).
  returned: when a server answered
  type: dict
  sample: {superuser: true, create_database: true, create_role: true, restore_point: true, grant_monitor: true,
           read_verifiers: true, tls: true, checksums: true, extensions: {vector: installed}}
databases:
  description: For each database C(none), C(create) or C(update), and what was done in words.
  returned: success
  type: dict
  sample: {app: {action: update, changes: [set the password of app_migrate]}}
open_logins:
  description: Application logins that are not active and stay open, as what serves may still use them.
  returned: success
  type: list
  elements: str
  sample: [app_app_a]
pending_restart:
  description: Settings that wait for a restart of the server, with the value still in force.
  returned: success
  type: list
  elements: dict
  sample: [{name: shared_buffers, value: "16384"}]
urls:
  description: How the logins reach their database, without passwords.
  returned: success
  type: dict
  sample: {app: {app: "postgresql://app_app_a@172.30.77.1:5432/app", migrate: "postgresql://app_migrate@172.30.77.1:5432/app",
                 monitor: "postgresql://app_monitor@172.30.77.1:5432/app"}}
missing_library:
  description: The distribution's package that the host lacks; the run failed for no other reason.
  returned: when psycopg2 cannot be imported
  type: str
  sample: python3-psycopg2
"""

import socket
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils import _postgres_plan as planning
from ansible_collections.lastro.platform.plugins.module_utils import _postgres_report as report
from ansible_collections.lastro.platform.plugins.module_utils import _postgres_state as state
from ansible_collections.lastro.platform.plugins.module_utils import _postgres_sync as sync
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import (
    PSYCOPG2_ERROR,
    Server,
    Session,
    Unreachable,
    listens,
)
from ansible_collections.lastro.platform.plugins.module_utils._postgres_plan import Step, Wanted


def run(params: dict[str, Any], check: bool, library: bool) -> dict[str, Any]:
    """Do it and describe it: the module's result."""
    wanted = planning.wanted_from(params["databases"])
    server = Server(params, time.monotonic, time.sleep)
    if params["only_check"]:
        check_only(server, params, library)
        return {"changed": False}
    # A server that this run would have created must not be looked for: another one may answer at its address.
    if not library or (check and params["not_there_yet"]):
        return report.describe(server.address, wanted, sync.assumed(wanted).plan(wanted))
    try:
        with server.connect() as admin:
            return converge(server, admin, wanted, params, check)
    except Unreachable:
        sync.check_volume(Engine(), params["data_volume"], params["expect"].get("version"))
        if check and not params["url"]:
            return report.describe(server.address, wanted, sync.assumed(wanted).plan(wanted))
        raise


def check_only(server: Server, params: dict[str, Any], library: bool) -> None:
    """Refuse what is there and is not what is expected: the server, else the data it left."""
    if library:
        try:
            with server.connect() as admin:
                planning.check_cluster(state.read_facts(admin.query, []), params["expect"])
            return
        except Unreachable:
            pass
    sync.check_volume(Engine(), params["data_volume"], params["expect"].get("version"))


def converge(
    server: Server, admin: Session, wanted: list[Wanted], params: dict[str, Any], check: bool
) -> dict[str, Any]:
    """Read, plan, act unless in check mode, read back."""
    extensions = [name for item in wanted for name in item.extensions]
    facts = state.read_facts(admin.query, extensions)
    planning.check_cluster(facts, params["expect"])
    refused = state.read_refused(admin.query) if facts.superuser else []
    if refused:
        raise PlatformError(
            f"The server did not take its configuration: {'; '.join(refused)}", "Correct it and run again."
        )
    # Decided once: whoever disconnects meanwhile is seen by the next run.
    closing = sync.closable(admin, wanted) if params["close_inactive"] else frozenset()
    picture = sync.look(server, admin, facts, wanted, closing)
    notices = report.login_warnings(
        wanted, picture.roles, picture.stale, picture.open_logins(wanted), params["close_inactive"]
    )
    plans: dict[str, list[Step]] = {item.name: [] for item in wanted}
    if facts.manages:
        planning.check_passwords(wanted)
        plans = picture.plan(wanted)
        if any(plans.values()) and not check:
            sync.act(server, admin, plans, facts.superuser)
            picture = sync.look(server, admin, facts, wanted, closing)
            left = report.in_words(picture.plan(wanted))
            if left:
                raise PlatformError(f"The server did not keep what was set: {', '.join(left)}", "See its log.")
    found = report.capabilities(facts, wanted, picture.inside)
    result = report.describe(server.address, wanted, plans)
    result.update(
        reachable=True,
        managed=facts.manages,
        server_version=facts.version,
        capabilities=found,
        pending_restart=state.read_pending(admin.query),
        open_logins=picture.open_logins(wanted),
        notices=notices + report.warnings(found) + report.missing(facts, wanted, picture.databases),
    )
    return result


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    params["expect"] = params["expect"] or {}
    try:
        if params["url"]:
            module.no_log_values.add(Server(params, time.monotonic, time.sleep).settings.get("password", ""))
        if PSYCOPG2_ERROR and not params["only_check"] and not (module.check_mode and nothing_there(params)):
            package = "python3-psycopg2"
            message = missing_required_lib("psycopg2", reason=f"in the distribution's package {package}")
            module.fail_json(msg=message, exception=PSYCOPG2_ERROR, missing_library=package)
        with held(params["lease"], module.check_mode or params["only_check"]):
            result = run(params, module.check_mode, PSYCOPG2_ERROR is None)
        for notice in result.pop("notices", []):
            module.warn(notice)
        module.exit_json(**result)
    except PlatformError as error:
        module.fail_json(msg=str(error))


def nothing_there(params: dict[str, Any]) -> bool:
    """Whether nothing listens where the platform's own server would."""
    return not params["url"] and not listens(params["host"], params["port"], socket.create_connection)


def argument_spec() -> dict[str, Any]:
    """The options, as documented above."""
    password = {"type": "str", "no_log": True}
    logins = dict.fromkeys(("migrate", "app_a", "app_b", "monitor"), password)
    database = {
        "name": {"type": "str", "required": True},
        "passwords": {"type": "dict", "options": logins, "no_log": False},
        "active": {"type": "str", "choices": ["a", "b"], "default": "a"},
        "extensions": {"type": "list", "elements": "str", "default": []},
        "init_sql": {"type": "str", "default": ""},
        "lock_timeout": {"type": "str", "default": "5s"},
        "statement_timeout": {"type": "str", "default": "15min"},
        "connection_limit": {"type": "int", "default": -1},
    }
    cluster = {name: {"type": "str"} for name in ("version", "encoding", "locale")}
    modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
    return {
        "url": {"type": "str", "no_log": True},
        "host": {"type": "str", "default": "localhost"},
        "port": {"type": "int", "default": 5432},
        "user": {"type": "str", "default": "postgres"},
        "password": password,
        "maintenance_database": {"type": "str", "default": "postgres"},
        "sslmode": {"type": "str", "choices": modes, "default": "verify-full"},
        "ca": {"type": "str"},
        "connect_timeout": {"type": "int", "default": 5},
        "wait_timeout": {"type": "int", "default": 0},
        "databases": {"type": "list", "elements": "dict", "default": [], "options": database},
        "close_inactive": {"type": "bool", "default": False},
        "expect": {"type": "dict", "default": {}, "options": cluster},
        "not_there_yet": {"type": "bool", "default": False},
        "data_volume": {"type": "str"},
        "only_check": {"type": "bool", "default": False},
        "lease": LEASE_SPEC,
    }


if __name__ == "__main__":
    main()
