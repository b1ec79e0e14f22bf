#!/usr/bin/python
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: Create a platform's secrets once, and find them again
description:
  - Keeps one file a secret in a directory on the host, and returns the values.
  - A secret is created when it is new. One that was there before and is gone is never made anew while data exists
    that was made with it; the module fails then, names the file and says what to do.
  - Names added later, by an upgrade, are created although data exists. The file C(.index.json) in O(directory) records
    which names were created.
version_added: 0.1.0
author:
  - Lastro maintainers (@lastro)
attributes:
  check_mode:
    support: full
    description: For a secret that would be created RV(secrets) has C(check-mode-placeholder-of-) and its name.
  diff_mode:
    support: none
    description: The result holds the values, so Ansible is told to hide all of it, and would hide a diff with it.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  directory:
    description: Where the files are. Owned by root with mode 0700.
    type: path
    required: true
  names:
    description:
      - The secrets wanted, by name. An empty dictionary as value takes the defaults.
      - C(length) is the number of characters, 16 at least, 32 by default.
      - C(format) is V(token) (letters and digits; the default), V(hex), or V(password) (lower and upper case, digits
        and one of C(-_.), for programs that insist on classes). All of them stand in a URL without quoting.
    type: dict
    required: true
  data_paths:
    description: Files or directories with entries in them that mean data made with the secrets exists.
    type: list
    elements: path
    default: []
  volumes:
    description: Docker volumes that mean data made with the secrets exists. Names or patterns, as C(demo_*).
    type: list
    elements: str
    default: []
  docker_root:
    description: Where the Engine keeps its volumes; looked at when it does not answer, so that a stopped Engine does
      not look like a host without data.
    type: path
    default: /var/lib/docker
notes:
  - The values are hidden in the output of the task, and a failure is shown, without C(no_log) on the task.
  - To use the values elsewhere, take them over with M(ansible.builtin.set_fact). They are not returned as facts, as
    those may be kept in a fact cache on the controller's disk.
extends_documentation_fragment:
  - lastro.platform.lease
"""

EXAMPLES = r"""
- name: Find or create the platform's secrets
  lastro.platform.secrets:
    directory: /var/lib/lastro/demo/secrets
    names:
      postgres_superuser_password: {}
      api_key_salt: {format: hex, length: 64}
    volumes: [demo_*]
  register: __platform_secrets_found
"""

RETURN = r"""
secrets:
  description: The values by name; placeholders in check mode where a secret would be created.
  returned: success
  type: dict
  sample: {"postgres_superuser_password": "VALUE"}
created:
  description: Names whose file was, or in check mode would be, created.
  returned: success
  type: list
  elements: str
  sample: ["postgres_superuser_password"]
repaired:
  description: Names whose mode or owner was, or would be, put right.
  returned: success
  type: list
  elements: str
  sample: []
"""

import contextlib
import fcntl
import json
import os
import random
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lastro.platform.plugins.module_utils import _docker_root, _secrets
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._lease import LEASE_SPEC, held

INDEX = ".index.json"


def existing_data(paths: list[str], volumes: list[str], docker_root: Path, engine: Engine) -> list[str]:
    """What exists of the data given, in words."""
    found = [f"path {path}" for path in paths if os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path))]
    if not volumes:
        return found
    names = _docker_root.volumes(engine, docker_root)
    return found + [f"volume {name}" for name in sorted(names) if any(fnmatchcase(name, one) for one in volumes)]


def read_files(directory: Path, names: list[str]) -> dict[str, _secrets.SecretFile]:
    """What stands in the directory under the names."""
    found = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(directory / name)
            found[name] = _secrets.SecretFile(
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                len(read_value(directory / name)) if stat.S_ISREG(status.st_mode) else 0,
                stat.S_ISREG(status.st_mode),
            )
    return found


def read_value(path: Path) -> str:
    """A secret's value; people who put a file back by hand often leave a newline at its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read().rstrip("\r\n")


def read_index(directory: Path) -> frozenset[str] | None:
    """The names recorded; None without a record that can be read."""
    try:
        return frozenset(json.loads((directory / INDEX).read_text())["names"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(directory: Path, name: str, content: str, mode: int) -> None:
    """Put a file in place whole and on disk, or not at all."""
    temporary = directory / f".{name.lstrip('.')}.tmp"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    os.rename(temporary, directory / name)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def locked(directory: Path, check: bool) -> Iterator[None]:
    """Keep a second run out, and the directory as it has to be; check mode touches neither."""
    if check:
        yield
        return
    directory.mkdir(mode=_secrets.DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def directory_is_right(directory: Path, owner: tuple[int, int]) -> bool:
    """Whether the directory is there, closed to everyone else."""
    try:
        status = os.stat(directory)
    except FileNotFoundError:
        return False
    return stat.S_IMODE(status.st_mode) == _secrets.DIRECTORY_MODE and (status.st_uid, status.st_gid) == owner


def apply(directory: Path, plan: _secrets.Plan, wanted: dict[str, Any], known: frozenset[str] | None) -> None:
    """Repair, create, and record last: a run killed in between leaves a name that counts as new, not as gone."""
    owner = os.geteuid(), os.getegid()
    os.chown(directory, *owner)
    os.chmod(directory, _secrets.DIRECTORY_MODE)
    for name in plan.repair:
        os.chown(directory / name, *owner, follow_symlinks=False)
        os.chmod(directory / name, _secrets.MODE)
    for name in plan.create:
        value = _secrets.generate(wanted[name]["format"], wanted[name]["length"], random.SystemRandom().choice)
        write(directory, name, value, _secrets.MODE)
    names = sorted({*wanted, *(known or ())})
    if known is None or set(names) != known:
        write(directory, INDEX, json.dumps({"names": names}) + "\n", 0o600)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read, decide, act, read back."""
    options, check = module.params, bool(module.check_mode)
    directory, owner = Path(options["directory"]), (os.geteuid(), os.getegid())
    wanted = _secrets.settings_of(options["names"])
    _secrets.check_names(wanted)
    data = existing_data(options["data_paths"], options["volumes"], Path(options["docker_root"]), Engine())
    right = directory_is_right(directory, owner)
    with locked(directory, check):
        before, known = read_files(directory, list(wanted)), read_index(directory)
        plan = _secrets.plan(str(directory), wanted, before, known, data, owner)
        unrecorded = known is None or not known.issuperset(wanted)
        if not check:
            apply(directory, plan, wanted, known)
        values = {
            name: _secrets.placeholder(name) if check and name in plan.create else read_value(directory / name)
            for name in wanted
        }
    return {
        "changed": bool(plan.create or plan.repair or unrecorded or not right),
        "created": plan.create,
        "repaired": plan.repair,
        "secrets": values,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "names": {"type": "dict", "required": True, "no_log": False},
            "data_paths": {"type": "list", "elements": "path", "default": []},
            "volumes": {"type": "list", "elements": "str", "default": []},
            "docker_root": {"type": "path", "default": "/var/lib/docker"},
            "lease": LEASE_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        with held(module.params["lease"], module.check_mode):
            result = run(module)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error}. The secrets belong to root: run with become, on a writable disk with space left."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
