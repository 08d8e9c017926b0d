"""Moves: days on which many rows of a column lie elsewhere than on the days before, or hold values that are lost.

What belongs here: finding them, in all rows and in those of each group, and telling those that days vary by from those
that they do not. What a move costs, and whether it is called, is in ``jumps.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.drift.distances import total_variation
from lifecycle.drift.lost import lost_rows
from lifecycle.drift.profiles import Profile, column_bins
from lifecycle.drift.seasonal import FEWEST_ROWS
from lifecycle.drift.significance import MINIMUM_DAYS, day_tests

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.seasonal import SeasonalReference

LEAST_MOVED = 0.15  # share of a day's rows, beyond what is usual; less is not worth the model's time


@dataclass(frozen=True)
class Move:
    """How a day differs from those before it in one column and group.

    Parameters
    ----------
    group : its place among the groups.
    past : (days, bins) rows of the like days before. day : (bins,) of the day.
    every, phases : (days, bins) of all days before; (days,) which of these are like each other.
    lost : share of rows whose values are lost, beyond what was usual; zero: values moved among the bins.
    certain : whether many of the day's rows are lost: then all are held to be broken.
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
class DayRows:
    """The rows of a day; of each group, (rows,) which are its members; of each column, which are lost."""

    rows: pl.DataFrame
    members: Sequence[np.ndarray]
    lost: dict[str, np.ndarray] = field(default_factory=dict)


def find_moves(
    profiles: Sequence[Profile],
    these: DayRows,
    day: date,
    past: SeasonalReference,
    quiet: np.ndarray,
    settled: np.ndarray,
) -> tuple[list[Move], int]:
    """Columns and groups of which many rows moved, and how many were looked at.

    Parameters
    ----------
    quiet : (past days,) which are not asked about themselves.
    settled : (past days,) those before the window: what is lost for a few days is not usual yet.
    """
    import numpy as np

    moves: list[Move] = []
    looked_at, phases = 0, past.phases[quiet]
    for profile in profiles:
        bins = column_bins(profile, these.rows[profile.name]) if profile.name in these.rows.columns else None
        if bins is None or profile.name not in past.counts:
            continue
        size, before = len(profile.bin_counts), past.like(profile.name, day)
        now = np.array([np.bincount(bins[flags], minlength=size) for flags in these.members])
        usable = ((before.sum(axis=2) > 0).sum(axis=1) >= MINIMUM_DAYS) & (now.sum(axis=1) >= FEWEST_ROWS)
        looked_at += int(usable.sum())
        alone = np.zeros(bins.size, dtype=int)
        lost, missing = lost_rows(profile, these.rows[profile.name], bins, alone, 1), bins == size - 1
        these.lost[profile.name] = lost
        counted = past.counts[profile.name][:, settled], past.lost_rows(profile.name)[:, settled]
        gone = _gone(*counted, lost, missing, these.members)
        moved = _moved(before, now)
        for group in np.flatnonzero(usable):
            own = before[group][before[group].sum(axis=1) > 0]
            every = past.counts[profile.name][group][quiet]
            enough = every.sum(axis=1) >= FEWEST_ROWS
            share = float(gone[group]) if gone[group] > LEAST_MOVED else 0.0
            move = Move(profile.name, int(group), own, now[group], every[enough], phases[enough], certain=share > 0)
            # Where some values are lost, what became of the others is asked as well: what broke them broke all.
            moves += [replace(move, lost=share)] if share else []
            moves += [move] if moved[group] > LEAST_MOVED else []
    return moves, looked_at


def _gone(
    before: np.ndarray, lost_before: np.ndarray, lost: np.ndarray, missing: np.ndarray, members: Sequence[np.ndarray]
) -> np.ndarray:
    """(groups,) share of rows whose values are lost, and usually are not.

    Values that miss where the reference misses hardly any count where they are more than on the second worst of the
    days before (on the worst it may have been broken, too), and then beyond the mean of these days; where values miss
    now and then anyway, no one day tells (``repeats.py``). Others that are lost count in full, but where two days
    before had many: then a season has left the range of a short reference behind.

    Parameters
    ----------
    before : (groups, days, bins) rows, the last bin of which are those missing.
    lost_before : (groups, days) rows that are lost and do not miss.
    lost, missing : (rows,) of the day; what is missing is lost where the reference misses hardly any.
    """
    import numpy as np

    def share(of: np.ndarray) -> np.ndarray:
        return np.array([of[flags].mean() if flags.any() else 0.0 for flags in members])

    rows = before.sum(axis=2)
    known = rows >= FEWEST_ROWS
    missed, gone = (
        np.divide(of, rows, out=np.zeros(rows.shape), where=known) for of in (before[:, :, -1], lost_before)
    )
    misses, others = share(lost & missing), share(lost & ~missing)
    others[_second_largest(gone) > LEAST_MOVED] = 0.0
    usual = missed.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return others + np.where(misses > _second_largest(missed) + LEAST_MOVED, misses - usual, 0.0)


def unlike(move: Move, rate: float) -> bool:
    """Whether a day's shares differ from those of the days before by more than these differ among themselves."""
    import numpy as np

    if _keeps_rhythm(move):
        return True
    result = day_tests(move.past, move.day[None, :], np.array([1]))
    return result is not None and bool(result.p_values[0] <= rate) and _furthest(move)


def days_held_against(move: Move) -> np.ndarray:
    """(days, bins) the days before which may have cost as much: all, or those like it where the column has a rhythm."""
    return move.past if _keeps_rhythm(move) else move.every


def _keeps_rhythm(move: Move) -> bool:
    """Whether all days before but one were just like others of their weekday, as those of a column that tells it are.

    There is no spread to test against, and a day that moved has left the rhythm.
    """
    if len(move.every) < 2:
        return False
    totals = (move.phases[:, None] == move.phases).astype(float) @ move.every
    return bool(_second_largest(total_variation(totals, move.every)[None, :])[0] == 0)


def _furthest(move: Move) -> bool:
    """Whether at most one day before is as far from the others: a few like days tell little of how far weather may go.

    On that one it may have been broken, too.
    """
    import numpy as np

    total = move.every.sum(axis=0)
    if not total.any():
        return True
    away = np.nan_to_num(total_variation(total - move.every, move.every))
    return bool(total_variation(total, move.day[None, :])[0] > _second_largest(away[None, :])[0])


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
