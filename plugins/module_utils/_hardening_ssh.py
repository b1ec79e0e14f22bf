# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH server's settings: tried by sshd itself before they take effect, and never a lock-out."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

DROP_IN = "/etc/ssh/sshd_config.d/10-lastro.conf"
Run = Callable[..., tuple[int, str, str]]

SETTINGS = {
    "PermitRootLogin": "prohibit-password",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "X11Forwarding": "no",
    "MaxAuthTries": "4",
    "LoginGraceTime": "30",
    "MaxStartups": "10:30:60",
    "ClientAliveInterval": "60",
    "ClientAliveCountMax": "3",
    "LogLevel": "VERBOSE",
    # What the distributions still offer beside better ones: SHA-1 and 64-bit tags. The rest stays theirs to choose.
    "MACs": "-hmac-sha1*,umac-64*",
}
_SSHD = "/usr/sbin/sshd"
_MAIN = "/etc/ssh/sshd_config"
_FOLDER = "/etc/ssh/sshd_config.d"
# The unit makes it; sshd wants it for a test, too.
_PRIVILEGE_SEPARATION = "/run/sshd"
_RELOAD_SECONDS = 10
_KEY = re.compile(r"(?:^|\s)(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-\S+|sk-(?:ssh|ecdsa)-\S+)\s+AAAA[A-Za-z0-9+/=]{32,}")


def settings(more: Mapping[str, Any]) -> dict[str, str]:
    """The settings with those of the operator, whatever way he writes a keyword."""
    merged = {keyword.lower(): (keyword, value) for keyword, value in SETTINGS.items()}
    for keyword, value in more.items():
        text = _value(value)
        if not re.fullmatch(r"[A-Za-z0-9]+", keyword) or keyword.lower() in ("match", "include") or "\n" in text:
            raise PlatformError(
                f"hardening_ssh_options has `{keyword}`, which is no keyword with a value on one line",
                f"Put Match blocks and the like into a file of your own in {_FOLDER}, with a name after 10-lastro.conf.",
            )
        merged[keyword.lower()] = (keyword, text)
    return dict(merged.values())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def text(values: Mapping[str, str]) -> str:
    """The drop-in."""
    lines = [f"{keyword} {value}\n" for keyword, value in values.items()]
    return "".join(["# Written by the role lastro.platform.hardening.\n", *lines])


def parse(listing: str) -> dict[str, str]:
    """Keyword → value, from `sshd -T`; a keyword that may be given several times has all its values."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        keyword, _space, value = line.partition(" ")
        found[keyword] = f"{found[keyword]} {value}" if keyword in found else value
    return found


def overruled(wanted: Mapping[str, str], found: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    """What sshd would not take from the drop-in, each with the lines of the files it reads first."""
    problems = []
    for keyword, value in wanted.items():
        if found.get(keyword) != value:
            lines = ", ".join(_lines(keyword, files))
            problems.append(f"{keyword} would be `{found.get(keyword)}`, not `{value}` ({lines or 'no line says so'})")
    return problems


def _lines(keyword: str, files: Mapping[str, str]) -> Iterator[str]:
    for path, content in files.items():
        for number, line in enumerate(content.splitlines(), start=1):
            if re.match(rf"\s*{keyword}[\s=]", line, re.IGNORECASE):
                yield f"{path} line {number}"


def key_files(patterns: str, user: str, home: str) -> list[str]:
    """The files of AuthorizedKeysFile, for a user."""
    tokens = {"%h": home, "%u": user, "%%": "%"}
    names = [re.sub("%[hu%]", lambda found: tokens[found[0]], pattern) for pattern in patterns.split()]
    return [os.path.join(home, name) for name in names if name != "none"]


def keys(content: str) -> int:
    """How many public keys a file of authorized keys has."""
    return sum(1 for line in content.splitlines() if not line.lstrip().startswith("#") and _KEY.search(line))


def refuse_lockout(user: str, before: Mapping[str, str], after: Mapping[str, str], key_count: int) -> None:
    """PlatformError where the user of this very connection could not log in again."""
    passwords = ("passwordauthentication", "kbdinteractiveauthentication")
    if any(after[name] == "yes" for name in passwords):
        return
    problem = ""
    if user == "root" and after["permitrootlogin"] == "no" != before["permitrootlogin"]:
        problem = "root, who is logged in for this run, could not log in at all"
    elif after["pubkeyauthentication"] == "no":
        problem = "neither keys nor passwords would be taken"
    elif any(before[name] == "yes" for name in passwords) and not key_count:
        problem = f"passwords would be switched off, and {user} has no key that sshd would take ({_sources(after)})"
    if problem:
        raise PlatformError(
            f"This would lock you out of the host's SSH server: {problem}",
            "Put your public key there (ssh-copy-id) and run again. If somebody else logs in, name the user: "
            "hardening_login_user. To keep passwords: hardening_ssh_options: {PasswordAuthentication: 'yes'}.",
        )


def _sources(after: Mapping[str, str]) -> str:
    return f"AuthorizedKeysFile {after['authorizedkeysfile']}"


class Sshd:
    """The SSH server of this host."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def present(self) -> bool:
        return os.access(_SSHD, os.X_OK)

    def effective(self, drop_in: str | None) -> dict[str, str]:
        """What sshd would go by with this drop-in in the place of the one there is. The host's files stay as they are."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = os.path.join(scratch, os.path.basename(_FOLDER))
            os.mkdir(folder)
            for path in _drop_ins():
                shutil.copy(path, folder)
            ours = Path(folder, os.path.basename(DROP_IN))
            ours.unlink(missing_ok=True)
            if drop_in is not None:
                ours.write_text(drop_in, encoding="utf-8")
            main = Path(scratch, os.path.basename(_MAIN))
            main.write_text(elsewhere(_read(_MAIN), folder), encoding="utf-8")
            return self._test(str(main), scratch)

    def alone(self, drop_in: str, host_keys: str) -> dict[str, str]:
        """What sshd makes of the drop-in when there is nothing else: its values in sshd's own words."""
        with tempfile.TemporaryDirectory() as scratch:
            main = Path(scratch, os.path.basename(_MAIN))
            main.write_text("".join([drop_in, *(f"HostKey {path}\n" for path in host_keys.split())]), encoding="utf-8")
            return self._test(str(main), scratch)

    def refuse_overruled(self, values: Mapping[str, str], drop_in: str, found: Mapping[str, str]) -> None:
        """PlatformError where another file has the last word."""
        alone = self.alone(drop_in, found["hostkey"])
        names = [keyword.lower() for keyword in values]
        # The first file that says something wins; sshd reads the main file up to its Include line, then these in order.
        files = {path: _read(path) for path in (_MAIN, *(path for path in _drop_ins() if path < DROP_IN))}
        problems = overruled({name: alone[name] for name in names if name in alone}, found, files)
        if problems and not re.search(rf"^\s*Include\s.*{_FOLDER}", files[_MAIN], re.MULTILINE | re.IGNORECASE):
            raise PlatformError(
                f"sshd would not read {DROP_IN}: {_MAIN} does not include that folder",
                f"Put `Include {_FOLDER}/*.conf` into its first line, or set hardening_ssh: false.",
            )
        if problems:
            raise PlatformError(
                f"sshd would not take everything from {DROP_IN}: {'; '.join(problems)}",
                "Remove those lines, or set the same value in hardening_ssh_options.",
            )

    def usable_keys(self, user: str, after: Mapping[str, str]) -> int:
        """How many keys of a user sshd would take; keys from elsewhere (a command, a CA) count as one."""
        elsewhere = ("authorizedkeyscommand", "trustedusercakeys")
        if any(after.get(name, "none") != "none" for name in elsewhere):
            return 1
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return 0
        files = key_files(after["authorizedkeysfile"], user, entry.pw_dir)
        trusted = [path for path in files if after["strictmodes"] == "no" or strict(path, entry.pw_dir, entry.pw_uid)]
        return sum(keys(_read(path)) for path in trusted)

    def outdated(self, pid_file: str) -> bool:
        """Whether the listening sshd read its files before the drop-in was last changed: it writes its pid file anew
        at a reload."""
        try:
            return _listener(pid_file) is not None and os.stat(DROP_IN).st_mtime > os.stat(pid_file).st_mtime
        except FileNotFoundError:
            return False

    def reload(self, pid_file: str) -> None:
        """Have the listening sshd read its files again. Open sessions stay; PlatformError where it does not come back."""
        pid = _listener(pid_file)
        if pid is None:
            # Started for each connection, or not at all: the next one reads the new files.
            return
        before = os.stat(pid_file).st_mtime_ns
        os.kill(pid, signal.SIGHUP)
        end = time.monotonic() + _RELOAD_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(pid_file).st_mtime_ns > before and _listener(pid_file) is not None:
                    return
            time.sleep(0.05)
        raise PlatformError(
            f"sshd (process {pid}) did not come back {_RELOAD_SECONDS} s after it was told to read its files again",
            "Keep this session open, read `journalctl -u ssh`, and start it: systemctl restart ssh.",
        )

    def _test(self, main: str, scratch: str) -> dict[str, str]:
        made = not os.path.isdir(_PRIVILEGE_SEPARATION)
        if made:
            os.mkdir(_PRIVILEGE_SEPARATION, 0o755)
        try:
            code, out, error = self._run([_SSHD, "-T", "-f", main], environ_update={"LC_ALL": "C"})
        finally:
            if made:
                os.rmdir(_PRIVILEGE_SEPARATION)
        if code:
            words = error.strip().replace(scratch, "/etc/ssh")
            raise PlatformError(
                f"sshd refuses the configuration, so nothing was changed: {words}",
                "Correct hardening_ssh_options, or the file that is named, and run again.",
            )
        return parse(out)


def login_user(given: str | None, environment: Mapping[str, str]) -> str:
    """Who logged in for this run: root by himself, or the user sudo was called by."""
    return given or environment.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _drop_ins() -> Sequence[str]:
    return sorted(str(path) for path in Path(_FOLDER).glob("*.conf"))


def elsewhere(main: str, folder: str) -> str:
    """The main file with its Include lines pointing at a copy of the folder."""
    pattern = re.compile(
        rf"^(\s*Include\s.*?)(?:{_FOLDER}|(?<![\w./-])sshd_config\.d)(?=/)", re.IGNORECASE | re.MULTILINE
    )
    return pattern.sub(lambda found: found[1] + folder, main)


def _listener(pid_file: str) -> int | None:
    try:
        pid = int(_read(pid_file))
        return pid if _read(f"/proc/{pid}/comm").strip() == "sshd" else None
    except ValueError:
        return None


def strict(path: str, home: str, uid: int) -> bool:
    """Whether file, folder and home belong to the user or root and nobody else may write: sshd's StrictModes."""
    try:
        stats = [os.stat(each) for each in dict.fromkeys((path, os.path.dirname(path), home))]
    except FileNotFoundError:
        return False
    return all(found.st_uid in (0, uid) and not found.st_mode & 0o022 for found in stats)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
