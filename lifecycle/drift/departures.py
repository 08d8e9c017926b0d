"""Departures: days on which a column no longer goes with the others, and what that costs.

What belongs here: finding them. Storms move a column far, but they move the others, too; a sensor that reports in
another unit moves alone. So a break that hides in how much days differ shows in how little their relations do. What a
column does by itself is in ``jumps.py``, how columns go together in ``relations.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.drift.jumps import CALLED_FROM, DAYS_ASKED, Jump
from lifecycle.drift.moves import LEAST_MOVED
from lifecycle.drift.relations import Relations
from lifecycle.drift.rescoring import Rescoring, Swap
from lifecycle.drift.seasonal import FEWEST_ROWS
from lifecycle.drift.significance import MINIMUM_DAYS, spread_of_next

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SPANS = (1, 3)  # days: what hardly shows in one shows in the mean of several
STILL = 0.5  # of a span's departure; a day with less of it was none, and where it is the last, what it was is over


@dataclass(frozen=True)
class DayMeans:
    """(days, basis) the mean row of every day, in order of ``days``."""

    days: np.ndarray
    means: np.ndarray

    def spans(self, length: int) -> DayMeans:
        """The same of all spans of so many days that are present and follow each other, by their last day."""
        import numpy as np

        if length == 1:
            return self
        last = np.arange(length - 1, len(self.days))
        whole = last[(self.days[last] - self.days[last - length + 1]).astype(int) == length - 1]
        return DayMeans(self.days[whole], np.mean([self.means[whole - back] for back in range(length)], axis=0))

    def before(self, day: date) -> DayMeans:
        """The same of the days before one."""
        import numpy as np

        earlier = self.days < np.datetime64(day)
        return DayMeans(self.days[earlier], self.means[earlier])

    def at(self, day: date) -> np.ndarray | None:
        """(1, basis) that of one day; None where there is none."""
        import numpy as np

        means = self.means[self.days == np.datetime64(day)]
        return means if len(means) else None


def day_means(relations: Relations, frame: pl.DataFrame) -> DayMeans | None:
    """The mean rows of days, as relations see them.

    Parameters
    ----------
    frame : (rows,) with ``day`` and the features.

    Returns
    -------
    DayMeans or None
        Of days with rows enough to tell; None where the frame lacks a column that the relations know, as that of
        another feature set does, or has it in another type.
    """
    import numpy as np
    import polars as pl

    if not relations.fits(frame):
        return None
    some = frame.filter(pl.col("day").is_not_null(), pl.len().over("day") >= FEWEST_ROWS).sort("day")
    if some.is_empty():
        return DayMeans(np.empty(0, dtype="datetime64[D]"), np.empty((0, len(relations.centre))))
    days, first = np.unique(some["day"].to_numpy().astype("datetime64[D]"), return_index=True)
    sums = np.add.reduceat(relations.basis(some), first, axis=0)
    return DayMeans(days, sums / np.diff(np.append(first, some.height))[:, None])


def find_departures(
    relations: Relations,
    window: pl.DataFrame,
    days: Sequence[date],
    past: DayMeans,
    rescoring: Rescoring,
    limit: float,
    rate: float,
) -> list[Jump]:
    """The days on which a column departed from the others in a way that costs too much.

    Parameters
    ----------
    window : (rows,) with ``day`` and the features.
    days : which are asked about; the earlier ones only about columns that departed on the last.
    past : days that are held to be usual; those that are asked about, and later ones, are not looked at.
    limit : growth of the mean loss that must be found; a column is called from ``CALLED_FROM`` of that.
    rate : chance of calling any column on a day that is like those before it, if departures were all that is looked at.

    Notes
    -----
    The mean departure of a day, and of the three that end with it, is held against those of past days by a t test
    (``significance.spread_of_next``; Bonferroni over columns). Where one column is broken others seem to be, too, as it
    tells of them: so the column is blamed that explains most, it is put where the others say it is, and the rest are
    looked at again. What departed is held to be off by as much, and the champion is asked what it says of rows moved
    so (``Swap.broken``); none where a past day that departed more would have cost more. A span calls all of its days on
    which the column was off by a good part of it.
    """
    import polars as pl

    since = min(days) - timedelta(days=max(SPANS) - 1)
    asked = day_means(relations, window.filter(pl.col("day") >= since))
    if asked is None:
        return []
    usual = past.before(min(days))
    away = {span: relations.departures(usual.spans(span).means) for span in SPANS}
    spans = [span for span in SPANS if len(away[span]) >= MINIMUM_DAYS]
    called: dict[tuple[date, str], float] = {}
    for day in sorted(days, reverse=True):
        for span in spans:
            for place, by in _departed(relations, asked, usual.means, day, span, rate / len(SPANS)).items():
                name, of_days = relations.numbers[place], away[span][:, place]
                if day < max(days) and (max(days), name) not in called:
                    continue
                harm = _harm(relations, place, by, of_days - of_days.mean(), rescoring, CALLED_FROM * limit)
                if harm > CALLED_FROM * limit:
                    off = _days_off(relations, asked, usual.means, day, span, place, by)
                    called |= {(each, name): max(harm, called.get((each, name), 0.0)) for each in off if each in days}
        if not called:
            break
    return [Jump(name, day, None, harm, "alone") for (day, name), harm in sorted(called.items())]


def _departed(
    relations: Relations, asked: DayMeans, past: np.ndarray, day: date, span: int, rate: float
) -> dict[int, float]:
    """Places of the columns that departed in a span and still do on its last day, and by how much.

    Parameters
    ----------
    past : (days, basis) the mean rows of past days, in order.
    """
    today = asked.spans(span).at(day)
    if today is None or len(past) < MINIMUM_DAYS * span:
        return {}
    found = _blamed(relations, today, past, span, rate)
    return {place: by for place, by in found.items() if day in _days_off(relations, asked, past, day, span, place, by)}


def _days_off(
    relations: Relations, asked: DayMeans, past: np.ndarray, last: date, span: int, place: int, by: float
) -> list[date]:
    """The days of a span on which a column was off by a good part of what it was in the mean of them all."""
    if span == 1:
        return [last]
    mean = relations.departures(past).mean(axis=0)[place]
    days = [last - timedelta(days=back) for back in range(span)]
    return [
        day
        for day in days
        if (rows := asked.at(day)) is not None and (relations.departures(rows)[0, place] - mean) / by > STILL
    ]


def _blamed(relations: Relations, today: np.ndarray, usual: np.ndarray, span: int, rate: float) -> dict[int, float]:
    """Places of the columns that departed and by how much, the one that explains most first.

    Parameters
    ----------
    today : (1, basis) the mean row of a span of days. usual : (days, basis) those of past days, in order.
    """
    import numpy as np

    departures, scores = relations.departures(usual), relations.scores(usual)
    mean, mean_score = departures.mean(axis=0), scores.mean(axis=0)
    (spread, furthest), (_, furthest_score) = (_reach(of_days, span, rate) for of_days in (departures, scores))
    today, gone = _filled(relations, today, usual)
    found: dict[int, float] = {}
    while True:
        by = relations.departures(today)[0] - mean
        # What is broken is, without the break, somewhere it has been before; else it is the others that moved.
        possible = abs(relations.scores(today)[0] - by - mean_score) <= furthest_score
        departed = (abs(by) > furthest) & possible & (spread > 0) & ~gone
        candidates: list[int] = [place for place in np.flatnonzero(departed).tolist() if place not in found]
        if not candidates:
            return found
        repaired = [relations.shifted(today, place, -float(by[place])) for place in candidates]
        left = [_squares(relations.departures(basis)[0] - mean, spread) for basis in repaired]
        best = int(np.argmin(left))
        found[candidates[best]], today = float(by[candidates[best]]), repaired[best]


def _reach(of_days: np.ndarray, span: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """(columns,) spread of the next days' mean, and how far it goes but for a chance that all columns share."""
    from scipy.special import stdtrit

    spread, freedom = spread_of_next(of_days, span)
    return spread, -stdtrit(freedom, rate / (2 * of_days.shape[1])) * spread


def _filled(relations: Relations, today: np.ndarray, usual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mean row without what went missing, and (numbers,) which did: that is called by itself (``jumps.py``).

    A number that misses more than on all days but one is put where the others say it is, so that none of them is blamed
    for it.
    """
    import numpy as np

    gone = relations.missing(today)[0] > np.sort(relations.missing(usual), axis=0)[-2] + LEAST_MOVED
    mean = relations.departures(usual).mean(axis=0)
    for place in np.flatnonzero(gone).tolist():
        present = relations.present(today, place, usual)
        today = relations.shifted(present, place, float((mean - relations.departures(present)[0])[place]))
    return today, gone


def _squares(away: np.ndarray, spread: np.ndarray) -> float:
    """Sum of squares in units of their spread; a column that never varied does not count."""
    varied = spread > 0
    return float(((away[varied] / spread[varied]) ** 2).sum())


def _harm(relations: Relations, place: int, by: float, usual: np.ndarray, rescoring: Rescoring, least: float) -> float:
    """Growth of the mean loss by a departure; none where one of the past days that departed most costs as much.

    Parameters
    ----------
    usual : (days,) departures of past days, less their mean.
    least : harm that is of interest; below it no past day is asked about.
    """
    import numpy as np

    if relations.numbers[place] not in rescoring.frame.columns:
        return 0.0
    (harm,) = _costs(relations, place, [by], rescoring)
    if harm <= least:
        return harm
    most = usual[np.argsort(abs(usual))[-DAYS_ASKED:]].tolist()
    return harm if max(_costs(relations, place, most, rescoring)) < harm else 0.0


def _costs(relations: Relations, place: int, shifts: Sequence[float], rescoring: Rescoring) -> list[float]:
    """Growth of the mean loss by each shift of a column, beyond what putting its values into ranks and back costs."""
    name, asked = relations.numbers[place], rescoring.some()
    values = rescoring.frame[name][asked]
    swaps = [Swap(name, asked, relations.moved(values, place, by), broken=True) for by in (0.0, *shifts)]
    none, *grown = rescoring.growths(swaps)
    return [(each - none) / asked.size for each in grown]
