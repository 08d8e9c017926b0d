"""What the performance report of a night remembers for those that follow: a row of its table.

What belongs here: which columns later nights read again, and reading them. What a night finds is in
``performance_report.py``.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.calendar import WEEK_DAYS
from lifecycle.pipeline import Pipeline
from resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.performance.concept import DayErrors
    from lifecycle.performance.estimation import Estimate


def performance_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/performance_report"


def kept_columns() -> "dict[str, pl.DataType]":
    """Columns of the table that nights after it read again."""
    import polars as pl

    return {
        "day": pl.Date(),
        "model_version": pl.Int64(),
        "settled_excess": pl.Float64(),
        "settled_level": pl.Float64(),
        "settled_news": pl.Float64(),
        "estimated": pl.Float64(),
        "estimated_low": pl.Float64(),
        "estimated_high": pl.Float64(),
        "band_widened_by": pl.Float64(),
        "estimated_from": pl.Date(),
        "estimated_to": pl.Date(),
        "week_ranking": pl.Float64(),
        "week_to": pl.Date(),
    }


def read_past(pipeline: Pipeline, first: date, lake: Lake) -> "pl.DataFrame":
    """What the nights before told that is needed again."""
    import polars as pl

    schema = kept_columns()
    earliest = first - timedelta(days=pipeline.monitor.concept_days)
    found = lake.read_if_exists(performance_table(pipeline), schema, earliest, first - timedelta(days=1))
    # A table of an earlier release lacks columns.
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in found.columns]
    return found.with_columns(absent).select(list(schema))


def past_errors(past: "pl.DataFrame", version: int, day: date, days: int) -> "dict[date, DayErrors]":
    """How a version erred on the days before, as far as their labels had come when they were told."""
    import polars as pl

    from lifecycle.performance.concept import DayErrors

    own = past.filter(
        pl.col("model_version") == version,
        pl.col("settled_excess").is_not_null(),
        pl.col("week_to") > day - timedelta(days=days),
        pl.col("day") < day,
    )
    told = own.select("week_to", "settled_excess", "settled_level", "settled_news")
    return {when: DayErrors(excess, level, news) for when, excess, level, news in told.iter_rows()}


def past_estimates(
    past: "pl.DataFrame", day: date, days: int, week_to: date, week_ranking: float | None
) -> "list[tuple[Estimate, float | None]]":
    """Estimates of weeks that do not overlap, back from the newest whose labels have come, with what was realised.

    Parameters
    ----------
    day : at whose close they are asked for. days : how far back; the same, whether a night is built alone or among
        others.
    week_to, week_ranking : the newest week whose labels have come.
    """
    import polars as pl

    happened = {
        **dict(past.filter(pl.col("week_to").is_not_null()).select("week_to", "week_ranking").iter_rows()),
        week_to: week_ranking,
    }
    made = past.filter(
        pl.col("estimated").is_not_null(),
        pl.col("estimated_to") <= week_to,
        pl.col("estimated_to") > day - timedelta(days=days),
        ((pl.lit(week_to) - pl.col("estimated_to")).dt.total_days() % WEEK_DAYS) == 0,
    )
    return [(_estimate(row), happened.get(row["estimated_to"])) for row in made.sort("day").iter_rows(named=True)]


def _estimate(row: dict[str, Any]) -> "Estimate":
    """An estimate as far as grading needs it, for either ranking metric."""
    from lifecycle.performance.estimation import COVERAGE, Estimate

    ends = (row["estimated_low"], row["estimated_high"])
    return Estimate(
        values=dict.fromkeys(("auc", "r2"), row["estimated"]),
        intervals=dict.fromkeys(("auc", "r2"), ends),
        coverage=COVERAGE,
        rows=0,
        first_day=row["estimated_from"],
        last_day=row["estimated_to"],
        known_through=row["day"],
        widened_by=row["band_widened_by"] or 1.0,
    )
