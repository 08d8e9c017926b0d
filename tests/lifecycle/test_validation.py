"""Typing text, marking duplicates and sorting rows: nothing is lost, whatever happens to the rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.validation import ROW, Sorted, mark_duplicates, sort_rows, type_rows
from tests.tiny import CALENDAR, ORDERS, day_rows

DAY = date(2024, 2, 5)
NAMES = ORDERS.contract.names
GOOD = [{name: str(row[name]) for name in NAMES} for row in day_rows(DAY)["orders"][:6]]

junk = st.one_of(
    st.none(), st.just(""), st.sampled_from(["abc", "-3", "1e400", "NaN", "2024-13-01", "yes"]), st.text(max_size=4)
)
change = st.tuples(st.integers(0, 5), st.sampled_from(NAMES), junk)
row = st.one_of(
    st.sampled_from(GOOD),
    change.map(lambda drawn: {**GOOD[drawn[0]], drawn[1]: drawn[2]}),
    st.just(dict.fromkeys(NAMES)),
)


def _raw(rows: list[dict[str, str | None]], day: date = DAY) -> pl.DataFrame:
    lines = pl.DataFrame(rows, schema=dict.fromkeys(NAMES, pl.String()))
    return lines.with_columns(
        pl.lit(f"{day}.csv").alias("_file"),
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("_line"),
        pl.lit(None, dtype=pl.String).alias("_extra"),
        pl.lit(None, dtype=pl.String).alias("_problem"),
        pl.lit(day).alias("day"),
    )


def _typed(rows: list[dict[str, str | None]], day: date = DAY) -> pl.DataFrame:
    return type_rows(_raw(rows, day), ORDERS, CALENDAR, [day])


def _slot(row: dict[str, str | None]) -> str:
    return (row["slot_id"] or "").strip()


def _nothing(typed: pl.DataFrame) -> pl.DataFrame:
    return typed.head(0).select(*NAMES, "day")


def _sort(typed: pl.DataFrame, earlier: pl.DataFrame | None = None) -> Sorted:
    marked = mark_duplicates(typed, _nothing(typed) if earlier is None else earlier, ORDERS.contract)
    # What the expectation suite says, in its simplest form: unread text, conflicts and missing values are failures.
    missing = pl.any_horizontal(pl.col(c.name).is_null() for c in ORDERS.contract.columns if c.required)
    bad = marked.filter(
        ~pl.col("_duplicate")
        & (pl.col("_unparsed").is_not_null() | pl.col("_conflict") | pl.col("_premature") | missing)
    )
    failures = bad.select(pl.col(ROW).cast(pl.Int64), pl.lit("broken").alias("reason"))
    return sort_rows(marked, pl.concat([failures, failures]), ORDERS.contract)


@given(st.lists(row, max_size=25))
@settings(max_examples=80, deadline=None)
def test_every_row_is_valid_a_duplicate_or_in_quarantine_and_in_one_of_them_only(rows) -> None:
    typed = _typed(rows)
    assert typed.height == len(rows)
    heaps = _sort(typed)

    lines = heaps.quarantined["_line"].to_list() + heaps.duplicates["_line"].to_list()
    assert len(lines) == len(set(lines))
    assert heaps.valid.height + len(lines) == len(rows)
    assert heaps.valid["slot_id"].is_unique().all()
    # A duplicate says what a kept row says: with the duplicates taken out, every event is still spoken of.
    dropped = set(heaps.duplicates["_line"])
    kept = [row for line, row in enumerate(rows, start=2) if line not in dropped]
    assert {_slot(row) for row in kept} == {_slot(row) for row in rows}


@given(st.lists(row, max_size=12))
@settings(max_examples=40, deadline=None)
def test_rows_delivered_again_the_next_day_are_duplicates_of_the_valid_ones(rows) -> None:
    first = _sort(_typed(rows))
    tomorrow = DAY + timedelta(days=1)
    again = _sort(_typed(rows, tomorrow), first.valid.select(*NAMES, "day"))

    assert set(again.valid["slot_id"]).isdisjoint(first.valid["slot_id"])
    assert again.valid.height + again.quarantined.height + again.duplicates.height == len(rows)


def test_text_is_read_in_the_type_of_its_column() -> None:
    typed = _typed(
        [
            {
                **GOOD[0],
                "orders": " 12 ",
                "card_share": "0.25",
                "outdoors": "Yes",
                "starts_at": "2024-02-05T09:30:00+01:00",
            }
        ]
    )

    (found,) = typed.select("orders", "card_share", "outdoors", "starts_at", "_unparsed").rows()
    assert found == (12, 0.25, True, datetime(2024, 2, 5, 8, 30, tzinfo=UTC), None)


def test_text_that_cannot_be_read_is_named_with_its_column() -> None:
    typed = _typed([{**GOOD[0], "orders": "12.5", "card_share": "inf", "outdoors": "maybe", "counted_at": "yesterday"}])

    assert typed["_unparsed"].to_list() == [
        "orders='12.5' is not a int, card_share='inf' is not a float, outdoors='maybe' is not a bool, "
        "counted_at='yesterday' is not a timestamp"
    ]


def test_a_time_without_an_offset_is_not_guessed() -> None:
    assert "starts_at='2024-02-05 09:00:00' is not a timestamp" in str(
        _typed([{**GOOD[0], "starts_at": "2024-02-05 09:00:00"}])["_unparsed"][0]
    )


def test_a_fact_is_available_when_it_was_known_or_at_the_close_of_the_day_that_brought_it() -> None:
    opens, closes = CALENDAR.open(DAY), CALENDAR.close(DAY)
    moments = [opens - timedelta(days=2), opens, opens + timedelta(seconds=1), closes, closes + timedelta(seconds=1)]
    typed = _typed([{**GOOD[0], "slot_id": str(n), "counted_at": at.isoformat()} for n, at in enumerate(moments)])

    assert typed["available_at"].to_list() == [closes, closes, moments[2], closes, moments[4]]
    assert typed["_premature"].to_list() == [False, False, False, False, True]


def test_rows_broken_in_different_ways_are_not_duplicates_of_each_other() -> None:
    marked = mark_duplicates(
        typed := _typed([{**GOOD[0], "orders": "x"}, {**GOOD[0], "orders": "y"}, {**GOOD[0], "orders": "x"}]),
        _nothing(typed),
        ORDERS.contract,
    )
    assert marked["_duplicate"].to_list() == [False, False, True]


def test_lines_of_a_file_without_the_columns_are_told_apart_by_what_else_they_hold() -> None:
    raw = _raw([dict.fromkeys(NAMES), dict.fromkeys(NAMES)]).with_columns(
        pl.Series("_extra", ['{"a":"1"}', '{"a":"2"}']), pl.lit("all columns missing").alias("_problem")
    )
    typed = type_rows(raw, ORDERS, CALENDAR, [DAY])
    assert mark_duplicates(typed, _nothing(typed), ORDERS.contract)["_duplicate"].to_list() == [False, False]


def test_of_rows_that_contradict_each_other_the_first_is_kept() -> None:
    heaps = _sort(_typed([GOOD[0], {**GOOD[0], "orders": "499"}, GOOD[0]]))
    assert heaps.valid["orders"].to_list() == [int(GOOD[0]["orders"])]
    assert heaps.quarantined["_line"].to_list() == [3]
    assert heaps.duplicates["_line"].to_list() == [4]
