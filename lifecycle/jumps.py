"""Jumps: days on which a column is unlike it was on the days before, in all rows or in those of one group.

What belongs here: finding them, and what they cost if the values that moved are of no use. Slow drift, and what it
costs while values mean what they meant, is in ``monitoring.py`` and ``harm.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.distances import total_variation
from lifecycle.lost import is_lost, stuck_rows
from lifecycle.profiles import NumericProfile, Profile, column_bins, numbers
from lifecycle.rescoring import WHICH_VALUE, Rescoring, Swap, lost_instead
from lifecycle.seasonal import FEWEST_ROWS, members
from lifecycle.significance import MINIMUM_DAYS, day_tests

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.seasonal import Group, SeasonalReference

DAYS_ASKED = 2  # of the days before: those most unlike the others, among which the dearest will be
CALLED_FROM = 0.5  # of the limit: harm that large must be found, and what it costs is known to about half of that
LEAST_MOVED = 0.15  # share of a day's rows, beyond what is usual; less is not worth the model's time


@dataclass(frozen=True)
class Jump:
    """A day on which a column jumped.

    Parameters
    ----------
    group : slice column and value of the rows that jumped; None: all rows.
    harm : growth of the mean loss over all rows, if the values that moved are of no use; of one that moved alone, if
        they are off by as much as they moved.
    alone : whether it moved without the columns that it goes with; see ``departures.py``.
    """

    name: str
    day: date
    group: Group
    harm: float
    alone: bool = False


@dataclass(frozen=True)
class _Move:
    """How a day differs from those before it in one column and group.

    Parameters
    ----------
    group : its place among the groups.
    past : (days, bins) rows of the like days before. day : (bins,) of the day.
    every, phases : (days, bins) of all days before; (days,) which of these are like each other.
    lost : share of rows whose values are lost, beyond what was usual; zero: values moved among the bins.
    certain : whether values are lost, as many as on no day before: something broke.
    """

    name: str
    group: int
    past: np.ndarray
    day: np.ndarray
    every: np.ndarray
    phases: np.ndarray
    lost: float = 0.0
    certain: bool = False


@dataclass(frozen=True)
class _Day:
    """The rows of a day; of each group, (rows,) which are its members; of each column, which are lost."""

    rows: pl.DataFrame
    members: Sequence[np.ndarray]
    lost: dict[str, np.ndarray] = field(default_factory=dict)


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
    window : (rows,) with ``day``, the features and the columns of the groups of ``past``.
    days : which are asked about; the earlier ones only about columns that jumped on the last, as a rule over days that
        the last does not fulfil is not fulfilled.
    limit : growth of the mean loss that must be found; what is lost for certain is called from ``CALLED_FROM`` of that.
    rate : chance of calling any column or group on a day that is like those before it, if their shares were all that
        is looked at.

    Notes
    -----
    Values that are lost (``lost.py``), or miss, jump when they are more than on all days before but one; those that are
    lost and never were are broken for certain, and half the limit is enough. Values among the bins must pass four
    gates: the day's shares differ from those of the like days before by more than these differ among themselves
    (``significance.day_tests``; Bonferroni over columns and groups); they differ more than those of all days before but
    one, of whatever weekday, do from the others; more rows moved than usual; and scoring says that it costs more
    than the limit beyond what the dearest of the days before costs when it is held against the others (of the two most
    unlike them). The last is what tells a broken column from weather: storms, too, are unlike the day before, and some
    of the days before were storms.
    """
    import numpy as np
    import polars as pl

    found: list[Jump] = []
    judged = _Judged(profiles, past.groups, rescoring)
    asked, tests = list(profiles), 0
    for day in sorted(days, reverse=True):
        rows = window.filter(pl.col("day") == day)
        these = _Day(rows, members(rows, past.groups))
        moves, looked_at = _moves(asked, these, day, past, past.days < np.datetime64(min(days)))
        tests = tests or looked_at
        unlike = [move for move in moves if move.lost or move.certain or _unlike(move, rate / max(tests, 1))]
        everywhere: set[str] = set()
        for of_all in (True, False):
            # What jumped in all rows need not be asked about by group.
            wave = [move for move in unlike if (move.group == 0) == of_all and move.name not in everywhere]
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


def _moves(
    profiles: Sequence[Profile], these: _Day, day: date, past: SeasonalReference, quiet: np.ndarray
) -> tuple[list[_Move], int]:
    """Columns and groups of which many rows moved, and how many were looked at.

    Parameters
    ----------
    quiet : (past days,) which are not asked about themselves.
    """
    import numpy as np

    moves: list[_Move] = []
    looked_at, phases = 0, past.phases[quiet]
    for profile in profiles:
        bins = column_bins(profile, these.rows[profile.name]) if profile.name in these.rows.columns else None
        if bins is None or profile.name not in past.counts:
            continue
        size, before = len(profile.bin_counts), past.like(profile.name, day)
        now = np.array([np.bincount(bins[flags], minlength=size) for flags in these.members])
        usable = ((before.sum(axis=2) > 0).sum(axis=1) >= MINIMUM_DAYS) & (now.sum(axis=1) >= FEWEST_ROWS)
        looked_at += int(usable.sum())
        lost, missing = _lost(profile, these.rows[profile.name], bins), bins == size - 1
        these.lost[profile.name] = lost | missing
        gone, unseen = _gone(past.counts[profile.name][:, quiet], lost, missing, these.members)
        moved = _moved(before, now)
        for group in np.flatnonzero(usable):
            own = before[group][before[group].sum(axis=1) > 0]
            every = past.counts[profile.name][group][quiet]
            enough = every.sum(axis=1) >= FEWEST_ROWS
            share = float(gone[group]) if gone[group] > LEAST_MOVED else 0.0
            certain = bool(unseen[group] > LEAST_MOVED)
            move = _Move(profile.name, int(group), own, now[group], every[enough], phases[enough], certain=certain)
            # Where some values are lost, what became of the others is asked as well: what broke them broke all.
            moves += [replace(move, lost=share)] if share else []
            moves += [move] if moved[group] > LEAST_MOVED else []
    return moves, looked_at


def _lost(profile: Profile, column: pl.Series, bins: np.ndarray) -> np.ndarray:
    """(rows,) of one day: see ``is_lost``."""
    import numpy as np

    values, stuck = np.empty(0), np.zeros(bins.size, dtype=bool)
    if isinstance(profile, NumericProfile):
        values = numbers(column)
        stuck = stuck_rows(profile, values, np.zeros(bins.size, dtype=int), 1)
    return is_lost(profile, values, bins, stuck)


def _gone(
    before: np.ndarray, lost: np.ndarray, missing: np.ndarray, members: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Share of rows that are lost or miss, and usually do not; and share that are lost and on no day before were.

    Values that miss, as they do on many a day, count where they miss more than on the second worst of the days before
    (on the worst it may have been broken, too), and then beyond the mean of these days. Others that are lost have no
    like on days before, and count in full.

    Parameters
    ----------
    before : (groups, days, bins) rows, the last bin of which are those missing.
    lost, missing : (rows,) of the day; what is missing is lost where the reference misses hardly any.

    Returns
    -------
    (groups,), (groups,) arrays
    """
    import numpy as np

    def share(of: np.ndarray) -> np.ndarray:
        return np.array([of[flags].mean() if flags.any() else 0.0 for flags in members])

    rows = before.sum(axis=2)
    known = rows >= FEWEST_ROWS
    shares = np.divide(before[:, :, -1], rows, out=np.zeros(rows.shape), where=known)
    usual = shares.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    misses, others = share(missing), share(lost & ~missing)
    beyond = np.where(misses > _second_largest(shares) + LEAST_MOVED, misses - usual, 0.0)
    unseen = np.maximum(share(lost & missing) - shares.max(axis=1, initial=0.0), 0.0)
    return others + beyond, others + unseen


def _unlike(move: _Move, rate: float) -> bool:
    """Whether a day's shares differ from those of the days before by more than these differ among themselves."""
    import numpy as np

    if _keeps_rhythm(move):
        return True
    result = day_tests(move.past, move.day[None, :], np.array([1]))
    return result is not None and bool(result.p_values[0] <= rate) and _furthest(move)


def _keeps_rhythm(move: _Move) -> bool:
    """Whether the days before but one were all just like those of their weekday, as of a column that tells it is.

    There is no spread to test against, and a day that moved has left the rhythm.
    """
    import numpy as np

    totals = np.array([move.every[move.phases == phase].sum(axis=0) for phase in move.phases])
    away = [total_variation(total, one[None, :])[0] for total, one in zip(totals, move.every, strict=True)]
    return len(away) > 1 and bool(np.sort(away)[-2] == 0)


def _furthest(move: _Move) -> bool:
    """Whether at most one day before is as far from the others: a few like days tell little of how far weather may go.

    On that one it may have been broken, too.
    """
    import numpy as np

    total = move.every.sum(axis=0)
    if not total.any():
        return True
    away = np.array([total_variation(total - one, one[None, :])[0] for one in move.every])
    return bool(total_variation(total, move.day[None, :])[0] > _second_largest(np.nan_to_num(away)[None, :])[0])


def _second_largest(values: np.ndarray) -> np.ndarray:
    """(rows,) of (rows, values); zero where there are fewer than two."""
    import numpy as np

    return np.sort(values, axis=1)[:, -2] if values.shape[1] > 1 else np.zeros(len(values))


def _moved(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """(groups,) total variation of a day from the days before, beyond what each of these has from the others.

    Parameters
    ----------
    before : (groups, days, bins). now : (groups, bins).
    """
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        total = before.sum(axis=1)
        others = total[:, None] - before
        usual = np.abs(before / before.sum(axis=2, keepdims=True) - others / others.sum(axis=2, keepdims=True))
        away = np.abs(now / now.sum(axis=1, keepdims=True) - total / total.sum(axis=1, keepdims=True))
        of_days = usual.sum(axis=2)
        mean = np.nansum(of_days, axis=1) / np.isfinite(of_days).sum(axis=1)
        return np.asarray(away.sum(axis=1) - mean) / 2


class _Judged:
    """The labelled rows, asked again with other values."""

    def __init__(self, profiles: Sequence[Profile], groups: Sequence[Group], rescoring: Rescoring) -> None:
        self._profiles: Mapping[str, Profile] = {profile.name: profile for profile in profiles}
        self._rescoring = rescoring
        self._groups = groups
        self._members: dict[int, np.ndarray] = {}
        self._bins: dict[str, np.ndarray | None] = {}

    def harms(self, moves: Sequence[_Move], these: _Day, limit: float) -> list[float]:
        """Of each, ``Jump.harm``; the days before are only asked about where the day itself is beyond the limit."""
        swaps = [self._swap_of_day(move, these) for move in moves]
        harms = self._costs(moves, swaps)
        dear = [place for place, move in enumerate(moves) if harms[place] > limit and not (move.lost or move.certain)]
        before = [(place, swap) for place in dear for swap in self._swaps_of_past(moves[place], these)]
        costs = self._costs([moves[place] for place, _ in before], [swap for _, swap in before])
        dearest = dict.fromkeys(dear, 0.0)
        for (place, _), cost in zip(before, costs, strict=True):
            dearest[place] = max(dearest[place], cost)
        return [harm - dearest.get(place, 0.0) for place, harm in enumerate(harms)]

    def _costs(self, moves: Sequence[_Move], swaps: Sequence[Swap | None]) -> list[float]:
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

    def _knows(self, move: _Move) -> bool:
        """Whether the labelled rows have the column, and any of the group."""
        group = self._groups[move.group]
        needed = {move.name} if group is None else {move.name, group[0]}
        return needed <= set(self._rescoring.frame.columns) and bool(self._flags(move.group).any())

    def _swap_of_day(self, move: _Move, these: _Day) -> Swap | None:
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

    def _swaps_of_past(self, move: _Move, these: _Day) -> Iterator[Swap | None]:
        """The days before most unlike the others, each against those; their values are like those of their bins."""
        import numpy as np
        import polars as pl

        own = these.rows[move.name].filter(pl.Series(these.members[move.group]))
        values = pl.concat([own, self._rescoring.frame[move.name].cast(own.dtype)])
        total = move.past.sum(axis=0)
        away = [float(total_variation(total - one, one[None, :])[0]) for one in move.past]
        return (
            self._swap(move, total - move.past[place], move.past[place], values)
            for place in np.argsort(away)[-DAYS_ASKED:]
        )

    def _swap(self, move: _Move, past: np.ndarray, day: np.ndarray, values: pl.Series) -> Swap | None:
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
        taken = np.searchsorted(reach, self._rescoring.chances(moving, WHICH_VALUE) * reach[-1], side="right")
        like = np.bincount(bins[moving], minlength=day.size)
        into = values[pl.Series(np.minimum(taken, drawn.size - 1))]
        return Swap(move.name, moving, into, (lost / np.maximum(like, 1))[bins[moving]])
