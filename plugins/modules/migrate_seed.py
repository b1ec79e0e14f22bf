#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: migrate_seed
short_description: Migrate and seed a Postgres database behind a gate
version_added: 0.1.0
description:
  - Plans what is pending and shows its SQL, lints it on the controller, and runs it alone, with a point to go back to. Afterwards it looks at what
    the migration left behind, brings seeds in, and verifies them by query.
  - The migrations are Alembic's, of an image (in one-off containers of a Compose service) or of an interpreter of the host; or those of any
    other tool, by O(migrate_command).
  - A run is the plan, the controller's look at it, and the run of that very plan. A plan that is another one by then is refused. Two runs at once
    are one after the other; the second has nothing to do.
  - A failed migration leaves the database at a revision that is named, with the statement that failed.
author:
  - Lastro maintainers (@lastro-dev)
attributes:
  check_mode:
    support: full
    description: Shows the plan, its SQL included, and judges it. Seeds of files are tried in a transaction that is given up.
  diff_mode:
    support: full
    description: Shows the SQL of each pending revision, and how many rows of each seed file differ.
  idempotent:
    support: full
    description: Nothing pending is nothing done.
options:
  url:
    description:
      - The database, as C(postgresql://user:password@host:port/name), with the login that migrates. Sessions beside the migration use it, for
        locks, looks and seeds of files; the migration itself connects as the application says.
    type: str
    required: true
  hostaddr:
    description: Address of the server, where this host does not resolve the name in O(url). The certificate is still checked against the name.
    type: str
  ca:
    description: CA of the server, as PEM.
    type: str
  sslmode:
    description: As libpq knows it; the URL's own wins.
    type: str
    default: prefer
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
  project:
    description: Compose project of the one-off containers.
    type: str
  directory:
    description: Directory of that project, or, without a project, where commands are run on this host.
    type: path
    required: true
  compose:
    description: Compose file of the project as a dictionary, as for M(lastro.platform.stack). Nothing of it is started.
    type: dict
  service:
    description: The service of O(compose) whose image, network and secrets the one-off containers have.
    type: str
  environment_variables:
    description:
      - For commands on this host, variables added to their environment.
      - No result shows their values where they have eight letters or more, nor passwords in them. In SQL V(___hidden___) stands for them.
    type: dict
    default: {}
  python:
    description: The Python that has Alembic and the migrations.
    type: list
    elements: str
    default: [python3]
  alembic:
    description: Where Alembic's configuration is.
    type: dict
    default: {}
    suboptions:
      config:
        description: Path of the file, from the working directory. V(alembic.ini) when not given.
        type: str
      section:
        description: Its section. V(alembic) when not given.
        type: str
  migrate_command:
    description: Migrates with this command instead of Alembic. There is no shell.
    type: list
    elements: str
    default: []
  status_command:
    description: For O(migrate_command), exits with 0 where there is nothing to do. Asked before and after; without it each run migrates.
    type: list
    elements: str
    default: []
  seed_command:
    description:
      - Brings the application's own seeds in, after the migrations. Where its last line is JSON with C(changed) that counts.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(downgraded) goes back to O(revision). A revision that cannot be undone is named and refused; in C(prod) so is what did not run elsewhere
        before (O(rehearsals)). Seeds stay out of it.
    type: str
    default: upgraded
    choices: [upgraded, downgraded]
  revision:
    description: How far to migrate, the head when not given. With O(state=downgraded) where to go back to, V(base) for the beginning.
    type: str
    default: ""
  release:
    description: The release this is, for O(record).
    type: str
    default: ""
  record:
    description:
      - File on the host that keeps how the last run ended and which revisions runs have reached. With it a release that comes back after a later
        one is known, and has nothing to do; its schema is the later one's.
      - It also keeps what was invalid before a run that did not end well. What came since stops the next runs until it is gone.
    type: path
  known_revisions:
    description: Revisions that may stand in the database although these migrations do not have them. Nothing is migrated, seeded or verified then.
    type: list
    elements: str
    default: []
  not_there_yet:
    description: Whether check mode passes where image, server, database or login are not there, as the same deploy would make them first.
    type: bool
    default: false
  rehearsals:
    description:
      - File on the controller that keeps, a line of JSON each, what was downgraded in the environments C(stage) and C(restore). A downgrade of
        C(prod) or C(production) has to stand in it, with the same revisions and the same SQL.
    type: path
  environment:
    description: The environment this is, for seeds that are for some only. Required to go back, as C(prod) has a rule of its own.
    type: str
    default: ""
  seeds:
    description: Files of rows. All are brought in by one transaction.
    type: list
    elements: dict
    default: []
    suboptions:
      file:
        description: YAML, JSON or CSV, on the controller.
        type: path
        required: true
      name:
        description: Its name in messages. The file's own when not given.
        type: str
      table:
        description: The table, with its schema where that is not in the search path. In YAML and JSON the file may say it.
        type: str
      key:
        description: The columns of its natural key, which a unique index covers. In YAML and JSON the file may say it.
        type: list
        elements: str
      environments:
        description: The only environments in which it may run. In YAML and JSON the file may say it.
        type: list
        elements: str
      remove_missing:
        description: Whether rows that are not in the file are removed. In YAML and JSON the file may say it.
        type: bool
  verify:
    description: Queries that have to answer as wanted when all is done.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it proves.
        type: str
        required: true
      query:
        description: SQL with one row and one column.
        type: str
        required: true
      expected:
        description: The answer as text.
        type: str
        required: true
  policy:
    description:
      - What pending revisions may do. V(any) judges by the linter alone. V(expand_only) lets revisions add and change rows; V(expand_contract) also
        lets revisions take away that do nothing else, in a run in which no other adds.
    type: str
    default: any
    choices: [any, expand_contract, expand_only]
  lint:
    description: Whether Squawk looks at the SQL of pending revisions.
    type: bool
    default: true
  lint_exclude:
    description: Rules of Squawk that are left out, besides those of style.
    type: list
    elements: str
    default: []
  waivers:
    description: Leave for one rule of one revision, for a reason and until a date.
    type: list
    elements: dict
    default: []
    suboptions:
      revision:
        description: The revision.
        type: str
        required: true
      rule:
        description: The rule, as its refusal names it.
        type: str
        required: true
      reason:
        description: Why this is safe here.
        type: str
        required: true
      expires:
        description: The last day on which it holds, as V(2027-01-31).
        type: raw
        required: true
  not_valid:
    description: Constraints (C(table.name)) that may stay C(NOT VALID) for now.
    type: list
    elements: str
    default: []
  drift:
    description: Whether to compare the models with a database that has all migrations (C(alembic check)). A difference is told, not refused.
    type: bool
    default: true
  restore_point:
    description: Name of the point in the write-ahead log before the migration.
    type: str
    default: before-migration
  lock_wait_seconds:
    description: How long to wait for another migration.
    type: float
    default: 600
  old_transaction_seconds:
    description:
      - A transaction of this age stops the run before it begins, where it holds a lock that the SQL would wait for. Of a command, of SQL that
        cannot be read and of C(CONCURRENTLY), that is every lock on a table.
      - The login needs C(pg_read_all_stats) to see the transactions of others; C(<database>_migrate) has it.
    type: float
    default: 30
  retries:
    description: How often a migration that waited too long for a lock is tried again.
    type: int
    default: 3
  timeout_seconds:
    description: After this time a command is stopped.
    type: float
    default: 3600
  connect_timeout:
    description: Seconds for a connection.
    type: int
    default: 5
  phase:
    description: Used between the controller's part of this module and the host's.
    type: str
    choices: [plan, run]
    default: plan
  planned:
    description: Used between the controller's part of this module and the host's.
    type: dict
    default: {}
  progress:
    description: File to which lines about the progress are appended, each a JSON object.
    type: path
extends_documentation_fragment:
  - lastro.platform.engine
  - lastro.platform.lease
  - lastro.platform.project_files
requirements:
  - psycopg2
  - pglast and squawk-cli on the controller
"""

EXAMPLES = r"""
- name: Migrate a database with the Alembic of a virtual environment
  lastro.platform.migrate_seed:
    url: "postgresql://shop_migrate:{{ platform_secrets.postgres_shop_migrate_password }}@172.30.77.1/shop"
    directory: /srv/shop
    python: [/srv/shop/.venv/bin/python]
    environment_variables:
      DATABASE_URL: "postgresql://shop_migrate:{{ platform_secrets.postgres_shop_migrate_password }}@172.30.77.1/shop"
    policy: expand_contract
    environment: prod
    seeds:
      - file: seeds/countries.csv
        table: countries
        key: [code]
    verify:
      - {name: countries, query: SELECT count(*) FROM countries, expected: "249"}

- name: Go back in stage, and write down that it ran
  lastro.platform.migrate_seed:
    url: "postgresql://shop_migrate:{{ platform_secrets.postgres_shop_migrate_password }}@172.30.77.1/shop"
    directory: /srv/shop
    python: [/srv/shop/.venv/bin/python]
    state: downgraded
    revision: "0004"
    environment: stage
    rehearsals: "{{ inventory_dir }}/../rehearsals.jsonl"
"""

RETURN = r"""
current:
  description: Where the database is.
  returned: success
  type: list
  elements: str
  sample: ["0004"]
heads:
  description: Where the migrations end.
  returned: success
  type: list
  elements: str
  sample: ["0005"]
pending:
  description:
    - What is, or was, pending, in its order; with its SQL, None where that can't be had without running it. With O(state=downgraded) the steps back.
  returned: success
  type: list
  elements: dict
  sample: [{id: "0005", message: Amounts., sql: "ALTER TABLE …", classes: [expand]}]
ahead:
  description: Whether a later release has migrated the database, so that nothing was done.
  returned: success
  type: bool
  sample: false
known:
  description: Whether the tool says where the database is; of C(migrate_command) without C(status_command) nothing is known.
  returned: success
  type: bool
  sample: true
empty:
  description: Whether nobody has made a table in the database yet, so that no finding counts.
  returned: success
  type: bool
  sample: false
unique:
  description: The unique indexes of the database that the SQL names.
  returned: success
  type: list
  elements: str
  sample: [orders_number_key]
locks:
  description: The relations that the SQL changes, drops, and writes or refers to, by name; V(everything) where that is not all.
  returned: success, when going up
  type: dict
  sample: {everything: false, changed: [orders], dropped: [], written: [customers]}
digest:
  description: Of the plan, by which the run knows it again.
  returned: success
  type: str
  sample: 5f2c9e…
unseen:
  description: Why check mode could not plan.
  returned: in check mode, with O(not_there_yet), when something is not there
  type: str
  sample: The image shop/web:1.4.2 is not on this host. Build or pull it first.
applied:
  description: The revisions that this run applied, or with O(state=downgraded) undid.
  returned: when it ran
  type: list
  elements: str
  sample: ["0005"]
before:
  description: Where the database was.
  returned: when it ran
  type: list
  elements: str
  sample: ["0004"]
after:
  description: Where the database is now.
  returned: when it ran
  type: list
  elements: str
  sample: ["0005"]
attempts:
  description: How often the migration was tried; more than once where it waited too long for a lock.
  returned: when it ran
  type: int
  sample: 1
restore_point:
  description: Name and place of the point before the migration. The name is empty where the server allows none, and why.
  returned: when something was pending
  type: dict
  sample: {name: before-migration, lsn: 0/1A2B3C4, why_no_name: ""}
seeds:
  description: Rows inserted, updated, unchanged and removed, by file.
  returned: success
  type: dict
  sample: {countries.csv: {inserted: 1, updated: 0, unchanged: 248, removed: 0}}
seed_command:
  description: The last line that the application's seeds printed.
  returned: when it ran
  type: str
  sample: '{"changed": false}'
verified:
  description: The names of the queries that answered as wanted.
  returned: when it ran
  type: list
  elements: str
  sample: [countries]
drift:
  description: How the models differ from the database, or why they were not compared. Empty where migrations are pending.
  returned: success
  type: dict
  sample: {compared: true, differences: "", why_not: ""}
notices:
  description: What is worth knowing and stops nothing.
  returned: success
  type: list
  elements: str
  sample: ["The constraint orders.positive is NOT VALID."]
seconds:
  description: Time waited for another run, for locks, and spent on migration and seeds.
  returned: when it ran
  type: dict
  sample: {waited: 0.0, lock_waits: 0.0, migrate: 1.31, seed: 0.2}
"""

import time
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._lease import held
from ansible_collections.lastro.platform.plugins.module_utils._migrate_seed import MigrateSeed
from ansible_collections.lastro.platform.plugins.module_utils._migrate_seed_options import REQUIRED_BY, arguments
from ansible_collections.lastro.platform.plugins.module_utils._migration_project import NotThereYet, program
from ansible_collections.lastro.platform.plugins.module_utils._module import UnloggedModule
from ansible_collections.lastro.platform.plugins.module_utils._postgres_connection import (
    PSYCOPG2_ERROR,
    DriverError,
    NoSuch,
    Server,
    Unreachable,
    WrongPassword,
    passwords_in,
)
from ansible_collections.lastro.platform.plugins.module_utils._progress import Progress
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import SHORTEST_HIDDEN, secret_texts

# All of it stands in the URL; no password is given.
_IN_URL = dict.fromkeys(("host", "user", "maintenance_database"), "")
_LOGIN: dict[str, Any] = {**_IN_URL, "port": 5432, "password": None}  # nosec B105
LATER = (NotThereYet, Unreachable, WrongPassword, NoSuch)


def main() -> None:
    """Module entry point."""
    module = UnloggedModule(argument_spec=arguments(), required_by=REQUIRED_BY, supports_check_mode=True)
    params = dict(module.params)
    # At -vvv Ansible shows what a module was given.
    module.params["environment_variables"] = dict.fromkeys(params["environment_variables"], "hidden")
    values = {str(value) for value in params["environment_variables"].values()} | secret_texts(params["files"])
    module.no_log_values.update(text for text in values if len(text) >= SHORTEST_HIDDEN)
    # Applications print the password alone, too.
    module.no_log_values.update(passwords_in([params["url"], *values]))
    if PSYCOPG2_ERROR:
        package = "python3-psycopg2"
        message = missing_required_lib("psycopg2", reason=f"in the distribution's package {package}")
        module.fail_json(msg=message, exception=PSYCOPG2_ERROR, missing_library=package)
    try:
        engine = Engine(params["engine"])
        server = Server({**_LOGIN, **params, "wait_timeout": 0}, time.monotonic, time.sleep)
        # Also while it only plans: that brings the project's files to the host.
        with held(params["lease"], module.check_mode), program(params, engine, module.check_mode) as where:
            progress = Progress(params["progress"] or "")
            work = MigrateSeed(params, server, where, progress, secrets=module.no_log_values)
            planning = params["phase"] == "plan" or module.check_mode
            result = work.plan(try_seeds=module.check_mode) if planning else work.run(params["planned"])
    except LATER as error:
        if module.check_mode and params["not_there_yet"]:
            module.exit_json(**unseen(str(error)))
        module.fail_json(msg=str(error))
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=str(of_the_host(error, params["directory"])))
    except DriverError as error:
        module.fail_json(msg=f"The database broke off: {' '.join(str(error).split())}. See its log, then run again.")
    module.exit_json(**result)


def unseen(why: str) -> dict[str, Any]:
    """What check mode says where a deploy would make first what a plan needs."""
    plan = {"current": [], "heads": [], "pending": [], "known": False, "ahead": False, "empty": False, "digest": ""}
    return {**plan, "unique": [], "drift": {}, "seeds": {}, "unseen": why, "changed": True}


if __name__ == "__main__":
    main()
