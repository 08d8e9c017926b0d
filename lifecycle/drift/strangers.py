"""Strangers: days on which a column holds values that it never held, and that are no mere records.

What belongs here: finding such days, and what they cost. Temperatures come in whole degrees, shares of ten flights in
tenths; half of a temperature is an ordinary temperature, but hardly ever one of those that come. So a change of unit
that hides in how far days differ shows in the values themselves, and so does one that hides just outside of all that
came. Values that are far from all that were ever seen are lost on any day, too (``lost.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.drift.jumps import CALLED_FROM, Jump
from lifecycle.drift.moves import LEAST_MOVED
from lifecycle.drift.profiles import NumericProfile, Profile, holds_numbers, numbers
from lifecycle.drift.rescoring import Rescoring, lost_instead
from lifecycle.drift.seasonal import FEWEST_ROWS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SPANS = (1, 3)  # days: where a day has few values, what shows in one may be chance
LEAST_PAST = 28  # days: of fewer the most that any had says little of the next
DIGITS = 9  # significant ones; those after them depend on the order in which a sum was made
EDGE = 0.1  # of the width of what was seen; values that a record day puts just beyond it are no strangers
OUTSIDE = 0.25  # of that width; values beyond by more are no record of a season that goes on
RECORDS = 2  # neither are those beyond by so many times what the last record was beyond all other days


@dataclass(frozen=True)
class _Values:
    """A column: (rows,) values to ``DIGITS``, NaN where missing, and the day of each; rows in order of days."""

    values: np.ndarray
    days: np.ndarray

    def shares(self, flags: np.ndarray, common: float) -> dict[date, float]:
        """By day, the share of flagged rows among those that hold something else than the commonest value.

        Where one value, such as no rain, comes most often, how often it comes says nothing of the others. Days with
        hardly any such rows are left out.
        """
        import numpy as np

        among = np.isfinite(self.values) & (self.values != common)
        present, places = np.unique(self.days[among], return_inverse=True)
        rows, flagged = np.bincount(places), np.bincount(places, weights=flags[among])
        enough = rows >= FEWEST_ROWS
        return dict(zip(present[enough].tolist(), (flagged[enough] / rows[enough]).tolist(), strict=True))


@dataclass(frozen=True)
class _Seen:
    """What a column held on past days.

    Parameters
    ----------
    past : the column. order : (rows with a value,) their places, values ascending and days within them.
    starts : (values,) where each different value begins among these.
    learnt : (learnt values,) that the version learnt from, ascending.
    record : from where to where a value beyond all of them is a record, no stranger.
    reach : likewise, to be outside all of them.
    """

    past: _Values
    order: np.ndarray
    starts: np.ndarray
    learnt: np.ndarray
    record: tuple[float, float]
    reach: tuple[float, float]

    @property
    def different(self) -> np.ndarray:
        """(values,) ascending."""
        return self.past.values[self.order[self.starts]]

    @property
    def common(self) -> float:
        """The commonest, the smallest of several."""
        import numpy as np

        return float(self.different[np.argmax(np.diff(np.append(self.starts, self.order.size)))])

    def strangers(self, asked: _Values) -> np.ndarray:
        """(rows,) whether a value is none of those seen or learnt from, and no record."""
        import numpy as np

        seen, value = self.different, asked.values
        known = _among(seen, value) | _among(self.learnt, value)
        low, high = self.record
        with np.errstate(invalid="ignore"):
            record = ((low <= value) & (value < seen[0])) | ((seen[-1] < value) & (value <= high))
        return np.asarray(np.isfinite(value) & ~known & ~record)

    def outside(self, asked: _Values) -> np.ndarray:
        """(rows,) whether a value is so far beyond all of those seen that no record is."""
        import numpy as np

        low, high = self.reach
        with np.errstate(invalid="ignore"):
            return np.asarray((asked.values < low) | (high < asked.values))

    def usual(self) -> list[float]:
        """Of past days, oldest first, the share of strangers, each being held against all others."""
        import numpy as np

        days, ends = self.past.days[self.order], np.append(self.starts[1:], self.order.size)
        own = days[self.starts] == days[ends - 1]
        own[[0, -1]] = False  # beyond all others, and so no more than records
        own &= ~_among(self.learnt, self.different)
        flags = np.zeros(self.past.values.size)
        flags[self.order] = np.repeat(own, ends - self.starts)
        return list(self.past.shares(flags, self.common).values())


def find_strangers(
    profiles: Sequence[Profile],
    window: pl.DataFrame,
    days: Sequence[date],
    before: pl.DataFrame,
    rescoring: Rescoring,
    limit: float,
) -> list[Jump]:
    """The days on which a column held values that it never held, in a way that costs too much.

    Parameters
    ----------
    window : (rows,) with ``day`` and the features. days : which are asked about.
    before : (rows,) of past days; those that a span asked about may begin with, and later ones, are not looked at.
    limit : growth of the mean loss that must be found; a column is called from ``CALLED_FROM`` of that.

    Notes
    -----
    The share of strangers among a day's rows, and the mean of it over three days, is held against those of all days
    before, for each of which the others are what was seen: a column whose values never repeat has as many on any day.
    Those outside all that was seen need no such comparison, as no day before had any. What they cost is asked of the
    champion, as of values that are lost. A source that begins to tell more digits looks the same for the first days;
    that nothing is wrong, only a person can tell.
    """
    import polars as pl

    first = min(days) - timedelta(days=max(SPANS) - 1)
    past = before.filter(pl.col("day") < first).sort("day")
    asked = window.filter(pl.col("day").is_between(first, max(days))).sort("day")
    found: list[Jump] = []
    for profile in profiles:
        frames = (asked, past, rescoring.frame)
        if isinstance(profile, NumericProfile) and all(_has_numbers(frame, profile.name) for frame in frames):
            found += _of_column(profile, asked, days, past, rescoring, CALLED_FROM * limit)
    return found


def _of_column(
    profile: NumericProfile,
    asked: pl.DataFrame,
    days: Sequence[date],
    past: pl.DataFrame,
    rescoring: Rescoring,
    least: float,
) -> Iterator[Jump]:
    import numpy as np
    import polars as pl

    name = profile.name
    seen, now = _seen(_values(past, name), profile), _values(asked, name)
    if seen is None:
        return
    strange = seen.strangers(now)
    shares = now.shares(strange, seen.common)
    if max(shares.values(), default=0.0) <= LEAST_MOVED:
        return
    outside, usual = seen.outside(now), seen.usual()
    among = now.shares(outside, seen.common)
    more = [day for day in days if _more_than_ever(shares, day, usual)]
    far = [day for day in days if day not in more and len(usual) >= LEAST_PAST and among.get(day, 0.0) > LEAST_MOVED]
    for flags, flagged in ((strange, more), (outside, far)):
        if not flagged:
            continue
        swap = lost_instead(profile, rescoring.some(), asked[name].filter(pl.Series(flags)), rescoring)
        growth = rescoring.growths([swap])[0] / max(swap.rows.size, 1)
        for day in flagged:
            harm = growth * float(flags[now.days == np.datetime64(day)].mean())
            if harm > least:
                yield Jump(name, day, None, harm, "unseen")


def _has_numbers(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and holds_numbers(frame[name])


def _values(frame: pl.DataFrame, name: str) -> _Values:
    """A column without the last digits, in which sums of another order differ."""
    import polars as pl

    return _Values(_short(numbers(frame[name])), frame["day"].cast(pl.Date).to_numpy().astype("datetime64[D]"))


def _short(values: np.ndarray) -> np.ndarray:
    """(values,) to ``DIGITS``."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    return np.asarray(np.where(np.isfinite(rounded), rounded, values))


def _among(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(values,) whether each is one of some others."""
    import numpy as np

    if not ascending.size:
        return np.zeros(values.shape, dtype=bool)
    return np.asarray(ascending[np.minimum(np.searchsorted(ascending, values), ascending.size - 1)] == values)


def _seen(past: _Values, profile: NumericProfile) -> _Seen | None:
    """None of a column that held nothing, or one value alone."""
    import numpy as np

    order = np.argsort(past.values, kind="stable")
    order = order[np.isfinite(past.values[order])]
    starts = np.flatnonzero(np.diff(past.values[order], prepend=-np.inf))
    if starts.size < 2:
        return None
    learnt = _short(np.array(profile.learnt or (), dtype=float))
    return _Seen(past, order, starts, learnt, *(_reach(past, order, profile, share) for share in (EDGE, OUTSIDE)))


def _reach(past: _Values, order: np.ndarray, profile: NumericProfile, share: float) -> tuple[float, float]:
    """How far values may be beyond all of those seen, by a share of their width; see ``RECORDS``."""
    low, high = float(past.values[order[0]]), float(past.values[order[-1]])
    below, above = (max(share * (high - low), RECORDS * _ahead(past, ends)) for ends in (order, order[::-1]))
    # What the version has learnt from may come again, though it has not of late.
    reach = (low - below, high + above, *(profile.learnt or ()))
    return min(reach), max(reach)


def _ahead(past: _Values, order: np.ndarray) -> float:
    """How far the day of the first value is ahead of all other days."""
    import numpy as np

    others = np.flatnonzero(past.days[order] != past.days[order[0]])
    return abs(float(past.values[order[others[0]]] - past.values[order[0]])) if others.size else 0.0


def _more_than_ever(shares: Mapping[date, float], day: date, usual: Sequence[float]) -> bool:
    """Whether a day, or the days that end with it, has strangers beyond what any past one, or as many, had."""
    import numpy as np

    if shares.get(day, 0.0) <= LEAST_MOVED:
        return False
    for span in SPANS:
        last = [shares.get(day - timedelta(days=back)) for back in range(span)]
        present = [share for share in last if share is not None]
        if len(present) < span or len(usual) < LEAST_PAST:
            continue
        means = np.convolve(usual, np.full(span, 1 / span), "valid")
        if sum(present) / span > means.max() + LEAST_MOVED:
            return True
    return False
