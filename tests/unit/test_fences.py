# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever changes a platform carries the lease of its run. That each module is kept out by a newer one is seen in tests/integration/test_release_lease.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY

GROUPS = yaml.safe_load((REPOSITORY / "meta/runtime.yml").read_text())["action_groups"]
# What a run of these does is told to everybody else by the lease; `images` and `ledger` show that they ask for it.
LED = (
    "parts/begin.yml",
    "deploy.yml",
    "release.yml",
    "parts/release.yml",
    "rollback.yml",
    "certificates.yml",
    "destroy.yml",
)
# They look, take the lease, or tell, and change nothing else.
LOOKING = {
    "Be the only one who changes the platform",
    "Read which colour serves",
    "Find the release to go back to",
    "Say of a release that failed why it did, and of another what is left undone",
    "Say what failed",
}


@pytest.mark.parametrize("module", GROUPS["changes"])
def test_a_module_that_changes_something_asks_whether_it_may(module: str) -> None:
    text = (REPOSITORY / f"plugins/modules/{module}.py").read_text()
    assert re.search(r"^ +(with )?\(?(held|require)\((module\.)?params|held\(given|held\(module", text, re.MULTILINE), (
        module
    )
    assert "  - lastro.platform.lease\n" in text
    assert module in GROUPS["platform"]


def plays() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name in LED:
        for play in yaml.safe_load(Path(REPOSITORY / "playbooks" / name).read_text()):
            if "hosts" in play:
                found.append((name, play))
    return found


@pytest.mark.parametrize(
    ("name", "play"), plays(), ids=lambda value: value if isinstance(value, str) else value["name"]
)
def test_a_play_hands_the_lease_to_all_that_changes_something(name: str, play: dict[str, Any]) -> None:
    if play["name"] in LOOKING:
        assert "module_defaults" not in play
        return
    lease = play["module_defaults"]["group/lastro.platform.changes"]["lease"]
    assert lease == "{{ platform_lease | default({}, true) or omit }}"
