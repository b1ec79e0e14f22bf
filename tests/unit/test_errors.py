# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operating system refuses becomes a failure with a path and a cure, in every module that writes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import of_the_host

from tests.support import REPOSITORY, run_module


@pytest.mark.parametrize(
    ("number", "file", "words"),
    [
        (errno.ENOSPC, None, "/var/x: No space left on device. Free space there (`df -h /var/x`)"),
        (errno.EROFS, "/var/x/y", "/var/x/y: Read-only file system. Mount that disk writable"),
        (errno.EACCES, "/var/x/y", "/var/x/y: Permission denied. Run with become"),
        (errno.EDQUOT, None, "/var/x: Disk quota exceeded. Free space there"),
        (errno.EIO, "/var/x/y", "/var/x/y: Input/output error. The disk fails"),
        (errno.EISDIR, "/var/x/y", "/var/x/y: Is a directory. Remove the cause"),
    ],
)
def test_what_the_host_refuses(number: int, file: str | None, words: str) -> None:
    error = OSError(number, os.strerror(number), file) if file else OSError(number, os.strerror(number))
    assert str(of_the_host(error, "/var/x")).startswith(words)


def test_modules_say_so_instead_of_a_traceback(tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "inside")
    switched = run_module("proxy_switch", {"directory": place})
    assert switched["msg"].startswith(f"{tmp_path / 'file'}"), switched
    assert "Remove the cause named there and run again." in switched["msg"]


# Module → what is called in its main first, its arguments, and where a failing write without a name is looked for.
FULL: dict[str, tuple[str, dict[str, Any], str]] = {
    "docker_engine": ("reconcile", {}, "/etc"),
    "host_hardening": ("reconcile", {"state_dir": "/nowhere"}, "/etc"),
    "firewall": ("Run", {"platform": "lt-x", "state": "absent"}, "/etc/lastro"),
    "proxy_switch": ("Proxy", {"directory": "/nowhere"}, "/nowhere"),
    "images": ("Wanted", {"images": [], "work_dir": "/nowhere"}, "/nowhere"),
    "image_promote": (
        "Promoter",
        {"images": [], "registry": "r:1", "digests_file": "/nowhere"},
        "/etc/docker/certs.d",
    ),
}
PLANTED = """
import errno, importlib, os, sys
name, called = sys.argv[1:]
del sys.argv[1:]
module = importlib.import_module("ansible_collections.lastro.platform.plugins.modules." + name)
def full(*_args, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
setattr(module, called, full)
module.main()
"""


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_a_failure_with_its_cure_in_every_module(name: str) -> None:
    called, arguments, place = FULL[name]
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, name, called],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": True}}),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout or "{}")
    wanted = f"{place}: No space left on device. Free space there (`df -h {place}`), then run again."
    assert result.get("msg") == wanted, done.stdout + done.stderr
    assert result["failed"] is True
