# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy with nothing to do on the seven hosts of inventories/prod, beside the time it may take.

While working: LAB names a lab started by hand, which is measured again without a new start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from tests.fleet import Fleet, changes
from tests.lab import labs
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import REPOSITORY, random_name

BAR_SECONDS = 25


@contextlib.contextmanager
def _lab() -> Iterator[Lab]:
    if kept := os.environ.get("LAB"):
        yield labs.find(kept)
        return
    name = random_name("")
    try:
        yield labs.up(name, Wanted(REPOSITORY / "inventories/prod"))
    finally:
        labs.down(name)


def benchmarks(timed: Callable[..., list[float]], report: Callable[..., None]) -> None:
    with _lab() as lab:
        fleet = Fleet(lab, proxy="proxy1", registry="control1")

        def noop() -> None:
            changed = {host: count for host, count in changes(fleet.play("deploy")).items() if count}
            assert not changed, f"There was something to do on {changed}"

        try:
            fleet.play("promote")
            fleet.play("deploy")
            what = f"inventories/prod, {len(lab.hosts)} hosts over SSH"
            report("fleet_noop", timed(noop), None, what, bar=BAR_SECONDS)
        finally:
            fleet.forget()
