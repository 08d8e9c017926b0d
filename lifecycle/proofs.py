"""The proof that examples know nothing of their future: they are computed again in a world that ends when they are
asked about.

What belongs here: choosing the rows to prove, the truncated world, and what differs. All is computed from the
declaration and the validated facts: no feature table, feature store or training set is asked. Whether the stores agree
with each other is in ``parity.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from lifecycle.business_day import business_day
from lifecycle.derived import derive, inputs
from lifecycle.features import LatestView, View
from lifecycle.parallel import in_order
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from lifecycle.windows import TICK, feature_rows

if TYPE_CHECKING:
    import polars as pl

    Facts = Mapping[str, pl.LazyFrame]

_ROW = "_row"
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Recomputed:
    """What can be said of some rows at their prediction times.

    Attributes
    ----------
    rows : (rows,) request columns, join keys that were looked up, and features.
    announced : (rows,) whether the row's event was announced by then; where not, ``rows`` says nothing.
    impossible : why a feature cannot be computed at any prediction time; it is not in ``rows``.
    """

    rows: pl.DataFrame
    announced: pl.Series
    impossible: Mapping[str, str]


def sample(rows: pl.DataFrame, number: int, seed: int, within: str = "moment") -> pl.DataFrame:
    """A seeded sample, spread evenly over the values of a column and over prediction times.

    The rows of each value, in order of prediction time, are cut into pieces of equal length and one row is drawn from
    each: no stretch of the period goes unproved. The choice depends on the order of the rows and the seed alone.

    Parameters
    ----------
    number : rows to draw; each value gets an equal share, all of its rows where it has fewer.
    """
    import polars as pl

    rng = Random(seed)
    ordered = rows.select(within, PREDICTION_TIME).with_row_index(_ROW).sort(PREDICTION_TIME, maintain_order=True)
    groups = ordered.group_by(within).agg(_ROW).sort(within)[_ROW].to_list()
    drawn: list[int] = []
    for place, group in enumerate(groups):
        pieces = min(number // len(groups) + (place < number % len(groups)), len(group))
        cuts = [piece * len(group) // pieces for piece in range(pieces)] + [len(group)]
        drawn += [group[rng.randrange(start, end)] for start, end in pairwise(cuts)]
    return rows[pl.Series(sorted(drawn), dtype=pl.UInt32)]


def leaks(pipeline: Pipeline, rows: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """What rows say that cannot be said at their prediction times; empty when the proof holds.

    Values are compared exactly; a missing value equals a missing one only.

    Parameters
    ----------
    rows : (rows,) a handful of examples or forecasts, with the event's key, ``event_timestamp`` and all features.
    facts : see ``recompute``.

    Returns
    -------
    polars.DataFrame
        Key, ``event_timestamp``, ``feature`` (or column of the request), what was ``found`` in the row and what was
        ``recomputed``, both as text, and ``why`` where more is known than that they differ. Of an event that was not
        announced when it was asked about, that alone is said.
    """
    import polars as pl

    asked = rows.select(*pipeline.spine.key, PREDICTION_TIME)
    again = recompute(pipeline, asked, facts)
    text = pl.lit(None, dtype=pl.String)
    parts = [
        asked.filter(~again.announced).with_columns(
            pl.lit(pipeline.spine.table).alias("feature"),
            text.alias("found"),
            text.alias("recomputed"),
            pl.lit("asked about before it was announced").alias("why"),
        )
    ]
    for name in _compared(pipeline, rows, again):
        found = rows[name]
        expected = again.rows[name] if name in again.rows.columns else found.clear(rows.height)
        differs = found.ne_missing(expected) if name not in again.impossible else found.is_not_null()
        part = asked.with_columns(
            pl.lit(name).alias("feature"),
            found.cast(pl.String).alias("found"),
            expected.cast(pl.String).alias("recomputed"),
            pl.lit(again.impossible.get(name), dtype=pl.String).alias("why"),
        )
        parts.append(part.filter(differs & again.announced))
    return pl.concat(parts)


def recompute(pipeline: Pipeline, asked: pl.DataFrame, facts: Facts) -> Recomputed:
    """Requests and features from the declaration and the facts that were available at each prediction time.

    Parameters
    ----------
    asked : (rows,) key of the event and ``event_timestamp``.
    facts : validated rows by name of the table, with ``available_at`` and ``day``, the business day they reached us
        on. They are lazy: of each table only the days, columns and keys that the rows need are collected.
    """
    import polars as pl

    requests, announced = _requests(pipeline, asked, facts)
    found = {lookup.key for lookup in pipeline.lookups}
    first = [view for view in pipeline.views if not found & set(view.keys)]
    stored = _all_as_of(pipeline, first, requests, facts)
    looked_up = requests.with_columns(
        stored[lookup.view][lookup.feature].alias(lookup.key) for lookup in pipeline.lookups
    )
    stored |= _all_as_of(pipeline, [view for view in pipeline.views if view.name not in stored], looked_up, facts)
    inputs_of_model = {feature.name: feature for feature in pipeline.stored_features}
    values = [
        column.cast(pl.String() if inputs_of_model[column.name].type == "string" else pl.Float64())
        for frame in stored.values()
        for column in frame
        if column.name in inputs_of_model
    ]
    possible, impossible = _possible(pipeline, {*looked_up.columns, *inputs_of_model})
    derived = tuple(feature for feature in pipeline.derived if feature.name in possible)
    return Recomputed(derive(derived, looked_up.hstack(values)), announced, impossible)


def _requests(pipeline: Pipeline, asked: pl.DataFrame, facts: Facts) -> tuple[pl.DataFrame, pl.Series]:
    """The requests as they could be made, and which of them could: from the first announcement that had come."""
    import polars as pl

    spine = pipeline.spine
    key = list(spine.key)
    columns = dict.fromkeys([*spine.columns, spine.event_time])
    rows = asked.with_row_index(_ROW)
    last: Any = rows[PREDICTION_TIME].max()
    announced = (
        facts[spine.table]
        .filter(pl.col("day") <= pipeline.calendar.day_of(last))
        .select(*dict.fromkeys([*key, *columns, "available_at", "day"]))
        .join(rows.select(key).unique().lazy(), on=key, how="semi")
        .sort("day", maintain_order=True)
        .collect()
    )
    known = (
        rows.join(announced, on=key, how="inner", maintain_order="left_right")
        .filter(pl.col("available_at") <= pl.col(PREDICTION_TIME))
        .unique(_ROW, keep="first", maintain_order=True)
        .select(_ROW, *(name for name in columns if name not in key), pl.col(spine.event_time).alias("event_time"))
    )
    requests = rows.join(known, on=_ROW, how="left", maintain_order="left")
    return requests, requests[_ROW].is_in(known[_ROW].implode())


def _all_as_of(
    pipeline: Pipeline, views: Sequence[View], requests: pl.DataFrame, facts: Facts
) -> dict[str, pl.DataFrame]:
    """The features of some views by name; each waits for its own files."""
    found = in_order(lambda view: _as_of(pipeline, view, requests, facts), views)
    return {view.name: features for view, features in zip(views, found, strict=True)}


def _as_of(pipeline: Pipeline, view: View, requests: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """A view's features of every request, each computed in its own world."""
    import polars as pl

    own = replace(view, keys=(_ROW,))  # a world holds one entity, and none of its facts is seen by another request
    last: Any = requests[PREDICTION_TIME].max()
    made = feature_rows(own, _worlds(pipeline, view, requests, facts), _BEGINNING, last)
    latest = (
        made.join(requests.select(_ROW, PREDICTION_TIME).rename({PREDICTION_TIME: "_asked"}), on=_ROW)
        .filter(pl.max_horizontal("event_timestamp", "created") <= pl.col("_asked"))
        .sort("event_timestamp", "created", maintain_order=True)
        .unique(_ROW, keep="last", maintain_order=True)
    )
    if view.ttl is not None:
        latest = latest.filter(pl.col("_asked") - pl.col("event_timestamp") <= view.ttl)
    names = [feature.name for feature in view.features]
    return requests.select(_ROW).join(latest.select(_ROW, *names), on=_ROW, how="left", maintain_order="left")[names]


def _worlds(pipeline: Pipeline, view: View, requests: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """For every request the facts of its entity that were available when it was asked, and can still matter."""
    import polars as pl

    keys, reach = list(view.keys), _reach(view)
    table = facts[view.table].with_columns(pl.col(pipeline.table(view.table).known_at).alias("known_at"))
    asked = requests.select(_ROW, PREDICTION_TIME, *keys)
    on = keys
    if reach is not None:  # joined by day too, the worlds are never longer than they must be
        on = ["day", *keys]
        asked = asked.with_columns(_days(pipeline, reach)).explode("day", empty_as_null=False)
        table = table.filter(pl.col("day").is_between(asked["day"].min(), asked["day"].max()))
    available = (
        table.select(*dict.fromkeys([*keys, *_columns(view), "known_at", "available_at", "day"]))
        .join(asked.select(on).unique().lazy(), on=on, how="semi")
        .sort("day", maintain_order=True)
        .collect()
    )
    worlds = asked.join(available, on=on, how="inner", maintain_order="left_right")
    return worlds.filter(pl.col("available_at") <= pl.col(PREDICTION_TIME))


def _days(pipeline: Pipeline, reach: timedelta) -> pl.Expr:
    """The business days on which facts that can matter reached us: on the day they are known, or later."""
    import polars as pl

    asked = pl.col(PREDICTION_TIME)
    first = business_day(asked - reach, pipeline.calendar)
    return pl.date_ranges(first, business_day(asked, pipeline.calendar)).alias("day")


def _reach(view: View) -> timedelta | None:
    """How long before the prediction time a fact can matter; None: for ever."""
    if isinstance(view, LatestView):
        return view.ttl
    # The row that is as of the hour at which the last fact left the longest window counts until its own ttl.
    return view.ttl + view.longest + TICK


def _columns(view: View) -> list[str]:
    """The columns of the view's table that its features are made of."""
    if isinstance(view, LatestView):
        return [*(column for column, _ in view.columns), *view.needs]
    return [
        name
        for aggregate in view.aggregates
        for name in (aggregate.expression().meta.root_names() if aggregate.expression else [aggregate.value])
        if name
    ]


def _possible(pipeline: Pipeline, columns: set[str]) -> tuple[set[str], dict[str, str]]:
    """Which derived features follow from what is there at the prediction time, and what the others lack."""
    impossible: dict[str, str] = {}
    there = set(columns)
    for feature in pipeline.derived:
        lacking = sorted(inputs(feature) - there)
        if lacking:
            impossible[feature.name] = f"computed from {', '.join(lacking)}: not known at the prediction time"
        else:
            there.add(feature.name)
    return {feature.name for feature in pipeline.derived} - set(impossible), impossible


def _compared(pipeline: Pipeline, rows: pl.DataFrame, again: Recomputed) -> Sequence[str]:
    """The features, and of the request's columns and the keys that were looked up those that the rows carry."""
    features = [feature.name for feature in pipeline.features]
    carried = [name for name in again.rows.columns if name in rows.columns and name != PREDICTION_TIME]
    return list(dict.fromkeys([*features, *(name for name in carried if name not in pipeline.spine.key)]))
