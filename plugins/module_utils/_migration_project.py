# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the commands of a migration run, and what check mode must not leave there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._oneoff import Container, Local
from ansible_collections.lastro.platform.plugins.module_utils._stack_engine import belongings
from ansible_collections.lastro.platform.plugins.module_utils._stack_run import StackRun


class NotThereYet(PlatformError):
    """What a plan needs is not on the host; a deploy brings it before it migrates."""


@contextmanager
def program(params: Mapping[str, Any], engine: Engine, check: bool) -> Iterator[Container | Local]:
    """Where commands run. The files of a project are written, in check mode to a place that is gone afterwards; nothing of it is started."""
    if not params["project"]:
        yield Local(params["directory"], params["environment_variables"])
        return
    services = params["compose"].get("services") or {}
    if params["service"] not in services:
        raise PlatformError(
            f"The Compose file has no service {params['service']}", f"It has {', '.join(sorted(services)) or 'none'}."
        )
    spec = services[params["service"]]
    with tempfile.TemporaryDirectory(prefix="lastro-migrate-") as elsewhere:
        given = {**params, "directory": elsewhere} if check else dict(params)
        stack = {**given, "state": "present", "directories": [], "hold": [], "wait_timeout": 0, "remove_volumes": False}
        run = StackRun(stack, engine, check=False)
        if check:
            _require_there(engine, str(spec["image"]), run)
        before = belongings(engine, params["project"], "networks")
        run.prepare()
        try:
            yield Container(engine, params["project"], given["directory"], params["service"], spec)
        finally:
            if check:
                for name in set(belongings(engine, params["project"], "networks")) - set(before):
                    engine.delete(f"/networks/{name}")


def _require_there(engine: Engine, image: str, run: StackRun) -> None:
    try:
        there = engine.find(f"/images/{image}/json")
    except EngineError as error:
        if error.status:
            raise
        raise NotThereYet(error.problem, error.cure) from error
    if not there:
        raise NotThereYet(f"The image {image} is not on this host", "Build or pull it first.")
    volumes = run.volumes_missing()
    if volumes:
        raise NotThereYet(f"The volume {volumes[0]} is not on this host", "It is made when the migration runs.")
