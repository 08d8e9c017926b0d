"""What a champion promises: how well it ranks and is calibrated while all is well, and how much that varies by chance.

What belongs here: which days tell it, and what they tell. What a fall below it means is decided in ``realised.py``
and ``outlook.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from lifecycle.ranking import STANDARD_ERRORS, clustered_standard_error, known_arrays, ranking

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.drift.reference import Reference
    from lifecycle.pipeline import Task

# Spans of service, each of as many days as were judged: a fortnight alone may have been one of luck, and by its luck a
# model was chosen; the more there are, the likelier a change that is too small to be told gets into what is promised.
SPANS = 2
# Of the standard errors of two fortnights: larger by chance in one of a hundred, where all days are alike (F test).
LARGEST_RATIO = 2.0


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

    def at_least(self, own: float, error: float, days: int) -> float:
        """The standard error of a window of few days, no less than ``error`` tells that of as many to be.

        Its own is from few days, and from those without a storm, or with one, it is far too small about as often as too
        large.
        """
        return max(own, self.scaled(error, days))

    def __str__(self) -> str:
        return f"(its first {self.days} days, judging included)" if self.days else "(at the champion's judging)"


def first_days(judged: pl.DataFrame) -> tuple[date, date]:
    """First and last of the days of service that tell what a champion promises.

    They follow those it was judged on, ``SPANS`` times as many, and are the same however long it serves: what it has
    lost for good is not to become what is expected of it.

    Raises
    ------
    ValueError
        If no day was judged.
    """
    spans = _spans(judged)
    return spans[0][0], spans[-1][1]


def promise(judged: pl.DataFrame, served: pl.DataFrame, before: date, task: Task, wait_days: int) -> Promise:
    """What a champion promises, from what is known of it.

    Parameters
    ----------
    judged : (rows,) ``day``, ``score``, ``label`` of the days it was judged on.
    served : the same of its forecasts since, with labels null or NaN where not known, and ``known_day`` of the labels;
        others than of the first days are left out.
    before : the first day that is to be held against it; a span that is not over by then does not count.
    wait_days : how long labels are waited for. Later ones are left out, or the days would tell more the later they are
        asked.

    Notes
    -----
    A span of service that is unlike the days before it, beyond ``STANDARD_ERRORS``, and all that follow it are left
    out: something changed, and must not become what was promised. A span is as long as what is held against the promise
    usually is, so that a change which could be called later is told here, too.

    Raises
    ------
    ValueError
        If no day was judged.
    """
    import polars as pl

    columns = [pl.col("day"), pl.col("score").cast(pl.Float64), pl.col("label").cast(pl.Float64)]
    rows = judged.select(columns)
    told = _told(rows, task)
    in_time = served.filter(pl.col("known_day") <= pl.col("day") + pl.duration(days=wait_days))
    for first, last in _spans(judged):
        since = in_time.filter(pl.col("day").is_between(first, last)).select(columns)
        then = _told(since, task)
        if last >= before or _contradicts(then, told):
            break
        rows = pl.concat([rows, since])
        told = _told(rows, task)
    return told


def _spans(judged: pl.DataFrame) -> list[tuple[date, date]]:
    """First and last day of each span of service."""
    if judged.is_empty():
        raise ValueError("no forecasts of the days that the champion was judged on: nothing is promised")
    last: date = judged["day"].max()  # type: ignore[assignment]
    length = timedelta(days=judged["day"].n_unique())
    ends = [last + place * length for place in range(SPANS + 1)]
    return [(before + timedelta(days=1), end) for before, end in pairwise(ends)]


def _told(rows: pl.DataFrame, task: Task) -> Promise:
    labels, scores, days = known_arrays(rows)
    if not labels.size:
        return Promise(None)
    gap = scores - labels
    gap_error = clustered_standard_error((gap - gap.mean()) / gap.size, days)
    value, error = ranking(labels, scores, days, task)
    return Promise(value, error or 0.0, float(gap.mean()), gap_error or 0.0, len(set(days.tolist())))


def _contradicts(then: Promise, before: Promise) -> bool:
    """Whether days are unlike those before them, by what both vary.

    A fortnight tells badly by how much fortnights vary: where the judged one had no storm, all that follow would be a
    change, and its luck be held against the champion for ever. But what changed varies more, too, and must not excuse
    itself.
    """
    if not (then.days and before.days):
        return False
    pairs = [(then.gap, then.gap_error, before.gap, before.gap_error)]
    if then.ranking is not None and before.ranking is not None:
        pairs.append((then.ranking, then.ranking_error, before.ranking, before.ranking_error))
    return any(
        abs(now - past) > STANDARD_ERRORS * math.hypot(error, _as_like(own, before.scaled(error, then.days)))
        for now, own, past, error in pairs
    )


def _as_like(own: float, before: float) -> float:
    """The standard error of days: no less than as many before them have, and no more than days that are alike."""
    return min(max(own, before), LARGEST_RATIO * before)


def promised_by(reference: Reference | None, task: Task) -> Promise:
    """What is known where the forecasts of the judged days were not kept."""
    metrics = reference.metrics if reference else {}
    return Promise(metrics.get("auc" if task == "classification" else "r2"))
