# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hardened host looks like, from what was read on it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _hardening as decide
from ansible_collections.lastro.platform.plugins.module_utils import _hardening_ssh as ssh
from ansible_collections.lastro.platform.plugins.module_utils._docker_host import Release
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

TRIXIE = Release("debian", "13", "trixie")
NOBLE = Release("ubuntu", "24.04", "noble")
HELD = ["docker", "containerd", "runc"]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPNVdkVn5AQxmCIjnIGUYxi1d4mGDYfVTmYmFQn5QJ7p"


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (
            Release("debian", "12", "bookworm"),
            {"origin=Debian,codename=${distro_codename}-security,label=Debian-Security"},
        ),
        (TRIXIE, {"origin=Debian,codename=${distro_codename}-security,label=Debian-Security"}),
        (
            NOBLE,
            {
                "origin=Ubuntu,archive=${distro_codename}-security",
                "origin=Ubuntu,archive=${distro_codename}",
                "origin=UbuntuESM,archive=${distro_codename}-infra-security",
                "origin=UbuntuESMApps,archive=${distro_codename}-apps-security",
            },
        ),
    ],
    ids=["bookworm", "trixie", "noble"],
)
def test_updates_come_from_the_security_archive_only(host: Release, wanted: set[str]) -> None:
    text = decide.updates_text(host, HELD, "never")
    assert set(re.findall(r'"(origin=[^"]+)"', text)) == wanted
    cleared = text.index("#clear Unattended-Upgrade::Origins-Pattern;")
    assert cleared < text.index("Unattended-Upgrade::Origins-Pattern {")
    assert "#clear Unattended-Upgrade::Allowed-Origins;" in text
    assert "#clear Unattended-Upgrade::Package-Blacklist" not in text, "the operator's own entries stay"


@pytest.mark.parametrize(
    ("reboot", "lines"),
    [
        ("never", ['Unattended-Upgrade::Automatic-Reboot "false";']),
        (
            "03:30",
            ['Unattended-Upgrade::Automatic-Reboot "true";', 'Unattended-Upgrade::Automatic-Reboot-Time "03:30";'],
        ),
    ],
)
def test_reboot(reboot: str, lines: list[str]) -> None:
    text = decide.updates_text(TRIXIE, HELD, reboot)
    assert [line for line in text.splitlines() if "Automatic-Reboot" in line] == lines


@pytest.mark.parametrize(
    ("host", "held", "reboot", "words"),
    [
        (Release("debian", "11", "bullseye"), HELD, "never", "debian 11.*it knows debian 12, debian 13, ubuntu 24.04"),
        (Release("", "", ""), HELD, "never", "This system.*hardening_enabled: false"),
        (TRIXIE, HELD, "210", "hardening_reboot is `210`.*quoted"),
        (TRIXIE, HELD, "24:00", "hardening_reboot is `24:00`"),
        (TRIXIE, ["docker("], "never", r"`docker\(`: missing \)"),
        (TRIXIE, ['docker";'], "never", "quote"),
        (TRIXIE, [""], "never", "empty"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_cure(host: Release, held: list[str], reboot: str, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        decide.updates_text(host, held, reboot)


DPKG = """\
docker.io 26.1.5+dfsg1-9+b9 installed
docker-compose 2.26.1-4 installed
containerd 1.7.24~ds1-6 installed
containerd.io 2.0.0 config-files
runc 1.1.15+ds1-2 installed
python3-docker 5.0.3 installed
openssl 3.5.1-1 installed
"""


def test_what_restarts_the_engine_is_held() -> None:
    packages = decide.installed(DPKG)
    assert packages["openssl"] == "3.5.1-1"
    assert decide.matching(packages, HELD) == ["containerd", "docker-compose", "docker.io", "runc"]
    assert decide.matching(packages, []) == []


def test_updates_that_wait() -> None:
    policy = """\
docker.io:
  Installed: 26.1.5-9
  Candidate: 26.1.5-10
  Version table:
     26.1.5-10 500
runc:
  Installed: 1.1.15
  Candidate: 1.1.15
  Version table:
containerd:
  Installed: 1.7.24
  Candidate: (none)
  Version table:
"""
    assert decide.waiting(policy) == [decide.Waiting("docker.io", "26.1.5-9", "26.1.5-10")]
    assert decide.waiting("") == []


def test_timers() -> None:
    listing = (
        "Id=apt-daily.timer\nActiveState=active\nUnitFileState=enabled\n\n"
        "Id=apt-daily-upgrade.timer\nActiveState=inactive\nUnitFileState=masked\n\n"
        "Id=other.timer\nActiveState=inactive\nUnitFileState=enabled\n"
    )
    assert [(timer.name, timer.runs, timer.masked) for timer in decide.timers(listing)] == [
        ("apt-daily.timer", True, False),
        ("apt-daily-upgrade.timer", False, True),
        ("other.timer", False, False),
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("vm.swappiness", "not below net."),
        ("kernel.kptr_restrict", "not below net."),
        ("netfoo.bar", "not below net."),
        ("net.ipv4.conf.all.x = 1\nvm.swappiness", "not below net."),
        ("net.ipv4.ip_forward", "Docker sets"),
        ("net.ipv4.conf.all.forwarding", "Docker sets"),
        ("net.ipv6.conf.eth0.forwarding", "Docker sets"),
        ("net.bridge.bridge-nf-call-iptables", "Docker sets"),
    ],
)
def test_settings_of_the_whole_machine_and_of_docker_are_refused(key: str, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        decide.sysctl({key: 1})


def test_network_settings() -> None:
    values = decide.sysctl({"net.ipv4.tcp_syncookies": 1, "net.ipv4.ip_local_port_range": "32768\t60999"})
    assert values == {"net.ipv4.tcp_syncookies": "1", "net.ipv4.ip_local_port_range": "32768 60999"}
    assert decide.sysctl_text(values).splitlines()[1:] == [
        "net.ipv4.ip_local_port_range = 32768 60999",
        "net.ipv4.tcp_syncookies = 1",
    ]
    assert decide.sysctl_text({}) == ""


def test_audit_rules_are_counted_in_file_and_kernel_alike() -> None:
    paths = [
        path for path in decide.watched("/srv/shop") if path[0] in ("/etc/docker", "/run/docker.sock", "/srv/shop")
    ]
    text = decide.audit_text(paths, ["/etc/docker", "/srv/shop"])
    assert text.splitlines()[1:] == [
        "-a always,exit -F arch=b64 -F dir=/etc/docker -F perm=wa -F key=lastro-docker",
        "-a always,exit -F arch=b64 -F path=/run/docker.sock -F perm=wa -F key=lastro-docker",
        "-a always,exit -F arch=b64 -F dir=/srv/shop -F perm=wa -F key=lastro-platform",
    ]
    assert decide.audit_rules(text) == 3
    assert decide.audit_rules("-w /etc/docker -p wa -k lastro-docker\n-w /etc/passwd -p wa -k identity\n") == 1
    assert decide.audit_rules("No rules\n") == 0


@pytest.mark.parametrize(
    ("mode", "limit", "wanted"),
    [
        (0o777, 0o755, 0o755),
        (0o700, 0o755, 0o700),
        (0o666, 0o660, 0o660),
        (0o2775, 0o755, 0o2755),
        (0o600, 0o644, 0o600),
    ],
)
def test_a_mode_is_tightened_and_never_loosened(mode: int, limit: int, wanted: int) -> None:
    assert decide.tightened(mode, limit) == wanted


def test_who_is_root_through_docker() -> None:
    rows = [("root", 0), ("ann", 1000), ("bob", 998)]
    assert decide.docker_members("eve,ann", rows, 998) == ["ann", "bob", "eve"]
    assert decide.docker_members("", [("root", 0)], 998) == []


def test_an_operator_s_ssh_options_win_however_they_are_written() -> None:
    values = ssh.settings({"maxauthtries": 6, "X11Forwarding": True, "AllowUsers": ["ann", "bob"]})
    assert (values["maxauthtries"], values["X11Forwarding"], values["AllowUsers"]) == ("6", "yes", "ann bob")
    assert "MaxAuthTries" not in values
    assert values["PasswordAuthentication"] == "no"
    assert "maxauthtries 6\n" in ssh.text(values)


@pytest.mark.parametrize("option", [{"Match": "User ann"}, {"include": "x"}, {"Banner": "a\nMatch all"}, {"a b": "c"}])
def test_ssh_options_that_are_no_keyword_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(PlatformError, match="no keyword with a value on one line"):
        ssh.settings(option)


def test_sshd_s_own_words() -> None:
    assert ssh.parse("port 22\nhostkey /a\nhostkey /b\nmacs x,y\n") == {"port": "22", "hostkey": "/a /b", "macs": "x,y"}


def test_a_file_with_the_last_word_is_named() -> None:
    files = {"/etc/ssh/sshd_config.d/00-site.conf": "# PasswordAuthentication yes\n\n  passwordauthentication=yes\n"}
    found = {"passwordauthentication": "yes", "maxauthtries": "4"}
    problems = ssh.overruled({"passwordauthentication": "no", "maxauthtries": "4"}, found, files)
    assert problems == ["passwordauthentication would be `yes`, not `no` (/etc/ssh/sshd_config.d/00-site.conf line 3)"]
    assert ssh.overruled({"maxauthtries": "4"}, found, files) == []


@pytest.mark.parametrize(
    ("patterns", "files"),
    [
        (
            ".ssh/authorized_keys .ssh/authorized_keys2",
            ["/home/ann/.ssh/authorized_keys", "/home/ann/.ssh/authorized_keys2"],
        ),
        ("/etc/ssh/keys/%u", ["/etc/ssh/keys/ann"]),
        ("%h/keys/100%%", ["/home/ann/keys/100%"]),
        ("none", []),
    ],
)
def test_files_of_authorized_keys(patterns: str, files: list[str]) -> None:
    assert ssh.key_files(patterns, "ann", "/home/ann") == files


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("", 0),
        ("# " + KEY, 0),
        (KEY + " ann@laptop\n\n" + KEY, 2),
        ('from="10.0.0.0/8",command="ls" ' + KEY, 1),
        ("sk-" + KEY.replace("ed25519", "ed25519@openssh.com"), 1),
        ("ssh-ed25519 short", 0),
        ("ssh-dss " + "A" * 80, 0),
    ],
)
def test_keys_are_counted(content: str, count: int) -> None:
    assert ssh.keys(content) == count


def _sshd(**values: str) -> dict[str, str]:
    return {
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "pubkeyauthentication": "yes",
        "permitrootlogin": "without-password",
        "authorizedkeysfile": ".ssh/authorized_keys",
        **values,
    }


OPEN = _sshd(passwordauthentication="yes", permitrootlogin="yes")


@pytest.mark.parametrize(
    ("user", "before", "after", "key_count", "words"),
    [
        pytest.param("root", OPEN, _sshd(), 1, "", id="has-a-key"),
        pytest.param("root", OPEN, _sshd(), 0, "root has no key.*ssh-copy-id", id="has-none"),
        pytest.param("ann", _sshd(kbdinteractiveauthentication="yes"), _sshd(), 0, "ann has no key", id="pam-was-open"),
        pytest.param("root", _sshd(), _sshd(), 0, "", id="passwords-were-off-already"),
        pytest.param("root", OPEN, _sshd(passwordauthentication="yes"), 0, "", id="passwords-stay"),
        pytest.param("root", OPEN, _sshd(permitrootlogin="no"), 1, "root, who is logged in", id="root-out"),
        pytest.param("ann", OPEN, _sshd(permitrootlogin="no"), 1, "", id="root-out-for-another-user"),
        pytest.param("ann", OPEN, _sshd(pubkeyauthentication="no"), 1, "neither keys", id="no-keys-taken"),
    ],
)
def test_nobody_locks_himself_out(
    user: str, before: dict[str, str], after: dict[str, str], key_count: int, words: str
) -> None:
    if not words:
        ssh.refuse_lockout(user, before, after, key_count)
        return
    with pytest.raises(PlatformError, match=f"lock you out.*{words}"):
        ssh.refuse_lockout(user, before, after, key_count)


@pytest.mark.parametrize(
    ("given", "environment", "user"),
    [("ann", {"SUDO_USER": "bob"}, "ann"), (None, {"SUDO_USER": "bob"}, "bob"), ("", {"SUDO_USER": "bob"}, "bob")],
)
def test_who_logs_in(given: str | None, environment: dict[str, str], user: str) -> None:
    assert ssh.login_user(given, environment) == user


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf", "Include /x/*.conf"),
        ("  include sshd_config.d/*.conf", "  include /x/*.conf"),
        ("Include /etc/ssh/other/*.conf /etc/ssh/sshd_config.d/*.conf", "Include /etc/ssh/other/*.conf /x/*.conf"),
        ("Include /opt/sshd_config.d/*.conf", "Include /opt/sshd_config.d/*.conf"),
        ("# Include /etc/ssh/sshd_config.d/*.conf", "# Include /etc/ssh/sshd_config.d/*.conf"),
        ("Banner /etc/ssh/sshd_config.d/banner", "Banner /etc/ssh/sshd_config.d/banner"),
    ],
)
def test_the_main_file_is_tried_with_a_copy_of_its_folder(line: str, wanted: str) -> None:
    assert ssh.elsewhere(f"Port 22\n{line}\n", "/x") == f"Port 22\n{wanted}\n"


@pytest.mark.parametrize(
    ("loose", "taken"), [(None, True), (".", False), (".ssh", False), (".ssh/authorized_keys", False)]
)
def test_keys_that_others_may_write_do_not_count(tmp_path: Path, loose: str | None, taken: bool) -> None:
    keys = tmp_path / ".ssh" / "authorized_keys"
    keys.parent.mkdir(mode=0o700)
    keys.write_text(KEY)
    for path in (tmp_path, keys.parent, keys):
        path.chmod(0o700)
    if loose:
        (tmp_path / loose).chmod(0o770)
    assert ssh.strict(str(keys), str(tmp_path), os.getuid()) is taken
    assert ssh.strict(str(keys), str(tmp_path), os.getuid() + 1) is (taken and os.getuid() == 0)
    assert not ssh.strict(str(keys) + "2", str(tmp_path), os.getuid())
