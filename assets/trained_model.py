"""The trained model: tuned, fitted, calibrated and evaluated; everything about it is in its MLflow run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.training_set import GATE, TRAIN, training_table
from lifecycle import definitions, scoring
from lifecycle.challenger import DAY, KEY, as_nightly, baseline_losses, reference_of, training_frame
from lifecycle.performance.hindcasts import HINDCAST, beside_forecasts
from lifecycle.pipeline import Pipeline
from resources.lake import Lake
from resources.registry import DEFINITIONS, Registry, TrainingRecord

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    import pandas as pd
    import polars as pl

    from lifecycle.evaluation import Evaluation
    from lifecycle.training import TrainedModel


@dataclass(frozen=True)
class Judged:
    """The model on the rows kept for the gate, and the simple baselines on the same rows."""

    rows: "pl.DataFrame"
    scores: "np.ndarray"
    evaluation: "Evaluation"
    baseline_losses: dict[str, float]


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "trained_model")

    @dg.multi_asset(
        name=f"{pipeline.name}__trained_model",
        specs=[
            stage.spec(
                pipeline,
                "trained_model",
                group="training",
                description="The model that can be trained at the close of the day: the best of "
                f"{pipeline.training.trials} trials over {', '.join(pipeline.training.families)} with time-ordered "
                "validation, calibrated, with its evaluation and reference. Materialized only when something or "
                "someone retrains.",
                kinds={"optuna", "scikitlearn", "mlflow"},
                deps=[stage.key(pipeline, "training_set"), stage.key(pipeline, "probe")],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "beats_baselines",
                "On days it has not learnt from, its mean loss is below that of every simple baseline.",
            )
        ],
        pool=f"{pipeline.name}__training",
    )
    def trained_model(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from lifecycle.training import train

        day = stage.last_day(context)
        rows = lake.read(training_table(pipeline), day, day)
        trained = train(
            model_frame(pipeline, rows.filter(rows["part"] == TRAIN)),
            pipeline.inputs,
            "label",
            pipeline.training,
            pipeline.task,
            costs=pipeline.costs,
            groups=pipeline.slices,
            progress=context.log.info,
        )
        judged = _judge(pipeline, trained, rows.filter(rows["part"] == GATE))
        nightly = _as_nightly(pipeline, judged)
        record = _record(pipeline, day, trained, judged, nightly, rows, context)
        learnt = as_nightly(pipeline, rows.filter(rows["part"] == TRAIN))
        reference = reference_of(pipeline, nightly, trained.threshold, learnt)
        run_id = registry.log_training(pipeline.name, trained.estimator, record, reference)
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(run_id, trained, judged, record))
        yield _beats_baselines(asset, judged)

    return dg.Definitions(assets=[trained_model])


def model_frame(pipeline: Pipeline, rows: "pl.DataFrame") -> "pd.DataFrame":
    """Rows of the training set as the trainer takes them."""
    import polars as pl

    key = pl.concat_str(list(pipeline.spine.key), separator="|").alias(KEY)
    return training_frame(pipeline, rows.with_columns(key, pl.col("event_day").alias(DAY)))


def _judge(pipeline: Pipeline, trained: "TrainedModel", rows: "pl.DataFrame") -> Judged:
    from lifecycle.evaluation import evaluate

    names = [feature.name for feature in pipeline.inputs]
    scores = scoring.score(trained.estimator, rows, names, pipeline)
    labels = rows["label"].to_numpy()
    frame = model_frame(pipeline, rows)
    losses = baseline_losses(pipeline, trained.baselines, frame, labels)
    evaluation = evaluate(
        labels,
        scores,
        rows["event_day"].to_numpy().astype("datetime64[D]"),
        pipeline.task,
        threshold=trained.threshold,
        slices=frame[list(pipeline.slices)] if pipeline.slices else None,
        seed=pipeline.training.seed,
    )
    return Judged(rows, scores, evaluation, losses)


def _as_nightly(pipeline: Pipeline, judged: Judged) -> "pl.DataFrame":
    """The model's forecasts of the judged days, as the nightly batch would have made them."""
    import polars as pl

    names = [feature.name for feature in pipeline.inputs]
    scored = judged.rows.with_columns(pl.Series("score", judged.scores))
    nightly = beside_forecasts(scored, pipeline.spine, pipeline.spine.key)
    return nightly.select(pl.col("event_day").alias("day"), "score", HINDCAST, "label", *names)


def _record(
    pipeline: Pipeline,
    day: "date",
    trained: "TrainedModel",
    judged: Judged,
    nightly: "pl.DataFrame",
    rows: "pl.DataFrame",
    context: dg.AssetExecutionContext,
) -> TrainingRecord:
    from lifecycle import plots

    labels = judged.rows["label"].to_numpy()
    gate_days = judged.rows["event_day"]
    loss = "log_loss" if pipeline.task == "classification" else "rmse"
    pictures = {}
    if pipeline.task == "classification":
        gap = judged.evaluation.metrics["calibration_gap"]
        title = f"Mean forecast is {abs(gap):.1%} {'above' if gap > 0 else 'below'} the mean outcome on unseen days"
        pictures["reliability.png"] = plots.reliability(labels, {"model": judged.scores}, title)
    names = sorted(trained.importances, key=lambda name: -trained.importances[name])[:15]
    pictures["importance.png"] = plots.importance_bars(
        names, [trained.importances[name] for name in names], f"{names[0]} matters most"
    )
    return TrainingRecord(
        params={"family": trained.family, **trained.params, "rows": trained.rows, "seed": pipeline.training.seed},
        metrics={
            **{f"validation_{name}": value for name, value in trained.evaluation.metrics.items()},
            **{f"unseen_{name}": value for name, value in judged.evaluation.metrics.items()},
            "tuning_seconds": trained.tuning.seconds,
        },
        tags={
            "pipeline": pipeline.name,
            "day": str(day),
            "dagster_run": context.run.run_id,
            "data_versions": rows["data_versions"][0],
        },
        documents={
            "evaluation.json": {
                "loss": loss,
                "threshold": trained.threshold,
                "validation": _document(trained.evaluation),
                "unseen": _document(judged.evaluation) | {"first_day": gate_days.min(), "last_day": gate_days.max()},
                "trained_through": rows.filter(rows["part"] == TRAIN)["event_day"].max(),
                "baseline_losses": judged.baseline_losses,
                "importances": trained.importances,
                "features": [feature.name for feature in pipeline.inputs],
            },
            DEFINITIONS: definitions.record(pipeline),
        },
        plots=pictures,
        judged=nightly,
        trials=trained.tuning.trials,
    )


def _document(evaluation: "Evaluation") -> dict[str, Any]:
    return {"metrics": evaluation.metrics, "intervals": evaluation.intervals, "slices": evaluation.slices}


def _beats_baselines(asset: dg.AssetKey, judged: Judged) -> dg.AssetCheckResult:
    loss = judged.evaluation.metrics["loss"]
    lost = [f"{name} ({value:.4f})" for name, value in judged.baseline_losses.items() if value <= loss]
    message = f"mean loss {loss:.4f} on unseen days; baselines: " + ", ".join(
        f"{name} {value:.4f}" for name, value in judged.baseline_losses.items()
    )
    return stage.passed(
        asset,
        "beats_baselines",
        not lost,
        f"no better than {', '.join(lost)}; {message}" if lost else message,
        metadata={
            "loss": stage.number(loss),
            **{f"loss_{name}": stage.number(value) for name, value in judged.baseline_losses.items()},
        },
    )


def _metadata(run_id: str, trained: "TrainedModel", judged: Judged, record: TrainingRecord) -> dict[str, Any]:
    import polars as pl

    rows = [
        (name, value, *judged.evaluation.intervals.get(name, (None, None)))
        for name, value in judged.evaluation.metrics.items()
    ]
    metadata: dict[str, Any] = {
        "mlflow_run": run_id,
        "family": trained.family,
        "params": dg.MetadataValue.json(dict(trained.params)),
        "dagster/row_count": trained.rows,
        "on_unseen_days": stage.markdown_table(
            pl.DataFrame(rows, schema=["metric", "value", "low", "high"], orient="row", strict=False), 30
        ),
        "trials": stage.markdown_table(
            pl.DataFrame([_flat(trial) for trial in trained.tuning.trials], strict=False, infer_schema_length=None), 30
        ),
    }
    if judged.evaluation.slices:
        metadata["slices"] = stage.markdown_table(pl.DataFrame(judged.evaluation.slices, strict=False), 30)
    for name, png in record.plots.items():
        metadata[name.removesuffix(".png")] = dg.MetadataValue.md(stage.image(png, name))
    return metadata


def _flat(trial: Any) -> dict[str, Any]:
    """A trial as one row: what it chose, which differs from family to family, as text."""
    chosen = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial["params"].items()
    )
    return {**trial, "params": chosen}
