# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a stopped Engine keeps its data, and what is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _docker_root


@pytest.mark.parametrize(
    ("settings", "root"),
    [
        (None, "/var/lib/docker"),
        ("{}", "/var/lib/docker"),
        ('{"data-root": "/srv/docker"}', "/srv/docker"),
        ("nonsense", "/var/lib/docker"),
        ("[]", "/var/lib/docker"),
    ],
)
def test_the_root_is_what_the_daemons_settings_say(tmp_path: Path, settings: str | None, root: str) -> None:
    file = tmp_path / "daemon.json"
    if settings is not None:
        file.write_text(settings)
    assert _docker_root.configured_root(file) == root


def test_what_lies_there(tmp_path: Path) -> None:
    assert (_docker_root.volumes_on_disk(tmp_path), _docker_root.containers_on_disk(tmp_path)) == ([], [])
    for folder in ("volumes/shop_data", "containers/4f5e"):
        (tmp_path / folder).mkdir(parents=True)
    # The Engine's own record of its volumes is no volume.
    (tmp_path / "volumes/metadata.db").touch()
    assert _docker_root.volumes_on_disk(tmp_path) == ["shop_data"]
    assert _docker_root.containers_on_disk(tmp_path) == ["4f5e"]
