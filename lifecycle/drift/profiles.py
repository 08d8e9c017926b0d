"""Profiles: the distribution of one column over bins, and other rows counted over the same bins.

What belongs here: making a profile, and which bin a value lies in. The profiles of all columns of a version make its
reference (``reference.py``); comparing is in ``measured.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lifecycle.drift.sketch import Sketch, sketch

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature

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
    lowest, highest : declared bounds that its values keep to (``bounded``); None: there are none.
    learnt : values that the version learnt from, ascending, the smallest and the largest among them; None: not known.
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
    lowest: float | None = None
    highest: float | None = None
    learnt: tuple[float, ...] | None = None

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


def profile_column(feature: Feature, column: pl.Series, days: np.ndarray) -> Profile:
    """The profile of a feature's column.

    Parameters
    ----------
    days : (rows,) datetime64[D]; rows without one are counted in the whole, not by day.

    Raises
    ------
    ValueError
        If a feature is declared numeric and its column holds something else.
    """
    if feature.type == "string":
        return _categorical(feature.name, column, days)
    return numeric_profile(feature.name, numbers(column), days)


def numeric_profile(name: str, values: np.ndarray, days: np.ndarray) -> NumericProfile:
    """The profile of (rows,) numbers, NaN where missing; see ``profile_column``."""
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


def bounded(profile: Profile, feature: Feature | None, learnt: tuple[float, ...] | None = None) -> Profile:
    """The profile with the bounds of the feature's declaration, and values that the version learnt from.

    Without a bound that its own values do not keep to.
    """
    if not isinstance(profile, NumericProfile) or profile.minimum is None or profile.maximum is None:
        return profile
    low, high = (feature.minimum, feature.maximum) if feature else (None, None)
    return replace(
        profile,
        lowest=low if low is not None and low <= profile.minimum else None,
        highest=high if high is not None and profile.maximum <= high else None,
        learnt=learnt,
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


def number_bins(profile: NumericProfile, values: np.ndarray) -> np.ndarray:
    """(rows,) the bin of every value; the last bin is for those that are missing."""
    import numpy as np

    # With so few edges, comparing all rows with each takes a fifth of what searching each row's bin does; counting in
    # small numbers halves that.
    places = np.zeros(values.size, dtype=np.int16)
    for edge in profile.edges:
        places += values > edge
    places[~np.isfinite(values)] = len(profile.edges) + 1
    return places.astype(np.intp)


def category_bins(profile: CategoricalProfile, column: pl.Series) -> np.ndarray:
    """(rows,) the bin of every value; the last two bins are for other values and for missing ones."""
    import numpy as np
    import polars as pl

    other = len(profile.categories)
    places = {category: place for place, category in enumerate(profile.categories)}
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
