# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that logs in to a registry."""

from __future__ import annotations


class ModuleDocFragment:
    """Login and trust."""

    DOCUMENTATION = r"""
options:
  registry_user:
    description: User of the registry. The login goes with the request and is stored nowhere.
    type: str
    default: ""
  registry_password:
    description: Password of the user.
    type: str
  registry_ca:
    description:
      - CA of the registry's certificate (PEM), which the Engine is given in C(/etc/docker/certs.d). Empty for one that this host
        trusts anyway.
    type: str
    default: ""
"""
