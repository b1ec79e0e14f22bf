# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the module `api_key`: it makes keys and hashes them, so that neither host nor database ever sees one."""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible_collections.lastro.platform.plugins.module_utils._api_key_format import check_names
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import (
    FOR_THE_HOST,
    argument_spec,
    check,
    check_source,
)
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.plugin_utils._key_material import RULES_TITLE, scanner_rules
from ansible_collections.lastro.platform.plugins.plugin_utils._key_notices import tell
from ansible_collections.lastro.platform.plugins.plugin_utils._key_run import HostFailed, KeyRun
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import FileSink, Sink, VaultFileSink
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks_remote import AwsSink, KvSink, aws_client

MODULE = "lastro.platform.api_key"


class ActionModule(ActionBase):
    """Look, stage, commit, finish."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _checked, params = self.validate_argument_spec(argument_spec())
        known: dict[str, Any] = {}
        try:
            check(params)
            check_source(params)
            if params["import_file"]:
                params["import_file"] = self._loader.path_dwim(params["import_file"])
            rules = self._rules(params)
            work = KeyRun(
                params,
                self._host(params, task_vars),
                self._sink(params["sink"]),
                secrets.token_bytes,
                lambda message: tell(params["notify"], message, time.sleep),
                self._task.check_mode,
            )
            known = work.result
            work.run()
        except HostFailed as error:
            kept = {name: error.result[name] for name in ("missing_library",) if name in error.result}
            return {**result, **known, **kept, "failed": True, "msg": str(error)}
        except PlatformError as error:
            return {**result, **known, "failed": True, "msg": str(error)}
        seconds = (
            {"seconds": {name: round(value, 3) for name, value in work.seconds.items()}}
            if work.seconds["generate"]
            else {}
        )
        return {**result, **known, **seconds, "changed": known["changed"] or rules, "diff": difference(known)}

    def _host(
        self, params: Mapping[str, Any], task_vars: dict[str, Any] | None
    ) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        given = {name: params[name] for name in FOR_THE_HOST if params[name] is not None}

        def execute(phase: str, request: dict[str, Any]) -> dict[str, Any]:
            arguments = {**given, "phase": phase, "request": json.dumps(request)}
            try:
                done: dict[str, Any] = self._execute_module(MODULE, arguments, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                if phase != "apply":
                    raise
                # It may have been committed: what is staged in the sink has to stay.
                return {"failed": True, "msg": f"The connection to the host broke: {error}"}
            return done

        return execute

    def _sink(self, options: Mapping[str, Any] | None) -> Sink | None:
        if options is None:
            return None
        kind = options["type"]
        if kind == "kv":
            return KvSink(options, os.environ, _pause)
        if kind == "aws_secrets_manager":
            client = aws_client(
                lambda name: lookup_loader.get(name, loader=self._loader, templar=self._templar), options
            )
            return AwsSink(options["path"], client, _pause)
        path = self._loader.path_dwim(options["path"])
        if kind == "vault_file":
            return VaultFileSink(path, options["vault_id"], self._loader._vault.secrets or [], _pause)
        return FileSink(path, _pause)

    def _rules(self, params: Mapping[str, Any]) -> bool:
        """Write the rules for scanners; whether they were others."""
        if not params["scanner_rules"]:
            return False
        if not params["prefix"]:
            raise PlatformError("`scanner_rules` find keys by their prefix", "Give `prefix`.")
        check_names(params["prefix"], params["environment"] or "dev")
        path, text = Path(self._loader.path_dwim(params["scanner_rules"])), scanner_rules(params["prefix"])
        try:
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            if before == text:
                return False
            if before.strip() and f'title = "{RULES_TITLE}"' not in before:
                raise PlatformError(f"{path} holds rules of somebody else", "Name another file in `scanner_rules`.")
            if not self._task.check_mode:
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise of_the_host(error, str(path.parent)) from error
        return True


def _pause(attempt: int) -> None:
    """Runs that collide must not do so again and again."""
    time.sleep(random.uniform(0, min(0.05 * (attempt + 1), 1.0)))  # a pause, no secret  # nosec B311


def difference(known: Mapping[str, Any]) -> list[dict[str, str]]:
    """What changed, by ids."""
    if not known["changed"]:
        return []
    lines = [f"{words}\n" for words in known["schema"]]
    for key in known["keys"]:
        told = (
            f"{name} {key[name]}" for name in ("tenant", "name", "replaces", "status", "age_seconds") if key.get(name)
        )
        lines.append(" ".join([str(key.get("id", "")), *told]) + "\n")
    return [{"before_header": "", "after_header": "keys", "before": "", "after": "".join(lines)}]
