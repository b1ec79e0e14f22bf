"""Nested hosts for tests: Debian systems in containers, each with an Engine of its own; alone, or as the hosts of an inventory.

`up` starts one, `lab-up` those of an inventory; tests use `tests.lab.host` and the fixture of `tests.lab.fixtures`.
"""
