# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of the versions of Postgres that the modules are tested with: the platform's own 17, and a 15 without pgvector.

15 is the oldest version that the collection takes. It is Debian bookworm's package, in an image made by the platform's own
module and recipe; what is made stays, and the next run finds it in the Engine's cache.
"""

from __future__ import annotations

import functools
from typing import Any

from tests.integration.images_support import catalogue
from tests.support import run_module

NAMES = {15: "lt-postgres15:bookworm", 17: "lastro/postgres:17"}
# The builtin provider came with 17.
LOCALES = {15: "--locale=C.UTF-8", 17: "--locale-provider=builtin --locale=C.UTF-8"}


@functools.cache
def image(version: int) -> str:
    """The image of a version; that of 15 is built where it is missing or its recipe is another one by now."""
    name = NAMES[version]
    if version == 15:
        made = run_module("images", {"images": recipes(), "only": [name], "source": "build"})
        assert not made.get("failed"), made["msg"]
    return name


def recipes() -> list[dict[str, Any]]:
    """The platform's recipe of Postgres and those below it, for 15 on bookworm."""
    known = {item["name"]: item for item in catalogue()}
    base, server = known["lastro/base:trixie"], known[NAMES[17]]
    return [
        {"name": "lt-debian:bookworm", "bootstrap": "bookworm"},
        {
            "name": "lt-base:bookworm",
            "from": ["lt-debian:bookworm"],
            "site": True,
            "dockerfile": _changed(base["dockerfile"], {"lastro/debian:trixie": "lt-debian:bookworm"}),
        },
        {
            "name": NAMES[15],
            "from": ["lt-base:bookworm"],
            "dockerfile": _changed(
                server["dockerfile"],
                {
                    "lastro/base:trixie": "lt-base:bookworm",
                    "postgresql-17 postgresql-17-pgvector pgbackrest": "postgresql-15",
                    "/postgresql/17/": "/postgresql/15/",
                    "PG_MAJOR=17": "PG_MAJOR=15",
                },
            ),
            # initdb takes settings since 16.
            "files": {
                name: _changed(
                    text,
                    {
                        " --set=listen_addresses='*' --set=password_encryption=scram-sha-256": "",
                        '  echo "host all all all': """  echo "listen_addresses = '*'" >> "$building/postgresql.conf"\n"""
                        '  echo "host all all all',
                    },
                )
                for name, text in server["files"].items()
            },
        },
    ]


def _changed(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the platform's recipe has no {old} any more"
        text = text.replace(old, new)
    return text
