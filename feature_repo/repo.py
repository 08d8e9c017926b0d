"""What ``feast apply`` reads: the objects of every pipeline named in the setting PERENNIAL_PIPELINES.

It removes from the registry what it does not find here; so the services that earlier models are pinned to are here too.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from feast import FeatureStore

from feature_repo.objects import feast_objects, kept_services

_home = os.path.abspath(os.environ.get("PERENNIAL_HOME", "var"))
_registered = FeatureStore(fs_yaml_file=Path(__file__).parent / "feature_store.yaml").list_feature_services()
for _module in os.environ.get("PERENNIAL_PIPELINES", "pipelines.flight_delays").split(","):
    _pipeline = importlib.import_module(_module.strip()).PIPELINE
    _entities, _views, _services = feast_objects(_pipeline, lambda table: f"{_home}/lake/{table}")
    # Feast collects the objects it finds as module attributes or in lists of them.
    globals()[f"{_pipeline.name}_objects"] = [*_entities, *_views]
    globals()[f"{_pipeline.name}_services"] = [*_services, *kept_services(_pipeline, _registered)]
