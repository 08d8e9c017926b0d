"""Great Expectations: builds a suite from a contract, runs it, and says which rows failed and why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lifecycle.contract import Column, Contract
from lifecycle.pipeline import Table
from lifecycle.validation import ROW
from resources.prepared_suite import PreparedSuite

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from great_expectations import ExpectationSuite
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.expectations.expectation import Expectation

CRITICAL = "critical"


@dataclass(frozen=True)
class Outcome:
    """What one expectation found."""

    rule: str
    severity: str
    passed: bool
    unexpected: int
    sample: str


@dataclass(frozen=True)
class Verdict:
    """What a suite found: an outcome per rule, and (``_row``, ``reason``) for each broken rule of each row."""

    outcomes: tuple[Outcome, ...]
    failures: pl.DataFrame

    @property
    def critical(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.passed and outcome.severity == CRITICAL]


def suite(table: Table) -> ExpectationSuite:
    """The suite of a table. Critical expectations block the day; the others send rows to quarantine."""
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    critical, warning = FailureSeverity.CRITICAL, FailureSeverity.WARNING
    rules: list[Any] = [
        gxe.ExpectColumnValuesToBeNull(column="_problem", severity=critical, meta={"rule": "file has all columns"}),
        gxe.ExpectColumnValuesToBeNull(column="_unparsed", severity=warning, meta={"rule": "values have their type"}),
        gxe.ExpectColumnValuesToBeInSet(
            column="_premature", value_set=[False], severity=warning, meta={"rule": "known by the close of the day"}
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="_conflict",
            value_set=[False],
            severity=warning,
            meta={"rule": f"one row per {', '.join(table.contract.key)}"},
        ),
    ]
    rules += [rule for column in table.contract.columns for rule in _column_rules(column)]
    return gx.ExpectationSuite(f"{table.name}_contract", expectations=rules)


def _column_rules(column: Column) -> list[Any]:
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    warning = FailureSeverity.WARNING
    rules: list[Any] = []
    if column.required:
        meta = {"rule": f"{column.name} is given"}
        rules.append(gxe.ExpectColumnValuesToNotBeNull(column=column.name, severity=warning, meta=meta))
    if column.minimum is not None or column.maximum is not None:
        meta = {"rule": f"{column.name} in [{_bound(column.minimum)}, {_bound(column.maximum)}]"}
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column=column.name,
                min_value=column.minimum,
                max_value=column.maximum,
                severity=warning,
                meta=meta,
            )
        )
    if column.one_of:
        # Not a set as Python writes it, whose order is another in every process.
        meta = {"rule": f"{column.name} in {{{', '.join(map(repr, column.one_of))}}}"}
        rules.append(
            gxe.ExpectColumnValuesToBeInSet(
                column=column.name, value_set=list(column.one_of), severity=warning, meta=meta
            )
        )
    return rules


def validate(table: Table, typed: pl.DataFrame) -> Verdict:
    """Runs a table's suite over typed rows.

    Parameters
    ----------
    typed : rows as ``lifecycle.validation.mark_duplicates`` returns them; duplicates must have been left out.
    """
    import polars as pl
    from great_expectations.expectations.metadata_types import FailureSeverity

    if not typed.height:  # nothing can be wrong with no rows; that they are missing is the raw stage's to say
        return Verdict((), pl.DataFrame(schema={ROW: pl.Int64(), "reason": pl.String()}))
    frame = typed.select(
        ROW, *table.contract.names, "_problem", "_unparsed", "_premature", "_conflict", "_file", "_line"
    ).to_pandas()
    # On most days every rule holds, and that is quickly said; which rows break one takes much longer to find out.
    prepared = _prepared(table)
    holds = prepared.holds(frame)
    broken = [rule for rule, held in zip(prepared.expectations, holds, strict=True) if not held]
    outcomes = [
        Outcome(_rule(rule), FailureSeverity(rule.severity).value, passed=True, unexpected=0, sample="")
        for rule, held in zip(prepared.expectations, holds, strict=True)
        if held
    ]
    failures: dict[str, list[Any]] = {ROW: [], "reason": []}
    for item in _found(table, broken, frame) if broken else ():
        config: Any = item.expectation_config
        rule, column = _rule(config), config.kwargs.get("column")
        rows = item.result.get("unexpected_index_list") or []
        failures[ROW] += [row[ROW] for row in rows]
        failures["reason"] += [_reason(rule, column, row.get(column)) for row in rows]
        outcomes.append(
            Outcome(
                rule=rule,
                severity=str(config.severity.value),
                passed=bool(item.success),
                unexpected=int(item.result.get("unexpected_count") or 0),
                sample=", ".join(str(value) for value in item.result.get("partial_unexpected_list") or [])[:200],
            )
        )
    outcomes.sort(key=lambda outcome: (outcome.passed, outcome.rule))
    return Verdict(tuple(outcomes), pl.DataFrame(failures, schema={ROW: pl.Int64(), "reason": pl.String()}))


def _found(table: Table, rules: list[Expectation], frame: pd.DataFrame) -> list[Any]:
    """What the expectations found, with the rows that break each."""
    import great_expectations as gx

    batch = _batch_definition().get_batch({"dataframe": frame})
    result = batch.validate(
        # A copy: a suite gives what it takes an id of its own.
        gx.ExpectationSuite(f"{table.name}_broken", expectations=[rule.copy() for rule in rules]),
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [ROW],
            "partial_unexpected_count": 3,
            "include_unexpected_rows": False,
        },
    )
    return list(result.results)


def _rule(named: Any) -> str:
    """What an expectation, or its configuration, says in words."""
    return str(named.meta["rule"])


def _reason(rule: str, column: str | None, value: Any) -> str:
    return str(value) if column in ("_problem", "_unparsed") else f"not true that {rule}: {value}"


def _bound(value: float | None) -> str:
    return "…" if value is None else f"{value:g}"


@cache
def _batch_definition() -> BatchDefinition:
    import great_expectations as gx

    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_pandas("landed")
    batches: BatchDefinition = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    return batches


_PREPARED: dict[tuple[str, Contract], PreparedSuite] = {}


def _prepared(table: Table) -> PreparedSuite:
    key = (table.name, table.contract)
    if key not in _PREPARED:
        _PREPARED[key] = PreparedSuite(suite(table))
    return _PREPARED[key]
