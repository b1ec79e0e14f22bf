# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a proxy's candidate clears up what a killed one left, and shows nothing of empty secrets."""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import Mock, call

from ansible_collections.lastro.platform.plugins.module_utils._proxy_candidate import require_accepted

from tests.support import run_module


def test_what_a_killed_check_left_is_removed_and_no_check_at_work(tmp_path: Path) -> None:
    engine = Mock()
    engine.containers.return_value = [
        {"Id": "left", "Created": int(time.time()) - 3600},
        {"Id": "at-work", "Created": int(time.time())},
    ]
    engine.post.side_effect = [{"Id": "own"}, None, {"StatusCode": 0}]
    require_accepted(engine, str(tmp_path), "lastro/haproxy:3.0", "0:0", [])
    # Another platform's are not asked for.
    asked = {"lastro__purpose": "proxy-candidate", "lastro__directory": str(tmp_path)}
    engine.containers.assert_called_once_with(**asked)
    assert engine.delete.mock_calls == [
        call("/containers/left", force="true", v="true"),
        call("/containers/own", force="true", v="true"),
    ]
    labels = engine.post.mock_calls[0].args[1]["Labels"]
    assert labels == {name.replace("__", "."): value for name, value in asked.items()}


def test_an_empty_secret_hides_nothing_and_a_short_line_of_one_neither(tmp_path: Path) -> None:
    files = [{"path": "secrets/password", "content": content, "secret": True} for content in ("", " \n", "a\n")]
    result = run_module(
        "proxy_switch",
        {"directory": str(tmp_path), "candidate": {"image": "x", "files": files}},
        check=True,
    )
    assert result["map"] == {"file": None, "runtime": None}
    assert result["active"]["after"] is None
    assert "*" not in str({key: value for key, value in result.items() if key != "invocation"}), result
