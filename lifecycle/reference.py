"""The reference: the profile of data and predictions that comes with a champion.

What belongs here: making the profile, counting other data over the same bins, and its JSON form. Comparing
is in ``monitoring.py`` and ``performance.py``; where the JSON is kept is the registry's business.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from lifecycle.sketch import Sketch, sketch

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature
    from lifecycle.relations import Relations

QUANTILE_BINS = 10
MOST_CATEGORIES = 128  # rarer ones are counted together as "other"


@dataclass(frozen=True)
class NumericProfile:
    """Distribution of one numeric column.

    Parameters
    ----------
    edges : inner edges, ascending; bin i is (edges[i-1], edges[i]], the outer bins are unbounded.
    counts : rows in each of the ``len(edges) + 1`` bins.
    missing : rows without a finite value.
    mean, std, minimum, maximum : of the finite values; None when there are none.
    sketch : the distribution function, finer than the bins; None without values, and in profiles of earlier times.
    day_counts : rows of each day over the bins, missing values last, in the order of days; empty without days.
    constant_days : days on which several rows had one and the same value.
    distinct : number of different values; None in profiles of earlier times.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    sketch: Sketch | None = None
    day_counts: tuple[tuple[int, ...], ...] = ()
    constant_days: int = 0
    distinct: int | None = None

    @property
    def bins(self) -> tuple[str, ...]:
        """A short name of every bin, the missing values last."""
        if not self.edges:
            return ("any value", "missing")
        return (*_edge_labels(self.edges), "missing")

    @property
    def bin_counts(self) -> tuple[int, ...]:
        """Rows in every bin, the missing values last."""
        return (*self.counts, self.missing)


@dataclass(frozen=True)
class CategoricalProfile:
    """Distribution of one categorical column.

    Parameters
    ----------
    categories, counts : the most frequent values and their rows, most frequent first.
    other : rows with rarer values.
    missing : rows without a value.
    day_counts : rows of each day over the bins, in the order of days; empty without days.
    """

    name: str
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    other: int
    missing: int
    day_counts: tuple[tuple[int, ...], ...] = ()

    @property
    def bins(self) -> tuple[str, ...]:
        """A short name of every bin, the other and the missing values last."""
        return (*self.categories, "other", "missing")

    @property
    def bin_counts(self) -> tuple[int, ...]:
        """Rows in every bin, the other and the missing values last."""
        return (*self.counts, self.other, self.missing)


Profile = NumericProfile | CategoricalProfile


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
        from lifecycle.relations import Relations

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
        features=tuple(_profile_column(feature, frame[feature.name], order) for feature in features),
        predictions=_numeric("prediction", np.asarray(scores, dtype=float), order),
        label_mean=float(known[has_label].mean()) if has_label.any() else None,
        metrics={name: float(value) for name, value in metrics.items() if np.isfinite(value)},
        rows=frame.height,
        first_day=dated.min().item() if dated.size else None,
        last_day=dated.max().item() if dated.size else None,
        labels=_numeric("label", known[has_label], order[has_label]) if has_label.any() else None,
    )


def numbers(column: pl.Series) -> np.ndarray:
    """The values of a numeric or boolean column as floats, NaN where missing.

    Raises
    ------
    ValueError
        If the column holds something else.
    """
    import polars as pl

    if not holds_numbers(column):
        raise ValueError(f"column {column.name!r} has type {column.dtype}; its feature is declared numeric")
    return column.cast(pl.Float64).to_numpy()


def holds_numbers(column: pl.Series) -> bool:
    """Whether a column can be read by ``numbers``."""
    import polars as pl

    return column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)


def bin_numbers(reference: NumericProfile, values: np.ndarray) -> np.ndarray:
    """Count ``values`` over the bins of ``reference``, the missing ones last."""
    import numpy as np

    return np.bincount(number_bins(reference, values), minlength=len(reference.edges) + 2)


def number_bins(reference: NumericProfile, values: np.ndarray) -> np.ndarray:
    """(rows,) the bin of every value; the last bin is for those that are missing."""
    import numpy as np

    # With so few edges, comparing all rows with each takes a fifth of what searching each row's bin does; counting in
    # small numbers halves that.
    places = np.zeros(values.size, dtype=np.int16)
    for edge in reference.edges:
        places += values > edge
    places[~np.isfinite(values)] = len(reference.edges) + 1
    return places.astype(np.intp)


def category_bins(reference: CategoricalProfile, column: pl.Series) -> np.ndarray:
    """(rows,) the bin of every value; the last two bins are for other values and for missing ones."""
    import numpy as np
    import polars as pl

    other = len(reference.categories)
    places = {category: place for place, category in enumerate(reference.categories)}
    texts = column.cast(pl.String)
    found = texts.replace_strict(places, default=other, return_dtype=pl.Int64) if places else None
    bins = found.to_numpy() if found is not None else np.full(len(column), other)
    return np.where(texts.is_null().to_numpy(), other + 1, bins)


def column_bins(profile: Profile, column: pl.Series) -> np.ndarray | None:
    """(rows,) the bin of every value of a column; None when a column declared numeric holds something else."""
    if isinstance(profile, CategoricalProfile):
        return category_bins(profile, column)
    try:
        return number_bins(profile, numbers(column))
    except ValueError:
        return None


def bin_categories(reference: CategoricalProfile, column: pl.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Count a column over the bins of ``reference``, the other and the missing values last.

    Returns
    -------
    counts, new
        ``new`` names values the reference never saw, most frequent first; empty when the reference pooled
        rare values as "other", because then one cannot tell.
    """
    import numpy as np

    counted = _category_counts(column)
    missing = counted.pop(None, 0)
    known = [counted.pop(category, 0) for category in reference.categories]
    new = tuple(name for name in counted if name is not None) if reference.other == 0 else ()
    return np.array([*known, sum(counted.values()), missing]), new


def count_by_day(bins: np.ndarray, size: int, places: np.ndarray, days: int) -> np.ndarray:
    """(days, size) rows of every day in every bin.

    Parameters
    ----------
    bins : (rows,) bin of every row, below ``size``.
    places : (rows,) number of the day of every row, below ``days``.
    """
    import numpy as np

    return np.bincount(places * size + bins, minlength=days * size).reshape(days, size)


def constant_days(values: np.ndarray, places: np.ndarray, days: int) -> np.ndarray:
    """(days,) whether several rows of the day have values, all the same, and none of its rows lacks one.

    Parameters
    ----------
    values, places : (rows,) a numeric column, and the number of the day of every row.
    """
    import numpy as np

    rows = np.bincount(places, minlength=days)
    first = np.full(days, np.nan)
    first[places[::-1]] = values[::-1]  # of several assignments to one place the last one holds
    with np.errstate(invalid="ignore"):
        same = np.bincount(places[values == first[places]], minlength=days)
    return (rows > 1) & (same == rows)


def _profile_column(feature: Feature, column: pl.Series, days: np.ndarray) -> Profile:
    if feature.type == "string":
        return _categorical(feature.name, column, days)
    return _numeric(feature.name, numbers(column), days)


def _numeric(name: str, values: np.ndarray, days: np.ndarray) -> NumericProfile:
    import numpy as np

    plain = _numeric_bins(name, values)
    dated, places, count = _places(days)
    by_day = _day_counts(number_bins(plain, values), len(plain.bin_counts), days)
    constant = constant_days(values[dated], places, count)
    return replace(
        plain,
        sketch=sketch(values),
        day_counts=by_day,
        constant_days=int(np.count_nonzero(constant)),
        distinct=int(np.unique(values[np.isfinite(values)]).size),
    )


def _numeric_bins(name: str, values: np.ndarray) -> NumericProfile:
    import numpy as np

    finite = values[np.isfinite(values)]
    missing = int(values.size - finite.size)
    if not finite.size:
        return NumericProfile(name, (), (0,), missing, None, None, None, None)
    levels = np.arange(1, QUANTILE_BINS) / QUANTILE_BINS
    edges = np.unique(np.quantile(finite, levels, method="lower"))
    minimum, maximum = float(finite.min()), float(finite.max())
    if edges[0] == minimum:
        # Much mass at the minimum (often: a constant): a bin below it, or a fall would go unnoticed.
        edges = np.insert(edges, 0, np.nextafter(minimum, -np.inf))
    return NumericProfile(
        name=name,
        edges=tuple(edges.tolist()),
        counts=tuple(_count_bins(edges, finite).tolist()),
        missing=missing,
        mean=float(finite.mean()),
        std=float(finite.std()),
        minimum=minimum,
        maximum=maximum,
    )


def _categorical(name: str, column: pl.Series, days: np.ndarray) -> CategoricalProfile:
    counted = _category_counts(column)
    missing = counted.pop(None, 0)
    ranked = [(category, count) for category, count in counted.items() if category is not None]
    kept = ranked[:MOST_CATEGORIES]
    plain = CategoricalProfile(
        name=name,
        categories=tuple(category for category, _ in kept),
        counts=tuple(count for _, count in kept),
        other=sum(count for _, count in ranked[MOST_CATEGORIES:]),
        missing=missing,
    )
    return replace(plain, day_counts=_day_counts(category_bins(plain, column), len(plain.bin_counts), days))


def _day_counts(bins: np.ndarray, size: int, days: np.ndarray) -> tuple[tuple[int, ...], ...]:
    dated, places, count = _places(days)
    return tuple(tuple(row) for row in count_by_day(bins[dated], size, places, count).tolist())


def _places(days: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Which rows have a day, the number of each such row's day, and how many days there are."""
    import numpy as np

    dated = ~np.isnat(days)
    present, places = np.unique(days[dated], return_inverse=True)
    return dated, places, present.size


def _count_bins(edges: np.ndarray, finite: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.bincount(np.searchsorted(edges, finite, side="left"), minlength=edges.size + 1)


def _category_counts(column: pl.Series) -> dict[str | None, int]:
    """Rows of every value, most frequent first, ties by name, so that the same data give the same profile."""
    import polars as pl

    values = column.cast(pl.String).alias("value").to_frame()
    counted = values.group_by("value").len("rows").sort(["rows", "value"], descending=[True, False])
    return dict(zip(counted["value"].to_list(), counted["rows"].to_list(), strict=True))


def _edge_labels(edges: tuple[float, ...]) -> list[str]:
    """Names of the bins between edges, with as many digits as it takes to tell them apart."""
    import numpy as np

    # The lowest of values that repeat has a bin of its own, whose edge is the next number below it.
    lowest = len(edges) > 1 and edges[0] == np.nextafter(edges[1], -np.inf)
    shown = edges[1:] if lowest else edges
    digits = next((n for n in range(3, 17) if len({f"{edge:.{n}g}" for edge in shown}) == len(set(shown))), 17)
    labels = [f"≤ {edge:.{digits}g}" for edge in shown]
    return [*([f"< {shown[0]:.{digits}g}"] if lowest else []), *labels, f"> {shown[-1]:.{digits}g}"]


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
