# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module does, in the words that `--diff` shows."""

from __future__ import annotations

from collections.abc import Iterable


def of_actions(of: str, actions: Iterable[tuple[str, str, str]]) -> list[dict[str, str]]:
    """The part of a diff that says item by item what is done and why, from (item, action, why); none where nothing is."""
    lines = [f"{item}: {action}, {why}\n" for item, action, why in actions]
    return [{"before_header": of, "after_header": of, "before": "", "after": "".join(lines)}] if lines else []
