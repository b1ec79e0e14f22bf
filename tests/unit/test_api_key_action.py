# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller makes of a connection that breaks while the host's half of `api_key` works."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.lastro.platform.plugins.action.api_key import FOR_THE_HOST, ActionModule


class Cut(ActionModule):
    def __init__(self) -> None:
        pass

    def _execute_module(self, *_given: Any, **_more: Any) -> dict[str, Any]:
        raise AnsibleConnectionFailure("Connection to db closed")


def test_it_may_have_been_committed() -> None:
    execute = Cut()._host(dict.fromkeys(FOR_THE_HOST), None)
    done = execute("apply", {})
    assert done["failed"]
    assert "undone" not in done
    assert "The connection to the host broke: Connection to db closed" in done["msg"]


def test_nothing_was_changed_by_a_look() -> None:
    execute = Cut()._host(dict.fromkeys(FOR_THE_HOST), None)
    with pytest.raises(AnsibleConnectionFailure):
        execute("look", {})
