"""The rows that monitoring looks at: those of a window by day, and those with labels that tell what drift costs.

What belongs here: which rows count, and the form that measuring takes them in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.drift import harm
from lifecycle.drift.rescoring import Rescoring
from lifecycle.losses import row_losses

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Task

LEAST_SKILL = 0.5  # of that on the judged rows, and of what the forecasts announce
ROWS_OF_DAY = 200  # of a past day; enough to know a mean of it to a tenth of what rows differ by
MOST_ROWS = 30_000  # counted over the bins of every column in a tenth of a second


@dataclass(frozen=True)
class Days:
    """The days of some rows: which there are, and the number of each row's day."""

    days: np.ndarray
    places: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Days in the whole window, and in each day."""
        import numpy as np

        return np.array([self.days.size] + [1] * self.days.size)


@dataclass(frozen=True)
class Judged:
    """Rows with labels: those the champion was judged on, and those it served since.

    Parameters
    ----------
    losses, excess : (rows,) loss of each, and by how much it exceeds what its own forecast announces.
    scores : (judged rows,) what it forecast when it was judged. when : the days of the rows.
    skill : gain over always forecasting the mean, at least half of what the forecasts announce of it.
    rescoring : the same rows, to be scored again; None where the model is not at hand.
    """

    frame: pl.DataFrame
    losses: np.ndarray
    excess: np.ndarray
    scores: np.ndarray
    when: Days
    skill: float
    rescoring: Rescoring | None


def dated(frame: pl.DataFrame, needed: Sequence[str], what: str) -> pl.DataFrame:
    """The rows that have a day.

    Raises
    ------
    ValueError
        If a column that is needed is not there; ``what`` names the frame.
    """
    import polars as pl

    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ValueError(f"the {what} lacks the columns {missing}; it has {frame.columns}")
    return frame.filter(pl.col("day").is_not_null())


def days_of(frame: pl.DataFrame) -> Days:
    """The days of a frame's rows.

    Raises
    ------
    ValueError
        If column ``day`` does not hold dates.
    """
    import numpy as np
    import polars as pl

    if frame["day"].dtype != pl.Date:
        raise ValueError(f"column 'day' holds {frame['day'].dtype}; it must hold dates")
    days, places = np.unique(frame["day"].to_numpy(), return_inverse=True)
    return Days(days.astype("datetime64[D]"), places)


def some_of_each_day(frame: pl.DataFrame, rows: int = ROWS_OF_DAY) -> pl.DataFrame:
    """At most so many rows of each day, evenly spread over it."""
    import polars as pl

    place, size = pl.int_range(pl.len()).over("day"), pl.len().over("day")
    return frame.filter(place % (size / rows).ceil().cast(pl.Int64) == 0)


def judged_rows(
    frame: pl.DataFrame | None,
    task: Task,
    score: Callable[[pl.DataFrame], np.ndarray] | None,
    served: pl.DataFrame | None = None,
) -> Judged | None:
    """The judged rows that have a score and a label; None when there is none.

    Parameters
    ----------
    served : (rows,) of what the champion has forecast since, with the same columns. The fortnight it was judged on may
        have been one of hardly any skill, or of much, or of hardly any storms: what its skill is, where it loses what,
        and what broken values take of it, is asked of all rows with labels. The skill is at least ``LEAST_SKILL`` of
        that of the fortnight, and of what its forecasts would have were they calibrated: after weeks in which the model
        was wrong, got nothing or had no luck, it would else be nothing, and everything harm.
    """
    if frame is None:
        return None
    judged = _known(dated(frame, ("day", "score", "label"), "judged sample"))
    if judged.is_empty():
        return None
    then, everything = _numbers(judged), _some(_with_served(judged, served))
    labels, scores = _numbers(everything)
    losses = row_losses(labels, scores, task)
    least = max(harm.skill(*then, task) or 0.0, harm.announced_skill(then[1], task))
    gain = max(harm.skill(labels, scores, task) or 0.0, LEAST_SKILL * least)
    rescoring = None if score is None else Rescoring(everything, losses, task, score)
    excess = losses - harm.announced(scores, task)
    return Judged(everything, losses, excess, then[1], days_of(everything), gain, rescoring)


def _some(frame: pl.DataFrame) -> pl.DataFrame:
    """At most ``MOST_ROWS`` of the rows, of all days alike."""
    import polars as pl

    every = -(-frame.height // MOST_ROWS)
    return frame if every <= 1 else frame.filter(pl.int_range(pl.len()).over("day") % every == 0)


def _known(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a score and a label."""
    import polars as pl

    return frame.filter(
        pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_finite() for name in ("score", "label")
    )


def _numbers(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) labels, and (rows,) scores."""
    import polars as pl

    return frame["label"].cast(pl.Float64).to_numpy(), frame["score"].cast(pl.Float64).to_numpy()


def _with_served(judged: pl.DataFrame, served: pl.DataFrame | None) -> pl.DataFrame:
    """Judged rows and those served since; the judged alone where the others lack a column, or have it in another type.

    Those of another feature set may. A day that was judged counts once.
    """
    import polars as pl

    if served is None or not all(alike(column, served) for column in judged.iter_columns()):
        return judged
    since = _known(served.filter(pl.col("day") > judged["day"].max())).select(judged.columns)
    return pl.concat([judged, since], how="vertical_relaxed", rechunk=True) if since.height else judged


def alike(column: pl.Series, frame: pl.DataFrame) -> bool:
    """Whether a frame has a column of this name with values of the same kind."""
    there = frame.schema.get(column.name)
    return there is not None and (there == column.dtype or (there.is_numeric() and column.dtype.is_numeric()))
