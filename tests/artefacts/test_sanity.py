# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` runs, and is content.

Inside a git-ignored folder it finds no file, tests nothing and is content, too: so what ran is counted.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.artefacts import sanity


def test_everything_that_can_run_runs_and_is_content(collection: Path) -> None:
    home = sanity.prepared(collection)
    code, output = sanity.run(collection, home)
    assert code == 0, output[-6000:]
    there = set(re.findall(r"^[\w-]+$", sanity.run(collection, home, "--list-tests")[1], re.MULTILINE))
    ran = set(re.findall(r"^Running sanity test \"([\w-]+)\"", output, re.MULTILINE))
    assert len(ran) >= 20, output
    assert there - ran == set(), output
