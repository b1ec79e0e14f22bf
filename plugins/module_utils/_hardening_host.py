# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a host to the state that the module host_hardening was asked for."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _docker_install as packages
from ansible_collections.lastro.platform.plugins.module_utils import _hardening as decide
from ansible_collections.lastro.platform.plugins.module_utils import _hardening_ssh as ssh
from ansible_collections.lastro.platform.plugins.module_utils._diff import of_actions
from ansible_collections.lastro.platform.plugins.module_utils._docker_host import (
    Action,
    Installation,
    init_system,
    release,
)
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

_REBOOT = "/run/reboot-required"
_CRON = ("/usr/sbin/cron", "/usr/sbin/anacron")
_LISTING = "${Package} ${Version} ${db:Status-Status}\n"


class Kernel:
    """The kernel's own settings."""

    def read(self, key: str) -> str | None:
        """A setting, None where the kernel does not know it."""
        try:
            return " ".join(_place(key).read_text(encoding="ascii").split())
        except FileNotFoundError:
            return None

    def write(self, key: str, value: str) -> None:
        _place(key).write_text(f"{value}\n", encoding="ascii")


class Reconciler:
    """Brings one host to the wanted state; in check mode notes what it would do."""

    def __init__(self, module: AnsibleModule, kernel: Kernel) -> None:
        self.options: dict[str, Any] = module.params
        self.run = module.run_command
        self.really = not module.check_mode
        self.actions: list[Action] = []
        self.diff: list[dict[str, str]] = []
        self.findings: list[str] = []
        self.waiting: list[decide.Waiting] = []
        self.release = release(_read("/etc/os-release"))
        self.systemd = init_system(os.path.isdir("/run/systemd/system"), "") == "systemd"
        self.updates_text = ""
        self.kernel = kernel
        self.sysctl: dict[str, str] = {}
        self.sysctl_before: dict[str, str] = {}
        self.packages: dict[str, str] = {}
        self.sshd = ssh.Sshd(self.run)
        self.ssh_text: str | None = None
        self.ssh_settings: dict[str, str] = {}
        self.pid_file = ""

    def do(self, action: str, item: str, why: str) -> bool:
        """Note an action; whether it is to be done now."""
        self.actions.append(Action(action, item, why))
        return self.really

    def refuse(self) -> None:
        """PlatformError where something that was asked for must not be done. Nothing is changed before this."""
        self.updates_text = decide.updates_text(self.release, self.options["updates_held"], self.options["reboot"])
        self.sysctl = decide.sysctl(self.options["sysctl"])
        self._refuse_sysctl()
        self.packages = decide.installed(self.run(["dpkg-query", "-W", "-f", _LISTING])[1])
        there = _text(ssh.DROP_IN)
        if self.sshd.present and (self.options["ssh"] or there is not None):
            self._refuse_ssh(there)
        elif self.options["ssh"]:
            self.findings.append("There is no SSH server on this host, so none was hardened.")

    def _refuse_sysctl(self) -> None:
        for key, value in self.sysctl.items():
            try:
                found = self.kernel.read(key)
            except (OSError, UnicodeDecodeError) as error:
                raise PlatformError(
                    f"hardening_sysctl has `{key}`, which cannot be read: {error}",
                    "Leave it out: what cannot be read cannot be compared.",
                ) from error
            if found is None:
                self.findings.append(f"The kernel does not know {key}: it was not set.")
            else:
                decide.refuse_shape(key, found, value)
                self.sysctl_before[key] = found

    def _refuse_ssh(self, there: str | None) -> None:
        if self.options["ssh"]:
            values = ssh.settings(self.options["ssh_options"])
            self.ssh_text = ssh.text(values)
        after = self.sshd.effective(self.ssh_text)
        self.pid_file = after["pidfile"]
        if self.ssh_text is None:
            return
        before = after if there == self.ssh_text else self.sshd.effective(there)
        self.sshd.refuse_overruled(values, self.ssh_text, after)
        user = ssh.login_user(self.options["login_user"], os.environ)
        ssh.refuse_lockout(user, before, after, self.sshd.usable_keys(user, after))
        self.ssh_settings = {keyword.lower(): after[keyword.lower()] for keyword in values if keyword.lower() in after}

    def install(self) -> None:
        """The packages; apt's configuration first, so that they never run with another one."""
        wanted = {
            decide.UPDATES_PACKAGE: (self.options["updates"], "nothing here installs security updates"),
            decide.AUDIT_PACKAGE: (self.options["auditd"], "hardening_auditd asks for it"),
        }
        self.file(decide.UPDATES, self.updates_text if self.options["updates"] else None)
        missing = {name: why for name, (asked, why) in wanted.items() if asked and name not in self.packages}
        if [name for name, why in missing.items() if self.do("install", name, why)]:
            packages.install(self.run, Installation(packages=missing), services_may_start=True)

    def updates(self) -> None:
        """What starts the updates, and what keeps them from restarting the Engine."""
        asked = self.options["updates"]
        there = os.path.isdir(os.path.dirname(decide.NEEDRESTART))
        self.file(decide.NEEDRESTART, decide.needrestart_text() if asked and there else None)
        if asked and self.systemd:
            self._timers()
        elif asked and not any(os.access(path, os.X_OK) for path in _CRON):
            self.findings.append(
                "Neither systemd nor cron runs here, so nothing starts the security updates: run "
                "`apt-get update && unattended-upgrade` from what starts jobs on this host."
            )

    def _timers(self) -> None:
        show = ["systemctl", "show", "--property=Id,UnitFileState,ActiveState", *decide.TIMERS]
        found = decide.timers(self.run(show)[1])
        masked = [timer.name for timer in found if timer.masked]
        if masked:
            self.findings.append(
                f"Somebody has masked {' and '.join(masked)}, so no security update is installed: "
                f"`systemctl unmask {' '.join(masked)}` and run again."
            )
        idle = [timer.name for timer in found if not timer.masked and not timer.runs]
        if [name for name in idle if self.do("enable", name, "it starts the updates and is off")]:
            self.must(["systemctl", "enable", "--now", *idle])

    def ssh(self) -> None:
        """The drop-in, and a reload of a server that has not read it yet."""
        if not self.sshd.present:
            return
        written = self.file(ssh.DROP_IN, self.ssh_text)
        outdated = self.sshd.outdated(self.pid_file)
        if (written or outdated) and self.do("reload", "sshd", "it runs with older settings"):
            self.sshd.reload(self.pid_file)

    def network(self) -> None:
        """Settings of the host's network: at boot, and now. What the kernel does not take is taken back."""
        there = _text(decide.SYSCTL)
        self.file(decide.SYSCTL, decide.sysctl_text(self.sysctl) or None)
        for key, found in self.sysctl_before.items():
            value = self.sysctl[key]
            if found != value and self.do("set", key, f"it is {found}, not {value}"):
                try:
                    self.kernel.write(key, value)
                except OSError as error:
                    self._restore(there, key)
                    raise PlatformError(
                        f"The kernel refuses {key} = {value}: {error.strerror}",
                        "Correct it in hardening_sysctl, or leave it out. Nothing was changed.",
                    ) from error

    def _restore(self, text: str | None, refused: str) -> None:
        """The file and the settings before the refused one, as they were."""
        if text is None:
            Path(decide.SYSCTL).unlink(missing_ok=True)
        else:
            packages.write(decide.SYSCTL, text)
        for key, value in self.sysctl_before.items():
            if key == refused:
                return
            if value != self.sysctl[key]:
                self.kernel.write(key, value)

    def audit(self) -> None:
        """The rules of auditd. Only the kernel's first namespace takes them."""
        if not self.options["auditd"]:
            if self.file(decide.AUDIT, None) and self.really and not _contained():
                self.must(["augenrules", "--load"])
            return
        paths = [(path, key) for path, key in decide.watched(self.options["state_dir"]) if os.path.exists(path)]
        text = decide.audit_text(paths, [path for path, _key in paths if os.path.isdir(path)])
        written = self.file(decide.AUDIT, text)
        if _contained():
            self.findings.append(
                "This host is a container, where the kernel takes no audit rules: they are not in force."
            )
            return
        loaded = decide.audit_rules(self.run(["auditctl", "-l"])[1]) if decide.AUDIT_PACKAGE in self.packages else 0
        behind = loaded != decide.audit_rules(text)
        if (written or behind) and self.do("load", decide.AUDIT, f"{loaded} of {len(paths)} rules are in force"):
            self.must(["augenrules", "--load"])

    def modes(self) -> None:
        """Owner and mode of what the platform relies on."""
        for wanted in decide.ownerships(self.options["state_dir"]):
            try:
                found = os.stat(wanted.path)
            except FileNotFoundError:
                continue
            gid = _gid(wanted.group)
            if (found.st_uid, found.st_gid) != (0, gid):
                owner = f"its owner is {found.st_uid}:{found.st_gid}, not root:{wanted.group}"
                if self.do("own", wanted.path, owner):
                    os.chown(wanted.path, 0, gid)
            mode = stat.S_IMODE(found.st_mode)
            allowed = decide.tightened(mode, wanted.limit)
            if mode != allowed and self.do("protect", wanted.path, f"its mode is {mode:04o}, not {allowed:04o}"):
                os.chmod(wanted.path, allowed)

    def look(self) -> None:
        """What a person has to decide."""
        members = _docker_members()
        if members:
            self.findings.append(
                f"Whoever is in the group docker is root on this host: {', '.join(members)}. "
                "Take them out (gpasswd --delete NAME docker) and let them use sudo."
            )
        if self.options["updates"]:
            held = decide.matching(self.packages, self.options["updates_held"])
            self.waiting = decide.waiting(self._policy(held)) if held else []
        if self.waiting:
            names = ", ".join(f"{each.package} {each.installed} → {each.candidate}" for each in self.waiting)
            self.findings.append(
                f"Updates wait for you, as they restart the Engine: {names}. When it suits, one host after the other: "
                f"apt-get install --only-upgrade {' '.join(each.package for each in self.waiting)}"
            )
        if os.path.exists(_REBOOT):
            by = " ".join(dict.fromkeys(_read(f"{_REBOOT}.pkgs").split()))
            self.findings.append(f"An update waits for a reboot of this host{f' ({by})' if by else ''}.")

    def _policy(self, names: list[str]) -> str:
        return str(self.run(["apt-cache", "policy", *names], environ_update={"LC_ALL": "C"})[1])

    def file(self, path: str, text: str | None) -> bool:
        """A file as it should be, or none; whether it was, or would be, changed."""
        before = _text(path)
        if before == text:
            return False
        header = {"before_header": path, "after_header": path}
        self.diff.append({**header, "before": before or "", "after": text or ""})
        if text is None:
            if self.do("remove", path, "it is not asked for"):
                os.unlink(path)
        elif self.do("write", path, "it is missing" if before is None else "its content differs"):
            packages.write(path, text)
        return True

    def must(self, command: list[str]) -> None:
        """Run a command; PlatformError with its words where it fails."""
        code, out, error = self.run(command)
        if code:
            raise PlatformError(
                f"`{' '.join(command)}` failed ({code}): {(error or out).strip()[-500:]}",
                "Remove the cause named there and run again.",
            )


def reconcile(module: AnsibleModule) -> dict[str, Any]:
    """Everything: refusals first, then the changes, then what is left for a person."""
    host = Reconciler(module, Kernel())
    host.refuse()
    # First, as the kernel has a word to say: then nothing else was changed yet.
    host.network()
    host.install()
    host.updates()
    host.ssh()
    host.audit()
    host.modes()
    host.look()
    return {
        "changed": bool(host.actions),
        "actions": [asdict(action) for action in host.actions],
        "diff": [*host.diff, *of_actions("the host", ((each.item, each.action, each.why) for each in host.actions))],
        "findings": host.findings,
        "updates_waiting": [asdict(each) for each in host.waiting],
        "ssh": host.ssh_settings,
    }


def _place(key: str) -> Path:
    return Path("/proc/sys", key.replace(".", "/"))


def _contained() -> bool:
    return os.path.exists("/run/systemd/container") or os.path.exists("/.dockerenv")


def _docker_members() -> list[str]:
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return []
    rows = [(entry.pw_name, entry.pw_gid) for entry in pwd.getpwall()]
    return decide.docker_members(",".join(group.gr_mem), rows, group.gr_gid)


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _read(path: str) -> str:
    return _text(path) or ""
