"""What a champion promises: how well it ranks and is calibrated while all is well, and how much that varies by chance.

What belongs here: which days tell it, and what they tell. What a fall below it means is decided in ``performance.py``
and ``outlook.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.ranking import STANDARD_ERRORS, clustered_standard_error, known_arrays, ranking

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.pipeline import Task
    from lifecycle.reference import Reference

# First days of service for each that was judged: a fortnight alone may have been one of luck, and by its luck a model
# was chosen; with too many, a change that comes soon after the promotion would be taken for what was promised.
FIRST_DAYS = 2


@dataclass(frozen=True)
class Promise:
    """What a champion did on the days it was judged on, and on its first days of service.

    Parameters
    ----------
    ranking : AUC or R²; None where it is not defined. gap : mean score minus mean label.
    ranking_error, gap_error : their standard errors, clustered by day.
    days : from which it is told; none where only the reference was kept, and then no errors are known.
    """

    ranking: float | None
    ranking_error: float = 0.0
    gap: float = 0.0
    gap_error: float = 0.0
    days: int = 0

    def scaled(self, error: float, days: int) -> float:
        """A standard error of these days as one of fewer or more of their kind."""
        return error * (self.days / days) ** 0.5 if days else 0.0

    def __str__(self) -> str:
        return f"(its first {self.days} days, judging included)" if self.days else "(at the champion's judging)"


def first_days(judged: pl.DataFrame) -> tuple[date, date]:
    """First and last of the days of service that tell what a champion promises.

    They follow those it was judged on, ``FIRST_DAYS`` times as many, and are the same however long it serves: what it
    has lost for good is not to become what is expected of it.
    """
    last: date = judged["day"].max()  # type: ignore[assignment]
    return last + timedelta(days=1), last + timedelta(days=FIRST_DAYS * judged["day"].n_unique())


def promise(judged: pl.DataFrame, served: pl.DataFrame, before: date, task: Task) -> Promise:
    """What a champion promises, from what is known of it.

    Parameters
    ----------
    judged : (rows,) ``day``, ``score``, ``label`` of the days it was judged on.
    served : the same of its forecasts since, with labels null or NaN where not known; others than the first are left
        out.
    before : the first day that is to be held against it.

    Notes
    -----
    First days that are unlike those of the judging, beyond ``STANDARD_ERRORS`` of what these tell, are left out:
    something changed with the promotion or soon after, and must not become what was promised.
    """
    import polars as pl

    first, last = first_days(judged)
    since = served.filter(pl.col("day").is_between(first, min(last, before - timedelta(days=1))))
    columns = [pl.col("day"), pl.col("score").cast(pl.Float64), pl.col("label").cast(pl.Float64)]
    at_judging, then = (_told(part.select(columns), task) for part in (judged, since))
    if not then.days or _contradicts(then, at_judging):
        return at_judging
    return _told(pl.concat([judged.select(columns), since.select(columns)]), task)


def _told(rows: pl.DataFrame, task: Task) -> Promise:
    labels, scores, days = known_arrays(rows)
    if not labels.size:
        return Promise(None)
    gap = scores - labels
    gap_error = clustered_standard_error((gap - gap.mean()) / gap.size, days)
    value, error = ranking(labels, scores, days, task)
    return Promise(value, error or 0.0, float(gap.mean()), gap_error or 0.0, len(set(days.tolist())))


def _contradicts(then: Promise, before: Promise) -> bool:
    pairs = [(then.gap, before.gap, before.gap_error)]
    if then.ranking is not None and before.ranking is not None:
        pairs.append((then.ranking, before.ranking, before.ranking_error))
    return any(
        abs(now - past) > STANDARD_ERRORS * math.hypot(error, before.scaled(error, then.days))
        for now, past, error in pairs
    )


def promised_by(reference: Reference | None, task: Task) -> Promise:
    """What is known where the forecasts of the judged days were not kept."""
    metrics = reference.metrics if reference else {}
    return Promise(metrics.get("auc" if task == "classification" else "r2"))
