# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that works for minutes tells meanwhile; plugins/plugin_utils/_background.py shows it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Tells whoever reads the file what goes on: one JSON object a line."""

    path: str
    started: float = field(default_factory=time.monotonic)

    def say(self, about: str, text: str) -> None:
        if self.path:
            line = {"about": about, "text": text, "seconds": round(time.monotonic() - self.started)}
            # One write in append mode: lines of several threads do not mix.
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
