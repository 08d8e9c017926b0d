"""The check that the inputs of forecasts are the same everywhere: as they were stored, offline and online.

It asks the online store as a service would, request by request, and so tells how long one takes, too.
"""

import math
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets import stage
from assets.examples import read_spine
from feature_repo.online_backend import OnlineStoreUnavailable
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from resources.feature_store import FeatureStore
from resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl

PARITY = "parity"
# On the check: the time within which 99 of 100 requests had their features from the online store, in milliseconds.
ONLINE_P99_MS = "online_p99_ms"
NIGHT = timedelta(days=1)


def parity_check(pipeline: Pipeline, forecasts: dg.AssetKey, table: str) -> dg.AssetChecksDefinition:
    """The check ``parity`` of the forecasts that are kept in a lake table."""

    @dg.asset_check(
        asset=forecasts,
        name=PARITY,
        description=f"The inputs of {pipeline.proofs.forecasts} forecasts are asked for again, from the offline store "
        "and from the online store at the close of the day: all three are equal to the last digit. What a model is "
        "served with online is what it was trained and tested with. Online they are asked for one by one and timed.",
        # Forecasts need no online store; the comparison does.
        additional_deps=[stage.key(pipeline, "online_features")],
        partitions_def=stage.partitions(pipeline),
    )
    def parity(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        feature_store: dg.ResourceParam[FeatureStore],
    ) -> dg.AssetCheckResult:
        first, last = stage.contiguous(sorted(map(date.fromisoformat, context.partition_keys)))
        made = lake.read(table, first, last)
        # The request is made anew from the announcement: a derived feature may stand in the place of its column.
        events = read_spine(pipeline, lake, first + NIGHT, last + NIGHT, pipeline.spine.moments[:1])
        asked, batch = _drawn(pipeline, made, events, pipeline.proofs.seed + last.toordinal())
        return _result(pipeline, forecasts, asked, batch, feature_store)

    return parity


def _drawn(
    pipeline: Pipeline, made: "pl.DataFrame", events: "pl.DataFrame", seed: int
) -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """The events of a sample of forecasts, and the forecasts as they are stored, in the same order."""
    from lifecycle.proofs import sample

    key = list(pipeline.spine.key)
    made = sample(made, pipeline.proofs.forecasts, seed)
    asked = made.select(key).join(events, on=key, how="inner", maintain_order="left")
    return asked, asked.select(key).join(made, on=key, how="inner", maintain_order="left")


def _result(
    pipeline: Pipeline, forecasts: dg.AssetKey, asked: "pl.DataFrame", batch: "pl.DataFrame", store: FeatureStore
) -> dg.AssetCheckResult:
    import polars as pl

    from lifecycle.parity import disagreements

    offline = store.retrieve(pipeline, asked)
    stands, online, unavailable = None, None, ""
    moved_on: dict[str, pl.Series] = {}
    timed: dict[str, float] = {}
    at = pl.repeat(value=False, n=asked.height, dtype=pl.Boolean, eager=True)
    try:
        stands = store.online_through(pipeline)
        at = pl.Series([moment == stands for moment in asked[PREDICTION_TIME]], dtype=pl.Boolean)
        if at.any():
            online, moved_on, seconds = _online(pipeline, asked.filter(at), store)
            timed = _timed(seconds)
    except OnlineStoreUnavailable as error:
        unavailable = str(error)
    found = pl.concat(
        [
            disagreements(pipeline, batch.filter(at), offline.filter(at), online, moved_on),
            disagreements(pipeline, batch.filter(~at), offline.filter(~at)),
        ]
    )
    message = f"{batch.height} forecasts with {len(pipeline.features)} inputs: "
    if found.height:
        features = ", ".join(found["feature"].unique(maintain_order=True))
        message += f"{found.height} values are not the same everywhere: {features}"
    else:
        message += unavailable or _agreement(online, stands, moved_on)
    return stage.passed(
        forecasts,
        PARITY,
        not found.height and not unavailable,
        message,
        warn=not found.height,
        metadata={
            "forecasts": batch.height,
            "compared_online": 0 if online is None else online.height,
            "online_stands_at": str(stands),
            **timed,
            "disagreements": stage.markdown_table(found, 50),
        },
    )


def _online(
    pipeline: Pipeline, asked: "pl.DataFrame", store: FeatureStore
) -> tuple["pl.DataFrame", dict[str, "pl.Series"], list[float]]:
    """The online store's answers at the moment it stands at, and where it has moved on since by what was pushed.

    Beside them how many seconds each took.
    """
    import polars as pl

    columns = asked.with_columns(pl.col("event_time").alias(pipeline.spine.event_time))
    requests, as_of = columns.rows(named=True), asked[PREDICTION_TIME][0]
    store.online(pipeline, requests[:1], as_of)  # opens the connection, which a service keeps open
    answers, seconds = [], []
    for request in requests:
        started = time.perf_counter()
        answers.append(store.online(pipeline, [request], as_of))
        seconds.append(time.perf_counter() - started)
    moved_on = {
        view: pl.Series(
            [row.status == "missing" and row.event_timestamp is not None for one in answers for row in one.views[view]],
            dtype=pl.Boolean,
        )
        for view in answers[0].views
    }
    return pl.concat([one.frame for one in answers], how="vertical_relaxed"), moved_on, seconds


def _timed(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile of how long requests took, by nearest rank: of fewer than 100 it is the slowest."""
    ordered = sorted(seconds)
    ranks = {"online_median_ms": 0.5, ONLINE_P99_MS: 0.99}
    return {name: stage.number(1000 * ordered[math.ceil(share * len(ordered)) - 1]) for name, share in ranks.items()}


def _agreement(online: "pl.DataFrame | None", stands: datetime | None, moved_on: dict[str, "pl.Series"]) -> str:
    if online is None:
        return f"stored = offline; the online store stands at {stands}, not at their prediction time, and is not asked"
    pushed = {view: int(rows.sum()) for view, rows in moved_on.items() if rows.any()}
    since = f", but for what was pushed since: {pushed}" if pushed else ""
    return f"stored = offline = online{since}"
