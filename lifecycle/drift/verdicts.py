"""What is called: which columns of a window drifted, and which of them do harm.

What belongs here: the verdicts on all columns and days at once, many tests being made. What they rest on is measured
in ``measured.py``; jumps are found in ``jumps.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.drift.departures import day_means, find_departures
from lifecycle.drift.jumps import Jump, find_jumps
from lifecycle.drift.monitored_rows import Days, Judged, some_of_each_day
from lifecycle.drift.repeats import find_repeats
from lifecycle.drift.seasonal import SeasonalReference, seasonal_reference
from lifecycle.drift.significance import MINIMUM_DAYS, false_discovery_q
from lifecycle.drift.strangers import find_strangers
from lifecycle.ranking import STANDARD_ERRORS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.measured import Column
    from lifecycle.drift.reference import Reference
    from lifecycle.pipeline import MonitorRule

NEARLY_ALL = 0.85  # of the days of a window: 12 of a fortnight


@dataclass(frozen=True)
class Verdicts:
    """(columns, windows) what is called; (columns,) the q-value of the whole window; the jumps of the last days."""

    drifted: np.ndarray
    harmful: np.ndarray
    q_values: np.ndarray
    jumps: Sequence[Jump]


def judge(
    columns: Sequence[Column],
    when: Days,
    rule: MonitorRule,
    sample: Judged | None,
    seasonal: SeasonalReference | None,
    jumps: Sequence[Jump] = (),
) -> Verdicts:
    """Which columns drifted and which do harm, on the whole window and on each day, many tests being made at once."""
    import numpy as np

    rate, limit = rule.false_discovery_rate, sample.skill * rule.harm_skill_share if sample else np.inf
    unknown = np.full(1 + when.days.size, np.nan)
    p_values = np.array([column.tests.p_values if column.tests else unknown for column in columns])
    smirnov = np.array([column.smirnov.p_value if column.smirnov and column.tests else np.nan for column in columns])
    of_window = false_discovery_q(np.concatenate([p_values[:, 0], smirnov])).reshape(2, -1)
    q_values = np.column_stack([np.fmin(*of_window), *(false_discovery_q(each) for each in p_values[:, 1:].T)])
    limits = [rule.prediction_psi if column.kind == "prediction" else rule.feature_psi for column in columns]
    usual = np.array([[of_window, *[of_day] * when.days.size] for of_window, of_day in (c.usual for c in columns)])
    with np.errstate(invalid="ignore"):
        large = np.array([column.stability for column in columns]) - usual > np.array(limits)[:, None]
    # Without days in the reference nothing can be tested, and size decides alone.
    drifted = large & ((q_values <= rate) | np.isnan(q_values))
    _excuse_rhythm(drifted, columns, when, rule, seasonal)
    change = np.array([column.harm.change if column.harm else unknown for column in columns])
    chances = np.array([column.harm.p_values if column.harm else unknown for column in columns])
    chances[~drifted] = np.nan  # harm is asked about where there is drift, and only there
    certain = np.column_stack([false_discovery_q(each) for each in chances.T]) <= rate
    with np.errstate(invalid="ignore"):
        grown = change > limit
    harmful = drifted & grown & certain
    errors = np.array([column.harm.standard_error[0] if column.harm else np.nan for column in columns])
    harmful[:, 0] &= _lasting(change[:, 0], errors, grown[:, 1:].mean(axis=1))
    jumped = {(jump.name, jump.day) for jump in jumps}
    for place, column in enumerate(columns):
        harmful[place, 1:] &= change[place, 1:] > _second_dearest(column)
        harmful[place, 1:] |= [(column.profile.name, day.item()) in jumped for day in when.days]
    return Verdicts(drifted, harmful, q_values[:, 0], jumps)


def _lasting(change: np.ndarray, errors: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(columns,) whether it is the window that does harm, and not some odd days of it.

    Drift that stays shows on nearly every day, each by itself. Where it is on most days only, a fortnight of many
    storms would look the same: then the mean must be beyond as many standard errors as other errors take.

    Parameters
    ----------
    change, errors : (columns,) of the window; errors are NaN where they are not known.
    share : (columns,) of its days beyond the limit.
    """
    return (share >= NEARLY_ALL) | ((share > 0.5) & ~(change < STANDARD_ERRORS * errors))


def _second_dearest(column: Column) -> float:
    """What the second dearest past day cost: days do that harm anyway, and on the dearest it may have been broken.

    Of fewer than ``MINIMUM_DAYS`` nothing follows.
    """
    import numpy as np

    past = np.empty(0) if column.past_harm is None else column.past_harm
    return float(np.sort(past)[-2]) if past.size >= MINIMUM_DAYS else -np.inf


def costly_jumps(
    reference: Reference,
    columns: Sequence[Column],
    window: pl.DataFrame,
    when: Days,
    rule: MonitorRule,
    sample: Judged | None,
    seasonal: SeasonalReference | None,
    before: pl.DataFrame | None = None,
) -> list[Jump]:
    """The costly jumps of the days that the rule looks at; none where nobody can tell what they cost.

    Parameters
    ----------
    before : (rows,) of past days, for columns that jump alone, hold values that they never held, or one that keeps
        coming back; None: they are not looked for.
    """
    if sample is None or sample.rescoring is None:
        return []
    days = [day.item() for day in when.days[-rule.of_days :]]
    if seasonal is None or seasonal.like_days(days[-1]) < MINIMUM_DAYS:
        seasonal = _judged_days(reference, sample, days[-1], seasonal)
    profiles = [column.profile for column in columns]
    limit = sample.skill * rule.harm_skill_share
    rate = rule.false_discovery_rate
    jumps = find_jumps(profiles, window, days, seasonal, sample.rescoring, limit, rate)
    if before is None:
        return jumps
    before = some_of_each_day(before)
    jumps += find_strangers(profiles, window, days, before, sample.rescoring, limit)
    jumps += find_repeats(profiles, window, days, before, sample.rescoring, limit, rate)
    usual = day_means(reference.relations, before) if reference.relations else None
    if usual is None or reference.relations is None:
        return jumps
    return jumps + find_departures(reference.relations, window, days, usual, sample.rescoring, limit, rate)


def _judged_days(
    reference: Reference, sample: Judged, last: date, seasonal: SeasonalReference | None
) -> SeasonalReference:
    """The days with labels, whatever their weekday, to hold days against while there are few like them before."""
    slices = dict.fromkeys(group[0] for group in seasonal.groups if group) if seasonal else {}
    first = sample.when.days[0].item()
    present = [name for name in slices if name in sample.frame.columns]
    return seasonal_reference(reference, sample.frame, max((last - first).days, 1), period_days=1, slices=present)


def _excuse_rhythm(
    drifted: np.ndarray,
    columns: Sequence[Column],
    when: Days,
    rule: MonitorRule,
    seasonal: SeasonalReference | None,
) -> None:
    """Days that are like the same weekday of past weeks are not called, unless the window as a whole has moved."""
    if seasonal is None:
        return
    for column, called in zip(columns, drifted, strict=True):
        if called[0]:
            continue
        for place in called[1:].nonzero()[0]:
            _, p_value = seasonal.compare(column.profile.name, when.days[place].item(), column.counts[place])
            if p_value is not None and p_value > rule.false_discovery_rate:
                called[1 + place] = False
