"""What ``feast apply`` reads: the objects of every pipeline named in the setting PERENNIAL_PIPELINES."""

from __future__ import annotations

import importlib
import os

from feature_repo.objects import feast_objects

_home = os.path.abspath(os.environ.get("PERENNIAL_HOME", "var"))
for _module in os.environ.get("PERENNIAL_PIPELINES", "pipelines.flight_delays").split(","):
    _pipeline = importlib.import_module(_module.strip()).PIPELINE
    _entities, _views, _service = feast_objects(_pipeline, lambda table: f"{_home}/lake/{table}")
    # Feast collects the objects it finds as module attributes or in lists of them.
    globals()[f"{_pipeline.name}_objects"] = [*_entities, *_views]
    globals()[f"{_pipeline.name}_service"] = _service
