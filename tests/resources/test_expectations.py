"""The suite made from a contract: which rows fail, and why."""

from __future__ import annotations

from datetime import date

import polars as pl

from lifecycle.validation import ROW, mark_duplicates, type_rows
from resources.expectations import Verdict, suite, validate
from tests.tiny import CALENDAR, ORDERS, day_rows

DAY = date(2024, 2, 5)
NAMES = ORDERS.contract.names
GOOD = [{name: str(row[name]) for name in NAMES} for row in day_rows(DAY)["orders"]]


def _judge(rows: list[dict[str, str | None]], problem: str | None = None) -> Verdict:
    raw = pl.DataFrame(rows, schema=dict.fromkeys(NAMES, pl.String())).with_columns(
        pl.lit(f"{DAY}.csv").alias("_file"),
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("_line"),
        pl.lit(None, dtype=pl.String).alias("_extra"),
        pl.lit(problem, dtype=pl.String).alias("_problem"),
        pl.lit(DAY).alias("day"),
    )
    typed = type_rows(raw, ORDERS, CALENDAR, [DAY])
    return validate(ORDERS, mark_duplicates(typed, typed.head(0).select(*NAMES, "day"), ORDERS.contract))


def test_rows_that_keep_the_contract_pass_every_rule() -> None:
    verdict = _judge(GOOD)
    assert [outcome for outcome in verdict.outcomes if not outcome.passed] == []
    assert verdict.failures.is_empty()
    assert len(verdict.outcomes) == len(suite(ORDERS).expectations)


def test_every_broken_rule_of_a_row_is_a_reason_with_the_value() -> None:
    broken = {**GOOD[1], "orders": "-5", "cafe": "airport"}
    verdict = _judge([GOOD[0], broken, {**GOOD[2], "counted_at": None}])

    reasons = sorted(verdict.failures.rows())
    assert (1, "not true that orders in [0, 500]: -5.0") in reasons or (
        1,
        "not true that orders in [0, 500]: -5",
    ) in reasons
    assert any(row == 1 and "cafe in {" in reason and reason.endswith(": airport") for row, reason in reasons)
    assert any(row == 2 and reason.startswith("not true that counted_at is given") for row, reason in reasons)
    assert {row for row, _ in reasons} == {1, 2}
    assert {outcome.severity for outcome in verdict.outcomes if not outcome.passed} == {"warning"}


def test_a_file_with_the_wrong_columns_is_critical() -> None:
    verdict = _judge(GOOD[:3], problem="x.csv: column 'orders' missing")
    (critical,) = verdict.critical
    assert (critical.rule, critical.severity, critical.unexpected) == ("file has all columns", "critical", 3)
    assert "x.csv: column 'orders' missing" in critical.sample
    assert verdict.failures.filter(pl.col("reason") == "x.csv: column 'orders' missing")[ROW].to_list() == [0, 1, 2]


def test_missing_values_of_columns_that_may_be_missing_break_nothing() -> None:
    assert _judge([{**row, "card_share": None, "outdoors": None} for row in GOOD]).failures.is_empty()


def test_no_rows_break_no_rule() -> None:
    assert _judge([]).outcomes == ()


def test_every_rule_has_one_outcome_whether_it_holds_or_not() -> None:
    rules = [outcome.rule for outcome in _judge(GOOD).outcomes]
    for broken in ({"orders": "-5"}, {"cafe": "airport", "orders": "x"}, {"counted_at": None}):
        verdict = _judge([{**GOOD[0], **broken}, *GOOD[1:]])
        failed = [outcome for outcome in verdict.outcomes if not outcome.passed]
        assert failed
        assert all(outcome.unexpected == 1 for outcome in failed)
        assert sorted(outcome.rule for outcome in verdict.outcomes) == sorted(rules)
        # The next frame is judged on its own.
        assert all(outcome.passed for outcome in _judge(GOOD).outcomes)


def test_rules_read_the_same_in_every_process() -> None:
    (rule,) = (outcome.rule for outcome in _judge(GOOD).outcomes if outcome.rule.startswith("cafe in"))
    cafes = next(column for column in ORDERS.contract.columns if column.name == "cafe").one_of
    assert rule == f"cafe in {{{', '.join(map(repr, cafes))}}}"
