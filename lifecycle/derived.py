"""Features that are computed when they are asked for: from the request, from stored features, or from both.

What belongs here: the one function that computes them for training, batch scoring and online requests, and ready
expressions for the usual kinds. Stored features are in ``windows.py``; which derived ones exist is declared with the
pipeline.

An expression sees the columns of the request (the spine's), ``event_time``, ``event_timestamp`` (the prediction
time), the stored features, and the derived features declared before it. It must work row by row: a request that comes
alone must see what training saw, to the last digit. One trap: Polars divides a single row by a constant exactly and
many rows by multiplying with its reciprocal; so multiply by constants, as all expressions here do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from math import pi
from typing import TYPE_CHECKING

from lifecycle.features import Derived

if TYPE_CHECKING:
    import polars as pl

Expression = Callable[[], "pl.Expr"]

HOUR = timedelta(hours=1)
FEW_ROWS = 1000


def derive(derived: tuple[Derived, ...], rows: pl.DataFrame) -> pl.DataFrame:
    """Adds derived features to rows, or puts them in the place of request columns of the same name.

    Parameters
    ----------
    rows : (rows,) requests with their stored features.

    Raises
    ------
    ValueError
        If a column that a feature is computed from is not there.
    """
    import polars as pl

    try:
        for layer in _layers(derived):
            # A request would wait for threads of the pool longer than its few rows take to compute.
            rows = rows.with_columns_seq(layer) if rows.height <= FEW_ROWS else rows.with_columns(layer)
    except pl.exceptions.ColumnNotFoundError as error:
        wanted = {feature.name: sorted(inputs(feature) - set(rows.columns)) for feature in derived}
        lacking = {name: columns for name, columns in wanted.items() if columns}
        raise ValueError(f"derived features lack columns: {lacking}; the rows have {rows.columns}") from error
    return rows


def inputs(feature: Derived) -> set[str]:
    """The columns that a derived feature is computed from."""
    return set(_expression(feature).meta.root_names())


@lru_cache(maxsize=32)
def _layers(derived: tuple[Derived, ...]) -> list[list[pl.Expr]]:
    """The features in groups that can be computed together: no one of a group needs another of it."""
    layers: list[list[pl.Expr]] = []
    made: set[str] = set()
    for feature in derived:
        if not layers or inputs(feature) & made or feature.name in made:
            layers.append([])
            made = set()
        layers[-1].append(_expression(feature))
        made.add(feature.name)
    return layers


def _expression(feature: Derived) -> pl.Expr:
    import polars as pl

    # Whole numbers too are floats to a model: they can be missing.
    kind = pl.String() if feature.feature.type == "string" else pl.Float64()
    value = feature.expression() if feature.expression else pl.col(feature.name)
    return value.cast(kind).alias(feature.name)


def hours_until_event() -> pl.Expr:
    """Hours from the prediction time to the event: the lead time."""
    return hours_between("event_timestamp", "event_time")()


def hours_between(start: str, end: str) -> Expression:
    """Hours from one moment to another."""
    return lambda: _elapsed(start, end, HOUR)


def minutes_between(start: str, end: str) -> Expression:
    """Minutes from one moment to another."""
    return lambda: _elapsed(start, end, timedelta(minutes=1))


def local_hour(moment: str, time_zone: str) -> Expression:
    """Hour of the day where people live, with the minutes as its fraction: 13.5 is half past one."""

    def expression() -> pl.Expr:
        import polars as pl

        local = pl.col(moment).dt.convert_time_zone(time_zone)
        return local.dt.hour().cast(pl.Float64) + local.dt.minute().cast(pl.Float64) * (1 / 60)

    return expression


def local_weekday(moment: str, time_zone: str) -> Expression:
    """Day of the week where people live; Monday is 1."""

    def expression() -> pl.Expr:
        import polars as pl

        return pl.col(moment).dt.convert_time_zone(time_zone).dt.weekday()

    return expression


def difference(left: str, right: str) -> Expression:
    """``left - right``; missing where one of them is."""

    def expression() -> pl.Expr:
        import polars as pl

        return pl.col(left).cast(pl.Float64) - pl.col(right).cast(pl.Float64)

    return expression


def ratio(numerator: str, denominator: str) -> Expression:
    """``numerator / denominator``; missing where one of them is, and where the denominator is zero."""

    def expression() -> pl.Expr:
        import polars as pl

        below = pl.col(denominator).cast(pl.Float64)
        return pl.when(below != 0).then(pl.col(numerator).cast(pl.Float64) / below)

    return expression


def standardized(column: str, mean: float, deviation: float) -> Expression:
    """``(column - mean) / deviation`` with constants that are declared, so that they are the same everywhere."""
    if not deviation > 0:
        raise ValueError(f"standardized({column!r}): the deviation must be positive, not {deviation}")

    def expression() -> pl.Expr:
        import polars as pl

        return (pl.col(column).cast(pl.Float64) - mean) * (1 / deviation)

    return expression


def one_of(column: str, value: str) -> Expression:
    """1 where a text is ``value``, 0 where it is another, missing where it is: one column of a one-hot encoding."""

    def expression() -> pl.Expr:
        import polars as pl

        return (pl.col(column) == value).cast(pl.Float64)

    return expression


def numbered(column: str, values: Sequence[str]) -> Expression:
    """The place of a text in ``values``, from 0; missing where it is none of them: an ordinal encoding."""
    if len(set(values)) < len(values):
        raise ValueError(f"numbered({column!r}): values are named twice in {list(values)}")
    return looked_up(column, {value: float(place) for place, value in enumerate(values)})


def looked_up(column: str, table: Mapping[str, float], default: float | None = None) -> Expression:
    """The number that a declared table gives for a text; ``default`` where it has none."""
    known = dict(table)

    def expression() -> pl.Expr:
        import polars as pl

        return pl.col(column).replace_strict(known, default=default, return_dtype=pl.Float64)

    return expression


def on_circle(column: str, period: float, axis: str = "sin") -> Expression:
    """Sine or cosine of a value that comes round: hours with period 24, weekdays with period 7."""
    if axis not in ("sin", "cos"):
        raise ValueError(f"on_circle({column!r}): axis must be 'sin' or 'cos', not {axis!r}")

    def expression() -> pl.Expr:
        import polars as pl

        angle = pl.col(column).cast(pl.Float64) * (2 * pi / period)
        return angle.sin() if axis == "sin" else angle.cos()

    return expression


def _elapsed(start: str, end: str, unit: timedelta) -> pl.Expr:
    import polars as pl

    return (pl.col(end) - pl.col(start)).dt.total_seconds().cast(pl.Float64) * (1 / unit.total_seconds())
