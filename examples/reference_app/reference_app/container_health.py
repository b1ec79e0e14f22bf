# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image's HEALTHCHECK. Standard library only: it starts every few seconds."""

from __future__ import annotations

import os
import urllib.request

if __name__ == "__main__":
    path = os.environ.get("APP_HEALTH_PATH") or "/health"
    urllib.request.urlopen(f"http://127.0.0.1:8000{path}", timeout=5).close()
