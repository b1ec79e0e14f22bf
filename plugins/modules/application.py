#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: application
short_description: Compile a Compose file into the projects that run it
version_added: 0.1.0
description:
  - Reads the application's Compose file on the controller, refuses what can't run in two colours (naming file and line), and returns the Compose
    projects for M(lastro.platform.stack), one for each colour, one for migrations and seeds, one for singletons.
  - Runs on the controller only; nothing is executed on a host. The result holds secrets and is never printed.
attributes:
  check_mode:
    support: full
    description: Nothing is changed in any mode.
  diff_mode:
    support: none
    description: Nothing is changed in any mode.
  idempotent:
    support: full
    description: The same input gives the same output.
options:
  compose_file:
    description: Path of the Compose file on the controller.
    type: path
    required: true
  pids_limit:
    description: Processes and threads that a container may have where the file sets no limit. V(-1) is no limit.
    type: int
    default: 512
  provided:
    description: Addresses of services that the platform provides, by their name in the file.
    type: dict
    default: {}
  migrations:
    description: What this environment says to M(lastro.platform.migrate_seed), by service with C(x-platform.migrations).
    type: dict
    default: {}
  state_dir:
    description: Where the platform keeps its secrets on a host; a service may mount nothing of it. V(/var/lib/lastro) when left out.
    type: str
  secrets:
    description: Values of secrets by name.
    type: dict
    default: {}
  secrets_for:
    description: Values of secrets for one service, by service and name.
    type: dict
    default: {}
  images:
    description: What is known of each image (entrypoint, cmd, user, shell), as M(lastro.platform.images) returns it.
    type: dict
    default: {}
  ca:
    description: PEM of the platform's CA, given to each service as C(/run/secrets/ca.crt).
    type: str
    default: ""
extends_documentation_fragment:
  - lastro.platform.application
author:
  - Lastro maintainers (@lastro)
"""

EXAMPLES = r"""
- name: Compile the application
  lastro.platform.application:
    compose_file: compose.yaml
    platform: shop
    address: 10.0.0.5
    release: 1.4.2
    secrets: {DATABASE_URL: "{{ vault_database_url }}"}
  register: compiled
"""

RETURN = r"""
colours:
  description: Compose project (V(compose), V(files)) of each colour.
  returned: success
  type: dict
  sample: {blue: {compose: {services: {}}, files: []}}
migrations:
  description: Compose project of what M(lastro.platform.migrate_seed) runs, and its options by service.
  returned: success
  type: dict
  sample: {services: {migrate: {alembic: {config: alembic.ini}}}, compose: {services: {}}, files: []}
jobs:
  description: Compose project of migrations and seeds that are commands.
  returned: success
  type: dict
  sample: {compose: {services: {}}, files: []}
singletons:
  description: Compose project of the singletons.
  returned: success
  type: dict
  sample: {compose: {services: {}}, files: []}
checks:
  description: Checks for M(lastro.platform.health_gate) that a colour has to pass before it serves.
  returned: success
  type: dict
  sample: {blue: [{name: web-1, type: http, url: "http://10.0.0.5:18000/ready"}]}
probes:
  description: Commands that prove that a service does its work.
  returned: success
  type: list
  elements: dict
  sample: [{service: worker, command: [python3, -m, app.cli, probe-job]}]
routes:
  description: Routed services with all their ports.
  returned: success
  type: list
  elements: dict
  sample: [{service: web, hosts: [], path: /, health: /health, ports: {blue: [18000], green: [18256]}}]
"""
