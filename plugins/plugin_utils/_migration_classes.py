# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the SQL of a migration means to the release that goes on serving while it runs, and after it.

`expand` only adds: what serves does not notice. `contract` takes something away that it may use, or refuses rows that it
may write. `data` changes rows. `unknown` is code whose effect cannot be read from the statement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

NONE, EXPAND, DATA, CONTRACT, UNKNOWN = "none", "expand", "data", "contract", "unknown"
# What a revision may say of itself where its statements do not.
CLASSES = (EXPAND, CONTRACT, DATA)

Verdict = tuple[str, str]
Table = tuple[str, str]


@dataclass(frozen=True)
class Statement:
    """One statement: its text, its class, and the words for it where the class is `contract` or `unknown`."""

    sql: str
    kind: str
    why: str = ""


_REFUSES = "refuses rows that what serves may write"
_READS = "what serves may use it"
_OWNER = "takes the owner's rights from those who had them"
_UPSERTS = "ON CONFLICT of what serves may rely on it"
_CODE = "what it does cannot be read from the statement"

# By the name of the statement's node: those whose class does not depend on what they say.
_SIMPLE: dict[str, Verdict] = {
    **dict.fromkeys(
        ("TransactionStmt", "VariableSetStmt", "LockStmt", "CommentStmt", "ConstraintsSetStmt"), (NONE, "")
    ),
    **dict.fromkeys(
        ("CreateStmt", "CreateTableAsStmt", "CreateForeignTableStmt", "ViewStmt", "CreateSeqStmt"), (EXPAND, "")
    ),
    **dict.fromkeys(
        ("CreateSchemaStmt", "CreateEnumStmt", "CompositeTypeStmt", "CreateDomainStmt", "CreateRangeStmt"), (EXPAND, "")
    ),
    **dict.fromkeys(("CreateExtensionStmt", "DefineStmt", "CreateStatsStmt"), (EXPAND, "")),
    **dict.fromkeys(
        ("VacuumStmt", "ReindexStmt", "ClusterStmt", "AlterStatsStmt", "AlterDefaultPrivilegesStmt"), (EXPAND, "")
    ),
    **dict.fromkeys(
        ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt", "RefreshMatViewStmt"), (DATA, "")
    ),
    "AlterOwnerStmt": (CONTRACT, _OWNER),
    "AlterObjectSchemaStmt": (CONTRACT, f"moves to another schema, and {_READS}"),
    **dict.fromkeys(
        ("DoStmt", "CallStmt", "ExecuteStmt", "PrepareStmt", "RuleStmt", "AlterExtensionStmt"), (UNKNOWN, _CODE)
    ),
}
# Which statements of these have no say once the table was created by the same migrations.
_OF_TABLES = frozenset(
    ("AlterTableStmt", "IndexStmt", "TruncateStmt", "CreateTrigStmt", "CreatePolicyStmt", "RenameStmt")
)

# Parts of ALTER TABLE.
_ALTER: dict[str, Verdict] = {
    **dict.fromkeys(
        (
            "AT_DropNotNull", "AT_ValidateConstraint", "AT_AddIdentity", "AT_SetIdentity", "AT_SetStatistics",
            "AT_SetOptions", "AT_ResetOptions", "AT_SetStorage", "AT_SetCompression", "AT_ReplicaIdentity", "AT_ClusterOn",
            "AT_DropCluster", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_DisableRowSecurity",
            "AT_NoForceRowSecurity", "AT_AttachPartition", "AT_SetTableSpace", "AT_AlterConstraint",
        ),
        (EXPAND, ""),
    ),
    "AT_ChangeOwner": (CONTRACT, _OWNER),
    "AT_DropColumn": (CONTRACT, f"drops a column, and {_READS}"),
    "AT_AlterColumnType": (CONTRACT, f"changes a column's type, and {_READS}"),
    "AT_SetNotNull": (CONTRACT, f"sets NOT NULL, which {_REFUSES}"),
    "AT_EnableRowSecurity": (CONTRACT, "hides rows that what serves may read"),
    "AT_ForceRowSecurity": (CONTRACT, "hides rows that what serves may read"),
    "AT_DropIdentity": (CONTRACT, "drops an identity that what serves may rely on"),
    "AT_DropExpression": (CONTRACT, "drops an expression that what serves may rely on"),
    "AT_DetachPartition": (CONTRACT, "takes a partition's rows away"),
    "AT_SetUnLogged": (CONTRACT, "loses the rows when the server crashes"),
    "AT_SetLogged": (EXPAND, ""),
}  # fmt: skip
# What nobody misses: without it queries are slower at most.
_DROPPED_FREELY = frozenset(("OBJECT_STATISTIC_EXT", "OBJECT_RULE"))
_RENAMED_FREELY = frozenset(("OBJECT_INDEX", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY"))
# Functions that change a sequence or read; any other may do anything.
_HARMLESS_CALLS = frozenset(
    ("setval", "nextval", "currval", "max", "count", "coalesce", "now", "set_config", "pg_get_serial_sequence")
)


class Unparsable(PlatformError):
    """SQL that Postgres would not understand either."""


def classify(sql: str, unique: Collection[str] = (), version_table: str = "alembic_version") -> list[Statement]:
    """The statements of a migration in their order, each with its class. `unique`: names of the database's unique indexes."""
    try:
        import pglast
    except ImportError as error:
        raise PlatformError(
            "pglast, the parser of Postgres' SQL, is not installed on the controller",
            "Install it into the environment that runs Ansible (`make deploy` has it).",
        ) from error
    try:
        parsed = pglast.parse_sql(sql)
    except pglast.parser.ParseError as error:
        raise Unparsable(
            f"The SQL can't be read: {error.args[0]}", "See the migration; Postgres would refuse it, too."
        ) from error
    classes = _Classes(frozenset(unique), version_table)
    found = []
    for raw in parsed:
        begin = raw.stmt_location or 0
        end = begin + raw.stmt_len if raw.stmt_len else len(sql)
        kind, why = classes.of(raw.stmt)
        if kind != NONE:
            found.append(Statement(sql[begin:end].strip(), kind, why))
    return found


class _Classes:
    """Classes of statements one after another: a table that they create is nobody's yet."""

    def __init__(self, unique: Collection[str], version_table: str) -> None:
        self.unique = unique
        self.version_table = version_table
        self.created: set[Table] = set()

    def of(self, node: Any) -> Verdict:
        name = type(node).__name__
        table = _table(getattr(node, "relation", None))
        if table and table[1] == self.version_table:
            return NONE, ""
        if name in ("CreateStmt", "CreateTableAsStmt") and not node.if_not_exists:
            self.created.add(table or _table(node.into.rel) or ("", ""))
        if name == "CreateTableAsStmt" and _writes(node.query):
            return DATA, ""
        if name == "TruncateStmt":
            table = self._one_of({_table(each) for each in node.relations})
        if name == "DropStmt":
            return self._drop(node)
        if name == "AlterTableStmt":
            verdict = _worst(self._altered(part) for part in node.cmds)
        else:
            verdict = _SIMPLE.get(name) or _BY_NODE.get(name, _nothing_known)(node)
        if name in _OF_TABLES and verdict[0] in (CONTRACT, UNKNOWN) and table in self.created:
            return EXPAND, ""
        return verdict

    def _one_of(self, tables: set[Table | None]) -> Table | None:
        """One of the tables, a new one only if all are new."""
        old = tables - self.created
        return next(iter(old or tables), None)

    def _drop(self, node: Any) -> Verdict:
        kind = node.removeType.name
        if kind in _DROPPED_FREELY:
            return EXPAND, ""
        if kind == "OBJECT_INDEX":
            return _worst(self._no_longer_unique(_dotted(each)[1]) for each in node.objects)
        if kind == "OBJECT_TABLE" and {_dotted(each) for each in node.objects} <= self.created:
            return EXPAND, ""
        if kind in ("OBJECT_TRIGGER",):
            return UNKNOWN, "drops a trigger, and what relies on it cannot be read from the statement"
        return CONTRACT, f"drops a {kind.removeprefix('OBJECT_').lower()}, and {_READS}"

    def _altered(self, part: Any) -> Verdict:
        return self._no_longer_unique(part.name) if part.subtype.name == "AT_DropConstraint" else _altered(part)

    def _no_longer_unique(self, name: str) -> Verdict:
        return (CONTRACT, f"lets values repeat, and {_UPSERTS}") if name in self.unique else (EXPAND, "")


def _table(relation: Any) -> Table | None:
    return (
        (relation.schemaname or "", relation.relname) if relation is not None and hasattr(relation, "relname") else None
    )


def _dotted(names: Any) -> Table:
    parts = [part.sval for part in names]
    return (parts[-2] if len(parts) > 1 else "", parts[-1])


def _nothing_known(node: Any) -> Verdict:
    return UNKNOWN, f"{type(node).__name__.removesuffix('Stmt')} is no statement that is known here"


def _worst(verdicts: Iterator[Verdict]) -> Verdict:
    order = (NONE, EXPAND, DATA, CONTRACT, UNKNOWN)
    return max(verdicts, key=lambda verdict: order.index(verdict[0]), default=(NONE, ""))


def _altered(part: Any) -> Verdict:
    name = part.subtype.name
    if name == "AT_AddColumn":
        return _added(part.def_)
    if name == "AT_ColumnDefault":
        return (EXPAND, "") if part.def_ is not None else (CONTRACT, "drops a default that what serves may rely on")
    if name == "AT_AddConstraint":
        # The index refused such rows before.
        return (EXPAND, "") if part.def_.indexname else (CONTRACT, f"adds a constraint, which {_REFUSES}")
    return _ALTER.get(name, (UNKNOWN, f"{name.removeprefix('AT_')} is no part of ALTER TABLE that is known here"))


def _added(column: Any) -> Verdict:
    kinds = {constraint.contype.name for constraint in column.constraints or ()}
    filled = kinds & {"CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED"}
    if kinds & {"CONSTR_NOTNULL", "CONSTR_PRIMARY"} and not filled and not _serial(column):
        return CONTRACT, f"adds the column {column.colname} that must be given, which {_REFUSES}"
    return EXPAND, ""


def _serial(column: Any) -> bool:
    return column.typeName.names[-1].sval in ("serial", "bigserial", "smallserial")


def _index(node: Any) -> Verdict:
    return (CONTRACT, f"is a unique index, which {_REFUSES}") if node.unique else (EXPAND, "")


def _rename(node: Any) -> Verdict:
    if node.renameType.name in _RENAMED_FREELY:
        return EXPAND, ""
    return CONTRACT, f"renames a {node.renameType.name.removeprefix('OBJECT_').lower()}, and {_READS}"


def _grant(node: Any) -> Verdict:
    return (EXPAND, "") if node.is_grant else (CONTRACT, "takes a right away that what serves may need")


def _enum(node: Any) -> Verdict:
    return (CONTRACT, f"renames a value, and {_READS}") if node.oldVal else (EXPAND, "")


def _domain(node: Any) -> Verdict:
    # N, X: drop NOT NULL, a constraint; V: validate.
    return (EXPAND, "") if node.subtype in ("N", "X", "V") else (CONTRACT, f"changes a domain, which {_REFUSES}")


def _function(node: Any) -> Verdict:
    return (UNKNOWN, "replaces a function, and what serves may call it") if node.replace else (EXPAND, "")


def _sequence(node: Any) -> Verdict:
    restarts = any(option.defname == "restart" for option in node.options or ())
    return (DATA if restarts else EXPAND), ""


def _writes(node: Any) -> bool:
    """Whether a query changes rows in one of its parts."""
    import pglast.visitors

    class Writes(pglast.visitors.Visitor):
        found = False

        def visit(self, _ancestors: Any, part: Any) -> None:
            self.found = self.found or type(part).__name__ in ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")

    visitor = Writes()
    visitor(node)
    return visitor.found


def _select(node: Any) -> Verdict:
    import pglast.visitors

    calls: list[str] = []

    class Calls(pglast.visitors.Visitor):
        def visit_FuncCall(self, _ancestors: Any, call: Any) -> None:
            calls.append(call.funcname[-1].sval)

    Calls()(node)
    other = sorted(set(calls) - _HARMLESS_CALLS)
    if other:
        return UNKNOWN, f"calls {other[0]}, and {_CODE}"
    if _writes(node) or {"setval", "nextval"} & set(calls):
        return DATA, ""
    return (EXPAND if node.intoClause else NONE), ""


_BY_NODE: Mapping[str, Callable[[Any], Verdict]] = {
    "AlterSeqStmt": _sequence,
    "IndexStmt": _index,
    "RenameStmt": _rename,
    "GrantStmt": _grant,
    "GrantRoleStmt": _grant,
    "AlterEnumStmt": _enum,
    "AlterDomainStmt": _domain,
    "CreateFunctionStmt": _function,
    "SelectStmt": _select,
    "TruncateStmt": lambda _node: (CONTRACT, f"empties a table, and {_READS}"),
    "CreatePolicyStmt": lambda _node: (
        CONTRACT,
        "hides rows that what serves may read, or refuses some that it writes",
    ),
    "CreateTrigStmt": lambda _node: (UNKNOWN, f"adds a trigger, and {_CODE}"),
}
