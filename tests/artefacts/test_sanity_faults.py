# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` sees what it is there for: faults are planted."""

from __future__ import annotations

import re
from pathlib import Path

from tests.artefacts import sanity

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


def test_a_fault_for_each_test_is_seen(collection: Path) -> None:
    home = sanity.prepared(collection)
    for name, text, fault in FAULTS.values():
        path = collection / name
        assert text in path.read_text()
        path.write_text(path.read_text().replace(text, fault, 1))
    tests = [word for test in FAULTS for word in ("--test", test)]
    code, output = sanity.run(collection, home, *tests, *(name for name, _text, _fault in FAULTS.values()))
    assert code != 0
    found = re.split(r"^Running sanity test \"([\w-]+)\".*$", output, flags=re.MULTILINE)
    said = dict(zip(found[1::2], found[2::2], strict=True))
    assert [
        test for test, (name, _text, _fault) in FAULTS.items() if f"ERROR: {name}" not in said.get(test, "")
    ] == [], output
