"""The jobs of a pipeline: what a night does, what a retraining does, and building history again."""

from __future__ import annotations

import dagster as dg

from assets import stage
from lifecycle.pipeline import Pipeline
from resources.settings import Settings

RETRAIN_STAGES = ("training_set", "probe", "trained_model", "registered_version", "deployment")
HISTORY_GROUPS = ("raw", "validated", "features")


def nightly_name(pipeline: Pipeline) -> str:
    return f"{pipeline.name}__nightly"


def retrain_name(pipeline: Pipeline) -> str:
    return f"{pipeline.name}__retrain"


def history_name(pipeline: Pipeline) -> str:
    return f"{pipeline.name}__history"


def build(pipeline: Pipeline, settings: Settings) -> dg.Definitions:  # noqa: ARG001
    everything = dg.AssetSelection.key_prefixes([pipeline.name])
    retrain = dg.AssetSelection.assets(*(stage.key(pipeline, name) for name in RETRAIN_STAGES))
    nightly_only = dg.AssetSelection.assets(stage.key(pipeline, "online_features"))
    history = (dg.AssetSelection.groups(*HISTORY_GROUPS) & everything) - nightly_only

    def job(name: str, selection: dg.AssetSelection, description: str) -> dg.UnresolvedAssetJobDefinition:
        return dg.define_asset_job(
            name,
            selection,
            description=description,
            executor_def=dg.in_process_executor,
            tags={"perennial/pipeline": pipeline.name},
        )

    return dg.Definitions(
        jobs=[
            job(
                nightly_name(pipeline),
                everything - retrain,
                "One night: ingest what the day brought, validate, build features, refresh the online store, "
                "forecast tomorrow, and report on drift and performance.",
            ),
            job(
                retrain_name(pipeline),
                retrain,
                "Probe whether a new model would beat the champion; if so, train a challenger as of the day, register "
                "it, and let the gate decide whether it serves.",
            ),
            job(
                history_name(pipeline),
                history,
                "Raw, validated and feature rows of a range of days in one run.",
            ),
        ]
    )
