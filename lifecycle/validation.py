"""Holding landed rows against a contract: typing text, timing, finding duplicates, sorting rows into three heaps.

What belongs here: the pure steps around the expectation suite. Building and running the suite is in
``resources/expectations.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.calendar import Calendar
from lifecycle.contract import Column, Contract, polars_type
from lifecycle.pipeline import Table

if TYPE_CHECKING:
    import polars as pl

ROW = "_row"
TRUE_WORDS, FALSE_WORDS = ("true", "t", "1", "yes"), ("false", "f", "0", "no")


@dataclass(frozen=True)
class Sorted:
    """The landed rows in three heaps; together they are all of them.

    ``valid`` has the contract's typed columns, ``available_at``, ``_file`` and ``day``; ``quarantined`` has ``day``,
    ``reasons``, ``row`` (JSON of the text as it came), ``_file`` and ``_line``; ``duplicates`` are rows that say
    again what another row said.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    duplicates: pl.DataFrame


def type_rows(raw: pl.DataFrame, table: Table, calendar: Calendar, days: list[date]) -> pl.DataFrame:
    """Reads the text of ``raw`` (with ``day``) in the contract's types.

    Adds ``_row`` (number in the frame), ``_unparsed`` (which columns hold text that is not of their type, else
    null), ``_premature`` (a fact known after its day closed) and ``available_at``: the moment the fact was known,
    or the close of the day for one that was delivered after the close of the day it was known on.
    """
    import polars as pl

    contract = table.contract
    closes = pl.DataFrame(
        {
            "day": days,
            "_open": [calendar.open(day) for day in days],
            "_close": [calendar.close(day) for day in days],
        },
        schema={"day": pl.Date(), "_open": pl.Datetime("us", "UTC"), "_close": pl.Datetime("us", "UTC")},
    )
    known = pl.col(table.known_at)
    return (
        raw.with_row_index(ROW)
        .rename({column.name: _text(column.name) for column in contract.columns})
        .with_columns(_parse(column).alias(column.name) for column in contract.columns)
        .with_columns(_unparsed(contract).alias("_unparsed"))
        .join(closes, on="day", how="left", maintain_order="left")
        .with_columns(
            (known > pl.col("_close")).fill_null(value=False).alias("_premature"),
            pl.when(known <= pl.col("_open")).then(pl.col("_close")).otherwise(known).alias("available_at"),
        )
        .drop("_open", "_close")
    )


def mark_duplicates(typed: pl.DataFrame, earlier: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Adds ``_duplicate`` (the same row was delivered before) and ``_conflict`` (its key was, saying otherwise).

    Text that could not be read is part of what a row says: two rows that are broken in different ways are two.

    Parameters
    ----------
    earlier : valid rows of earlier days in which late rows may already be; typed, with ``day``.
    """
    import polars as pl

    names = contract.names
    key = list(contract.key)
    unread = pl.when(pl.col("_problem").is_not_null()).then(pl.col("_extra")).otherwise(pl.col("_unparsed"))
    seen = pl.concat(
        [
            earlier.select(*names, "day").with_columns(
                pl.lit(-1, dtype=pl.Int64).alias(ROW), pl.lit(None, dtype=pl.String).alias("_unread")
            ),
            typed.select(*names, "day", pl.col(ROW).cast(pl.Int64), unread.alias("_unread")),
        ]
    ).sort("day", ROW, maintain_order=True)
    first_of_key = pl.struct(key).is_first_distinct()
    first_of_row = pl.struct([*names, "_unread"]).is_first_distinct()
    marked = (
        seen.with_columns(
            _duplicate=~first_of_row,
            _conflict=~first_of_key & first_of_row & pl.all_horizontal(pl.col(key).is_not_null()),
        )
        .filter(pl.col(ROW) >= 0)
        .select(pl.col(ROW).cast(typed.schema[ROW]), "_duplicate", "_conflict")
    )
    return typed.join(marked, on=ROW, how="left", maintain_order="left")


def sort_rows(typed: pl.DataFrame, failures: pl.DataFrame, contract: Contract) -> Sorted:
    """Sorts typed rows into valid, quarantined and duplicate ones.

    Parameters
    ----------
    typed : rows as ``mark_duplicates`` returns them.
    failures : (``_row``, ``reason``) pairs, several per row allowed.
    """
    import polars as pl

    reasons = failures.group_by(ROW).agg(pl.col("reason").sort().str.join("; ").alias("reasons"))
    reasons = reasons.with_columns(pl.col(ROW).cast(typed.schema[ROW]))
    judged = typed.join(reasons, on=ROW, how="left", maintain_order="left")
    fresh = judged.filter(~pl.col("_duplicate"))
    text = pl.struct(pl.col(_text(name)).alias(name) for name in [*contract.names])
    return Sorted(
        valid=fresh.filter(pl.col("reasons").is_null()).select(*contract.names, "available_at", "_file", "day"),
        quarantined=fresh.filter(pl.col("reasons").is_not_null()).select(
            "day", "reasons", text.struct.json_encode().alias("row"), "_extra", "_file", "_line"
        ),
        duplicates=judged.filter(pl.col("_duplicate")).select("day", "_file", "_line"),
    )


def _text(name: str) -> str:
    return f"_text_{name}"


def _parse(column: Column) -> pl.Expr:
    import polars as pl

    text = pl.col(_text(column.name)).str.strip_chars()
    text = pl.when(text != "").then(text)
    if column.type == "string":
        return text
    if column.type == "timestamp":
        return text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    if column.type == "bool":
        lower = text.str.to_lowercase()
        return (
            pl.when(lower.is_in(TRUE_WORDS)).then(statement=True).when(lower.is_in(FALSE_WORDS)).then(statement=False)
        )
    number = text.cast(pl.Float64, strict=False)
    number = pl.when(number.is_finite()).then(number)
    if column.type == "float":
        return number
    return pl.when(number == number.round()).then(number).cast(polars_type(column), strict=False)


def _unparsed(contract: Contract) -> pl.Expr:
    """Text such as ``dest_delay='abc' is not a float``, null when everything could be read."""
    import polars as pl

    complaints = [
        pl.when(
            pl.col(column.name).is_null() & (pl.col(_text(column.name)).fill_null("").str.strip_chars() != "")
        ).then(pl.format(f"{column.name}='{{}}' is not a {column.type}", pl.col(_text(column.name))))
        for column in contract.columns
        if column.type != "string"
    ]
    joined = pl.concat_str(complaints, separator=", ", ignore_nulls=True) if complaints else pl.lit("")
    return pl.when(joined != "").then(joined)
