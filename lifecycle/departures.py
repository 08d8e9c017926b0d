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

from lifecycle.jumps import CALLED_FROM, DAYS_ASKED, Jump
from lifecycle.relations import Relations
from lifecycle.rescoring import Rescoring, Swap
from lifecycle.seasonal import FEWEST_ROWS
from lifecycle.significance import MINIMUM_DAYS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SPANS = (1, 3)  # days: what hardly shows in one shows in the mean of several
ROWS_OF_DAY = 200  # of a past day; enough to know its mean departure to a fifteenth of what rows differ by


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

    def at(self, day: date) -> np.ndarray | None:
        """(1, basis) that of one day; None where there is none."""
        import numpy as np

        means = self.means[self.days == np.datetime64(day)]
        return means if len(means) else None


@dataclass(frozen=True)
class _Departure:
    """By how much a column's mean score of a day is away from what it usually is, given the others."""

    place: int
    by: float


def day_means(relations: Relations, frame: pl.DataFrame, rows_of_day: int = ROWS_OF_DAY) -> DayMeans | None:
    """The mean rows of days, as relations see them.

    Parameters
    ----------
    frame : (rows,) with ``day`` and the features.
    rows_of_day : at most so many are looked at, evenly spread over the day.

    Returns
    -------
    DayMeans or None
        Of days with rows enough to tell; None where the frame lacks a column that the relations know, as that of
        another feature set does, or has it in another type.
    """
    import numpy as np
    import polars as pl

    if not relations.fit(frame):
        return None
    place, size = pl.int_range(pl.len()).over("day"), pl.len().over("day")
    step = (size / rows_of_day).ceil().cast(pl.Int64)
    some = frame.filter(pl.col("day").is_not_null(), size >= FEWEST_ROWS, place % step == 0).sort("day")
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
    days : which are asked about; the earlier ones only if there are any on the last.
    past : days that are held to be usual; those that are asked about, and later ones, are not looked at.
    limit : growth of the mean loss that must be found; a column is called from ``CALLED_FROM`` of that.
    rate : chance of calling any column on a day that is like those before it.

    Notes
    -----
    The mean departure of a day, and of the three that end with it, is held against those of past days by a t test
    (Bonferroni over columns); how days that follow each other are alike is in the past spans, too. Where one column is
    broken others seem to be, too, as it tells of them: so the column is blamed that explains most, it is put where the
    others say it is, and the rest are looked at again. What a departure costs is asked of the champion on its judged
    rows, moved by as much; it is no harm where one of the past days that departed most would have cost more.
    """
    import numpy as np
    import polars as pl

    quiet = past.days < np.datetime64(min(days))
    usual = DayMeans(past.days[quiet], past.means[quiet])
    called = CALLED_FROM * limit
    since = min(days) - timedelta(days=max(SPANS) - 1)
    asked = day_means(relations, window.filter(pl.col("day") >= since), rows_of_day=max(window.height, 1))
    if asked is None or len(usual.days) < MINIMUM_DAYS:
        return []
    found: list[Jump] = []
    for day in sorted(days, reverse=True):
        harms: dict[str, float] = {}
        for span in SPANS:
            today, before = asked.spans(span).at(day), usual.spans(span).means
            if today is None or len(before) < MINIMUM_DAYS:
                continue
            for departure in _departures(relations, today, before, rate / len(SPANS)):
                name = relations.numbers[departure.place]
                harm = _harm(relations, departure, relations.departures(before), rescoring, called)
                harms[name] = max(harm, harms.get(name, 0.0))
        found += [Jump(name, day, None, harm, alone=True) for name, harm in harms.items() if harm > called]
        if not found:
            break
    return found[::-1]


def _departures(relations: Relations, today: np.ndarray, usual: np.ndarray, rate: float) -> list[_Departure]:
    """The columns that departed, the one that explains most first.

    Parameters
    ----------
    today : (1, basis) the day's mean row. usual : (days, basis) those of past days.
    """
    import numpy as np
    from scipy.special import stdtrit

    count, columns = len(usual), len(relations.numbers)
    furthest = -stdtrit(count - 1, rate / (2 * columns))
    mean, spread = _usual(relations.departures(usual))
    mean_score, spread_of_score = _usual(relations.scores(usual))
    found: dict[int, _Departure] = {}
    while True:
        by = relations.departures(today)[0] - mean
        # What is broken is, without the break, somewhere it has been before; else it is the others that moved.
        possible = abs(relations.scores(today)[0] - by - mean_score) <= furthest * spread_of_score
        departed = (abs(by) > furthest * spread) & possible & (spread > 0)
        candidates: list[int] = [place for place in np.flatnonzero(departed).tolist() if place not in found]
        if not candidates:
            return list(found.values())
        repaired = [relations.shifted(today, place, -float(by[place])) for place in candidates]
        left = [_squares(relations.departures(basis)[0] - mean, spread) for basis in repaired]
        best = int(np.argmin(left))
        place, today = candidates[best], repaired[best]
        found[place] = _Departure(place, float(by[place]))


def _usual(of_days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(columns,) mean of past days, and by how much another day is away from it: standard deviation."""
    import numpy as np

    return of_days.mean(axis=0), of_days.std(axis=0, ddof=1) * np.sqrt(1 + 1 / len(of_days))


def _squares(away: np.ndarray, spread: np.ndarray) -> float:
    """Sum of squares in units of their spread; a column that never varied does not count."""
    varied = spread > 0
    return float(((away[varied] / spread[varied]) ** 2).sum())


def _harm(relations: Relations, departure: _Departure, usual: np.ndarray, rescoring: Rescoring, limit: float) -> float:
    """Growth of the mean loss by a departure; none where one of the past days that departed most costs as much."""
    import numpy as np

    if relations.numbers[departure.place] not in rescoring.frame.columns:
        return 0.0
    harm = _cost(relations, departure, rescoring)
    if harm <= limit:
        return harm
    of_days = usual[:, departure.place] - usual[:, departure.place].mean()
    for place in np.argsort(abs(of_days))[-DAYS_ASKED:]:
        if _cost(relations, _Departure(departure.place, float(of_days[place])), rescoring) >= harm:
            return 0.0
    return harm


def _cost(relations: Relations, departure: _Departure, rescoring: Rescoring) -> float:
    name, asked = relations.numbers[departure.place], rescoring.some()
    values = relations.moved(rescoring.frame[name][asked], departure.place, departure.by)
    return rescoring.growths([Swap(name, asked, values)])[0] / asked.size
