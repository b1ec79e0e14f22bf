# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` on the collection as a user has it installed, outside of any repository."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.artefacts import build

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def prepared(collection: Path) -> Path:
    """ansible-test's home, with every virtual environment in it: they are kept, as they are made for exact versions."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "lastro" / "sanity"
    home.mkdir(parents=True, exist_ok=True)
    # Two runs at once must not both make them.
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _give_pip(home)
        code, output = run(collection, home, "--prime-venvs")
        assert code == 0, output[-6000:]
    return home


def _give_pip(home: Path) -> None:
    """Pip's installer where ansible-test looks for it, and the settings of this machine's pip."""
    pips = home / ".ansible" / "test" / "cache"
    pips.mkdir(parents=True, exist_ok=True)
    requirements = next(
        Path(build.BIN.parent).glob("lib/*/site-packages/ansible_test/_internal/python_requirements.py")
    )
    (version,) = re.findall(r"pip='([\d.]+)'", requirements.read_text())
    script = Path(__file__).with_name("get_pip.py").read_text().replace("@PYTHON@", sys.executable)
    (pips / f"get_pip_{version.replace('.', '_')}.py").write_text(script)
    # ansible-test hands on no settings of pip by environment; with another home pip's own file is not found either.
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = re.findall(r"^\S+\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE)
    config = home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("".join(["[global]\n", *(f"{name} = {value}\n" for name, value in dict(settings).items())]))


def run(collection: Path, home: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of `ansible-test sanity`, and what it printed."""
    command = [build.BIN / "ansible-test", "sanity", "--color", "no", "--python", PYTHON, *arguments]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=collection,
        env={**os.environ, "HOME": str(home), "PATH": f"{build.BIN}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
