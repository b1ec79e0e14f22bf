# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Squawk over the SQL of pending revisions, on the controller."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_policy import Finding

# Taste, not safety; and timeouts, which stand on the role that migrates.
STYLE = (
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-lock-timeout",
    "require-statement-timeout",
)
SECONDS = 60
# The oldest server that a migration may meet: rules that newer ones relaxed hold there.
SERVER = "15.0"


def lint(revision: str, sql: str, transactional: bool, excluded: Collection[str] = STYLE) -> list[Finding]:
    """What Squawk says of one revision. `transactional` is whether Alembic runs it inside a transaction."""
    command = [program(), "--reporter", "json", "--pg-version", SERVER, "--stdin-filepath", f"{revision}.sql"]
    command += ["--assume-in-transaction"] if transactional else ["--no-assume-in-transaction"]
    command += [f"--exclude={rule}" for rule in sorted(excluded)]
    try:
        done = subprocess.run(command, input=sql, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"Squawk had not ended after {SECONDS} s on the SQL of revision {revision}",
            "Set `lint: false` for this run.",
        ) from error
    try:
        findings = json.loads(done.stdout or "[]")
    except ValueError:
        findings = None
    if findings is None or (done.returncode and not findings):
        raise PlatformError(
            f"Squawk failed: {(done.stderr or done.stdout).strip()[-300:]}", "Run it by hand on the revision's SQL."
        )
    return [
        Finding(revision, entry["rule_name"], f"line {entry['line'] + 1}: {entry['message']}", entry.get("help") or "")
        for entry in findings
    ]


def program() -> str:
    """Squawk of the controller's environment, which its lock file pins, or that of PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "squawk")
    found = beside if os.access(beside, os.X_OK) else shutil.which("squawk")
    if not found:
        raise PlatformError(
            "Squawk is not installed on the controller",
            "Install squawk-cli into the environment that runs Ansible (`make deploy` has it).",
        )
    return found
