"""Features: rows of every view with the moment they were known, made only from the days their windows need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets import stage
from assets.feature_guard import require_live_features
from assets.validated import validated_table
from feature_repo.objects import view_table
from lifecycle.features import View, WindowView
from lifecycle.pipeline import Pipeline
from lifecycle.windows import feature_rows, lookback_days
from resources.lake import Lake
from resources.registry import Registry

if TYPE_CHECKING:
    import polars as pl


def build(pipeline: Pipeline) -> dg.Definitions:
    @dg.multi_asset(
        name=f"{pipeline.name}__features",
        specs=[_spec(pipeline, view) for view in pipeline.views],
        check_specs=[
            stage.check(
                pipeline,
                stage.key(pipeline, "features", view.name),
                "in_range",
                "Values lie in their declared ranges and are present where facts were.",
            )
            for view in pipeline.views
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def features(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
    ) -> Iterator[dg.MaterializeResult]:
        require_live_features(pipeline, registry)
        days = stage.asked_days(context)
        facts = _Facts(pipeline, lake, days)
        views = [
            view for view in pipeline.views if stage.key(pipeline, "features", view.name) in context.selected_asset_keys
        ]
        made = (_made(pipeline, view, days, facts) for view in views)
        for versions, built in lake.write_each(made, *stage.contiguous(days)):
            yield _materialized(pipeline, built, versions)

    return dg.Definitions(assets=[features])


def _spec(pipeline: Pipeline, view: View) -> dg.AssetSpec:
    source = stage.key(pipeline, "validated", view.table)
    keys = pipeline.table(view.table).contract
    columns = [(name, keys.column(name).type, "entity key") for name in view.keys]
    columns += [
        ("event_timestamp", "timestamp", "the moment the values are as of"),
        ("created", "timestamp", "the moment the row could first be had"),
        *((feature.name, feature.type, feature.description) for feature in view.features),
    ]
    return stage.spec(
        pipeline,
        "features",
        view.name,
        group="features",
        description=f"{view.description} {_when(view)}",
        kinds={"feast", "polars", "deltalake"},
        deps=[stage.trailing(source, _reach(pipeline, view.table))],
        columns=columns,
    )


def _when(view: View) -> str:
    entity = " × ".join(view.keys)
    if isinstance(view, WindowView):
        return f"One row per {entity} and full hour at which a fact of `{view.table}` enters or leaves a window."
    return f"One row per {entity} and fact of `{view.table}`; the latest one holds."


def _reach(pipeline: Pipeline, table: str) -> int:
    """How many days before D the views of a table need; the views of one run read them together."""
    return max(lookback_days(view) for view in pipeline.views if view.table == table)


class _Facts:
    """The validated facts that the views of one run need; each table is read once."""

    def __init__(self, pipeline: Pipeline, lake: Lake, days: list[date]) -> None:
        self._pipeline, self._lake, self._days = pipeline, lake, days
        self._read: dict[str, pl.DataFrame] = {}

    def of(self, view: View) -> "pl.DataFrame":
        import polars as pl

        if view.table not in self._read:
            reach = _reach(self._pipeline, view.table)
            table = self._pipeline.table(view.table)
            self._read[view.table] = self._lake.read(
                validated_table(self._pipeline, view.table), self._days[0] - timedelta(days=reach), self._days[-1]
            ).with_columns(pl.col(table.known_at).alias("known_at"))
        return self._read[view.table]


@dataclass(frozen=True)
class _Built:
    """The rows of a view and what they look like."""

    view: View
    rows: "pl.DataFrame"
    statistics: "pl.DataFrame"


def _made(pipeline: Pipeline, view: View, days: list[date], facts: _Facts) -> "tuple[dict[str, pl.DataFrame], _Built]":
    """The table of a view."""
    import polars as pl

    from lifecycle.business_day import business_day

    first, last = stage.contiguous(days)
    calendar = pipeline.calendar
    rows = feature_rows(view, facts.of(view), calendar.open(first), calendar.close(last))
    # Many rows share few moments, and what a day is at each takes the time zone's rules to say.
    of_moment = rows.select(pl.col("created").unique()).with_columns(business_day("created", calendar).alias("day"))
    rows = rows.join(of_moment, on="created", how="left", maintain_order="left")
    return {view_table(pipeline, view): rows}, _Built(view, rows, _statistics(view, rows))


def _materialized(pipeline: Pipeline, built: _Built, versions: Mapping[str, int]) -> dg.MaterializeResult:
    view, rows = built.view, built.rows
    asset = stage.key(pipeline, "features", view.name)
    return dg.MaterializeResult(
        asset_key=asset,
        metadata={
            "dagster/row_count": rows.height,
            "entities": rows.select(view.keys).n_unique(),
            "delta_version": versions[view_table(pipeline, view)],
            "features": stage.markdown_table(built.statistics, 40),
        },
        check_results=[_in_range(asset, view, built.statistics, rows.height)],
    )


def _statistics(view: View, rows: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    numeric = [feature.name for feature in view.features if feature.type != "string"]
    names = [feature.name for feature in view.features]
    parts = [
        rows.select(pl.col(names).is_not_null().mean()),
        *(rows.select(getattr(pl.col(numeric), f)().cast(pl.Float64)) for f in ("min", "mean", "max") if numeric),
    ]
    found = [part.row(0, named=True) for part in parts]
    labels = ("present", "min", "mean", "max")
    return pl.DataFrame(
        [
            {"feature": name, **{label: row.get(name) for label, row in zip(labels, found, strict=False)}}
            for name in names
        ],
        schema={"feature": pl.String(), **dict.fromkeys(labels[: len(found)], pl.Float64())},
    )


def _in_range(asset: dg.AssetKey, view: View, statistics: "pl.DataFrame", rows: int) -> dg.AssetCheckResult:
    problems = []
    for feature, found in zip(view.features, statistics.iter_rows(named=True), strict=True):
        least, largest = found.get("min"), found.get("max")
        if feature.minimum is not None and least is not None and least < feature.minimum:
            problems.append(f"{feature.name}: least value {least:.4g} is below {feature.minimum:g}")
        if feature.maximum is not None and largest is not None and largest > feature.maximum:
            problems.append(f"{feature.name}: largest value {largest:.4g} is above {feature.maximum:g}")
        if rows and not found["present"]:
            problems.append(f"{feature.name}: no value in {rows} rows")
    return stage.passed(
        asset,
        "in_range",
        not problems,
        "; ".join(problems) or f"{rows} rows of {len(view.features)} features, all in range",
        warn=True,
        metadata={"rows": rows},
    )
