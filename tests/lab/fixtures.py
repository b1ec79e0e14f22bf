"""The lab as a fixture: `pytest_plugins = ["tests.lab.fixtures"]`, and a fixture `wanted` that says which."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.lab import labs
from tests.lab.lab import Lab
from tests.lab.labs import Wanted
from tests.support import random_name


@pytest.fixture(scope="module")
def wanted() -> Wanted:
    """The lab that the tests of a module need; each module has its own."""
    raise NotImplementedError("Define a fixture `wanted` with scope module that returns tests.lab.labs.Wanted")


@pytest.fixture(scope="module")
def lab(wanted: Wanted) -> Iterator[Lab]:
    """A running lab, removed after the tests of a module."""
    # While working: LAB names a lab started by hand, so that single tests can be run again.
    if kept := os.environ.get("LAB"):
        yield labs.find(kept)
        return
    name = random_name("")
    try:
        yield labs.up(name, wanted)
    finally:
        labs.down(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show what each host has to say below a test that failed."""
    report = yield
    used = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(used, Lab):
        report.sections += [(f"journal of {name}", used.logs(name)) for name in used.hosts]
    return report
