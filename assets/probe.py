"""The probe: one refit, before a training of many, that tells whether a new model would beat the champion."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.deployment import CAUSE_ID_TAG, CAUSE_KIND_TAG, CAUSE_TAG, DECIDED_BY_TAG, unseen
from assets.trained_model import model_frame
from assets.training_set import GATE, TRAIN, training_table
from lifecycle import scoring
from lifecycle.pipeline import Pipeline
from lifecycle.policy import probed
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry, Version

if TYPE_CHECKING:
    from lifecycle.probe import Probe


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "probe")
    confidence = pipeline.retraining.probe_confidence

    @dg.multi_asset(
        name=f"{pipeline.name}__probe",
        specs=[
            stage.spec(
                pipeline,
                "probe",
                group="training",
                description="Would a new model beat the champion? The champion's own recipe, fitted once on the newest "
                "labels, meets it on days that neither has learnt from. "
                + (
                    f"Below a chance of {confidence:.0%} the training is saved: the rest of the run is skipped, and "
                    "the ledger says so. "
                    if confidence is not None
                    else "The pipeline's policy declares no `probe_confidence`, so it lets everything pass. "
                )
                + "What a person asks for is trained without it.",
                kinds={"scikitlearn"},
                deps=[stage.key(pipeline, "training_set")],
                skippable=True,
            )
        ],
        pool=f"{pipeline.name}__training",
    )
    def probe(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        registry: dg.ResourceParam[Registry],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult]:
        day, tags = stage.last_day(context), context.run.tags
        champion = registry.champion(pipeline.name)
        if not probed(tags.get(CAUSE_KIND_TAG), champion is not None, pipeline.retraining) or champion is None:
            why = "no champion serves yet" if champion is None else "the training was not asked for by the policy"
            why = "the policy declares no probe" if confidence is None else why
            yield dg.MaterializeResult(asset_key=asset, metadata={"verdict": f"not probed: {why}"})
            return
        found = _probe(pipeline, day, champion, lake, registry)
        _record(pipeline, day, found, champion, ledger, tags)
        context.log.info(found.detail)
        if found.worth:
            yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(found, champion))
            return
        # Without a materialization, Dagster skips the training, the registration and the gate.
        context.log_event(
            dg.AssetObservation(
                asset, description=found.detail, partition=str(day), metadata=_metadata(found, champion)
            )
        )

    return dg.Definitions(assets=[probe])


def _probe(pipeline: Pipeline, day: date, champion: Version, lake: Lake, registry: Registry) -> "Probe":
    from lifecycle.probe import Recipe, probe

    rows = lake.read(training_table(pipeline), day, day)
    window = unseen(rows.filter(rows["part"] == GATE), champion)
    estimator = registry.estimator(champion)
    return probe(
        Recipe.of_run(registry.run_params(champion.run_id), estimator),
        scoring.score(estimator, window, champion.features, pipeline),
        model_frame(pipeline, rows.filter(rows["part"] == TRAIN)),
        model_frame(pipeline, window),
        pipeline.inputs,
        "label",
        pipeline.task,
        pipeline.gate,
        confidence=pipeline.retraining.probe_confidence or 0.0,
        calibration_days=pipeline.training.fold_days,
        calibration_rows=pipeline.training.tuning_rows,
        max_rows=pipeline.training.max_rows,
        seed=pipeline.training.seed,
    )


def _record(
    pipeline: Pipeline, day: date, found: "Probe", champion: Version, ledger: Ledger, tags: Mapping[str, str]
) -> None:
    evidence = {**found.to_dict(), "cause": tags.get(CAUSE_TAG, ""), "cause_id": tags.get(CAUSE_ID_TAG, "")}
    decided_by = tags.get(DECIDED_BY_TAG, "a person")
    ledger.record(pipeline.name, day, "probe", decided_by, found.detail, champion.number, evidence=evidence)


def _metadata(found: "Probe", champion: Version) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "verdict": ("worth a training: " if found.worth else "training saved: ") + found.detail,
        "champion": champion.number,
        "rows": found.rows,
        "window_rows": found.window_rows,
        "seconds": stage.number(found.seconds),
    }
    if found.gain is not None and found.interval is not None and found.probability is not None:
        low, high = found.interval
        metadata |= {
            "gain": stage.number(found.gain),
            "gain_interval": f"{low:+.4g} to {high:+.4g}",
            "probability": stage.number(found.probability),
        }
    return metadata
