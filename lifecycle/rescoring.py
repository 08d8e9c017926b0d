"""Rescoring: what the champion would have lost on its judged rows, had a column held other values.

What belongs here: that one experiment. When it is made, and what its answer means, is in ``monitoring.py`` and
``jumps.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.losses import row_losses

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Task

MOST_ROWS = (
    2000  # a mean of their losses is known to a few thousandths, and scoring them takes some hundredths of a second
)


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

    def growth(self, name: str, rows: np.ndarray, values: pl.Series) -> float:
        """Sum over some rows of what the loss grows by, when a column holds other values there.

        A model that can make nothing of a value does not know that: what it then forecasts may cost far more than
        shuffling the column, which only mixes values that it knows.

        Parameters
        ----------
        rows : places of judged rows. values : (rows,) what the column holds there instead.
        """
        import polars as pl

        if not rows.size:
            return 0.0
        asked = self.frame[rows].with_columns(values.cast(self.frame[name].dtype, strict=False).alias(name))
        labels = asked["label"].cast(pl.Float64).to_numpy()
        return float((row_losses(labels, self.score(asked), self.task) - self.losses[rows]).sum())

    def some(self, of: np.ndarray | None = None) -> np.ndarray:
        """Places of at most ``MOST_ROWS`` judged rows, evenly spread over them (or over those that ``of`` flags)."""
        import numpy as np

        places = np.arange(self.losses.size) if of is None else np.flatnonzero(of)
        if places.size <= MOST_ROWS:
            return places
        return places[np.linspace(0, places.size - 1, MOST_ROWS).astype(int)]
