# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that describe an application: the same for the lookup and the action."""

from __future__ import annotations


class ModuleDocFragment:
    """What is known of an application beside its Compose file."""

    DOCUMENTATION = r"""
options:
  platform:
    description: Name of the platform.
    type: str
    required: true
  address:
    description: Address on which the application's hosts publish its ports.
    type: str
    required: true
  release:
    description: Name of the release, C(APP_RELEASE) in the file.
    type: str
  environment:
    description: Name of the environment, C(APP_ENVIRONMENT) in the file.
    type: str
  env:
    description: Variables of the file.
    type: dict
    default: {}
  port_base:
    description: First port of the application's ranges.
    type: int
    default: 18000
  replicas_max:
    description: Ports of a routed service on a host and in a colour.
    type: int
    default: 4
  replicas:
    description: Copies by service.
    type: dict
    default: {}
  profiles:
    description: Chosen profiles.
    type: list
    elements: str
    default: []
  allow_privileged:
    description: Services that may have the host.
    type: list
    elements: str
    default: []
"""
