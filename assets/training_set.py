"""The training set: examples with the features as they were known, and the versions they were read at."""

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.examples import read_labels, read_spine
from assets.feature_guard import require_live_features
from assets.validated import validated_table
from lifecycle.parallel import in_order
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.registry import CHAMPION, Registry

if TYPE_CHECKING:
    import polars as pl

TRAIN, GATE = "train", "gate"


def training_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/training_set"


def gate_start(pipeline: Pipeline, day: date) -> date:
    """First of the labelled days that are kept out of training for the gate."""
    return day - timedelta(days=pipeline.gate.window_days - 1)


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "training_set")

    @dg.multi_asset(
        name=f"{pipeline.name}__training_set",
        specs=[
            stage.spec(
                pipeline,
                "training_set",
                group="training",
                description="One example per event and moment it is asked about, with every feature as it was known "
                f"then and the label `{pipeline.label.name}`. The last {pipeline.gate.window_days} labelled days are "
                "kept out of training: champion and challenger meet on them.",
                kinds={"feast", "deltalake"},
                deps=[
                    *(
                        stage.up_to(stage.key(pipeline, "validated", name), pipeline)
                        for name in dict.fromkeys([pipeline.spine.table, pipeline.label.table])
                    ),
                    *(stage.up_to(stage.key(pipeline, "features", view.name), pipeline) for view in pipeline.views),
                ],
                columns=[
                    *((name, "string", "key of the event") for name in pipeline.spine.key),
                    ("event_day", "date", "business day of the event"),
                    ("event_timestamp", "timestamp", "prediction time: nothing learnt later is in the row"),
                    ("moment", "string", "which of the moments it is asked about"),
                    ("part", "string", "train, or gate: kept out of training"),
                    ("label", "float", pipeline.label.name),
                    *((feature.name, feature.type, feature.description) for feature in pipeline.features),
                    ("data_versions", "string", "Delta version of every table it was read at, as JSON"),
                ],
            )
        ],
        check_specs=[
            stage.check(
                pipeline, asset, "enough_examples", "There are enough labelled days to train and to judge on.", True
            ),
            stage.check(
                pipeline,
                asset,
                "no_leak",
                f"{pipeline.proofs.examples} examples, spread over the period and the moments, are computed again from "
                "the validated facts in a world that ends at their prediction time, and are equal to the last digit. "
                "Nothing is trained on examples that know their future.",
                True,
            ),
            stage.check(pipeline, asset, "one_row_out", "Feature retrieval gave one row for every spine row."),
            stage.check(pipeline, asset, "coverage", "No feature is missing in more than half of the examples."),
        ],
    )
    def training_set(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        feature_store: dg.ResourceParam[FeatureStore],
        registry: dg.ResourceParam[Registry],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        import polars as pl

        # Champion and challenger meet on these rows; the challenger to come takes what is declared now.
        require_live_features(pipeline, registry, (CHAMPION,))
        day = stage.last_day(context)
        examples = _examples(pipeline, day, lake)
        context.log.info(f"{examples.height} examples; retrieving {len(pipeline.features)} features")
        versions = lake.versions(
            [
                *feature_store.tables(pipeline),
                *(validated_table(pipeline, name) for name in (pipeline.spine.table, pipeline.label.table)),
            ]
        )
        rows = feature_store.retrieve(pipeline, examples, versions)
        rows = rows.with_columns(pl.lit(json.dumps(versions)).alias("data_versions"), pl.lit(day).alias("day"))
        work: list[Callable[[], Any]] = [
            lambda: lake.write(training_table(pipeline), rows, day, day),
            lambda: _no_leak(pipeline, asset, rows, day, lake, versions),
        ]
        version, proof = in_order(lambda part: part(), work)
        coverage = _coverage(pipeline, rows)
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(rows, coverage, version, versions))
        yield stage.passed(
            asset,
            "one_row_out",
            rows.height == examples.height,
            f"{rows.height} rows out for {examples.height} spine rows",
        )
        yield _coverage_check(asset, coverage)
        # A blocking check that fails ends the step: what else was seen is said before it is.
        blocking = [proof, _enough(pipeline, asset, rows)]
        yield from sorted(blocking, key=lambda result: not result.passed)

    return dg.Definitions(assets=[training_set])


def _examples(pipeline: Pipeline, day: date, lake: Lake) -> "pl.DataFrame":
    """Labelled spine rows: a sample of those to train on, all of those to judge on."""
    import polars as pl

    from lifecycle.splits import sample_by_hash

    first = pipeline.first_day + timedelta(days=1)
    labels = read_labels(pipeline, lake, pipeline.first_day, day)
    key = list(pipeline.spine.key)
    rows = read_spine(pipeline, lake, first, day).join(labels, on=key, how="inner", maintain_order="left")
    rows = rows.with_columns(
        pl.when(pl.col("event_day") >= gate_start(pipeline, day))
        .then(pl.lit(GATE))
        .otherwise(pl.lit(TRAIN))
        .alias("part")
    )
    train = rows.filter(pl.col("part") == TRAIN)
    keys = train.select(pl.concat_str(key, separator="|"))[:, 0].to_numpy()
    kept = train.filter(pl.Series(sample_by_hash(keys, pipeline.training.max_rows, pipeline.training.seed)))
    return pl.concat([kept, rows.filter(pl.col("part") == GATE)])


def _coverage(pipeline: Pipeline, rows: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    names = [feature.name for feature in pipeline.features]
    shares = rows.select(pl.col(names).is_not_null().mean())
    return shares.transpose(include_header=True, header_name="feature", column_names=["present"]).sort("present")


def _coverage_check(asset: dg.AssetKey, coverage: "pl.DataFrame") -> dg.AssetCheckResult:
    import polars as pl

    sparse = coverage.filter(pl.col("present") < 0.5)
    names = [f"{name} in {share:.0%}" for name, share in sparse.iter_rows()]
    message = (
        f"present too rarely: {', '.join(names)}" if names else "every feature is present in half of the rows or more"
    )
    return stage.passed(asset, "coverage", not names, message, warn=True)


def _no_leak(
    pipeline: Pipeline, asset: dg.AssetKey, rows: "pl.DataFrame", day: date, lake: Lake, versions: dict[str, int]
) -> dg.AssetCheckResult:
    from lifecycle.proofs import leaks, sample

    drawn = sample(rows, pipeline.proofs.examples, pipeline.proofs.seed + day.toordinal())
    tables = {table.name: validated_table(pipeline, table.name) for table in pipeline.tables}
    found = leaks(pipeline, drawn, {name: lake.scan(table, versions.get(table)) for name, table in tables.items()})
    message = f"{drawn.height} examples computed again from what was known: all {len(pipeline.features)} features equal"
    if found.height:
        wrong = found.select(*pipeline.spine.key, PREDICTION_TIME).n_unique()
        message = (
            f"{wrong} of {drawn.height} examples say what the facts known at their prediction time do not: "
            f"{', '.join(found['feature'].unique(maintain_order=True))}. Either a value knows the future, or facts "
            "changed and the features of the days since were not built again"
        )
    return stage.passed(
        asset,
        "no_leak",
        not found.height,
        message,
        metadata={
            "examples": drawn.height,
            "first_asked": str(drawn[PREDICTION_TIME].min()),
            "last_asked": str(drawn[PREDICTION_TIME].max()),
            "leaks": stage.markdown_table(found.rename({"found": "in the training set"}), 50),
        },
    )


def _enough(pipeline: Pipeline, asset: dg.AssetKey, rows: "pl.DataFrame") -> dg.AssetCheckResult:
    import polars as pl

    plan = pipeline.training
    days = dict(rows.group_by("part").agg(pl.col("event_day").n_unique()).iter_rows())
    needed = max(plan.min_days, plan.folds * plan.fold_days + 1)
    ok = days.get(TRAIN, 0) >= needed and days.get(GATE, 0) > 0
    return stage.passed(
        asset,
        "enough_examples",
        ok,
        f"{days.get(TRAIN, 0)} labelled days to train on ({needed} needed), {days.get(GATE, 0)} to judge on",
    )


def _metadata(rows: "pl.DataFrame", coverage: "pl.DataFrame", version: int, versions: dict[str, int]) -> dict[str, Any]:
    import polars as pl

    parts = rows.group_by("part", "moment").agg(
        pl.len().alias("rows"),
        pl.col("event_day").min().alias("first day"),
        pl.col("event_day").max().alias("last day"),
        pl.col("label").mean().alias("mean label"),
    )
    return {
        "dagster/row_count": rows.height,
        "delta_version": version,
        "data_versions": dg.MetadataValue.json(versions),
        "parts": stage.markdown_table(parts.sort("part", "moment")),
        "least_present_features": stage.markdown_table(coverage, 15),
    }
