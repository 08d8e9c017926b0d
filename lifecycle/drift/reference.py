"""The reference: the profiles of data and predictions that come with a champion.

What belongs here: making it, and its JSON form. Profiles of single columns are in ``profiles.py``; comparing is in
``monitoring.py`` and ``performance/realised.py``; where the JSON is kept is the registry's business.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from lifecycle.drift.profiles import (
    CategoricalProfile,
    NumericProfile,
    Profile,
    bounded,
    numeric_profile,
    profile_column,
)
from lifecycle.drift.sketch import Sketch

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.relations import Relations
    from lifecycle.features import Feature


@dataclass(frozen=True)
class Reference:
    """What a champion saw and said when it was judged; monitoring compares with it.

    Parameters
    ----------
    features : profiles in the order of the model's inputs.
    predictions : profile of the scores.
    label_mean : base rate (classification) or mean (regression) of the labels; None without labels.
    metrics : metrics of the version on the window it was judged on (``auc``, ``log_loss``, ``r2``, …).
    first_day, last_day : the window; None when the days of the rows were not told.
    labels : profile of the labels that were known; None without labels, and in references of earlier times.
    relations : how the columns went together on the days the version learnt from; None in references of earlier times.
    """

    features: tuple[Profile, ...]
    predictions: NumericProfile
    label_mean: float | None
    metrics: dict[str, float]
    rows: int
    first_day: date | None
    last_day: date | None
    labels: NumericProfile | None = None
    relations: Relations | None = None

    @property
    def feature_names(self) -> list[str]:
        return [feature.name for feature in self.features]

    def bounded(self, declared: Sequence[Feature]) -> Reference:
        """The same with the bounds that features are declared to have, and values that the version learnt from.

        Of these the profiles of the judged days do not tell.
        """
        features = {feature.name: feature for feature in declared}
        learnt = {each.name: self.relations.learnt(each.name) if self.relations else None for each in self.features}
        profiles = (bounded(each, features.get(each.name), learnt[each.name]) for each in self.features)
        return replace(self, features=tuple(profiles))

    def to_json(self) -> str:
        """The reference as JSON; ``from_json`` gives an equal one back."""
        return json.dumps(asdict(self), default=date.isoformat, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Reference:
        """The reference that ``to_json`` wrote.

        Raises
        ------
        ValueError
            If the text is not the JSON of a reference.
        """
        from lifecycle.drift.relations import Relations

        try:
            raw = json.loads(text)
            return cls(
                features=tuple(_profile_from(feature) for feature in raw["features"]),
                predictions=_numeric_from(raw["predictions"]),
                label_mean=raw["label_mean"],
                metrics=raw["metrics"],
                rows=raw["rows"],
                first_day=_day_from(raw["first_day"]),
                last_day=_day_from(raw["last_day"]),
                labels=_numeric_from(labels) if (labels := raw.get("labels")) else None,
                relations=Relations.from_dict(relations) if (relations := raw.get("relations")) else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not the JSON of a reference ({error!r}); train and register the version again")


def profile(
    frame: pl.DataFrame,
    features: Sequence[Feature],
    scores: np.ndarray,
    labels: np.ndarray | None,
    metrics: dict[str, float],
    days: np.ndarray | None = None,
) -> Reference:
    """Profile the data and the predictions of a version on the window it was judged on.

    Parameters
    ----------
    frame : (rows,) with a column for each feature.
    scores, labels : (rows,) predictions and outcomes; labels that are not known are NaN.
    metrics : the version's metrics on these rows; those that are not finite are left out.
    days : (rows,) datetime64[D], the day of each row; by default the column ``day`` of ``frame``, if there is one.

    Raises
    ------
    ValueError
        If there are no rows, columns are missing, or the lengths differ.
    """
    import numpy as np

    _check_shapes(frame, features, scores, labels)
    known = np.asarray(labels, dtype=float) if labels is not None else np.full(frame.height, np.nan)
    has_label = np.isfinite(known)
    order = _days_of(frame, days)
    dated = order[~np.isnat(order)]
    return Reference(
        features=tuple(profile_column(feature, frame[feature.name], order) for feature in features),
        predictions=numeric_profile("prediction", np.asarray(scores, dtype=float), order),
        label_mean=float(known[has_label].mean()) if has_label.any() else None,
        metrics={name: float(value) for name, value in metrics.items() if np.isfinite(value)},
        rows=frame.height,
        first_day=dated.min().item() if dated.size else None,
        last_day=dated.max().item() if dated.size else None,
        labels=numeric_profile("label", known[has_label], order[has_label]) if has_label.any() else None,
    )


def _check_shapes(
    frame: pl.DataFrame, features: Sequence[Feature], scores: np.ndarray, labels: np.ndarray | None
) -> None:
    if frame.is_empty():
        raise ValueError("the frame to profile has no rows; profile the window the version was judged on")
    absent = [feature.name for feature in features if feature.name not in frame.columns]
    if absent:
        raise ValueError(f"the frame to profile lacks the features {absent}; it has {frame.columns}")
    for name, values in (("scores", scores), ("labels", labels)):
        if values is not None and len(values) != frame.height:
            raise ValueError(f"{name} have {len(values)} rows, the frame {frame.height}; pass one per row")


def _profile_from(raw: dict[str, Any]) -> Profile:
    return _numeric_from(raw) if "edges" in raw else CategoricalProfile(**_tuples(raw))


def _numeric_from(raw: dict[str, Any]) -> NumericProfile:
    fine = raw.get("sketch")
    return NumericProfile(**{**_tuples(raw), "sketch": Sketch(**_tuples(fine)) if fine else None})


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) for name, value in raw.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


def _day_from(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _days_of(frame: pl.DataFrame, days: np.ndarray | None) -> np.ndarray:
    """(rows,) datetime64[D]; without any day where nobody says."""
    import numpy as np
    import polars as pl

    if days is None and "day" in frame.columns:
        column = frame["day"]
        if column.dtype not in (pl.Date, pl.Null):
            raise ValueError(f"column 'day' holds {column.dtype}; it must hold dates")
        days = column.cast(pl.Date).to_numpy()
    if days is None:
        return np.full(frame.height, "NaT", dtype="datetime64[D]")
    if len(days) != frame.height:
        raise ValueError(f"days have {len(days)} rows, the frame {frame.height}; pass one per row")
    return np.asarray(days, dtype="datetime64[D]")
