"""Spines and labels read from the lake: what training, batch scoring and the reports have in common."""

from datetime import date
from typing import TYPE_CHECKING

from assets.validated import validated_table
from lifecycle.pipeline import Moment, Pipeline
from lifecycle.spine import build_spine, days_announced, known_labels
from resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl


def read_spine(
    pipeline: Pipeline, lake: Lake, first: date, last: date, moments: tuple[Moment, ...] | None = None
) -> "pl.DataFrame":
    """The spine of the events of the business days ``first`` to ``last``; see ``lifecycle.spine.build_spine``."""
    announced_first, announced_last = days_announced(first, last)
    announced = lake.read(validated_table(pipeline, pipeline.spine.table), announced_first, announced_last)
    return build_spine(pipeline, announced, first, last, moments)


def read_labels(pipeline: Pipeline, lake: Lake, first: date, as_of: date) -> "pl.DataFrame":
    """The labels of events from ``first`` on that were known by the close of ``as_of``."""
    outcomes = lake.read(validated_table(pipeline, pipeline.label.table), first, as_of)
    return known_labels(pipeline, outcomes, pipeline.calendar.close(as_of))
