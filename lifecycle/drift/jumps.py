"""Jumps: days on which a column is unlike it was on the days before, in all rows or in those of one group.

What belongs here: what moves (``moves.py``) cost if the values that moved are of no use, and which are called. Slow
drift, and what it costs while values mean what they meant, is in ``monitoring.py`` and ``harm.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Literal

from lifecycle.drift.distances import total_variation
from lifecycle.drift.moves import DayRows, Move, days_held_against, find_moves, unlike
from lifecycle.drift.profiles import Profile, column_bins
from lifecycle.drift.rescoring import Rescoring, Swap, lost_instead
from lifecycle.drift.seasonal import members

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.seasonal import Group, SeasonalReference

DAYS_ASKED = 2  # of the days before: those most unlike the others, among which the dearest will be
How = Literal["moved", "alone", "unseen", "repeated"]
CALLED_FROM = 0.5  # of the limit: harm that large must be found, and what it costs is known to about half of that


@dataclass(frozen=True)
class Jump:
    """A day on which a column jumped.

    Parameters
    ----------
    group : slice column and value of the rows that jumped; None: all rows.
    harm : growth of the mean loss over all rows, if the values that moved are of no use; of one that moved alone, if
        they are off by as much as they moved.
    how : it moved; it moved without the columns that it goes with (``departures.py``); it holds values that it never
        held (``strangers.py``); the same value, or none, keeps coming back (``repeats.py``).
    value : what keeps coming back, as text; None where that is no value, and of any other jump.
    """

    name: str
    day: date
    group: Group
    harm: float
    how: How = "moved"
    value: str | None = None


def find_jumps(
    profiles: Sequence[Profile],
    window: pl.DataFrame,
    days: Sequence[date],
    past: SeasonalReference,
    rescoring: Rescoring,
    limit: float,
    rate: float,
) -> list[Jump]:
    """The jumps of some days that cost more than a limit.

    Weighting judged losses anew says what a shift does while values mean what they meant. Where a column jumps from one
    week to the next it may be its meaning that changed: minutes that became hours still lie in the reference's range,
    and the shifted schedule of one carrier hides among those of the others. And a column whose every day lies in a bin
    or two, as the air pressure does, hides what is broken in how much its days differ. Hence the rows that moved are
    scored again, with the labels they have and the values of the day.

    Parameters
    ----------
    window : (rows,) with ``day``, the features and the columns of the groups of ``past``; what was lost on days before
        it is usual.
    days : which are asked about; the earlier ones only about columns that jumped on the last, as a rule over days that
        the last does not fulfil is not fulfilled.
    limit : growth of the mean loss that must be found; what is lost for certain is called from ``CALLED_FROM`` of that.
    rate : chance of calling any column or group on a day that is like those before it, if their shares were all that
        is looked at.

    Notes
    -----
    Values that are lost (``lost.py``) where the reference has none, and that miss beyond all days before but one, are
    held to be broken, and half the limit is enough; the champion's own forecasts, not labels, tell what they cost
    (``Swap.broken``).
    Values among the bins must pass four gates: the day's shares differ from those of the like days before by more than
    these differ among themselves (``significance.day_tests``; Bonferroni over columns and groups); they differ more
    than those of all days before but one, of whatever weekday, do from the others; more rows moved than usual; and
    scoring says that it costs more than the limit beyond what the dearest of the days before, of whatever weekday,
    costs when it is held against the others (of the two most unlike them). The last is what tells a broken column from
    weather: storms, too, are unlike the day before, and some of the days before were storms. Of a column all days of
    which were just like others of their weekday, the first two are not asked: nothing in it varies; and it is held
    against those of its weekday alone.
    """
    import numpy as np
    import polars as pl

    found: list[Jump] = []
    quiet = past.days < np.datetime64(min(days))
    settled = past.days < window["day"].cast(pl.Date).to_numpy().min()
    judged = _Judged(profiles, past.groups, rescoring)
    asked, tests = list(profiles), 0
    for day in sorted(days, reverse=True):
        rows = window.filter(pl.col("day") == day)
        these = DayRows(rows, members(rows, past.groups))
        moves, looked_at = find_moves(asked, these, day, past, quiet, settled)
        tests = tests or looked_at
        odd = [move for move in moves if move.certain or unlike(move, rate / max(tests, 1))]
        everywhere: set[str] = set()
        for of_all in (True, False):
            # What jumped in all rows need not be asked about by group.
            wave = [move for move in odd if (move.group == 0) == of_all and move.name not in everywhere]
            dearest: dict[tuple[str, int], float] = {}
            for move, harm in zip(wave, judged.harms(wave, these, limit), strict=True):
                if harm > (CALLED_FROM * limit if move.certain else limit):
                    dearest[move.name, move.group] = max(harm, dearest.get((move.name, move.group), 0.0))
            found += [Jump(name, day, past.groups[group], harm) for (name, group), harm in dearest.items()]
            everywhere |= {name for name, _ in dearest} if of_all else set()
        if day == max(days):
            jumped = {jump.name for jump in found}
            asked = [profile for profile in profiles if profile.name in jumped]
        if not asked:
            break
    return found[::-1]


class _Judged:
    """The labelled rows, asked again with other values."""

    def __init__(self, profiles: Sequence[Profile], groups: Sequence[Group], rescoring: Rescoring) -> None:
        self._profiles: Mapping[str, Profile] = {profile.name: profile for profile in profiles}
        self._rescoring = rescoring
        self._groups = groups
        self._members: dict[int, np.ndarray] = {}
        self._bins: dict[str, np.ndarray | None] = {}

    def harms(self, moves: Sequence[Move], these: DayRows, limit: float) -> list[float]:
        """Of each, ``Jump.harm``; the days before are only asked about where the day itself is beyond the limit."""
        swaps = [self._swap_of_day(move, these) for move in moves]
        harms = self._costs(moves, swaps)
        dear = [place for place, move in enumerate(moves) if harms[place] > limit and not move.certain]
        before = [(place, swap) for place in dear for swap in self._swaps_of_past(moves[place], these)]
        costs = self._costs([moves[place] for place, _ in before], [swap for _, swap in before])
        dearest = dict.fromkeys(dear, 0.0)
        for (place, _), cost in zip(before, costs, strict=True):
            dearest[place] = max(dearest[place], cost)
        return [harm - dearest.get(place, 0.0) for place, harm in enumerate(harms)]

    def _costs(self, moves: Sequence[Move], swaps: Sequence[Swap | None]) -> list[float]:
        """Growth of the mean loss over all rows of a day by each swap; none by one that cannot be made."""
        growths = iter(self._rescoring.growths([swap for swap in swaps if swap is not None]))
        return [
            0.0 if swap is None else next(growths) * float(self._flags(move.group).mean())
            for move, swap in zip(moves, swaps, strict=True)
        ]

    def _flags(self, group: int) -> np.ndarray:
        """(rows,) which labelled rows are of a group."""
        if group not in self._members:
            (self._members[group],) = members(self._rescoring.frame, [self._groups[group]])
        return self._members[group]

    def _labelled_bins(self, name: str) -> np.ndarray | None:
        """(rows,) the bin of each labelled row; None where the column holds something else."""
        if name not in self._bins:
            self._bins[name] = column_bins(self._profiles[name], self._rescoring.frame[name])
        return self._bins[name]

    def _knows(self, move: Move) -> bool:
        """Whether the labelled rows have the column, and any of the group."""
        group = self._groups[move.group]
        needed = {move.name} if group is None else {move.name, group[0]}
        return needed <= set(self._rescoring.frame.columns) and bool(self._flags(move.group).any())

    def _swap_of_day(self, move: Move, these: DayRows) -> Swap | None:
        import polars as pl

        if not self._knows(move):
            return None
        flags = these.members[move.group]
        if not move.lost:
            own = these.rows[move.name].filter(pl.Series(flags))
            return self._swap(move, move.past.sum(axis=0), move.day, own)
        gone = these.rows[move.name].filter(pl.Series(flags & these.lost[move.name]))
        asked = self._rescoring.some(self._flags(move.group))
        swap = lost_instead(self._profiles[move.name], asked, gone, self._rescoring)
        return replace(swap, weights=move.lost / swap.rows.size)

    def _swaps_of_past(self, move: Move, these: DayRows) -> Iterator[Swap | None]:
        """The days before most unlike the others, each against those; their values are like those of their bins."""
        import numpy as np
        import polars as pl

        own = these.rows[move.name].filter(pl.Series(these.members[move.group]))
        values = pl.concat([own, self._rescoring.frame[move.name].cast(own.dtype, strict=False)])
        past = days_held_against(move)
        total = past.sum(axis=0)
        away = np.nan_to_num(total_variation(total - past, past))
        return (self._swap(move, total - past[place], past[place], values) for place in np.argsort(away)[-DAYS_ASKED:])

    def _swap(self, move: Move, past: np.ndarray, day: np.ndarray, values: pl.Series) -> Swap | None:
        """Labelled rows that change bins as between two distributions, and what they change to.

        No more change than must: out of bins that lost, into bins that gained, by chance among those. Rows count as
        often as the days before have rows like them: of a column that tells the weekday, most labelled rows are unlike
        any of a day.

        Parameters
        ----------
        past, day : (bins,) counts. values : from which those of a bin are drawn.
        """
        import numpy as np
        import polars as pl

        bins, drawn = self._labelled_bins(move.name), column_bins(self._profiles[move.name], values)
        if bins is None or drawn is None:
            return None
        change = day / day.sum() - past / past.sum()
        there = np.bincount(drawn, minlength=day.size)
        gained = np.where(there > 0, np.maximum(change, 0), 0)
        lost = np.maximum(-change, 0)
        moving = self._rescoring.some(self._flags(move.group) & (lost[bins] > 0))
        if not gained.any() or not moving.size:
            return None
        reach = np.cumsum((gained / np.maximum(there, 1))[drawn])
        taken = np.searchsorted(reach, self._rescoring.chances(moving) * reach[-1], side="right")
        like = np.bincount(bins[moving], minlength=day.size)
        into = values[pl.Series(np.minimum(taken, drawn.size - 1))]
        weights = (lost / np.maximum(like, 1))[bins[moving]]
        return Swap(move.name, moving, into, weights, broken=move.certain)
