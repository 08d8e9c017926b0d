"""The registered version: the model in the registry with everything that must move with it."""

import json
from datetime import date

import dagster as dg

from assets import stage
from lifecycle.definitions import fingerprints
from lifecycle.pipeline import Pipeline
from resources.registry import DEFINITIONS, Registry, version_tags


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "registered_version")

    @dg.multi_asset(
        name=f"{pipeline.name}__registered_version",
        specs=[
            stage.spec(
                pipeline,
                "registered_version",
                group="training",
                description="The day's model as a version of the registered model, named challenger, with its feature "
                "service, inputs and what each of them is, decision threshold, reference profile and the versions of "
                "the data it saw.",
                kinds={"mlflow"},
                deps=[stage.key(pipeline, "trained_model")],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "scores_as_trained",
                "The model read back from the registry has the threshold and inputs it was registered with, "
                "and can be loaded.",
                blocking=True,
            )
        ],
    )
    def registered_version(
        context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]
    ) -> dg.MaterializeResult:
        day = stage.last_day(context)
        run_id = registry.latest_run(pipeline.name, day)
        if run_id is None:
            raise dg.Failure(f"no training run as of {day} in MLflow; materialize {asset.path[0]}/trained_model first")
        document, recorded = (registry.document(run_id, name) for name in ("evaluation.json", DEFINITIONS))
        tags = version_tags(
            day,
            date.fromisoformat(document["trained_through"]),
            recorded["service"],
            document["features"],
            document["threshold"],
            fingerprints(recorded),
        )
        run_tags = registry.run_tags(run_id)
        tags |= {
            "data_versions": run_tags["data_versions"],
            "dagster_run": run_tags["dagster_run"],
            "importances": json.dumps({name: round(value, 6) for name, value in document["importances"].items()}),
        }
        version = registry.register(pipeline.name, run_id, tags)
        loaded = registry.estimator(version)
        inputs = list(getattr(loaded, "feature_names_in_", version.features))
        return dg.MaterializeResult(
            asset_key=asset,
            metadata={
                "version": version.number,
                "mlflow_run": run_id,
                "threshold": stage.number(version.threshold) if version.threshold is not None else "none",
                "trained_through": str(version.trained_through),
                "feature_service": version.feature_service,
            },
            check_results=[
                stage.passed(
                    asset,
                    "scores_as_trained",
                    inputs == list(version.features),
                    f"version {version.number} takes {len(inputs)} inputs"
                    if inputs == list(version.features)
                    else f"version {version.number} takes {inputs}, registered with {list(version.features)}",
                )
            ],
        )

    return dg.Definitions(assets=[registered_version])
