"""Nested hosts for tests: bare Debian systems in containers, each with an Engine of its own.

`python -m tests.lab up NAME` starts one; tests use `tests.lab.host` directly.
"""
