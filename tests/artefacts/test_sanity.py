# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` on the collection as a user has it installed, outside of any repository.

Inside a git-ignored folder ansible-test finds no file, tests nothing and is content: so what ran is counted, and faults are
planted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artefacts import build

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# A fault for each test that reads the code: the file, and what is put in the place of what.
FAULTS = {
    "compile": ("plugins/filter/proxy.py", "import annotations", "import annotations, ("),
    "import": ("plugins/module_utils/_colour.py", "import annotations", "import annotations\nimport not_there"),
    "no-assert": ("plugins/module_utils/_gate.py", "import annotations", "import annotations\nassert True"),
    "pep8": ("plugins/module_utils/_errors.py", "import annotations", "import  annotations"),
    "pylint": ("plugins/module_utils/_status.py", "import annotations", "import annotations\n_ = 1"),
    "runtime-metadata": ("meta/runtime.yml", "requires_ansible:", "requires_ansibles:"),
    "shellcheck": ("roles/images/files/postgres/docker-entrypoint.sh", "set -", "rm -rf $1/x\nset -"),
    "validate-modules": ("plugins/modules/stack.py", "short_description:", "shortened:"),
    "yamllint": ("meta/execution-environment.yml", "version: 3", "version: 3\nversion: 3"),
}


@pytest.fixture(scope="module")
def home() -> Path:
    """ansible-test's home: its virtual environments are kept, as they are made for exact versions."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "lastro" / "sanity"
    pips = folder / ".ansible" / "test" / "cache"
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
    config = folder / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("".join(["[global]\n", *(f"{name} = {value}\n" for name, value in dict(settings).items())]))
    return folder


@pytest.fixture
def collection(installed: Path, tmp_path: Path) -> Path:
    """A copy to work in: ansible-test writes into it."""
    copy = tmp_path / "ansible_collections" / "lastro" / "platform"
    shutil.copytree(installed, copy)
    return copy


def sanity(collection: Path, home: Path, *arguments: str) -> tuple[int, str]:
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


def test_everything_that_can_run_runs_and_is_content(collection: Path, home: Path) -> None:
    code, output = sanity(collection, home)
    assert code == 0, output[-6000:]
    there = set(re.findall(r"^[\w-]+$", sanity(collection, home, "--list-tests")[1], re.MULTILINE))
    ran = set(re.findall(r"^Running sanity test \"([\w-]+)\"", output, re.MULTILINE))
    assert len(ran) >= 20, output
    assert there - ran == set(), output


def test_a_fault_for_each_test_is_seen(collection: Path, home: Path) -> None:
    for name, text, fault in FAULTS.values():
        path = collection / name
        assert text in path.read_text()
        path.write_text(path.read_text().replace(text, fault, 1))
    tests = [word for test in FAULTS for word in ("--test", test)]
    code, output = sanity(collection, home, *tests, *(name for name, _text, _fault in FAULTS.values()))
    assert code != 0
    found = re.split(r"^Running sanity test \"([\w-]+)\".*$", output, flags=re.MULTILINE)
    said = dict(zip(found[1::2], found[2::2], strict=True))
    assert [
        test for test, (name, _text, _fault) in FAULTS.items() if f"ERROR: {name}" not in said.get(test, "")
    ] == [], output
