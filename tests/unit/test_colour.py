"""Which colour serves, and what has to be written for it."""

from __future__ import annotations

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._colour import decide, render_map
from ansible_collections.lastro.platform.plugins.module_utils._proxy_memory import parse_map


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("active blue\n", "blue"),
        ("# comment\n\nother x\nactive   green  \n", "green"),
        ("active\n", None),
        ("inactive blue\n", None),
        ("", None),
    ],
)
def test_parse_map(text: str, colour: str | None) -> None:
    assert parse_map(text) == colour


def test_what_is_written_is_read() -> None:
    assert parse_map(render_map("green")) == "green"
    assert parse_map(render_map(None)) is None


@pytest.mark.parametrize(
    ("file", "runtime", "wanted", "before", "after", "repair", "switches"),
    [
        # Nothing there yet: nothing is served before a first switch.
        (None, None, None, None, None, False, False),
        (None, None, "green", None, "green", False, True),
        # HAProxy does not run: the file counts.
        ("green", None, None, "green", "green", False, False),
        ("green", None, "blue", "green", "blue", False, True),
        # At rest.
        ("blue", "blue", None, "blue", "blue", False, False),
        ("blue", "blue", "blue", "blue", "blue", False, False),
        ("blue", "blue", "green", "blue", "green", False, True),
        # Killed between file and memory: memory serves, and is written to the file first.
        ("green", "blue", None, "blue", "blue", True, False),
        ("green", "blue", "green", "blue", "green", True, True),
        # The file was lost.
        (None, "green", None, "green", "green", True, False),
        # Somebody set a value by hand that is no colour: it is what serves, until a switch.
        ("blue", "purple", None, "purple", "purple", True, False),
        ("blue", "purple", "blue", "purple", "blue", True, True),
    ],
)
def test_decide(
    file: str | None,
    runtime: str | None,
    wanted: str | None,
    before: str | None,
    after: str | None,
    repair: bool,
    switches: bool,
) -> None:
    decision = decide(file, runtime, wanted)
    assert (decision.before, decision.after, decision.repair, decision.switches) == (before, after, repair, switches)
