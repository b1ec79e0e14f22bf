# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the module `stack`: read, difference, (check mode ends), act, read back, record."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils import _stack_engine
from ansible_collections.lastro.platform.plugins.module_utils._diff import of_actions
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError, of_the_host
from ansible_collections.lastro.platform.plugins.module_utils._stack import (
    Action,
    Container,
    Reality,
    Service,
    desired_services,
    plan,
)
from ansible_collections.lastro.platform.plugins.module_utils._stack_document import labelled
from ansible_collections.lastro.platform.plugins.module_utils._stack_files import (
    COMPOSE,
    RECORD,
    ManagedFile,
    StackDirectory,
    parse_directory,
    parse_file,
    with_secret_directories,
)


class StackRun:
    """Brings one project to its state; `result()` does the work and returns the module's result."""

    def __init__(self, params: dict[str, Any], engine: Engine, check: bool) -> None:
        self.state: str = params["state"]
        self.project: str = params["project"]
        self.path: str = params["directory"]
        self.remove_volumes: bool = params["remove_volumes"]
        self.tail: int = params.get("tail", 0)
        self.engine = engine
        self.check = check
        self.directory = StackDirectory(self.path)
        self.stack = _stack_engine.Stack(
            engine,
            self.project,
            self.path,
            os.path.join(self.path, COMPOSE),
            params["compose"] or {},
            params["wait_timeout"],
        )
        if self.state == "present":
            self._describe(params)

    def _describe(self, params: dict[str, Any]) -> None:
        files = [parse_file(entry) for entry in params["files"]]
        self.directories = with_secret_directories(files, [parse_directory(entry) for entry in params["directories"]])
        digests = {file.path: file.digest for file in files}
        if len(digests) != len(files):
            raise PlatformError("A path stands twice in `files`", "Keep one of the entries.")
        self.compose: dict[str, Any] = params["compose"]
        frozen = [entry["path"] for entry in params["files"] if entry.get("frozen")]
        self.services: list[Service] = desired_services(self.compose, self.path, digests, params["hold"], frozen)
        text = json.dumps(labelled(self.compose, self.services), indent=2).encode() + b"\n"
        self.files = [*files, ManagedFile(COMPOSE, text, 0o600, 0, 0)]

    def result(self) -> dict[str, Any]:
        try:
            if self.check or not self._exists():
                return self._run()
            with self.directory.locked():
                return self._run()
        except OSError as error:
            raise of_the_host(error, self.path) from error

    def _exists(self) -> bool:
        return self.state == "present" or os.path.isdir(self.path)

    def _run(self) -> dict[str, Any]:
        runs = {
            "present": self._present,
            "started": self._started,
            "stopped": self._stopped,
            "absent": self._absent,
        }
        return runs[self.state]()

    # present ---------------------------------------------------------------------------------------------------------

    def _present(self) -> dict[str, Any]:
        record = self.directory.record()
        reality = self._reality()
        actions = plan(self.services, reality, record["loaded"])
        writes = [(file, why) for file in self.files if (why := self.directory.differs(file))]
        folders = [(folder, why) for folder in self.directories if (why := self.directory.directory_differs(folder))]
        paths = {file.path for file in self.files}
        left = sorted(path for path in set(record["files"]) - paths if self.directory.holds(path))
        # What waits for a restart runs with its old definition, and may read them until then.
        kept, gone = (left, []) if any(action.kind == "pending" for action in actions) else ([], left)
        result = self._report(actions, reality)
        result["files"] = [{"path": folder.path, "why": why} for folder, why in folders]
        result["files"] += [{"path": file.path, "why": why} for file, why in writes]
        result["files"] += [{"path": path, "why": "gone"} for path in gone]
        volumes = _stack_engine.volumes_to_create(self.compose, self.project, reality)
        result["changed"] = bool(result["files"] or volumes) or any(action.acts for action in actions)
        result["diff"] = [self._diff(file) for file, why in writes if why in ("new", "content")]
        done = [
            (action.service, action.kind, action.why) for action in actions if action.acts or action.kind == "pending"
        ]
        result["diff"] += of_actions(f"services of {self.project}", done)
        if self.check:
            return result

        # First, so that whatever a run that fails or is killed has written is known to the next, and removed by it.
        self.directory.write_record(paths.union(record["files"]), record["loaded"])
        for folder, _why in folders:
            self.directory.ensure(folder)
        for file, _why in writes:
            self.directory.write(file)
        for path in gone:
            self.directory.remove(path)
        self.stack.create_volumes(volumes)
        self.stack.apply(self.services, actions)
        if any(action.acts or action.awaited for action in actions):
            reality = self._read_back(record["loaded"], actions)
            result["containers"] = _containers(reality)
        self._record(record["loaded"], actions, kept)
        return result

    def prepare(self) -> None:
        """Have the project's files and shared volumes there, and start nothing."""
        with self.directory.locked():
            record = self.directory.record()
            self.directory.write_record({file.path for file in self.files}.union(record["files"]), record["loaded"])
            for folder in self.directories:
                if self.directory.directory_differs(folder):
                    self.directory.ensure(folder)
            for file in self.files:
                if self.directory.differs(file):
                    self.directory.write(file)
            self.stack.create_volumes(self.volumes_missing())

    def volumes_missing(self) -> list[str]:
        """Shared volumes that a run would make."""
        return _stack_engine.volumes_to_create(self.compose, self.project, self._reality())

    def _reality(self) -> Reality:
        try:
            return _stack_engine.read(self.engine, self.project, self.compose)
        except EngineError as error:
            if self.check and error.status == 0:  # an empty host: the role docker would have installed it
                return Reality()
            raise

    def _read_back(self, loaded: dict[str, dict[str, str]], actions: list[Action]) -> Reality:
        reality = _stack_engine.read(self.engine, self.project, self.compose)
        now = {**loaded, **self._loaded(actions)}
        left = [a for a in plan(self.services, reality, now) if a.acts]
        if left:
            raise PlatformError(
                f"Project {self.project} did not stay as it was made: service {left[0].service}, {left[0].why}",
                f"See `docker logs {self.project}-{left[0].service}-1`; the next run tries again.",
            )
        return reality

    def _loaded(self, actions: list[Action]) -> dict[str, dict[str, str]]:
        """What each service has taken up by now. A service that was left alone keeps what it had."""
        fresh = {a.service for a in actions if a.kind in ("create", "recreate", "start") or a.reloads}
        return {service.name: dict(service.reloadable) for service in self.services if service.name in fresh}

    def _record(self, before: dict[str, dict[str, str]], actions: list[Action], kept: list[str]) -> None:
        names = {service.name for service in self.services}
        still = {name: files for name, files in before.items() if name in names}
        files = [*(file.path for file in self.files), *kept]
        self.directory.write_record(files, {**still, **self._loaded(actions)})

    def _diff(self, file: ManagedFile) -> dict[str, str]:
        header = os.path.join(self.path, file.path)
        before, after = self.directory.read(file.path) or b"", file.content
        if file.secret:
            before, after = _secret_digest(before), _secret_digest(after)
        return {
            "before_header": header,
            "after_header": header,
            "before": before.decode(errors="replace"),
            "after": after.decode(errors="replace"),
        }

    # started, stopped, absent -------------------------------------------------------------------------------------------------

    def _started(self) -> dict[str, Any]:
        reality = _stack_engine.read(self.engine, self.project)
        if not reality.containers:
            raise PlatformError(
                f"Project {self.project} has no container that could be started again",
                "Bring it up anew: state=present.",
            )
        late = [c for c in reality.containers if c.state != "running"]
        if late and not self.check:
            self.stack.start(late)
            reality = _stack_engine.read(self.engine, self.project)
        actions = [Action(container.service, "start", "it was stopped") for container in late]
        return {**self._report(actions, reality), "files": [], "changed": bool(late)}

    def _stopped(self) -> dict[str, Any]:
        try:
            reality = _stack_engine.read(self.engine, self.project)
        except EngineError as error:
            self._nothing_runs(error)
            reality = Reality()
        running = [c for c in reality.containers if not c.state.startswith(("exited", "created", "dead"))]
        # What they said before they were told to end.
        logs = {c.name: self.engine.logs(c.id, self.tail) for c in reality.containers} if self.tail else {}
        actions = [Action(container.service, "stop", "it runs") for container in running]
        if running and not self.check:
            self.stack.stop(running)
            reality = _stack_engine.read(self.engine, self.project)
        return {**self._report(actions, reality), "files": [], "changed": bool(running), "logs": logs}

    def _absent(self) -> dict[str, Any]:
        try:
            containers = _stack_engine.read(self.engine, self.project).containers
            kinds = ("networks", "volumes") if self.remove_volumes else ("networks",)
            # Also without containers: a run may have been killed between removing these and the rest.
            things = [
                f"/{kind}/{name}"
                for kind in kinds
                for name in _stack_engine.belongings(self.engine, self.project, kind)
            ]
        except EngineError as error:
            self._nothing_runs(error)
            containers, things = (), []
        there = os.path.isdir(self.path)
        managed = [*self.directory.record()["files"], RECORD] if there else []
        files = [path for path in managed if self.directory.holds(path)]
        result = self._report([Action(c.service, "remove", "state is absent") for c in containers], Reality())
        result["files"] = [{"path": path, "why": "gone"} for path in files]
        result["changed"] = bool(containers or things or files or (there and self.remove_volumes))
        if result["changed"] and not self.check:
            self._remove(containers, things, files)
        return result

    def _remove(self, containers: tuple[Container, ...], things: list[str], files: list[str]) -> None:
        _stack_engine.remove_containers(self.engine, [c.id for c in containers])
        for thing in things:
            self.engine.delete(thing)
        for path in files:
            self.directory.remove(path)
        if self.remove_volumes and os.path.isdir(self.path):
            shutil.rmtree(self.path)

    def _nothing_runs(self, error: EngineError) -> None:
        """Pass where nothing can run, as there is no Engine; check mode passes too, the role docker would have started it."""
        if error.status != 0:
            raise error
        trace = "" if self.check else _stack_engine.engine_trace()
        if trace:
            raise PlatformError(
                f"The Docker Engine does not answer on {self.engine.path}, but this host has one ({trace}), "
                f"and containers of {self.project} may run on without it",
                "Start the Engine first (`service docker start`), then run again.",
            ) from error

    def _report(self, actions: list[Action], reality: Reality) -> dict[str, Any]:
        return {
            "services": {a.service: {"action": a.kind, "why": a.why, "cause": a.cause} for a in actions},
            "pending": [{"service": a.service, "why": a.why} for a in actions if a.kind == "pending"],
            "containers": _containers(reality),
        }


def _secret_digest(content: bytes) -> bytes:
    return f"secret, SHA-256 {hashlib.sha256(content).hexdigest()[:12]}\n".encode() if content else b""


def _containers(reality: Reality) -> list[dict[str, str]]:
    return [
        {"name": c.name, "id": c.id[:12], "service": c.service, "state": c.state, "health": c.health}
        for c in reality.containers
    ]
