"""Rescoring: what the champion would have lost on rows with labels, had a column held other values.

Of values that are held to be broken the labels are not asked: there its own forecasts are what is true.

What belongs here: that one experiment. When it is made, and what its answer means, is said by those who ask: jumps,
departures, strangers, repeats and ``column_harm.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lifecycle.drift.harm import announced_skill, skill
from lifecycle.drift.lost import telling
from lifecycle.losses import row_losses

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.profiles import Profile
    from lifecycle.pipeline import Task

MOST_ROWS = 2000  # scored in some hundredths of a second, and enough to know a tenth of the skill
MOST_AT_ONCE = 50_000  # rows; bounds the memory


@dataclass(frozen=True)
class Swap:
    """Other values in some rows of a column.

    Parameters
    ----------
    rows : places of labelled rows. values : (rows,) what the column holds there instead.
    weights : (rows,) or of all, how much each counts.
    broken : whether the values are held to be wrong. Then what the champion forecast without them is taken to be right,
        and no labels are asked: of some weeks' days these tell less than it knows. Else they decide, as it may be that
        the new values say what the champion does not expect of them.
    """

    name: str
    rows: np.ndarray
    values: pl.Series
    weights: np.ndarray | float = 1.0
    broken: bool = False


@dataclass(frozen=True)
class Rescoring:
    """Rows with labels that the champion can be asked about again.

    Parameters
    ----------
    frame : (rows,) with ``day``, ``label``, ``score`` and the features.
    losses : (rows,) what the champion lost on each.
    score : of a frame like this one, (rows,) forecasts.
    """

    frame: pl.DataFrame
    losses: np.ndarray
    task: Task
    score: Callable[[pl.DataFrame], np.ndarray]

    def growths(self, swaps: Sequence[Swap]) -> list[float]:
        """For each swap, the weighted sum over its rows of what the loss grows by.

        A model that can make nothing of a value does not know that: what it then forecasts may cost far more than
        shuffling the column, which only mixes values that it knows.

        Notes
        -----
        Of broken values the growth that is to be expected where the forecasts without them are calibrated: the
        Kullback-Leibler divergence of the forecasts from those, by regression the squared difference; times what they
        understate (``understated``).
        """
        found: list[float] = []
        for some in _parts(swaps):
            found += self._growths(some)
        return found

    def _growths(self, swaps: Sequence[Swap]) -> list[float]:
        """One question for all, as each has its cost whatever it asks of."""
        import numpy as np
        import polars as pl

        frames = [
            self.frame[swap.rows].with_columns(
                swap.values.cast(self.frame[swap.name].dtype, strict=False).alias(swap.name)
            )
            for swap in swaps
            if swap.rows.size
        ]
        if not frames:
            return [0.0] * len(swaps)
        asked = pl.concat(frames)
        labels, scores = (asked[name].cast(pl.Float64).to_numpy() for name in ("label", "score"))
        broken = np.repeat([swap.broken for swap in swaps], [swap.rows.size for swap in swaps])
        held_true = np.where(broken, scores, labels)
        before = self.losses[np.concatenate([swap.rows for swap in swaps])]
        before = np.where(broken, row_losses(scores, scores, self.task), before)
        grown = row_losses(held_true, self.score(asked), self.task) - before
        grown *= np.where(broken, self.understated, 1.0)
        parts = np.split(grown, np.cumsum([swap.rows.size for swap in swaps])[:-1])
        return [float((part * swap.weights).sum()) for part, swap in zip(parts, swaps, strict=True)]

    @cached_property
    def understated(self) -> float:
        """How many times what they announce the forecasts gain over always forecasting the mean; at least once.

        Timid forecasts know more than they say, and lose as much more where what they know is gone.
        """
        import polars as pl

        labels, scores = (self.frame[name].cast(pl.Float64).to_numpy() for name in ("label", "score"))
        gained, said = skill(labels, scores, self.task) or 0.0, announced_skill(scores, self.task)
        return max(gained / said, 1.0) if said > 0 else 1.0

    def some(self, of: np.ndarray | None = None, most: int = MOST_ROWS) -> np.ndarray:
        """Places of at most so many rows of all (or of those that ``of`` flags), by chance.

        Which they are changes little from night to night, so that most of what is asked has been asked before.
        """
        import numpy as np

        places = np.arange(self.losses.size) if of is None else np.flatnonzero(of)
        if places.size <= most:
            return places
        return np.sort(places[np.argpartition(self._order[places], most)[:most]])

    def chances(self, rows: np.ndarray) -> np.ndarray:
        """(rows,) numbers by chance from 0 up to 1, for each row the same whenever it is asked.

        Others than those by which ``some`` chooses rows.
        """
        import numpy as np

        return np.asarray((_mixed(self._order[rows] + np.uint64(2)) >> np.uint64(11)) / 2.0**53)

    @cached_property
    def _order(self) -> np.ndarray:
        """(rows,) numbers by chance that depend on a row's day and its place within the day alone."""
        import numpy as np
        import polars as pl

        place = pl.int_range(pl.len()).over("day")
        days, places = self.frame.select(pl.col("day").cast(pl.Int64), place.alias("place"))
        return _mixed((days.to_numpy().astype(np.uint64) << np.uint64(32)) + places.to_numpy().astype(np.uint64))


def lost_instead(profile: Profile, rows: np.ndarray, values: pl.Series, rescoring: Rescoring) -> Swap:
    """Lost values in those of some rows that have others: what is lost already loses nothing.

    Parameters
    ----------
    values : from which those of the rows are drawn.
    """
    import polars as pl

    had = telling(profile, rescoring.frame[profile.name][rows])
    rows = rows[had] if had.any() else rows
    drawn = (rescoring.chances(rows) * len(values)).astype(int)
    return Swap(profile.name, rows, values[pl.Series(drawn)], broken=True)


def _mixed(keys: np.ndarray) -> np.ndarray:
    """(keys,) of 64 bits that look like chance: splitmix64.

    Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA.
    """
    import numpy as np

    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _parts(swaps: Sequence[Swap]) -> Iterator[list[Swap]]:
    """The swaps in their order, in parts that can be asked about at once."""
    part: list[Swap] = []
    rows = 0
    for swap in swaps:
        if part and rows + swap.rows.size > MOST_AT_ONCE:
            yield part
            part, rows = [], 0
        part.append(swap)
        rows += swap.rows.size
    if part:
        yield part
