"""Evidently: the drift report that people read. Verdicts are not taken from it (its PSI bins by equal width)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.features import Feature

if TYPE_CHECKING:
    import polars as pl


def write_report(
    reference: pl.DataFrame, current: pl.DataFrame, features: Sequence[Feature], path: Path
) -> Path | None:
    """Writes the drift report of ``current`` against ``reference`` as HTML, and JSON beside it.

    Columns that are empty on either side are left out: one of them fails Evidently's whole report; our own report
    names them. Returns None when nothing is left to compare.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    usable = [
        feature
        for feature in features
        if all(
            feature.name in frame.columns and frame[feature.name].drop_nulls().n_unique() > 1
            for frame in (reference, current)
        )
    ]
    if not usable:
        return None
    names = [feature.name for feature in usable]
    definition = DataDefinition(
        numerical_columns=[feature.name for feature in usable if feature.type != "string"],
        categorical_columns=[feature.name for feature in usable if feature.type == "string"],
    )
    snapshot = Report([DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")]).run(
        Dataset.from_pandas(current.select(names).to_pandas(), definition),
        Dataset.from_pandas(reference.select(names).to_pandas(), definition),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(path))
    snapshot.save_json(str(path.with_suffix(".json")))
    return path
