# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the pip installer that ansible-test downloads, from a place that is not a package registry.

ansible-test looks for it in its cache first, under the version of pip that it wants, and runs it with the Python of each new
virtual environment. It installs the same version, with the pip of the environment that the tests run in.
"""

import subprocess
import sys

PIP = ("@PYTHON@", "-m", "pip", "--python", sys.executable)
options = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([*PIP, "install", "--quiet", *options]))
