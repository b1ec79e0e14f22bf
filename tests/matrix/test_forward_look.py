# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What coming releases take away is not used, and what they show holds no secret (docs/decisions/ansible-core-forward-look.md)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY

# Variables of Ansible itself and of its connections. Any other `ansible_*` is a fact put among the variables, which ends with 2.24.
_OWN = re.compile(
    r"^ansible_(facts|check_mode|diff_mode|managed|version|verbosity|forks|limit|config_file|search_path|loop\w*|index_var"
    r"|playbook_python|python_interpreter|host|port|user|password|connection|become\w*|ssh_\w+|shell_\w+|pipelining|remote_tmp"
    r"|inventory_sources|play_\w+|run_tags|skip_tags|role_names?|parent_role_\w+|dependent_role_names|collection_name|failed_\w+"
    r"|job_id|collections)$"
)
_ENDING = {
    r"ansible\.module_utils\._text": "ansible.module_utils.common.text.converters",
    r"ansible\.module_utils\.six": "Python's own str, dict.items() and so on",
    r"ansible\.module_utils\.common\._collections_compat": "collections.abc",
    r"ansible\.module_utils\.urls import .*\bCustomHTTPS": "urllib.request",
    r"ansible\.template import .*\b(AnsibleEnvironment|generate_ansible_template_vars)": "Templar",
    r"\b(heuristic_log_sanitize|remove_values|sanitize_keys)\b": "ansible.module_utils.secrets from 2.22 on",
    r"\bAnsibleActionSkip\b|VALUE_SPECIFIED_IN_NO_LOG": "a result without `skipped`; nothing reads masked values",
    r"\bdatetime\.(utcnow|utcfromtimestamp)\b": "datetime.now(tz=UTC)",
    r"\bimport (imp|distutils|pkg_resources)\b": "importlib",
}
_SECRET = re.compile(r"(password|passphrase|secret|token|private_key|api_key|salt)$", re.IGNORECASE)
_TEMPLATES = ("playbooks", "roles", "inventories", "molecule", "tests")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def injected(text: str) -> set[str]:
    """Facts that a template, or an expression of a playbook, reads as variables of their own."""
    names = set(re.findall(r"(?<![\w.'\"/-])ansible_[a-z0-9_]+(?![\w.]*/|\.(?:cfg|posix|collections))", text))
    return {name for name in names if not _OWN.match(name)}


def literals(node: Any, path: str = "") -> Iterator[str]:
    """Places where a secret stands as itself."""
    if isinstance(node, dict):
        for key, value in node.items():
            here = f"{path}.{key}"
            if isinstance(value, str) and _SECRET.search(str(key)) and value and "{{" not in value:
                yield here
            yield from literals(value, here)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from literals(value, f"{path}[{index}]")
    elif isinstance(node, str) and "PRIVATE KEY-----" in node:
        yield path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ ansible_distribution }}", {"ansible_distribution"}),
        ("when: ansible_default_ipv4.address is defined", {"ansible_default_ipv4"}),
        ("{{ hostvars[x].ansible_facts.distribution }}", set()),
        ("{{ ansible_facts['os_family'] }} {{ ansible_check_mode }}", set()),
        ("path: collections/ansible_collections/lastro", set()),
    ],
)
def test_injected(text: str, names: set[str]) -> None:
    assert injected(text) == names


@pytest.mark.parametrize(
    ("node", "places"),
    [
        ({"vars": {"redis_password": "hunter2"}}, [".vars.redis_password"]),
        ([{"api_key": "{{ platform_secrets.api_key }}"}], []),
        ({"passwords": {"app": "{{ x }}"}, "secret": True, "token": ""}, []),
        ({"key": "-----BEGIN PRIVATE KEY-----\nM"}, [".key"]),
    ],
)
def test_literals(node: Any, places: list[str]) -> None:
    assert list(literals(node)) == places


def test_no_fact_is_read_as_a_variable() -> None:
    files = [path for path in tracked(*_TEMPLATES) if path.suffix in (".yml", ".yaml", ".j2")]
    assert len(files) > 50
    found = {str(path.relative_to(REPOSITORY)): injected(path.read_text()) for path in files}
    assert {name: facts for name, facts in found.items() if facts} == {}


def test_nothing_that_ends_is_imported() -> None:
    files = tracked("plugins/*.py", "scripts/*.py")
    assert len(files) > 50
    used = [
        f"{path.relative_to(REPOSITORY)}: {pattern}; use {instead}"
        for path in files
        for pattern, instead in _ENDING.items()
        if re.search(pattern, path.read_text())
    ]
    assert used == []


def test_no_secret_stands_in_a_playbook() -> None:
    # Argument specs describe options by their names.
    files = [
        path for path in tracked("playbooks/*.yml", "roles/*.yml", "inventories/*.yml") if path.parent.name != "meta"
    ]
    assert len(files) > 30
    shown = [
        f"{path.relative_to(REPOSITORY)}{place}"
        for path in files
        if not path.read_text().startswith("$ANSIBLE_VAULT;")
        for document in yaml.safe_load_all(path.read_text())
        for place in literals(document)
    ]
    assert shown == []
