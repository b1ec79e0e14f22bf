# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception family of the collection: what is wrong, and what to do about it."""

from __future__ import annotations


class PlatformError(Exception):
    """Something the operator has to know: `problem` says what is wrong, `cure` what to do.

    Modules catch it once, in `main()`, and turn `str(error)` into the failure message.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        self.problem = problem
        self.cure = cure
        super().__init__(f"{problem.rstrip('.')}. {cure}".strip() if cure else problem)
