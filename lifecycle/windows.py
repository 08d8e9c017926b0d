"""Feature rows from facts: trailing-window aggregates and latest values.

What belongs here: turning validated facts into feature rows with the moment each was known. Reading and writing
tables is the assets' work; which aggregates exist is declared in ``features.py``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.features import Aggregate, LatestView, View, WindowView, aggregate_name, window_label

if TYPE_CHECKING:
    import polars as pl

TICK = timedelta(hours=1)
# Sums are kept in integers of this fraction: they are then exact and do not depend on where a sum started, so a
# day built alone has the same bytes as the same day built within a year.
SCALE = 1_000_000


def lookback_days(view: View) -> int:
    """How many days before a day the facts lie that its rows are made of."""
    return (view.longest + TICK).days + 1 if isinstance(view, WindowView) else 0


def feature_rows(view: View, facts: pl.DataFrame, after: datetime, until: datetime) -> pl.DataFrame:
    """The rows of a view that became known in (after, until].

    Parameters
    ----------
    facts : rows with the view's keys and values, ``known_at`` (when the fact became known to the world) and
        ``available_at`` (when it reached us; later than ``known_at`` if it was delivered late). For a window view
        they must reach back by ``view.longest`` and an hour before ``after``.

    Returns
    -------
    polars.DataFrame
        Keys, ``event_timestamp`` (the fact or the full hour the values are as of), ``created`` (when the row could
        first be had), and the features.
    """
    if isinstance(view, LatestView):
        return _latest_rows(view, facts, after, until)
    return _window_rows(view, facts, after, until)


def _latest_rows(view: LatestView, facts: pl.DataFrame, after: datetime, until: datetime) -> pl.DataFrame:
    import polars as pl

    types = {"float": pl.Float64(), "int": pl.Int64(), "string": pl.String()}
    columns = [pl.col(column).cast(types[feature.type]).alias(feature.name) for column, feature in view.columns]
    return (
        facts.filter((pl.col("available_at") > after) & (pl.col("available_at") <= until))
        .drop_nulls([*view.keys, *view.needs])
        .select(
            *view.keys, pl.col("known_at").alias("event_timestamp"), pl.col("available_at").alias("created"), *columns
        )
        # A correction that came later is a row of its own: until it came, the row before it was what could be had.
        .unique([*view.keys, "event_timestamp", "created"], keep="last", maintain_order=True)
        .sort("event_timestamp", *view.keys, "created")
    )


def _window_rows(view: WindowView, facts: pl.DataFrame, after: datetime, until: datetime) -> pl.DataFrame:
    """A fact enters a window at the first full hour it is available and leaves at the first full hour at which it
    is older than the window; the values are running sums over those entries and departures.

    How they came about before ``after`` does not matter: what stands in a window then enters it at ``after``, all at
    once, and no row is made of it.
    """
    import polars as pl

    keys = list(view.keys)
    measures = _measures(view)
    facts = facts.drop_nulls(keys).select(
        *keys,
        "known_at",
        pl.max_horizontal(_ceil_to_tick(pl.col("available_at")), pl.lit(after)).alias("_enter"),
        *(expression.alias(name) for name, expression in measures.items()),
    )
    windows = sorted({window for aggregate in view.aggregates for window in aggregate.windows})
    moves = [move for window in windows for move in _moves(facts, keys, list(measures), window, until)]
    state = (
        pl.concat(moves, how="diagonal")
        .group_by([*keys, "event_timestamp"])
        .agg(pl.all().sum())
        .sort([*keys, "event_timestamp"])
        .with_columns(pl.exclude([*keys, "event_timestamp"]).cum_sum().over(keys))
        .filter(pl.col("event_timestamp") > after)
    )
    outputs = [
        _output(aggregate, window).alias(aggregate_name(view, aggregate, window))
        for aggregate in view.aggregates
        for window in aggregate.windows
    ]
    return state.select(*keys, "event_timestamp", pl.col("event_timestamp").alias("created"), *outputs).sort(
        "event_timestamp", *keys
    )


def _measures(view: WindowView) -> dict[str, pl.Expr]:
    """What has to be summed: the scaled value and the number of facts that have one, per value."""
    import polars as pl

    measures: dict[str, pl.Expr] = {}
    for aggregate in view.aggregates:
        if aggregate.function == "count":
            measures["facts"] = pl.lit(1, dtype=pl.Int64)
            continue
        value = aggregate.expression() if aggregate.expression else pl.col(aggregate.value)
        measures[f"sum_{aggregate.value}"] = (value.cast(pl.Float64) * SCALE).round().cast(pl.Int64).fill_null(0)
        measures[f"n_{aggregate.value}"] = value.is_not_null().cast(pl.Int64)
    return measures


def _moves(
    facts: pl.DataFrame, keys: list[str], measures: list[str], window: timedelta, until: datetime
) -> list[pl.DataFrame]:
    """The entries into a window and the departures from it by ``until``; what never stands in it does neither."""
    import polars as pl

    label = window_label(window)
    enter, leave = pl.col("_enter"), pl.col("_leave")
    placed = facts.with_columns(_leave=_ceil_to_tick(pl.col("known_at") + window)).filter(enter < leave)
    named = [pl.col(name).alias(f"{name}_{label}") for name in measures]
    return [
        placed.filter(enter <= until).select(*keys, enter.alias("event_timestamp"), *named),
        placed.filter(leave <= until).select(*keys, leave.alias("event_timestamp"), *(-column for column in named)),
    ]


def _ceil_to_tick(moment: pl.Expr) -> pl.Expr:
    floor = moment.dt.truncate("1h")
    import polars as pl

    return pl.when(floor == moment).then(moment).otherwise(floor + TICK)


def _output(aggregate: Aggregate, window: timedelta) -> pl.Expr:
    import polars as pl

    label = window_label(window)
    if aggregate.function == "count":
        return pl.col(f"facts_{label}")
    total, number = pl.col(f"sum_{aggregate.value}_{label}"), pl.col(f"n_{aggregate.value}_{label}")
    # By a constant, Polars divides one row exactly and multiplies many by the reciprocal; by a column it divides.
    if aggregate.function == "sum":
        return total / (number * 0 + SCALE)
    return pl.when(number > 0).then(total / (number * SCALE))
