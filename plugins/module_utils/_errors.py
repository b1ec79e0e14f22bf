# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception family of the collection: what is wrong, and what to do about it."""

from __future__ import annotations

import errno


class PlatformError(Exception):
    """Something the operator has to know: `problem` says what is wrong, `cure` what to do.

    Modules catch it once, in `main()`, and turn `str(error)` into the failure message.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        self.problem = problem
        self.cure = cure
        super().__init__(f"{problem.rstrip('.')}. {cure}".strip() if cure else problem)


def of_the_host(error: OSError, place: str) -> PlatformError:
    """What the operating system refused, as an error with its cure.

    A write that fails names no file: then `place`, where the module writes, says where to look.
    """
    path = error.filename or place
    cures = {
        **dict.fromkeys(
            (errno.EACCES, errno.EPERM),
            "Run with become; where it is root that was refused, look for an immutable file (`lsattr`).",
        ),
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"Free space there (`df -h {place}`), then run again."),
        errno.EIO: "The disk fails: look at the kernel's log (`dmesg`), replace it, then run again.",
        errno.EROFS: "Mount that disk writable; the kernel's log (`dmesg`) tells whether it is broken. Then run again.",
    }
    cure = cures.get(error.errno or 0, "Remove the cause named there and run again.")
    return PlatformError(f"{path}: {error.strerror or error}", cure)
