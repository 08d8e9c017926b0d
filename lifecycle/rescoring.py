"""Rescoring: what the champion would have lost on its judged rows, had a column held other values.

What belongs here: that one experiment. When it is made, and what its answer means, is in ``monitoring.py`` and
``jumps.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.losses import row_losses

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Task

MOST_ROWS = 2000  # scored in some hundredths of a second, and enough to know a tenth of the skill
MOST_AT_ONCE = 50_000  # rows; bounds the memory


@dataclass(frozen=True)
class Swap:
    """Other values in some rows of a column.

    Parameters
    ----------
    rows : places of judged rows. values : (rows,) what the column holds there instead.
    """

    name: str
    rows: np.ndarray
    values: pl.Series


@dataclass(frozen=True)
class Rescoring:
    """Judged rows that the champion can be asked about again.

    Parameters
    ----------
    frame : (rows,) judged rows with ``label`` and the features.
    losses : (rows,) what the champion lost on each.
    score : of a frame like this one, (rows,) forecasts.
    """

    frame: pl.DataFrame
    losses: np.ndarray
    task: Task
    score: Callable[[pl.DataFrame], np.ndarray]

    def growths(self, swaps: Sequence[Swap]) -> list[float]:
        """For each swap, the sum over its rows of what the loss grows by.

        A model that can make nothing of a value does not know that: what it then forecasts may cost far more than
        shuffling the column, which only mixes values that it knows.
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
        labels = asked["label"].cast(pl.Float64).to_numpy()
        before = self.losses[np.concatenate([swap.rows for swap in swaps])]
        grown = row_losses(labels, self.score(asked), self.task) - before
        ends = np.cumsum([swap.rows.size for swap in swaps])[:-1]
        return [float(part.sum()) for part in np.split(grown, ends)]

    def some(self, of: np.ndarray | None = None) -> np.ndarray:
        """Places of at most ``MOST_ROWS`` judged rows, evenly spread over them (or over those that ``of`` flags)."""
        import numpy as np

        places = np.arange(self.losses.size) if of is None else np.flatnonzero(of)
        if places.size <= MOST_ROWS:
            return places
        return places[np.linspace(0, places.size - 1, MOST_ROWS).astype(int)]


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
