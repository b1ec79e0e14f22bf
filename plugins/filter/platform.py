# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role platform; each is documented in the file beside this one that has its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lastro.platform.plugins.plugin_utils import _inventory


def inventory_problems(readings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the inventory, a line each."""
    try:
        inventory = _inventory.Inventory(**readings)
    except TypeError as error:
        raise AnsibleFilterError(f"inventory_problems: {error}") from error
    return _inventory.problems(inventory)


def url_targets(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Name, host and port of the URLs given."""
    return _inventory.targets(urls)


def ports_of(ports: list[dict[str, Any]], groups: Collection[str]) -> list[dict[str, Any]]:
    """The ports that a host of these groups listens on."""
    return _inventory.ports_of(ports, groups)


def running_on(
    hosts: Mapping[str, Mapping[str, Any]], projects: Collection[str], needed: Collection[str] = ()
) -> list[str]:
    """Which of the Compose projects run, and on which host; then those of the hosts `needed` of which nothing is known."""
    running = [
        f"{project} on {host}"
        for host, found in hosts.items()
        for project in found.get("docker", {}).get("projects", [])
        if project in projects
    ]
    return running + [f"whatever runs on {host} (not looked at in this run)" for host in needed if not hosts.get(host)]


class FilterModule:
    """The filters, by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "inventory_problems": inventory_problems,
            "ports_of": ports_of,
            "running_on": running_on,
            "url_targets": url_targets,
        }
