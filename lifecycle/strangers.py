"""Strangers: days on which a column holds values that it never held, and that are no mere records.

What belongs here: finding such days, and what they cost. Temperatures come in whole degrees, shares of ten flights in
tenths; half of a temperature is an ordinary temperature, but hardly ever one of those that come. So a change of unit
that hides in how far days differ shows in the values themselves. Values that are far from all that were ever seen are
lost on any day, too (``lost.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.jumps import CALLED_FROM, Jump
from lifecycle.moves import LEAST_MOVED
from lifecycle.profiles import NumericProfile, Profile, holds_numbers
from lifecycle.rescoring import Rescoring, lost_instead
from lifecycle.seasonal import FEWEST_ROWS

if TYPE_CHECKING:
    import polars as pl

SPANS = (1, 3)  # days: where a day has few values, what shows in one may be chance
LEAST_PAST = 28  # days: of fewer the most that any had says little of the next
DIGITS = 9  # significant ones
EDGE = 0.1  # of the width of what was seen; values that a record day puts just beyond it are no strangers


@dataclass(frozen=True)
class _Seen:
    """What a column held on past days.

    Parameters
    ----------
    values : different ones, to ``DIGITS``.
    low, high : from where to where a value beyond all of them is a record, no stranger.
    common : the commonest, such as no rain: how often it comes says nothing of the others.
    """

    values: pl.Series
    low: float
    high: float
    common: float

    def shares(self, frame: pl.DataFrame, name: str) -> dict[date, float]:
        """Of each day the share of strangers among the rows that hold something else than the commonest value.

        Days with hardly any such rows are left out.
        """
        return _by_day(frame, self.strangers(name), _value(name) != self.common)

    def strangers(self, name: str) -> pl.Expr:
        """(rows,) whether a value is none of those seen, and no record."""
        value, lowest, highest = _value(name), self.values.min(), self.values.max()
        record = value.is_between(self.low, lowest, "left") | value.is_between(highest, self.high, "right")
        return (value.is_finite() & ~value.is_in(self.values.implode()) & ~record).fill_null(value=False)

    def usual(self, past: pl.DataFrame, name: str) -> list[float]:
        """Of past days, oldest first, the same, each being held against all others."""
        import polars as pl

        value, lowest, highest = _value(name), self.values.min(), self.values.max()
        own = pl.col("day").min().over(value) == pl.col("day").max().over(value)
        return list(_by_day(past, own & (value > lowest) & (value < highest), value != self.common).values())


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
    before : (rows,) of past days; those that are asked about, and later ones, are not looked at.
    limit : growth of the mean loss that must be found; a column is called from ``CALLED_FROM`` of that.

    Notes
    -----
    The share of strangers among a day's rows, and the mean of it over three days, is held against those of all days
    before, for each of which the others are what was seen: a column whose values never repeat has as many on any day.
    What they cost is asked of the champion, as of values that are lost. A source that begins to tell more digits looks
    the same for the first days; that nothing is wrong, only a person can tell.
    """
    import polars as pl

    first = min(days) - timedelta(days=max(SPANS) - 1)
    past = before.filter(pl.col("day") < first)
    asked = window.filter(pl.col("day").is_between(first, max(days)))
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
    import polars as pl

    name, seen = profile.name, _seen(past, profile)
    shares = seen.shares(asked, name) if seen else {}
    if seen is None or max(shares.values(), default=0.0) <= LEAST_MOVED:
        return
    usual = seen.usual(past, name)
    flagged = [day for day in days if _more_than_ever(shares, day, usual)]
    if not flagged:
        return
    strange = asked.select(seen.strangers(name))[name]
    swap = lost_instead(profile, rescoring.some(), asked[name].filter(strange), rescoring)
    growth = rescoring.growths([swap])[0] / max(swap.rows.size, 1)
    of_days = pl.DataFrame({"day": asked["day"], "strange": strange}).group_by("day").agg(pl.col("strange").mean())
    for day, share in of_days.sort("day").iter_rows():
        if day in flagged and growth * share > least:
            yield Jump(name, day, None, growth * share, "unseen")


def _has_numbers(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and holds_numbers(frame[name])


def _value(name: str) -> pl.Expr:
    """(rows,) the values of a column, without the last digits, in which sums of another order differ."""
    import polars as pl

    return pl.col(name).cast(pl.Float64).round_sig_figs(DIGITS)


def _seen(past: pl.DataFrame, profile: NumericProfile) -> _Seen | None:
    """None of a column that held nothing, or one value alone."""
    import polars as pl

    values = past.select(_value(profile.name).alias("value")).filter(pl.col("value").is_finite())["value"]
    ranked = values.value_counts().sort("count", "value", descending=[True, False])["value"]
    if ranked.len() < 2:
        return None
    low, high = float(ranked.min()), float(ranked.max())  # type: ignore[arg-type]
    edge = EDGE * (high - low)
    # What the version has learnt from may come again, though it has not of late.
    reach = (low - edge, high + edge, *(profile.learnt or ()))
    return _Seen(ranked, min(reach), max(reach), float(ranked[0]))


def _by_day(frame: pl.DataFrame, flags: pl.Expr, among: pl.Expr) -> dict[date, float]:
    """By day in order, the share of flagged rows among those that count; days with few of these are left out."""
    import polars as pl

    known = among.fill_null(value=False)
    rows = frame.select("day", flags.alias("flag"), known.alias("among")).filter("among")
    counted = rows.group_by("day").agg(pl.col("flag").mean(), pl.len().alias("rows")).sort("day")
    return dict(counted.filter(pl.col("rows") >= FEWEST_ROWS).select("day", "flag").iter_rows())


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
