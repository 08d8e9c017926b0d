"""The rows to predict or to learn from, with their prediction times, and the labels that go with them.

What belongs here: pure frame code over announced events and outcomes. Fetching features for the rows is Feast's work.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.business_day import business_day
from lifecycle.calendar import days_between
from lifecycle.pipeline import Moment, Pipeline

if TYPE_CHECKING:
    import polars as pl

PREDICTION_TIME = "event_timestamp"  # Feast's name for the moment a row is asked about


def build_spine(
    pipeline: Pipeline,
    announced: pl.DataFrame,
    first: date,
    last: date,
    moments: tuple[Moment, ...] | None = None,
) -> pl.DataFrame:
    """One row per event of the business days ``first`` to ``last`` and moment at which it is asked about.

    An event that was announced late is not asked about at the moments before: nobody knew of it.

    Parameters
    ----------
    announced : validated rows of the spine's table, landed on the days before the events' days.
    moments : the moments to ask at; all of the pipeline's when not given.

    Returns
    -------
    polars.DataFrame
        Key, ``event_timestamp`` (the prediction time), ``event_time``, ``event_day``, ``moment`` and the spine's
        columns; in order of event time, key and moment.
    """
    import polars as pl

    spine = pipeline.spine
    events = (
        announced.with_columns(pl.col(spine.event_time).alias("event_time"))
        .with_columns(business_day("event_time", pipeline.calendar).alias("event_day"))
        .filter(pl.col("event_day").is_between(first, last))
        .unique(list(spine.key), keep="first", maintain_order=True)
        .select(*dict.fromkeys([*spine.key, *spine.columns]), "event_time", "event_day", "available_at")
    )
    asked = [_asked_at(pipeline, events, moment, first, last) for moment in moments or spine.moments]
    rows = pl.concat(asked).filter(pl.col("available_at") <= pl.col(PREDICTION_TIME)).drop("available_at")
    return rows.sort("event_time", *spine.key, "moment")


def _asked_at(pipeline: Pipeline, events: pl.DataFrame, moment: Moment, first: date, last: date) -> pl.DataFrame:
    import polars as pl

    if moment.lead is not None:
        timed = events.with_columns((pl.col("event_time") - moment.lead).alias(PREDICTION_TIME))
    else:
        days = days_between(first, last)
        opens = pl.DataFrame(
            {"event_day": days, PREDICTION_TIME: [pipeline.calendar.open(day) for day in days]},
            schema={"event_day": pl.Date(), PREDICTION_TIME: pl.Datetime("us", "UTC")},
        )
        timed = events.join(opens, on="event_day", how="left", maintain_order="left")
    return timed.with_columns(pl.lit(moment.name).alias("moment"))


def known_labels(pipeline: Pipeline, outcomes: pl.DataFrame, by: datetime) -> pl.DataFrame:
    """The labels known by a moment: key, ``label``, ``label_known_at``.

    An event whose outcome was delivered more than once has the first.
    """
    import polars as pl

    return (
        outcomes.filter(pl.col("available_at") <= by)
        .sort("available_at", maintain_order=True)
        .unique(list(pipeline.spine.key), keep="first", maintain_order=True)
        .select(
            *pipeline.spine.key,
            pipeline.label.value().cast(pl.Float64).alias("label"),
            pl.col("available_at").alias("label_known_at"),
        )
        .drop_nulls("label")
    )


def days_announced(first: date, last: date) -> tuple[date, date]:
    """The landing days on which the events of the business days ``first`` to ``last`` were announced."""
    return first - timedelta(days=1), last - timedelta(days=1)
