"""Drift of inputs and predictions against the champion's reference.

What belongs here: the comparison of a window with a reference by the population stability index alone. All other
distances, tests that know days, and harm are in ``monitoring.py``; performance needs labels and is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.distances import population_stability_index
from lifecycle.reference import NumericProfile, Profile, Reference, bin_categories, bin_numbers, numbers

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import MonitorRule


@dataclass(frozen=True)
class ColumnDrift:
    """How one column, an input or the prediction, differs from the reference.

    Parameters
    ----------
    psi : population stability index over the reference's bins, missing values being one; None when the
        window is empty.
    expected_psi : the value that sampling alone gives on average when nothing drifted.
    missing_reference, missing_current : shares of rows without a value.
    new_categories : values the reference never saw.
    drifted : whether ``psi`` exceeds its limit by more than ``expected_psi``.
    bins, reference_counts, current_counts : the two distributions, for drawing.
    """

    name: str
    psi: float | None
    expected_psi: float | None
    missing_reference: float
    missing_current: float | None
    mean_reference: float | None
    mean_current: float | None
    new_categories: tuple[str, ...]
    drifted: bool
    importance: float | None
    bins: tuple[str, ...]
    reference_counts: tuple[int, ...]
    current_counts: tuple[int, ...]


@dataclass(frozen=True)
class DriftReport:
    """A window's inputs and predictions held against the reference.

    Parameters
    ----------
    features : one per input of the reference, the most harmful first: by PSI, times importance if known.
    absent : inputs of the reference that the window does not have.
    drifted_share : share of the compared inputs that drifted; None when nothing was compared.
    errors, warnings : the verdict. Errors speak of predictions, which a retraining may mend; a feature that
        drifts, goes missing or brings new values is a warning, because it may do no harm, and because
        a feed that broke is not repaired by training on it.
    reason : why there is no verdict; None when there is one.
    """

    features: tuple[ColumnDrift, ...]
    prediction: ColumnDrift
    absent: tuple[str, ...]
    drifted_share: float | None
    reference_rows: int
    current_rows: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    reason: str | None

    def table(self) -> pl.DataFrame:
        """One row per column, the prediction first, then the inputs with the most harmful first."""
        import polars as pl

        schema: dict[str, pl.DataType] = {
            "name": pl.String(),
            "psi": pl.Float64(),
            "expected_psi": pl.Float64(),
            "drifted": pl.Boolean(),
            "importance": pl.Float64(),
            "missing_reference": pl.Float64(),
            "missing_current": pl.Float64(),
            "mean_reference": pl.Float64(),
            "mean_current": pl.Float64(),
            "new_categories": pl.List(pl.String()),
        }
        rows = [
            {name: list(value) if isinstance(value := getattr(column, name), tuple) else value for name in schema}
            for column in (self.prediction, *self.features)
        ]
        return pl.DataFrame(rows, schema=schema)


def expected_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """Mean of the population stability index when nothing drifted: ``(bins - 1) (1/n + 1/m)``.

    The index is then about ``(1/n + 1/m)`` times a chi-squared variable with ``bins - 1`` degrees of freedom
    (Yurdakul 2018). ``n`` and ``m`` are the rows of the two windows; bins empty in both do not count.
    """
    import numpy as np

    bins = int(np.count_nonzero((expected > 0) | (actual > 0)))
    return float((bins - 1) * (1 / expected.sum() + 1 / actual.sum()))


def compare(
    reference: Reference,
    current: pl.DataFrame,
    scores: np.ndarray,
    rule: MonitorRule,
    importance: Mapping[str, float] | None = None,
) -> DriftReport:
    """Compare a window's inputs and predictions with the reference.

    Parameters
    ----------
    current : (rows,) the window's inputs; features of the reference it lacks are named in the report.
    scores : (rows,) the predictions made from them.
    importance : how much the champion relies on each feature; ranks the features by the harm they can do.

    Raises
    ------
    ValueError
        If ``scores`` and ``current`` differ in length.
    """
    import numpy as np

    if len(scores) != current.height:
        raise ValueError(f"scores have {len(scores)} rows, current {current.height}; pass one score per row")
    present = [feature for feature in reference.features if feature.name in current.columns]
    weights = importance or {}
    features = [_drift(f, current[f.name], rule.feature_psi, weights.get(f.name)) for f in present]
    features.sort(key=lambda f: (-(f.psi or 0.0) * (weights.get(f.name, 0.0) if weights else 1.0), f.name))
    prediction = _numeric_drift(reference.predictions, np.asarray(scores, dtype=float), rule.prediction_psi, None)
    absent = tuple(f.name for f in reference.features if f.name not in current.columns)
    compared = [feature for feature in features if feature.psi is not None]
    return DriftReport(
        features=tuple(features),
        prediction=prediction,
        absent=absent,
        drifted_share=sum(f.drifted for f in compared) / len(compared) if compared else None,
        reference_rows=reference.rows,
        current_rows=current.height,
        errors=tuple(_prediction_errors(prediction, rule)),
        warnings=tuple(_feature_warnings(features, absent, rule)) if current.height else (),
        reason=None if current.height else "The window holds no rows, so there is nothing to compare.",
    )


def _drift(profile: Profile, column: pl.Series, limit: float, importance: float | None) -> ColumnDrift:
    if isinstance(profile, NumericProfile):
        return _numeric_drift(profile, numbers(column), limit, importance)
    counts, new = bin_categories(profile, column)
    return _column_drift(profile, counts, limit, importance, new_categories=new)


def _numeric_drift(profile: NumericProfile, values: np.ndarray, limit: float, importance: float | None) -> ColumnDrift:
    import numpy as np

    finite = values[np.isfinite(values)]
    mean = float(finite.mean()) if finite.size else None
    return _column_drift(profile, bin_numbers(profile, values), limit, importance, means=(profile.mean, mean))


def _column_drift(
    profile: Profile,
    counts: np.ndarray,
    limit: float,
    importance: float | None,
    means: tuple[float | None, float | None] = (None, None),
    new_categories: tuple[str, ...] = (),
) -> ColumnDrift:
    import numpy as np

    before, rows = np.array(profile.bin_counts), int(counts.sum())
    psi = population_stability_index(before, counts) if rows else None
    noise = expected_index(before, counts) if rows else None
    return ColumnDrift(
        name=profile.name,
        psi=psi,
        expected_psi=noise,
        missing_reference=profile.missing / int(before.sum()),
        missing_current=float(counts[-1]) / rows if rows else None,
        mean_reference=means[0],
        mean_current=means[1],
        new_categories=new_categories,
        drifted=psi is not None and noise is not None and psi - noise > limit,
        importance=importance,
        bins=profile.bins,
        reference_counts=profile.bin_counts,
        current_counts=tuple(counts.tolist()),
    )


def _prediction_errors(prediction: ColumnDrift, rule: MonitorRule) -> list[str]:
    if not prediction.drifted:
        return []
    return [f"Predictions drifted: {_psi_text(prediction, rule.prediction_psi)}."]


def _feature_warnings(features: list[ColumnDrift], absent: tuple[str, ...], rule: MonitorRule) -> list[str]:
    warnings = [f"Feature {f.name} drifted: {_psi_text(f, rule.feature_psi)}." for f in features if f.drifted]
    for feature in features:
        growth = (feature.missing_current or 0.0) - feature.missing_reference
        if growth > rule.max_missing_growth:
            warnings.append(
                f"Feature {feature.name} is missing in {feature.missing_current:.0%} of the rows, "
                f"{feature.missing_reference:.0%} in the reference: look at the source it comes from."
            )
        if feature.new_categories:
            named = ", ".join(feature.new_categories[:5]) + (", …" if len(feature.new_categories) > 5 else "")
            warnings.append(f"Feature {feature.name} has values the model never saw: {named}.")
    if absent:
        warnings.append(f"Not in this window, though the champion uses it: {', '.join(absent)}.")
    return warnings


def _psi_text(column: ColumnDrift, limit: float) -> str:
    text = f"PSI {column.psi:.2f} against a limit of {limit:g}, {column.expected_psi:.3f} expected from sampling alone"
    if column.mean_reference is not None and column.mean_current is not None:
        text += f"; mean {column.mean_reference:.3g} → {column.mean_current:.3g}"
    return text
