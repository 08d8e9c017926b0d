"""Relations: what the value of a numeric column usually is, given the rest of its row.

What belongs here: learning them, and saying by how much rows depart from them. A day on which a column stops going with
the others, and what that costs, is found in ``departures.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lifecycle.drift.profiles import holds_numbers, numbers

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature

MOST_ROWS = 20_000  # learnt from; a relation that more rows than these are needed to see is none
LEVELS = 101  # quantiles that say how a column's values are spread
MOST_CATEGORIES = 20  # columns of more different texts explain little that is not in others
RIDGE = 1e-3  # of each weight, in units of a row: columns that are copies of each other share their weight
DIGITS = 6
OWN = 3  # columns of the basis that a number gives: its normal score, the square of that, and whether it is missing


@dataclass(frozen=True)
class Relations:
    """Linear relations between the normal scores of the numeric columns.

    A column's values are put in ranks, so that neither its unit nor its outliers matter; the ranks are read as those of
    a normal distribution. Each such score is then explained by those of the other columns, their squares, which values
    are missing, and the texts of the categorical columns.

    Parameters
    ----------
    numbers : names of the numeric columns.
    quantiles : (numbers, ``LEVELS``) of their values where they were learnt.
    categories : of each categorical column its name and texts.
    centre : (basis,) mean of the explaining columns. weights : (numbers, basis) of each, zero for a number's own.
    """

    numbers: tuple[str, ...]
    quantiles: tuple[tuple[float, ...], ...]
    categories: tuple[tuple[str, tuple[str, ...]], ...]
    centre: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def columns(self) -> list[str]:
        """All that a frame must have."""
        return [*self.numbers, *(name for name, _ in self.categories)]

    def learnt(self, name: str) -> tuple[float, ...] | None:
        """Values of a number where the relations were learnt, from the smallest to the largest; None where it is none.

        Of one that has few different values nearly all.
        """
        return self.quantiles[self.numbers.index(name)] if name in self.numbers else None

    def fits(self, frame: pl.DataFrame) -> bool:
        """Whether a frame has the columns, the numbers among them as numbers."""
        return set(self.columns) <= set(frame.columns) and all(holds_numbers(frame[name]) for name in self.numbers)

    def basis(self, frame: pl.DataFrame) -> np.ndarray:
        """(rows, basis) of each number its score, the square of that less one, and whether it is missing; of each text
        whether it is the one.
        """
        import numpy as np

        parts: list[np.ndarray] = []
        for name, quantiles in zip(self.numbers, self._quantiles, strict=True):
            values = numbers(frame[name])
            missing = ~np.isfinite(values)
            scores = np.where(missing, 0.0, _normal_scores(np.where(missing, quantiles[0], values), quantiles))
            parts += [scores, np.where(missing, 0.0, scores**2 - 1), missing.astype(float)]
        for name, texts in self.categories:
            column = frame[name].cast(str)
            parts += [(column == text).fill_null(value=False).to_numpy().astype(float) for text in texts]
        return np.column_stack(parts)

    def scores(self, basis: np.ndarray) -> np.ndarray:
        """(rows, numbers) the scores themselves."""
        return basis[:, : OWN * len(self.numbers) : OWN]

    def missing(self, basis: np.ndarray) -> np.ndarray:
        """(rows, numbers) whether each is missing; of means over rows, the share."""
        return basis[:, OWN - 1 : OWN * len(self.numbers) : OWN]

    def present(self, basis: np.ndarray, place: int, usual: np.ndarray) -> np.ndarray:
        """(1, basis) a mean row with one number's usual part in it, which (days, basis) others have."""
        there = basis.copy()
        there[:, OWN * place : OWN * (place + 1)] = usual[:, OWN * place : OWN * (place + 1)].mean(axis=0)
        return there

    def departures(self, basis: np.ndarray) -> np.ndarray:
        """(rows, numbers) score of each number less what the others say; of means over rows, the mean departure."""
        import numpy as np

        return np.asarray(self.scores(basis) - (basis - self._centre) @ self._weights.T)

    def shifted(self, basis: np.ndarray, place: int, by: float) -> np.ndarray:
        """(rows, basis) the same as if all scores of one number, missing ones apart, were higher by an amount.

        Of means over rows it gives the means, too.
        """
        moved = basis.copy()
        score, present = basis[:, OWN * place], 1 - basis[:, OWN * place + 2]
        moved[:, OWN * place] += by * present
        moved[:, OWN * place + 1] += 2 * by * score + by**2 * present
        return moved

    def moved(self, column: pl.Series, place: int, by: float) -> pl.Series:
        """The values of one number where their scores are higher by an amount, within what was seen."""
        import numpy as np
        import polars as pl
        from scipy.special import ndtr

        quantiles, values = self._quantiles[place], numbers(column)
        missing = ~np.isfinite(values)
        scores = _normal_scores(np.where(missing, quantiles[0], values), quantiles) + by
        there = np.interp(ndtr(scores), np.linspace(0, 1, LEVELS), quantiles)
        if column.dtype.is_integer():
            there = there.round()
        return pl.Series(column.name, np.where(missing, np.nan, there)).fill_nan(None)

    @cached_property
    def _quantiles(self) -> np.ndarray:
        import numpy as np

        return np.array(self.quantiles)

    @cached_property
    def _centre(self) -> np.ndarray:
        import numpy as np

        return np.array(self.centre)

    @cached_property
    def _weights(self) -> np.ndarray:
        import numpy as np

        return np.array(self.weights)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Relations:
        """The relations of which ``dataclasses.asdict`` made JSON."""
        return cls(
            numbers=tuple(raw["numbers"]),
            quantiles=tuple(tuple(each) for each in raw["quantiles"]),
            categories=tuple((name, tuple(texts)) for name, texts in raw["categories"]),
            centre=tuple(raw["centre"]),
            weights=tuple(tuple(each) for each in raw["weights"]),
        )


def learn(frame: pl.DataFrame, features: Sequence[Feature]) -> Relations | None:
    """Learn how the columns of a frame go together.

    Parameters
    ----------
    frame : (rows,) with the features; the more days, the better those relations that change from day to day are known.

    Returns
    -------
    Relations or None
        None where fewer than two numeric columns have two different values or more.

    Notes
    -----
    Ridge regressions of each score on the basis of the others, all from one matrix of products. That a broken column
    shows in how it goes with the others, before it shows in itself: Kulinski, Bagchi & Inouye (2020), "Feature shift
    detection: localizing which features have shifted via conditional distribution tests", NeurIPS 33.
    """
    import numpy as np

    some = frame[np.unique(np.linspace(0, max(frame.height - 1, 0), MOST_ROWS).astype(int))] if frame.height else frame
    quantiles = {
        feature.name: spread
        for feature in features
        if feature.type != "string" and (spread := _spread(some[feature.name])) is not None
    }
    if len(quantiles) < 2:
        return None
    texts = [(feature.name, _texts(some[feature.name])) for feature in features if feature.type == "string"]
    categories = tuple((name, found) for name, found in texts if 1 < len(found) <= MOST_CATEGORIES)
    shape = Relations(tuple(quantiles), tuple(quantiles.values()), categories, (), ())
    basis = shape.basis(some)
    centre = basis.mean(axis=0)
    return Relations(
        shape.numbers, shape.quantiles, categories, _short(centre), _weights(basis - centre, len(quantiles))
    )


def _weights(basis: np.ndarray, count: int) -> tuple[tuple[float, ...], ...]:
    import numpy as np

    products = basis.T @ basis / len(basis)
    found = []
    for place in range(count):
        # That it is missing may explain its score: a value that is missing has that of the middle.
        others = np.ones(len(products), dtype=bool)
        others[[OWN * place, OWN * place + 1]] = False
        weights = np.zeros(len(products))
        system = products[np.ix_(others, others)] + RIDGE * np.eye(int(others.sum()))
        weights[others] = np.linalg.solve(system, products[others, OWN * place])
        found.append(_short(weights))
    return tuple(found)


def _normal_scores(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """(rows,) what a normal distribution has at the ranks of values; equal values are in the middle of theirs."""
    import numpy as np
    from scipy.special import ndtri

    ranks = np.searchsorted(quantiles, values, side="left") + np.searchsorted(quantiles, values, side="right")
    table = ndtri(np.clip(np.arange(2 * LEVELS + 1) / (2 * LEVELS), 1 / LEVELS, 1 - 1 / LEVELS))
    return np.asarray(table[ranks])


def _spread(column: pl.Series) -> tuple[float, ...] | None:
    """Quantiles of the values; None of a column without two different values, or one that holds no numbers."""
    import numpy as np

    if not holds_numbers(column):
        return None
    values = numbers(column)
    values = values[np.isfinite(values)]
    if not values.size or values.min() == values.max():
        return None
    # To the last digit: equal values must stay equal.
    return tuple(np.quantile(values, np.linspace(0, 1, LEVELS), method="nearest").tolist())


def _texts(column: pl.Series) -> tuple[str, ...]:
    return tuple(column.cast(str).drop_nulls().unique().sort().to_list())


def _short(values: np.ndarray) -> tuple[float, ...]:
    """Rounded to a few digits: weights are known to fewer, and the reference is kept as text."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)
