"""Forecasts as they were issued, and the repair that makes them again.

``batch_predictions`` holds what the version of the time says of the data as it is now. What was issued first is
history: before it is written over it goes into a table of its own, and performance is judged on it.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.pipeline import Pipeline
from resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl

# How long the forecasts of a day took, features and scores, when they were issued; the same in all rows of a day.
BATCH_SECONDS = "batch_seconds"
# On runs that make partitions again because of what they were made from; the value says what that was.
REPAIR_TAG = "perennial/repair"


def predictions_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/batch_predictions"


def issued_table(pipeline: Pipeline) -> str:
    """Forecasts as first issued, of those days whose forecasts were made again and came out otherwise."""
    return f"{pipeline.name}/issued_predictions"


def keep_issued(pipeline: Pipeline, lake: Lake, days: Sequence[date], made: "pl.DataFrame") -> list[date]:
    """Keeps the forecasts that are about to be written over, and returns their days.

    A day's first forecasts are kept and no later ones, and only where the new ones differ: a night that is run again
    on the same data says the same, and keeps nothing.

    Parameters
    ----------
    made : the forecasts about to be written.
    """
    import polars as pl

    there = set(lake.days(predictions_table(pipeline))) - set(lake.days(issued_table(pipeline)))
    kept = []
    for day in sorted(there & set(days)):
        before = lake.read(predictions_table(pipeline), day, day)
        # Where no model served nothing was issued.
        if before["score"].null_count() < before.height and not _same(
            pipeline, before, made.filter(pl.col("day") == day)
        ):
            lake.write(issued_table(pipeline), before, day, day)
            kept.append(day)
    return kept


def read_issued(
    pipeline: Pipeline, lake: Lake, first: date | None = None, last: date | None = None, columns: Sequence[str] = ()
) -> "pl.DataFrame":
    """The forecasts of some days as they were issued, whatever was repaired since.

    Parameters
    ----------
    columns : what to read; everything when empty.
    """
    import polars as pl

    wanted = [*dict.fromkeys([*columns, "day"])] if columns else None
    current = lake.read(predictions_table(pipeline), first, last, wanted)
    kept = [
        day
        for day in lake.days(issued_table(pipeline))
        if (first is None or day >= first) and (last is None or day <= last)
    ]
    if kept:
        archived = lake.read(issued_table(pipeline), min(kept), max(kept), wanted)
        current = pl.concat([current.filter(~pl.col("day").is_in(kept)), archived], how="diagonal_relaxed")
        current = current.sort("day", maintain_order=True)
    return current.select(columns) if columns else current


def issued_versions(pipeline: Pipeline, lake: Lake, days: Sequence[date]) -> Mapping[date, int | None]:
    """The version that issued each day's forecasts, None where none served; days without forecasts are left out."""
    import polars as pl

    if not days or not lake.exists(predictions_table(pipeline)):
        return {}
    rows = read_issued(pipeline, lake, min(days), max(days), ["day", "model_version"])
    found = rows.filter(pl.col("day").is_in(list(days))).group_by("day").agg(pl.col("model_version").max())
    return dict(found.iter_rows())


def issued_seconds(pipeline: Pipeline, lake: Lake, days: Sequence[date]) -> dict[date, float | None]:
    """How long each day's forecasts took when they were issued; days on which nothing was are left out.

    None where it is not known: the forecasts are of a release that did not keep it. Forecasts that are made again take
    the figure over, so the table of what they are now has it, too.
    """
    import polars as pl

    there = set(lake.days(predictions_table(pipeline))) & set(days)
    if not there:
        return {}
    asked = (predictions_table(pipeline), min(there), max(there))
    try:
        rows = lake.read(*asked, ["day", "model_version", BATCH_SECONDS])
    except pl.exceptions.ColumnNotFoundError:
        rows = lake.read(*asked, ["day", "model_version"]).with_columns(
            pl.lit(None, dtype=pl.Float64).alias(BATCH_SECONDS)
        )
    issued = rows.filter(pl.col("day").is_in(list(days)), pl.col("model_version").is_not_null())
    return dict(issued.group_by("day").agg(pl.col(BATCH_SECONDS).max()).iter_rows())


def _same(pipeline: Pipeline, before: "pl.DataFrame", after: "pl.DataFrame") -> bool:
    said = [*pipeline.spine.key, "score", "threshold", "model_version"]
    order = list(pipeline.spine.key)
    return before.select(said).sort(order).equals(after.select(said).sort(order))
