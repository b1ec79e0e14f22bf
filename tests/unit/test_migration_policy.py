# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pending migrations may run beside the release that serves."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_classes import Statement
from ansible_collections.lastro.platform.plugins.plugin_utils._migration_policy import (
    POLICIES,
    Finding,
    Revision,
    Waiver,
    judge,
    waivers_from,
)
from hypothesis import given
from hypothesis import strategies as st

TODAY = datetime.date(2026, 11, 23)
WAIVER = {"revision": "0007", "rule": "contract", "reason": "the column was never read", "expires": "2026-12-31"}


def revision(name: str, *kinds: str, annotated: str = "") -> Revision:
    statements = None if kinds == ("?",) else [Statement(f"{kind} {name}", kind, f"is {kind}") for kind in kinds]
    return Revision(name, "", statements, annotated)


def refused(policy: str, *revisions: Revision) -> list[tuple[str, str]]:
    return [(finding.revision, finding.rule) for finding in judge(revisions, policy, today=TODAY).refused]


@pytest.mark.parametrize(
    ("revisions", "expand_contract", "expand_only"),
    [
        ([], [], []),
        ([revision("1", "expand"), revision("2", "data", "expand")], [], []),
        ([revision("1", "contract")], [], [("1", "contract")]),
        ([revision("1", "contract", "data")], [], [("1", "contract")]),
        ([revision("1", "expand", "contract")], [("1", "mixed-classes")], [("1", "contract")]),
        ([revision("1", "expand"), revision("2", "contract")], [("2", "mixed-classes")], [("2", "contract")]),
        ([revision("1", "contract"), revision("2", "data")], [("1", "mixed-classes")], [("1", "contract")]),
        ([revision("1", "unknown")], [("1", "unknown")], [("1", "unknown")]),
        ([revision("1", "?")], [("1", "unknown")], [("1", "unknown")]),
        ([revision("1", "?", annotated="expand")], [], []),
        ([revision("1", "?", annotated="contract")], [], [("1", "contract")]),
        ([revision("1", "unknown", annotated="data")], [], []),
        # What can be read is not talked away.
        ([revision("1", "contract", annotated="expand")], [], [("1", "contract")]),
        ([revision("1", "contract", "unknown", annotated="data")], [], [("1", "contract")]),
    ],
)
def test_policies(
    revisions: list[Revision], expand_contract: list[tuple[str, str]], expand_only: list[tuple[str, str]]
) -> None:
    assert refused("any", *revisions) == []
    assert refused("expand_contract", *revisions) == expand_contract
    assert refused("expand_only", *revisions) == expand_only


def test_a_refusal_says_revision_statement_and_way_out() -> None:
    (finding,) = judge([revision("0007", "contract")], "expand_only", today=TODAY).refused
    assert str(finding).startswith(
        "Revision 0007: `contract 0007` is contract (contract). Deploy the release that no longer"
    )
    (finding,) = judge([revision("0008", "?")], "expand_only", today=TODAY).refused
    assert "its SQL can't be had without running it" in str(finding)
    assert 'platform_class = "expand"' in str(finding)


def test_an_annotation_that_is_no_class() -> None:
    with pytest.raises(PlatformError, match="Revision 1 calls itself safe"):
        judge([revision("1", "expand", annotated="safe")], "any", today=TODAY)


def test_a_waiver_is_for_one_rule_of_one_revision() -> None:
    lint = [Finding("0007", "adding-required-field", "x"), Finding("0008", "adding-required-field", "x")]
    waivers = waivers_from([{**WAIVER, "rule": "adding-required-field"}, {**WAIVER, "revision": "0001"}])
    judgement = judge([], "any", lint, waivers, TODAY)
    assert judgement.refused == [lint[1]]
    assert judgement.waived == [(lint[0], waivers[0])]
    assert judgement.idle == [waivers[1]]


@given(st.dates(datetime.date(2000, 1, 1), datetime.date(2100, 1, 1)), st.sampled_from(POLICIES))
def test_a_waiver_holds_to_the_end_of_its_day_and_no_longer(expires: datetime.date, policy: str) -> None:
    arguments = ([revision("1", "contract")], policy, (), [Waiver("1", "contract", "why", expires)], TODAY)
    if expires < TODAY:
        with pytest.raises(PlatformError, match=f"ended on {expires}"):
            judge(*arguments)
    else:
        assert judge(*arguments).refused == []


@pytest.mark.parametrize("expires", ["2026-12-31", datetime.date(2026, 12, 31)])
def test_a_date_as_yaml_or_text(expires: Any) -> None:
    assert waivers_from([{**WAIVER, "expires": expires}])[0].expires == datetime.date(2026, 12, 31)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{**WAIVER, "reason": " "}], "Waiver 1 has no reason"),
        ([{key: value for key, value in WAIVER.items() if key != "expires"}], "Waiver 1 has no expires"),
        ([WAIVER, {**WAIVER, "rule": "x", "until": "never"}], "Waiver 2 has an unknown key until"),
        ([{**WAIVER, "expires": "31.12.2026"}], "Waiver 1 expires on 31.12.2026, which is no date"),
        ([{**WAIVER, "expires": datetime.datetime(2026, 12, 31, 12)}], "which is no date"),
        ([WAIVER, WAIVER], "Two waivers are for contract of revision 0007"),
    ],
)
def test_malformed_waivers(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        waivers_from(entries)
