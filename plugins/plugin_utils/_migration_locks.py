# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which relations pending migrations lock, so that only a transaction that is in their way stops them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# They take no lock that a reader's stands against; of what they refer to they lock the rows at most.
_WRITES = frozenset(
    [
        "InsertStmt",
        "UpdateStmt",
        "DeleteStmt",
        "MergeStmt",
        "CopyStmt",
        "SelectStmt",
        "CreateStmt",
        "CreateTableAsStmt",
        "IndexStmt",
        "ViewStmt",
        "CommentStmt",
        "CreateSeqStmt",
        "CreateStatsStmt",
        "AlterSeqStmt",
    ]
)
# Nothing but the catalogue.
_OF_NO_TABLE = frozenset(
    [
        "VariableSetStmt",
        "VariableShowStmt",
        "TransactionStmt",
        "CreateSchemaStmt",
        "CreateEnumStmt",
        "AlterEnumStmt",
        "CompositeTypeStmt",
        "CreateDomainStmt",
        "CreateRangeStmt",
        "CreateExtensionStmt",
        "CreateFunctionStmt",
        "DefineStmt",
        "GrantStmt",
        "AlterDefaultPrivilegesStmt",
    ]
)
# What else names its relations, each of which it changes.
_CHANGES = frozenset(
    [
        "AlterTableStmt",
        "RenameStmt",
        "CreateTrigStmt",
        "RuleStmt",
        "CreatePolicyStmt",
        "AlterPolicyStmt",
        "TruncateStmt",
        "AlterObjectSchemaStmt",
        "RefreshMatViewStmt",
        "LockStmt",
        "DropStmt",
    ]
)


def locks(scripts: Iterable[str | None]) -> dict[str, Any]:
    """Names of relations that these scripts change, drop (or a constraint of theirs) and write to or refer to.

    `everything` where one of them waits for every snapshot there is, or does what cannot be read from it.
    """
    import pglast

    found = _Locks()
    for script in scripts:
        if script is None:
            found.everything = True
        else:
            for raw in pglast.parse_sql(script):
                found.add(raw.stmt)
    return {
        "everything": found.everything,
        **{name: sorted(getattr(found, name)) for name in ("changed", "dropped", "written")},
    }


class _Locks:
    def __init__(self) -> None:
        self.everything = False
        self.changed: set[str] = set()
        self.dropped: set[str] = set()
        self.written: set[str] = set()

    def add(self, node: Any) -> None:
        name = type(node).__name__
        if name in _OF_NO_TABLE:
            return
        if getattr(node, "concurrent", False) or name not in _WRITES | _CHANGES:
            self.everything = True
        elif name in _WRITES:
            self.written |= _relations(node)
        elif _drops(node):
            self.dropped |= _relations(node) | _named(node)
        else:
            self.changed |= _relations(node) | _named(node)


def _drops(node: Any) -> bool:
    """Whether it takes something away that foreign keys may hang on."""
    kind = type(node).__name__
    if kind == "AlterTableStmt":
        return any(part.subtype.name == "AT_DropConstraint" for part in node.cmds)
    return kind == "TruncateStmt" or (kind == "DropStmt" and node.removeType.name != "OBJECT_INDEX")


def _relations(node: Any) -> set[str]:
    """Every relation that a statement names in any of its parts."""
    import pglast.visitors

    class Relations(pglast.visitors.Visitor):
        def __init__(self) -> None:
            self.names: set[str] = set()

        def visit_RangeVar(self, _ancestors: Any, part: Any) -> None:
            self.names.add(part.relname)

    visitor = Relations()
    visitor(node)
    return visitor.names


def _named(node: Any) -> set[str]:
    """What DROP names: its objects are lists of words; of a trigger, a rule or a policy the table comes before its own name."""
    if type(node).__name__ != "DropStmt":
        return set()
    paths = [[word.sval for word in path] for path in node.objects if isinstance(path, tuple)]
    return {word for path in paths for word in path[-2:]}
