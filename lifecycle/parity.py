"""The proof that features are the same everywhere: stored forecasts, the offline store and the online store, value by
value.

What belongs here: comparing answers that are given. Asking for them is the assets' work; whether they know their future
is in ``proofs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lifecycle.derived import inputs
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME

if TYPE_CHECKING:
    import polars as pl

NOT_COMPARED = "not compared"


def disagreements(
    pipeline: Pipeline,
    batch: pl.DataFrame,
    offline: pl.DataFrame,
    online: pl.DataFrame | None = None,
    moved_on: Mapping[str, pl.Series] | None = None,
) -> pl.DataFrame:
    """The values in which three answers about the same rows are not one; empty when parity holds.

    Values are compared exactly; a missing value, and a stale one is missing everywhere, equals a missing one only.

    Parameters
    ----------
    batch : (rows,) all features as forecasts were made with them.
    offline : (rows,) the same by point-in-time retrieval, with key, ``event_timestamp`` and join keys.
    online : (rows,) the same from the online store; None where it stands at another moment and cannot be asked.
    moved_on : by view, (rows,) True where the online store has a row of after the moment asked about and thus none
        of before it; what follows from it is not compared.

    Returns
    -------
    polars.DataFrame
        Key, ``event_timestamp``, ``entity``, ``feature``, ``batch``, ``offline`` and ``online``; values as text.

    Raises
    ------
    ValueError
        If the answers are not about equally many rows, or one lacks features.
    """
    import polars as pl

    names = [feature.name for feature in pipeline.features]
    _check(names, {"batch": batch, "offline": offline, "online": online})
    none = pl.Series([False] * batch.height, dtype=pl.Boolean)
    unknown = dict.fromkeys(names, none)
    for name in names if moved_on else ():
        for view in views_of(pipeline, name):
            unknown[name] = unknown[name] | (moved_on or {}).get(view, none)
    parts = []
    for name in names:
        apart = batch[name].ne_missing(offline[name])
        if online is not None:
            apart |= batch[name].ne_missing(online[name]) & ~unknown[name]
        # Nearly all agree, and of those there is nothing to be told; one is, so that there are columns.
        if apart.any() or name == names[-1]:
            parts.append(_told(pipeline, name, batch, offline, online, unknown[name]).filter(apart))
    return pl.concat(parts)


def _told(
    pipeline: Pipeline,
    name: str,
    batch: pl.DataFrame,
    offline: pl.DataFrame,
    online: pl.DataFrame | None,
    unknown: pl.Series,
) -> pl.DataFrame:
    """What each answer says of one feature, as text."""
    import polars as pl

    shown = pl.Series([NOT_COMPARED] * batch.height, dtype=pl.String)
    if online is not None:
        shown = shown.zip_with(unknown, online[name].cast(pl.String))
    return offline.select(
        *pipeline.spine.key,
        PREDICTION_TIME,
        _entity(pipeline, name).alias("entity"),
        pl.lit(name).alias("feature"),
        batch[name].cast(pl.String).alias("batch"),
        pl.col(name).cast(pl.String).alias("offline"),
        shown.alias("online"),
    )


def views_of(pipeline: Pipeline, feature: str) -> set[str]:
    """The views that a feature follows from: its own, those that tell its join keys, those of what it is derived from.

    Empty for a feature of the request alone.
    """
    for derived in pipeline.derived:
        if derived.name == feature:
            others = inputs(derived) - {feature}
            return {view for name in others for view in views_of(pipeline, name)}
    found = {view.name for view in pipeline.views if feature in {own.name for own in view.features}}
    told = {lookup.view for lookup in pipeline.lookups for name in found if lookup.key in pipeline.view(name).keys}
    looked_up = {lookup.view for lookup in pipeline.lookups if lookup.key == feature}
    return found | told | looked_up


def _entity(pipeline: Pipeline, feature: str) -> pl.Expr:
    """Whose value it is: the join keys of the feature's view, or the request's own."""
    import polars as pl

    keys = next((view.keys for view in pipeline.views if feature in {own.name for own in view.features}), None)
    if keys is None:
        return pl.lit("request")
    return pl.concat_str(
        [pl.format("{} {}", pl.lit(key), pl.col(key).cast(pl.String).fill_null("missing")) for key in keys],
        separator=", ",
    )


def _check(names: list[str], answers: Mapping[str, pl.DataFrame | None]) -> None:
    given = {who: answer for who, answer in answers.items() if answer is not None}
    lacking = {who: sorted(set(names) - set(answer.columns)) for who, answer in given.items()}
    if any(lacking.values()):
        raise ValueError(f"answers lack features: { {who: some for who, some in lacking.items() if some} }")
    heights = {who: answer.height for who, answer in given.items()}
    if len(set(heights.values())) > 1:
        raise ValueError(f"answers must be about the same rows, found so many: {heights}")
