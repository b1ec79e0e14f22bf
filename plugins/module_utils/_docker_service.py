# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, reload and restart dockerd with systemd, with init scripts, or with no init at all."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from ansible_collections.lastro.platform.plugins.module_utils import _docker_host as decide
from ansible_collections.lastro.platform.plugins.module_utils._docker_install import Run
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

_PIDFILE = "/var/run/docker.pid"
_PIDFILES = {_PIDFILE: "dockerd", "/var/run/docker/containerd/containerd.pid": "containerd"}
# The same file as the distribution's init script, so that `service docker status` and `stop` know this process.
_SSD_PIDFILE = "/var/run/docker-ssd.pid"
_LOG = "/var/log/docker.log"
_WANTED_BY = "/etc/systemd/system/multi-user.target.wants/docker.service"
# What the init script of the distribution's package raises the limit to.
_OPEN_FILES = 1048576
_CAP_SYS_RESOURCE = 1 << 24
_START_SECONDS = 60
# A dockerd that is gone by then has refused its configuration.
_GRACE_SECONDS = 2


class Service:
    """The Engine as a service of this host."""

    def __init__(self, run: Run, engine: Engine) -> None:
        self._run = run
        self._engine = engine
        first_process = Path("/proc/1/comm").read_text(encoding="utf-8").strip()
        self.init = decide.init_system(os.path.isdir("/run/systemd/system"), first_process)

    @property
    def scripts_work(self) -> bool:
        """Whether the package's own way to start the Engine works: its init script needs to raise `ulimit -n`."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return self.init != "sysvinit" or hard in (-1, _OPEN_FILES) or hard > _OPEN_FILES or _may_raise_limits()

    def answers(self) -> bool:
        """Whether the Engine's socket is served."""
        try:
            self._engine.get("/version")
        except EngineError:
            return False
        return True

    def enabled(self) -> bool:
        """Whether the Engine starts at boot, as far as an init can be told."""
        return self.init != "systemd" or os.path.lexists(_WANTED_BY)

    def enable(self) -> None:
        """Have systemd start the Engine at boot."""
        self._must(["systemctl", "enable", "docker.service"])

    def stale_pidfiles(self) -> list[str]:
        """Files of a killed Engine whose number now belongs to no process, or to another program."""
        return [path for path, program in _PIDFILES.items() if os.path.exists(path) and not _runs(path, program)]

    def started_at(self) -> float | None:
        """When the running dockerd was started, on the clock of file times; None where it cannot be known."""
        pid = _pid(_PIDFILE)
        if pid is None or not _runs(_PIDFILE, "dockerd"):
            return None
        ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - age

    def start(self) -> None:
        """Start the Engine and wait until it answers; PlatformError with its last log lines where it does not."""
        for path in self.stale_pidfiles():
            os.unlink(path)
        alive: Callable[[], bool] = lambda: True  # noqa: E731
        if _runs(_PIDFILE, "dockerd"):
            pass  # It is starting already, or hangs: the wait tells.
        elif self.init == "systemd":
            self._run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
            self._must(["systemctl", "start", "docker.service"])
        elif self.init == "sysvinit" and self.scripts_work:
            self._must(["service", "docker", "start"])
        else:
            self._start_directly()
            alive = partial(_runs, _SSD_PIDFILE, "dockerd")
        self._wait(self.answers, alive, "does not answer")

    def reload(self) -> None:
        """Have the Engine read its configuration again."""
        pid = _pid(_PIDFILE)
        if pid is not None and _runs(_PIDFILE, "dockerd"):
            os.kill(pid, signal.SIGHUP)

    def restart(self) -> None:
        """Stop and start the Engine. With live-restore its containers run on."""
        pid = _pid(_PIDFILE)
        if self.init == "systemd":
            self._run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
            self._must(["systemctl", "restart", "docker.service"])
        elif pid is not None and _runs(_PIDFILE, "dockerd"):
            os.kill(pid, signal.SIGTERM)
            self._wait(lambda: not os.path.isdir(f"/proc/{pid}"), lambda: True, "does not stop")
        self.start()

    def _start_directly(self) -> None:
        dockerd = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or "dockerd"
        daemon = [
            "start-stop-daemon",
            "--start",
            "--oknodo",
            "--background",
            "--make-pidfile",
            "--pidfile",
            _SSD_PIDFILE,
        ]
        command = [*daemon, "--no-close", "--exec", dockerd, "--", "-p", _PIDFILE]
        # The shell lifts the limit of open files as far as it goes, and appends to the log, which
        # start-stop-daemon learned only after Debian 12.
        script = f'ulimit -n "$(ulimit -H -n)"; exec "$@" >>{_LOG} 2>&1 </dev/null'
        self._must(["sh", "-c", script, "sh", *command])

    def _must(self, command: list[str]) -> None:
        code, out, error = self._run(command)
        if code:
            self._fail(f"`{' '.join(command)}` failed ({code}): {(error or out).strip()[-500:]}")

    def _wait(self, done: Callable[[], bool], alive: Callable[[], bool], problem: str) -> None:
        begin = time.monotonic()
        while not done():
            waited = time.monotonic() - begin
            if waited > _START_SECONDS or (waited > _GRACE_SECONDS and not alive()):
                self._fail(f"The Docker Engine {problem} after {waited:.0f} s.")
            time.sleep(0.1)

    def _fail(self, problem: str) -> NoReturn:
        journal = ["journalctl", "--no-pager", "-u", "docker.service", "-n", "20", "-o", "cat"]
        log = self._run(journal if self.init == "systemd" else ["tail", "-n", "20", _LOG])[1]
        raise PlatformError(
            f"{problem} Its log ends with:\n{log.strip()}", "Remove the cause named there and run again."
        )


def _pid(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _runs(path: str, program: str) -> bool:
    pid = _pid(path)
    try:
        return pid is not None and Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == program
    except OSError:
        return False


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) & _CAP_SYS_RESOURCE)
