# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pair of Python and ansible-core: every playbook and plugin is understood by it, and nothing is on its way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from scripts.matrix import PAIRS
from tests.artefacts.build import documented
from tests.support import REPOSITORY

BIN = Path(sys.executable).parent
PLAYBOOKS = sorted((REPOSITORY / "playbooks").glob("*.yml"))
COLLECTION = "lastro.platform"


def ansible(*command: str) -> str:
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
        "ANSIBLE_DEPRECATION_WARNINGS": "true",
        "ANSIBLE_NOCOLOR": "true",
    }
    words = [str(BIN / command[0]), *command[1:]]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    assert "DEPRECAT" not in done.stderr.upper(), done.stderr
    return done.stdout


def test_something_deprecated_would_be_seen(tmp_path: Path) -> None:
    """community.general always has modules that are on their way out."""
    (routing,) = Path(sysconfig.get_path("purelib")).glob("ansible_collections/community/general/meta/runtime.yml")
    modules = yaml.safe_load(routing.read_text())["plugin_routing"]["modules"]
    name = next(name for name, route in modules.items() if "deprecation" in route and "tombstone" not in route)
    playbook = tmp_path / "play.yml"
    playbook.write_text(f"- hosts: localhost\n  tasks: [community.general.{name}: {{}}]\n")
    with pytest.raises(AssertionError, match="has been deprecated"):
        ansible("ansible-playbook", "--syntax-check", "-i", "localhost,", str(playbook))


def test_this_is_a_pair_of_the_matrix() -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert version("ansible-core").startswith(f"{PAIRS[python]}.")


def test_playbooks_were_found() -> None:
    assert {path.stem for path in PLAYBOOKS} >= {"deploy", "status", "destroy"}


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_syntax(playbook: Path) -> None:
    assert "playbook: " in ansible("ansible-playbook", "--syntax-check", "-i", "inventories/dev", str(playbook))


@pytest.mark.parametrize("kind", ["module", "filter", "lookup", "role"])
def test_documentation(kind: str) -> None:
    names = sorted(f"{COLLECTION}.{name}" for name in documented(kind))
    assert names
    documents = json.loads(ansible("ansible-doc", "--json", "--type", kind, *names))
    assert sorted(documents) == names
    if kind == "role":
        assert all(document["entry_points"] for document in documents.values())
    else:
        assert all(document["doc"]["short_description"] for document in documents.values())


def test_every_module_is_in_the_action_group() -> None:
    group = yaml.safe_load((REPOSITORY / "meta" / "runtime.yml").read_text())["action_groups"]["platform"]
    assert sorted(group) == sorted(documented("module"))
