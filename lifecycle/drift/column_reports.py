"""What a night's report says of one column.

What belongs here: putting what was measured of it (``measured.py``) and called (``verdicts.py``) into a
``ColumnReport``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lifecycle.drift import distances, harm
from lifecycle.drift.day_report import ColumnReport
from lifecycle.drift.profiles import CategoricalProfile, NumericProfile, Profile

if TYPE_CHECKING:
    from datetime import date

    import numpy as np

    from lifecycle.drift.measured import Column
    from lifecycle.drift.monitored_rows import Days
    from lifecycle.drift.seasonal import SeasonalReference
    from lifecycle.drift.verdicts import Verdicts
    from lifecycle.pipeline import MonitorRule


def column_report(
    column: Column,
    place: int,
    verdicts: Verdicts,
    when: Days,
    rule: MonitorRule,
    seasonal: SeasonalReference | None,
) -> ColumnReport:
    """The report of a column.

    Parameters
    ----------
    place : of the column among those that ``verdicts`` speak of.
    when : the days of the window, the last of which is the day that is reported.
    """
    profile, tests, total = column.profile, column.tests, column.counts.sum(axis=0)
    drifted, harmful = verdicts.drifted[place], verdicts.harmful[place]
    # Where nobody can tell the harm, predictions that moved are taken to do some.
    harm_known = column.harm is not None and _number(column.harm.p_values[0]) is not None
    fired = harmful if harm_known or column.kind != "prediction" else drifted
    flags = fired[1:].tolist()
    seasonal_psi, seasonal_p = (
        seasonal.compare(profile.name, when.days[-1].item(), column.counts[-1]) if seasonal else (None, None)
    )
    psi, change = _number(column.stability[0]), _number(column.harm.change[0]) if column.harm else None
    own_jumps = [jump for jump in verdicts.jumps if jump.name == profile.name and column.kind == "feature"]
    worst = max(own_jumps, key=lambda jump: jump.harm, default=None)
    excess = max((psi or 0.0) - column.usual[0], 0.0)
    return ColumnReport(
        name=profile.name,
        kind=column.kind,
        psi=psi,
        expected_psi=_number(column.usual[0]),
        **_distances(column, total),
        p_value=_number(tests.p_values[0]) if tests else None,
        q_value=_number(verdicts.q_values[place]),
        design_effect=_number(tests.design_effect) if tests else None,
        drifted=bool(drifted[0]),
        day_psi=_number(column.stability[-1]),
        day_p_value=_number(tests.p_values[-1]) if tests else None,
        seasonal_psi=seasonal_psi,
        seasonal_p_value=seasonal_p,
        psi_slope=slope(column.stability[1:], when.days),
        drifted_since=_since(drifted[1:], when.days),
        missing_reference=profile.missing / max(sum(profile.bin_counts), 1),
        missing_current=float(total[-1] / total.sum()),
        outside=column.outside,
        lost=float(column.lost.mean()),
        stuck_days=column.stuck_days,
        new_categories=column.new_categories,
        distinct_reference=_distinct(profile),
        distinct_current=column.distinct,
        mean_reference=profile.mean if isinstance(profile, NumericProfile) else None,
        mean_current=float(column.ordered.mean()) if column.ordered.size else None,
        importance=column.importance,
        loss_change=_number(column.growth.change[0]) if column.growth else None,
        loss_change_standard_error=_number(column.growth.standard_error[0]) if column.growth else None,
        harm=change,
        harm_standard_error=_number(column.harm.standard_error[0]) if column.harm else None,
        harm_p_value=_number(column.harm.p_values[0]) if column.harm else None,
        jump_harm=worst.harm if worst else None,
        jump_group=worst.group and "{} {}".format(*worst.group) if worst else None,
        jump_how=worst.how if worst else None,
        jump_value=worst.value if worst else None,
        jump_since=min((jump.day for jump in own_jumps), default=None),
        harmful_days=sum(flags[-rule.of_days :]),
        harmful=bool(fired[0]) or harm.at_least(rule.harmful_days, rule.of_days, flags),
        # The harm of a jump is that of a day as it was: its size is in it, and its window may hardly show.
        rank=max(
            harm.rank(excess, column.importance, change),
            harm.rank(None, column.importance, worst.harm if worst else 0.0),
        ),
        bins=profile.bins,
        reference_counts=profile.bin_counts,
        current_counts=tuple(total.tolist()),
    )


def _distances(column: Column, total: np.ndarray) -> dict[str, float | None]:
    import numpy as np

    profile, before = column.profile, np.array(column.profile.bin_counts)
    found: dict[str, float | None] = {
        "kolmogorov_smirnov": column.smirnov.statistic if column.smirnov else None,
        "kolmogorov_smirnov_p_value": column.smirnov.p_value if column.smirnov else None,
        "jensen_shannon": distances.jensen_shannon(before, total),
        "kullback_leibler": distances.kullback_leibler(before, total),
        "wasserstein": None,
        "wasserstein_deviations": None,
        "chi_square": None,
        "chi_square_p_value": None,
    }
    if isinstance(profile, CategoricalProfile):
        test = distances.chi_square(before, total)
        return found | {"chi_square": test.statistic, "chi_square_p_value": test.p_value}
    if profile.sketch and column.ordered.size:
        moved = distances.wasserstein(profile.sketch, column.ordered)
        found |= {"wasserstein": moved, "wasserstein_deviations": moved / profile.std if profile.std else None}
    return found


def slope(values: np.ndarray, days: np.ndarray) -> float | None:
    """Least-squares trend of a series, per day; None with fewer than three values.

    Parameters
    ----------
    values : (days,) NaN where there is none.
    days : (days,) datetime64[D].

    Examples
    --------
    >>> import numpy as np
    >>> slope(np.array([0.1, 0.2, np.nan, 0.4]), np.arange("2013-01-01", "2013-01-05", dtype="datetime64[D]"))
    0.1
    """
    import numpy as np

    known = np.isfinite(values)
    if known.sum() < 3:
        return None
    since = (days[known] - days[known][0]).astype(float)
    centred = since - since.mean()
    return round(float(centred @ values[known] / (centred @ centred)), 12)


def _since(drifted: np.ndarray, days: np.ndarray) -> date | None:
    """First of the drifted days without a break up to the last day."""
    quiet = (~drifted).nonzero()[0]
    first = int(quiet[-1]) + 1 if quiet.size else 0
    found: date | None = days[first].item() if first < days.size else None
    return found


def _distinct(profile: Profile) -> int | None:
    if isinstance(profile, NumericProfile):
        return profile.distinct
    return len(profile.categories) if profile.other == 0 else None


def _number(value: Any) -> float | None:
    import math

    number = float(value)
    return number if math.isfinite(number) else None
