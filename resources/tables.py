"""Names of lake tables that more than one room speaks of. Those of features are Feast's, in ``feature_repo/``."""

from __future__ import annotations

from lifecycle.pipeline import Pipeline


def validated_table(pipeline: Pipeline, name: str) -> str:
    """The facts of a source table that meet its contract."""
    return f"{pipeline.name}/validated/{name}"


def pushed_table(pipeline: Pipeline, name: str) -> str:
    """The facts of a source table that were pushed and that no nightly run has brought yet."""
    return f"{pipeline.name}/pushed/{name}"
