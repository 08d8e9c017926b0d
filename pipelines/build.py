"""Assembles a code location from pipelines: their assets, checks, jobs, schedules and sensors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import dagster as dg

from assets import (
    batch_predictions,
    deployment,
    diagnosis,
    drift_report,
    feature_catalogue,
    features,
    hindcasts,
    online_features,
    performance_report,
    probe,
    raw,
    registered_version,
    trained_model,
    training_set,
    validated,
)
from lifecycle.pipeline import Pipeline
from pipelines import alerting, feeding, jobs, nightly, retraining
from resources.configured import resources
from resources.settings import Settings, quiet_environment

STAGES = (
    raw,
    validated,
    features,
    online_features,
    training_set,
    probe,
    trained_model,
    registered_version,
    deployment,
    batch_predictions,
    hindcasts,
    feature_catalogue,
    drift_report,
    performance_report,
    diagnosis,
)


def build_definitions(pipelines: Sequence[Pipeline], settings: Settings | None = None) -> dg.Definitions:
    """Everything Dagster needs to know about some pipelines.

    Parameters
    ----------
    settings : where state is kept; read from the environment when not given.
    """
    quiet_environment()
    # Chosen on purpose; said once per asset by every process, they would bury what matters.
    for category in (dg.BetaWarning, dg.PreviewWarning):
        warnings.simplefilter("ignore", category)
    settings = settings or Settings()
    stages = [stage.build(pipeline) for pipeline in pipelines for stage in STAGES]
    automation = [
        module.build(pipeline, settings) for pipeline in pipelines for module in (jobs, nightly, retraining, feeding)
    ]
    shared = dg.Definitions(
        resources=resources(settings),
        # The work is small and in order; processes of their own would pay all imports once a step.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(*stages, *automation, alerting.build(pipelines, settings), shared)
