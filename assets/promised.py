"""Forecasts as issued with the labels that have come, and what a version promises, told from its first ones."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from assets.examples import read_labels
from assets.issued import read_issued
from lifecycle.pipeline import Pipeline
from resources.lake import Lake
from resources.registry import Version

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.drift.reference import Reference
    from lifecycle.performance.promise import Promise


def promised_by_version(
    pipeline: Pipeline,
    version: Version,
    reference: "Reference",
    judged: "pl.DataFrame | None",
    before: date,
    as_of: date,
    lake: Lake,
) -> "Promise":
    """What a version promises, see ``lifecycle.performance.promise``; without judged rows, what its reference says.

    Parameters
    ----------
    before : first day that is held against it. as_of : the close at which it is told.
    """
    import polars as pl

    from lifecycle.business_day import business_day
    from lifecycle.performance.promise import first_days, promise, promised_by

    if judged is None or judged.is_empty():
        return promised_by(reference, pipeline.task)
    first, last = first_days(judged)
    wait, known_day = pipeline.label.longest_wait_days, business_day("label_known_at", pipeline.calendar)
    settled = min(as_of, last + timedelta(days=wait))
    issued = read_labelled(pipeline, first, min(last, before - timedelta(days=1)), settled, lake)
    served = issued.filter(pl.col("model_version") == version.number).with_columns(known_day.alias("known_day"))
    return promise(judged, served, before, pipeline.task, wait)


def read_labelled(pipeline: Pipeline, first: date, last: date, as_of: date, lake: Lake) -> "pl.DataFrame":
    """The forecasts about the events of some days, as issued, with the labels known at a close.

    Returns
    -------
    (rows,) frame
        In order of ``day``, that of the event: the key, ``score``, ``model_version``, the slices, ``label`` and
        ``label_known_at``, null where it is not known. A label that none of these forecasts is about has a row without
        a score, on the day on which it became known.
    """
    import polars as pl

    from lifecycle.business_day import business_day

    key = list(pipeline.spine.key)
    columns = dict.fromkeys([*key, "event_day", "score", "model_version", *pipeline.slices])
    issued = read_issued(pipeline, lake, first - timedelta(days=1), last - timedelta(days=1), [*columns])
    labels = read_labels(pipeline, lake, first, as_of).select(*key, "label", "label_known_at")
    # The lake gives rows of a day in the order they were written; the last version must be the last.
    known_day = business_day("label_known_at", pipeline.calendar)
    dated = issued.join(labels, on=key, how="full", coalesce=True)
    return dated.with_columns(pl.coalesce("event_day", known_day).alias("day")).sort("day", *key)
