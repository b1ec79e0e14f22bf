# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of docker_engine: it refuses before it acts, and takes its own reload for no reason to restart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _docker_install, _docker_reconcile
from ansible_collections.lastro.platform.plugins.module_utils._docker_host import Parts
from ansible_collections.lastro.platform.plugins.module_utils._docker_reconcile import Reconciler, reconcile
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

OPTIONS: dict[str, Any] = {
    "source": "distribution",
    "repository_url": None,
    "repository_key": None,
    "log_driver": None,
    "log_max_size": "20m",
    "log_max_files": 5,
    "live_restore": True,
    "address_pools": [],
    "registry_mirrors": [],
    "options": {},
    "restart": True,
    "network": None,
    "subnet": None,
    "gateway": None,
}
COMPLETE = Parts(engine=True, client=True, compose="2.26.1", iptables=True, apparmor=None)
BARE = Parts(engine=False, client=False, compose=None, iptables=False, apparmor=None)
OLD = Parts(engine=True, client=True, compose="2.9.0", iptables=True, apparmor=None)
USED = {
    "Driver": "bridge",
    "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]},
    "Containers": {"c": {}},
}
TRIXIE = "ID=debian\nVERSION_ID=13\n"
NETWORK = {"network": "shop", "subnet": "172.30.77.0/24"}


class Host:
    """A host whose Engine runs since `started`, as two clocks tell it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.started = os.stat(file).st_mtime + 1000 if file.exists() else 0.0
        self.service = Mock(init="systemd", scripts_work=True)
        self.service.started_at.side_effect = lambda: self.started
        self.service.stale_pidfiles.return_value = []
        self.engine = Mock()
        self.engine.version.return_value = "26.1.5"
        self.engine.get.return_value = {"Swarm": {"LocalNodeState": "inactive"}}
        self.engine.find.return_value = None
        self.ran: list[list[str]] = []

    def run(self, command: list[str], **_options: Any) -> tuple[int, str, str]:
        self.ran.append(command)
        return 0, "", ""

    def module(self, check: bool = False, **options: Any) -> Any:
        return SimpleNamespace(params={**OPTIONS, **options}, run_command=self.run, check_mode=check)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    file = tmp_path / "daemon.json"
    file.write_text('{"dns": ["10.0.0.1"]}')
    host = Host(file)
    monkeypatch.setattr(_docker_reconcile, "DAEMON_JSON", str(file))
    monkeypatch.setattr(_docker_reconcile, "Service", lambda *_: host.service)
    monkeypatch.setattr(_docker_reconcile, "Engine", lambda: host.engine)
    monkeypatch.setattr(_docker_install, "parts", lambda _run: COMPLETE)
    monkeypatch.setattr(_docker_install, "_read", lambda path: TRIXIE if path == "/etc/os-release" else "")
    monkeypatch.setattr(_docker_install, "compose_plugin", lambda: "/usr/libexec/docker/cli-plugins/docker-compose")
    return host


@pytest.mark.parametrize("jitter", [-0.02, -0.000002, 0.0, 0.000002, 0.02])
@pytest.mark.parametrize("restart", [True, False])
def test_what_was_reloaded_is_not_restarted_for(host: Host, restart: bool, jitter: float) -> None:
    assert reconcile(host.module(restart=restart))["changed"]
    host.service.reset_mock()
    mirrors = ["https://mirror.example"]
    os.utime(host.file, (host.started - 5, host.started - 5))
    assert [
        each["action"] for each in reconcile(host.module(restart=restart, registry_mirrors=mirrors))["actions"]
    ] == [
        "write",
        "reload",
    ]
    host.started += jitter
    again = reconcile(host.module(restart=restart, registry_mirrors=mirrors))
    assert (again["actions"], again["pending"]) == ([], "")
    host.service.restart.assert_not_called()


@pytest.mark.parametrize(("restart", "restarted"), [(True, True), (False, False)])
def test_a_file_changed_after_the_start_is_waited_for(host: Host, restart: bool, restarted: bool) -> None:
    reconcile(host.module())
    host.service.reset_mock()
    os.utime(host.file, (host.started + 2, host.started + 2))
    result = reconcile(host.module(restart=restart))
    assert host.service.restart.called is restarted
    assert bool(result["pending"]) is not restarted


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("parts", "release", "plugin", "options", "words"),
    [
        pytest.param(BARE, "", "", {"source": "none"}, "no Docker Engine", id="none-without-engine"),
        pytest.param(
            Parts(True, True, None, True, None), "", "", {"source": "none"}, "no Compose v2", id="none-without-compose"
        ),
        pytest.param(OLD, "", "", {"source": "none"}, "Compose 2.9.0 .* too old", id="none-with-old-compose"),
        pytest.param(BARE, "ID=alpine\n", "", {}, "cannot be installed on alpine", id="unknown-distribution"),
        pytest.param(BARE, TRIXIE, "", {"source": "docker"}, "repository is not known", id="no-repository"),
        pytest.param(
            OLD,
            TRIXIE,
            "/usr/local/lib/docker/cli-plugins/docker-compose",
            {},
            "/usr/local/lib/docker/cli-plugins/docker-compose is Compose 2.9.0.*Remove it",
            id="old-compose-in-front",
        ),
        pytest.param(COMPLETE, TRIXIE, "", NETWORK, "network shop is in use", id="network-in-use"),
        pytest.param(COMPLETE, TRIXIE, "", {**NETWORK, "subnet": "172.30.77.1/24"}, "platform_subnet", id="no-subnet"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    parts: Parts,
    release: str,
    plugin: str,
    options: dict[str, Any],
    words: str,
    check: bool,
) -> None:
    monkeypatch.setattr(_docker_install, "parts", lambda _run: parts)
    monkeypatch.setattr(_docker_install, "compose_plugin", lambda: plugin)
    monkeypatch.setattr(_docker_install, "_read", lambda path: release if path == "/etc/os-release" else "")
    host.engine.find.return_value = USED
    before = host.file.read_text()
    with pytest.raises(PlatformError, match=words):
        reconcile(host.module(check, **options))
    assert host.file.read_text() == before
    host.service.restart.assert_not_called()
    host.service.reload.assert_not_called()
    assert [command for command in host.ran if "--print-uris" not in command and command[0] != "dpkg-query"] == []


def test_a_repaired_host_is_looked_at_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [Parts(False, True, "2.26.1", True, None), COMPLETE]
    monkeypatch.setattr(_docker_install, "parts", lambda _run: seen.pop(0))
    monkeypatch.setattr(_docker_install, "interrupted", lambda _run: ["docker.io"])
    monkeypatch.setattr(_docker_install, "repair", lambda _run, _may_start: None)
    reconciler = Reconciler(host.module())
    reconciler.refuse()
    assert list(reconciler.plan.packages) == ["docker.io"]
    reconciler.install()
    assert [each.action for each in reconciler.actions] == ["repair"]
    assert json.loads(host.file.read_text()) == {"dns": ["10.0.0.1"]}
