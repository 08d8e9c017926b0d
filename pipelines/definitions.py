"""The code location: every pipeline named in the setting PERENNIAL_PIPELINES."""

from __future__ import annotations

import gc
import importlib

import dagster  # noqa: F401 - first, so that what its import makes is there

# Dagster's hundred thousand objects live as long as the process. Python would go over all of them as ours are made, a
# twelfth of the time that this import takes in every run's process, and again whenever it collects.
gc.freeze()

from pipelines.build import build_definitions  # noqa: E402
from resources.settings import Settings  # noqa: E402

_settings = Settings()
defs = build_definitions(
    [importlib.import_module(name.strip()).PIPELINE for name in _settings.pipelines.split(",")], _settings
)
