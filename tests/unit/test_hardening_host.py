# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings of host_hardening: refused before anything is changed, or taken back."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _hardening as decide
from ansible_collections.lastro.platform.plugins.module_utils import _hardening_host
from ansible_collections.lastro.platform.plugins.module_utils import _hardening_ssh as ssh
from ansible_collections.lastro.platform.plugins.module_utils._docker_host import Release
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._hardening_host import Reconciler, reconcile

TRIXIE = Release("debian", "13", "trixie")


class Kernel:
    """A kernel with some settings, which refuses what it is told to."""

    def __init__(self, refused: str = "") -> None:
        self.values = {"net.a": "1", "net.b": "1", "net.c": "4 5 6"}
        self.refused = refused

    def read(self, key: str) -> str | None:
        if key == "net.writeonly":
            raise OSError(errno.EIO, "Input/output error")
        return self.values.get(key)

    def write(self, key: str, value: str) -> None:
        if key == self.refused:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.values[key] = value


def reconciler(kernel: Kernel, **sysctl: Any) -> Reconciler:
    options = {"updates": False, "updates_held": [], "reboot": "never", "ssh": False, "auditd": False}
    options["sysctl"] = {f"net.{key}": value for key, value in sysctl.items()}
    module = SimpleNamespace(params=options, run_command=lambda *_args, **_more: (0, "", ""), check_mode=False)
    return Reconciler(module, kernel)  # type: ignore[arg-type]


@pytest.fixture
def sysctl_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(decide, "SYSCTL", str(tmp_path / "90-lastro.conf"))
    monkeypatch.setattr(_hardening_host, "release", lambda _text: TRIXIE)
    monkeypatch.setattr(ssh.Sshd, "present", False)
    return tmp_path / "90-lastro.conf"


@pytest.mark.parametrize("before", [None, "net.a = 1\n"])
def test_what_the_kernel_refuses_is_taken_back(sysctl_file: Path, before: str | None) -> None:
    if before:
        sysctl_file.write_text(before)
    kernel = Kernel(refused="net.b")
    host = reconciler(kernel, a=0, b=99999999999)
    host.refuse()
    with pytest.raises(PlatformError, match=r"refuses net.b = 99999999999: Invalid argument.*hardening_sysctl"):
        host.network()
    assert kernel.values["net.a"] == "1"
    assert (sysctl_file.read_text() if sysctl_file.exists() else None) == before


def test_what_the_kernel_takes_stays(sysctl_file: Path) -> None:
    kernel = Kernel()
    host = reconciler(kernel, a=0, b=1, c="7 8 9", unknown=1)
    host.refuse()
    host.network()
    assert kernel.values == {"net.a": "0", "net.b": "1", "net.c": "7 8 9"}
    assert sysctl_file.read_text().count("\n") == 5
    assert [(each.action, each.item) for each in host.actions][1:] == [("set", "net.a"), ("set", "net.c")]
    assert "The kernel does not know net.unknown: it was not set." in host.findings


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("a", "yes", "wants a number there, as `1`"),
        ("a", "1 2", "wants a number there"),
        ("c", "1", "wants 3 numbers there, as `4 5 6`"),
        ("writeonly", 1, "net.writeonly`, which cannot be read"),
    ],
)
def test_a_value_that_cannot_be_one_is_refused_first(sysctl_file: Path, key: str, value: Any, words: str) -> None:
    host = reconciler(Kernel(), **{key: value})
    with pytest.raises(PlatformError, match=words):
        host.refuse()
    assert not sysctl_file.exists()


@pytest.mark.parametrize(
    ("key", "found", "wanted"),
    [
        ("net.ipv4.ip_local_reserved_ports", "8080", "8080,9000-9100"),
        ("net.ipv4.ip_local_reserved_ports", "", "8080"),
        ("net.ipv4.tcp_congestion_control", "cubic", "bbr"),
        ("net.ipv4.tcp_syncookies", "1", "-1"),
    ],
)
def test_other_values_are_the_kernel_s_business(key: str, found: str, wanted: str) -> None:
    decide.refuse_shape(key, found, wanted)


def test_the_kernel_s_refusal_comes_before_every_other_change(
    sysctl_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(refused="net.a")
    monkeypatch.setattr(_hardening_host, "Kernel", lambda: kernel)
    monkeypatch.setattr(Reconciler, "install", lambda _self: pytest.fail("packages were installed first"))
    host = reconciler(kernel, a=2)
    module = SimpleNamespace(params=host.options, run_command=host.run, check_mode=False)
    with pytest.raises(PlatformError, match=r"refuses net.a = 2"):
        reconcile(module)  # type: ignore[arg-type]
    assert not sysctl_file.exists()
