# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `api_key` by Ansible itself: its action plugin, its playbook, and where a plain key must never be."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.integration.api_keys import PEPPERS, Keys
from tests.integration.playbook import play
from tests.integration.postgres_server import Server
from tests.support import REPOSITORY

HOSTS: dict[str, dict[str, Any]] = {"db": {}}
GROUPS = {"postgres": {"hosts": {"db": {}}}}


@pytest.fixture
def keys(tmp_path: Path, server: Server, wanted: dict[str, Any]) -> Keys:
    return Keys(tmp_path, server, wanted)


def run(folder: Path, options: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    task = {"name": "Keys", "lastro.platform.api_key": options}
    plays = [{"name": "Test", "hosts": "db", "gather_facts": False, "tasks": [task]}]
    return play(folder, plays, GROUPS, HOSTS, {}, *arguments)


def options_of(keys: Keys, **more: Any) -> dict[str, Any]:
    sink = {"type": "file", "path": str(keys.path)}
    given = {"url": keys.url, "prefix": "shop", "environment": "prod", "peppers": PEPPERS, "sink": sink}
    return {name: value for name, value in {**given, **more}.items() if value is not None}


class Processes(threading.Thread):
    """The command lines of all processes while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.over = threading.Event()

    def __enter__(self) -> Processes:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        while not self.over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue


def test_a_plain_key_is_in_the_sink_and_nowhere_else(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, remote = tmp_path / "ansible.log", tmp_path / "remote"
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(log))
    monkeypatch.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
    monkeypatch.setenv("ANSIBLE_REMOTE_TEMP", str(remote))
    said, made = "", []
    with Processes() as processes:
        for options in (
            {"state": "present", "name": "billing", "tenant": "acme"},
            {"state": "rotated", "all": True, "overlap": "1d"},
            {"state": "listed"},
        ):
            done = run(tmp_path, options_of(keys, **options), "-vvvv", "--diff")
            assert done.returncode == 0, done.stdout + done.stderr
            said += done.stdout + done.stderr
            made.append(keys.plain("acme/billing"))
    kept = b"".join(path.read_bytes() for path in remote.rglob("*") if path.is_file()).decode(errors="replace")
    ids, secrets = zip(*(plain.split("_")[2:] for plain in made), strict=True)
    assert len(set(secrets)) == 2
    everywhere = {"output": said, "log": log.read_text(), "host": kept, "processes": "\n".join(processes.seen)}
    for where, text in everywhere.items():
        assert not [secret for secret in secrets if secret in text], where
        assert not [pepper for pepper in PEPPERS.values() if pepper in text], where
    # What may be seen was looked for where it is.
    for where in ("output", "log", "host"):
        assert not [key_id for key_id in ids if key_id not in everywhere[where]], where
    assert "ansible-playbook" in everywhere["processes"]


def test_issuing_and_rotating_into_a_file_of_ansible_vault(keys: Keys, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("the vault password\n")
    path = tmp_path / "api_keys.yml"
    sink = {"type": "vault_file", "path": str(path)}
    arguments = ("--vault-password-file", str(password))
    done = run(tmp_path, options_of(keys, state="present", name="n", sink=sink), *arguments)
    assert done.returncode == 0, done.stdout
    first = path.read_bytes()
    assert first.startswith(b"$ANSIBLE_VAULT")
    # Nobody listens there; the key is rotated all the same.
    rotate = options_of(keys, state="rotated", all=True, overlap="1d", sink=sink)
    done = run(tmp_path, {**rotate, "notify": {"webhooks": ["http://127.0.0.1:1/T0KEN"]}}, *arguments)
    assert done.returncode == 0, done.stdout
    said = " ".join((done.stdout + done.stderr).split())
    assert "Not told: webhook at 127.0.0.1 (ConnectionRefusedError), after 3 tries" in said
    assert "T0KEN" not in done.stdout + done.stderr
    plain = VaultLib([("default", VaultSecret(b"the vault password"))]).decrypt(path.read_bytes())
    assert b'"n": {"id":' in plain
    assert b"api_keys_pending: {}" in plain
    # The file is one of variables, too.
    tasks = [{"ansible.builtin.assert": {"that": "api_keys.n.key is match('shop_prod_')"}}]
    reads = {"hosts": "db", "gather_facts": False, "vars_files": [str(path)], "tasks": tasks}
    done = play(tmp_path, [reads], GROUPS, HOSTS, {}, *arguments)
    assert done.returncode == 0, done.stdout
    held = path.read_bytes()
    done = run(tmp_path, rotate)
    assert done.returncode != 0
    assert "There is no vault password" in done.stdout
    assert path.read_bytes() == held


def test_the_playbook(keys: Keys, tmp_path: Path) -> None:
    old, young = keys.issue("old"), keys.issue("young")
    keys.age(f"key_id = '{old}'")
    variables = {
        **{"api_keys_url": keys.url, "api_keys_prefix": "shop", "platform_environment": "prod"},
        **{"api_keys_peppers": PEPPERS, "api_keys_sink": {"type": "file", "path": str(keys.path)}},
        "api_keys_overlap": "7d",
    }
    done = play(tmp_path, "rotate_keys", GROUPS, HOSTS, variables, "--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"would rotate {old} acme/old 100 days old" in done.stdout
    assert young not in done.stdout
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(2,)]

    # By age, again, by id, by tenant, all.
    path = str(REPOSITORY / "playbooks" / "rotate_keys.yml")
    chosen: tuple[dict[str, Any], ...] = (
        *({}, {}, {"api_keys_ids": young}, {"api_keys_names": "nobody"}),
        *({"api_keys_tenants": "acme"}, {"api_keys_all": "true"}),
    )
    plays = [{"name": "Rotate", "ansible.builtin.import_playbook": path, "vars": given} for given in chosen]
    done = play(tmp_path, plays, GROUPS, HOSTS, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.split("PLAY RECAP")[0].split("PLAY [")[1:]
    changes = [re.findall(r"TASK \[Rotate them\][^\n]*\n(changed|ok): ", one)[0] for one in said]
    assert changes == ["changed", "ok", "changed", "ok", "changed", "changed"]
    assert f"rotated {old} acme/old by " in said[0]
    assert f"rotated {young} acme/young by " in said[2]
    assert [one.count("rotated ") for one in (said[0], said[2], said[4], said[5])] == [1, 1, 2, 2]
    assert keys.sql("SELECT count(*) FROM lastro_api_keys WHERE replaced_by IS NULL") == [(2,)]
    assert keys.sql("SELECT count(*) FROM lastro_api_keys") == [(8,)]


def test_rules_for_scanners(keys: Keys, tmp_path: Path) -> None:
    keys.issue("billing")
    rules = tmp_path / "gitleaks.toml"
    task = {
        "lastro.platform.api_key": options_of(keys, state="listed", scanner_rules=str(rules), sink=None, peppers=None)
    }
    tasks = [
        {**task, "check_mode": True, "register": "planned"},
        {"ansible.builtin.assert": {"that": ["planned is changed", f"'{rules}' is not exists"]}},
        {**task, "register": "written"},
        {**task, "register": "again"},
        {"ansible.builtin.assert": {"that": ["written is changed", "again is not changed"]}},
    ]
    done = play(tmp_path, [{"hosts": "db", "gather_facts": False, "tasks": tasks}], GROUPS, HOSTS, {})
    assert done.returncode == 0, done.stdout
    assert "[[rules]]" in rules.read_text()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sink": None}, "Give `sink`, `prefix` and `environment`"),
    ({"prefix": None}, "Give `sink`, `prefix` and `environment`"),
    ({"peppers": "SECRETPEPPER"}, "peppers"),
    ({"peppers": {"1": "SECRETPEPPER"}}, "Pepper 1 is not 32 bytes in hex"),
    ({"url": "postgresql://u:SECRETPEPPER@127.0.0.1:1/x"}, "does not answer"),
    ({"colour": "blue"}, "colour"),
    ({"state": "imported"}, "It is not said which keys to import"),
]


def test_what_is_refused(keys: Keys, tmp_path: Path) -> None:
    variables = {
        f"case_{number}": options_of(keys, **{"state": "present", "name": "n", **options})
        for number, (options, _message) in enumerate(REFUSED)
    }
    wrong = variables["wrong"] = options_of(keys, state="listed")
    wrong["url"] = wrong["url"].replace(keys.login["password"], "SECRETPEPPER")
    expected = [*(message for _options, message in REFUSED), "refuses the password"]
    cases = [
        {
            "block": [{"lastro.platform.api_key": f"{{{{ {case} }}}}"}],
            "rescue": [{"ansible.builtin.debug": {"msg": f"{case}: {{{{ ansible_failed_result.msg }}}}"}}],
        }
        for case in variables
    ]
    done = play(tmp_path, [{"hosts": "db", "gather_facts": False, "tasks": cases}], GROUPS, HOSTS, variables, "-vvv")
    assert f"rescued={len(cases)}" in done.stdout, done.stdout
    # The output is broken into lines.
    said = " ".join(done.stdout.split())
    for case, message in zip(variables, expected, strict=True):
        assert message in said.split(f"{case}: ")[1].split("TASK [")[0], f"{case}: {message}\n{done.stdout}"
    assert "SECRETPEPPER" not in done.stdout + done.stderr
    assert keys.sql("SELECT to_regclass('lastro_api_keys')") == [(None,)]
