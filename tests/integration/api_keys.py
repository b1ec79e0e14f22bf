# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `api_key` as the tests run it, both halves in this process; test_api_key_play runs it as Ansible does."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.lastro.platform.plugins.module_utils._api_key_options import (
    FOR_THE_HOST,
    argument_spec,
    check,
    check_source,
)
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.modules import api_key
from ansible_collections.lastro.platform.plugins.plugin_utils._key_run import KeyRun
from ansible_collections.lastro.platform.plugins.plugin_utils._key_sinks import FileSink, Sink

from tests.integration.postgres_server import Server, login

PEPPERS = {"1": "11" * 32, "2": "22" * 32}
Execute = Callable[[str, dict[str, Any]], dict[str, Any]]


def validated(options: dict[str, Any]) -> dict[str, Any]:
    found = ArgumentSpecValidator(argument_spec()).validate(options)
    assert not found.error_messages, found.error_messages
    return found.validated_parameters


def on_the_host(given: dict[str, Any]) -> dict[str, Any]:
    """What the module's `main` does and says, without a process of its own for each phase."""
    params = validated(given)
    work = api_key.Work(params)
    try:
        check(params)
        return work.run(api_key.Server({**api_key.LOGIN, **params}, time.monotonic, time.sleep))
    except PlatformError as error:
        return {"failed": True, "msg": str(error), "undone": work.undone(error)}


class Keys:
    """Keys of one database."""

    def __init__(self, folder: Path, server: Server, wanted: dict[str, Any]) -> None:
        self.server = server
        self.login = login(wanted, "migrate")
        assert "failed" not in server.run(wanted)
        self.path = folder / "keys.jsonl"
        self.sink: Sink = self.new_sink()
        self.told: list[dict[str, Any]] = []

    def new_sink(self) -> Sink:
        return FileSink(str(self.path), lambda attempt: time.sleep(0.01))

    @property
    def url(self) -> str:
        return self.url_of(**self.login)

    def url_of(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.server.port}/{database}?sslmode=require"

    def params(self, **options: Any) -> dict[str, Any]:
        given = {"url": self.url, "prefix": "shop", "environment": "prod", "peppers": PEPPERS, **options}
        return validated(given)

    def execute(self, params: dict[str, Any]) -> Execute:
        return lambda phase, request: on_the_host(self.for_the_host(params, phase, request))

    def for_the_host(self, params: dict[str, Any], phase: str, request: dict[str, Any]) -> dict[str, Any]:
        given = {name: params[name] for name in FOR_THE_HOST if params[name] is not None}
        return {**given, "phase": phase, "request": json.dumps(request)}

    def work(self, sink: Sink | None = None, wrap: Any = None, is_check: bool = False, **options: Any) -> KeyRun:
        params = self.params(**options)
        check(params)
        check_source(params)
        execute = self.execute(params)
        return KeyRun(
            params, wrap(execute) if wrap else execute, sink or self.sink, secrets.token_bytes, self.tell, is_check
        )

    def run(self, **options: Any) -> dict[str, Any]:
        """The result, failed ones too."""
        try:
            work = self.work(**options)
        except PlatformError as error:
            return {"failed": True, "msg": str(error)}
        try:
            return work.run()
        except PlatformError as error:
            return {**work.result, "failed": True, "msg": str(error)}

    def tell(self, message: dict[str, Any]) -> list[str]:
        self.told.append(message)
        return []

    def issue(self, name: str, tenant: str = "acme", **options: Any) -> str:
        """The id of a new key."""
        done = self.run(state="present", name=name, tenant=tenant, **options)
        assert "failed" not in done, done["msg"]
        found: str = done["keys"][0]["id"]
        return found

    def plain(self, label: str) -> str:
        key: str = self.sink.read()["keys"][label]["key"]
        return key

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        return self.server.sql(text, **self.login)

    def age(self, what: str = "true", days: int = 100) -> None:
        """Make keys older than they are."""
        self.sql(f"UPDATE lastro_api_keys SET created = created - interval '{days} days' WHERE {what}")
