"""Repeats: days on each of which the same value, or none, fills rows of a column as on so many days it never did.

What belongs here: finding such days, and what they cost. A sensor that sticks for some of the rows, or falls out for
some, hides on any one day in how far days differ; that it does so day after day is what gives it away. What stands
still, or misses, for a whole day shows by itself (``lost.py``, ``moves.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.drift.jumps import CALLED_FROM, Jump
from lifecycle.drift.moves import LEAST_MOVED
from lifecycle.drift.profiles import Profile
from lifecycle.drift.rescoring import Rescoring, lost_instead
from lifecycle.drift.seasonal import FEWEST_ROWS
from lifecycle.drift.significance import MINIMUM_DAYS
from lifecycle.drift.strangers import LEAST_PAST

if TYPE_CHECKING:
    import polars as pl

SPAN = 4  # days: in a column that misses on a day in five, three in a row are no rare thing
COMMON = 0.05  # share of a day's rows; what fills fewer is not followed

Shares = Mapping[Any, float]  # of a day's rows that hold a value; None: those that hold none


def find_repeats(
    profiles: Sequence[Profile],
    window: pl.DataFrame,
    days: Sequence[date],
    before: pl.DataFrame,
    rescoring: Rescoring,
    limit: float,
    rate: float,
) -> list[Jump]:
    """The days on which the same value filled a column day after day as none ever did, in a way that costs too much.

    Parameters
    ----------
    window : (rows,) with ``day`` and the features. days : which are asked about.
    before : (rows,) of past days; those of the window are not looked at.
    limit : growth of the mean loss that must be found; a column is called from ``CALLED_FROM`` of that.
    rate : chance of calling any column on a day that is like those before it, if its days are independent.

    Notes
    -----
    Of ``SPAN`` days that follow each other it is the least share that counts, so that one odd day makes no repeat. It
    is held against that of all past spans: of any value, as another may stick each time, or of rows without one. And
    where the value comes on so many past days that it would come back by chance (Bonferroni over columns), it is not
    called, either. What it costs is asked of the champion, as of values that are lost, by the share beyond what is
    usual of that value.
    """
    import polars as pl

    first = min(days) - timedelta(days=SPAN - 1)
    asked = window.filter(pl.col("day").is_between(first, max(days)))
    # What has come back for a week is not usual yet.
    past = before.filter(~pl.col("day").is_in(window["day"].unique().implode()), pl.col("day") < first)
    found: list[Jump] = []
    for profile in profiles:
        if all(profile.name in frame.columns for frame in (asked, past, rescoring.frame)):
            found += _of_column(profile, asked, days, past, rescoring, CALLED_FROM * limit, rate / len(profiles))
    return found


def _of_column(
    profile: Profile,
    asked: pl.DataFrame,
    days: Sequence[date],
    past: pl.DataFrame,
    rescoring: Rescoring,
    least: float,
    rate: float,
) -> Iterator[Jump]:
    now = _shares_by_day(asked, profile.name)
    lasting = {last: _lasting(now, last) for last in now}
    if max((share for of in lasting.values() for share in of.values()), default=0.0) <= LEAST_MOVED:
        return
    usual = _shares_by_day(past, profile.name)
    spans = [_lasting(usual, last) for last in usual if all(day in usual for day in _span(last))]
    if len(usual) < LEAST_PAST or len(spans) < MINIMUM_DAYS:
        return
    most = {missing: _most(spans, missing) for missing in (False, True)}
    repeated: dict[Any, set[date]] = {}
    for last, shares in lasting.items():
        for value, share in shares.items():
            if share > most[value is None] + LEAST_MOVED and _by_chance(value, share, usual) <= rate:
                repeated.setdefault(value, set()).update(_span(last))
    for value, of_days in sorted(repeated.items(), key=lambda each: str(each[0])):
        growth = _growth(profile, asked, value, rescoring)
        mean = sum(shares.get(value, 0.0) for shares in usual.values()) / len(usual)
        for day in sorted(of_days & set(days)):
            harm = growth * (now[day][value] - mean)
            if harm > least:
                yield Jump(profile.name, day, None, harm, "repeated", None if value is None else str(value))


def _shares_by_day(frame: pl.DataFrame, name: str) -> dict[date, Shares]:
    """Of each day with rows enough, the values that fill many of them, and the share of rows that they do."""
    import polars as pl

    column = frame[name].fill_nan(None) if frame[name].dtype.is_float() else frame[name]
    of_day = pl.DataFrame({"day": frame["day"], "value": column}).filter(pl.len().over("day") >= FEWEST_ROWS)
    counted = (
        of_day.group_by("day", "value")
        .len("rows")
        .with_columns(share=pl.col("rows") / pl.col("rows").sum().over("day"))
    )
    found: dict[date, dict[Any, float]] = {day: {} for day in of_day["day"].unique().sort()}
    for day, value, _, share in counted.filter(pl.col("share") >= COMMON).iter_rows():
        found[day][value] = share
    return dict(found)


def _lasting(by_day: Mapping[date, Shares], last: date) -> Shares:
    """The values that were common on all days of the span that ends with one, and the least share that they had."""
    first, *others = (by_day.get(day, {}) for day in _span(last))
    return {
        value: min(share, *(of[value] for of in others))
        for value, share in first.items()
        if all(value in of for of in others)
    }


def _span(last: date) -> list[date]:
    return [last - timedelta(days=back) for back in range(SPAN)]


def _most(spans: Sequence[Shares], missing: bool) -> float:
    """The largest least share that any value had in past spans, or that rows without one had."""
    return max((share for of in spans for value, share in of.items() if (value is None) == missing), default=0.0)


def _by_chance(value: Any, share: float, usual: Mapping[date, Shares]) -> float:
    """Chance that a value fills so many rows on all days of a span; which one it is, is told by the first of them."""
    often = sum(shares.get(value, 0.0) >= share for shares in usual.values()) / len(usual)
    return often ** (SPAN if value is None else SPAN - 1)


def _growth(profile: Profile, asked: pl.DataFrame, value: Any, rescoring: Rescoring) -> float:
    """Of the loss of a row, on average, when it holds the value instead of its own."""
    import polars as pl

    held = pl.Series([value], dtype=asked[profile.name].dtype)
    swap = lost_instead(profile, rescoring.some(), held, rescoring)
    return rescoring.growths([swap])[0] / max(swap.rows.size, 1)
