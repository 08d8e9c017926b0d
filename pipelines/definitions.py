"""The code location: every pipeline named in the setting PERENNIAL_PIPELINES."""

from __future__ import annotations

import importlib

from pipelines.build import build_definitions
from resources.settings import Settings

_settings = Settings()
defs = build_definitions(
    [importlib.import_module(name.strip()).PIPELINE for name in _settings.pipelines.split(",")], _settings
)
