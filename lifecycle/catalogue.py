"""The catalogue of features: what each is, how fresh and how complete it is, how it is distributed, and who uses it.

What belongs here: the entries as data, and what is counted for them. Reading is the asset's work, the page that people
open is written in ``resources/catalogue.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.definitions import Definition

if TYPE_CHECKING:
    import polars as pl

BINS, MOST_TEXTS = 24, 12
TAIL = 0.005  # share of the values at either end that does not stretch the picture


@dataclass(frozen=True)
class Distribution:
    """How often which values came.

    Parameters
    ----------
    labels : of a text: its most frequent values. Of a number: the first and the last edge of bins of equal width; what
        lies beyond is in the bins at the ends.
    counts : values per bin or text.
    """

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    numeric: bool


@dataclass(frozen=True)
class User:
    """A registered version: its number and alias, what it takes, and what that was when it was trained."""

    version: int
    role: str
    features: tuple[str, ...]
    fingerprints: Mapping[str, str]


@dataclass(frozen=True)
class Use:
    """A registered version that takes a feature.

    Parameters
    ----------
    role : its alias, "" for the others.
    same : whether it learnt from the feature as it is declared now; None where that was not recorded.
    """

    version: int
    role: str
    same: bool | None

    def __str__(self) -> str:
        label = f"v{self.version} {self.role}".strip()
        return label if self.same is not False else f"{label} (another definition)"


@dataclass(frozen=True)
class Entry:
    """One feature in the catalogue.

    Parameters
    ----------
    newest : moment of the newest row it can be read from as of the close; None for what only the request tells.
    age, ttl : how old that was at the close, and from which age on it is missing.
    coverage : share of ``rows`` that have a value; None where there is no row.
    importance : growth of the champion's loss when the feature is shuffled; None where it does not take it.
    """

    definition: Definition
    description: str
    view: str
    owner: str
    tags: Mapping[str, str]
    retired: bool
    newest: datetime | None
    age: timedelta | None
    ttl: timedelta | None
    rows: int
    coverage: float | None
    distribution: Distribution
    importance: float | None
    used_by: tuple[Use, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def stale(self) -> bool:
        """Whether all its values are missing online for their age."""
        return self.age is not None and self.ttl is not None and self.age > self.ttl


@dataclass(frozen=True)
class Catalogue:
    """All features of a pipeline as of the close of a day.

    Parameters
    ----------
    first : first day of the window that coverage and distribution are of; ``day`` is the last.
    gone : features that registered versions take and that are not declared any more, with those versions.
    """

    pipeline: str
    description: str
    day: date
    close: datetime
    first: date
    champion: int | None
    service: str
    entries: tuple[Entry, ...]
    gone: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)


def distribution(values: pl.Series) -> Distribution:
    """Counts over bins of equal width, or of the most frequent texts; missing values count nowhere.

    Examples
    --------
    >>> import polars as pl
    >>> distribution(pl.Series(["b", "a", "b", None]))
    Distribution(labels=('b', 'a'), counts=(2, 1), numeric=False)
    """
    import numpy as np
    import polars as pl

    present = values.drop_nulls()
    if values.dtype == pl.String:
        top = present.value_counts(sort=True).head(MOST_TEXTS) if present.len() else None
        return Distribution(*((tuple(top[:, 0]), tuple(top[:, 1])) if top is not None else ((), ())), numeric=False)
    numbers = present.cast(pl.Float64).to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return Distribution((), (), numeric=True)
    low, high = np.quantile(numbers, (TAIL, 1 - TAIL))
    counts, edges = np.histogram(np.clip(numbers, low, high), bins=BINS if high > low else 1, range=(low, high))
    # One value alone has no width; NumPy would draw it half a unit to either side.
    ends = (edges[0], edges[-1]) if high > low else (low, high)
    return Distribution(tuple(f"{end:.4g}" for end in ends), tuple(map(int, counts)), numeric=True)


def coverage(values: pl.Series) -> float | None:
    """Share of rows that have a value."""
    return None if not values.len() else 1 - values.null_count() / values.len()


def uses(name: str, declared: Definition | None, users: Sequence[User]) -> tuple[Use, ...]:
    """Which versions take a feature; ``declared`` is what it is now, if it is declared."""
    found = []
    for user in users:
        if name in user.features:
            known = user.fingerprints.get(name)
            same = None if known is None or declared is None else known == declared.fingerprint
            found.append(Use(user.version, user.role, same))
    return tuple(found)
