# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line under the name one of the systems in production knows it by."""

from reference_app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
