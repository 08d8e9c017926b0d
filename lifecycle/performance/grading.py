"""Estimates of performance graded once the labels have come, and their bands corrected by what the grades say.

What belongs here: estimates beside what was realised, week by week. Making an estimate is in ``estimation.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from lifecycle.performance.estimation import COVERAGE, Estimate

WITHIN = 0.02  # AUC: an estimate nearer than this to what is realised counts as right
UNCERTAIN = 0.05  # a coverage that would be met by chance less often than this is not believed
WEEKS_BELIEVED = 8  # how many weeks' experience a band is worth that was computed without any


@dataclass(frozen=True)
class Grade:
    """How good estimates of one metric turned out to be.

    Parameters
    ----------
    weeks : estimates that could be compared.
    bias : mean of estimated minus realised, with its standard error over weeks; None below two.
    share_within : share of weeks with an error of at most ``within``.
    covered, claimed : share of weeks realised within the band, and what the band claims.
    covered_interval : 95 % interval of that share.
    trustworthy : the band covers what it claims, as far as the weeks can tell, and there is no bias beyond chance.
    verdict : all this as a sentence.
    table : one row per week: ``first_day``, ``last_day``, ``estimated``, ``low``, ``high``, ``realised``, ``error``,
        ``covered``.
    """

    metric: str
    weeks: int
    bias: float | None
    bias_standard_error: float | None
    mean_absolute_error: float | None
    within: float
    share_within: float | None
    covered: float | None
    covered_interval: tuple[float, float] | None
    claimed: float
    trustworthy: bool
    verdict: str
    table: tuple[dict[str, Any], ...] = field(repr=False, default=())

    def to_dict(self) -> dict[str, Any]:
        """The grade as JSON-ready values."""
        days = ("first_day", "last_day")
        table = [{**row, **{name: row[name].isoformat() for name in days}} for row in self.table]
        ends = list(self.covered_interval) if self.covered_interval else None
        return {**vars(self), "covered_interval": ends, "table": table}


def grade(
    estimates: Sequence[Estimate],
    realised: Mapping[date, Mapping[str, float | None]],
    metric: str = "auc",
    within: float = WITHIN,
) -> Grade:
    """Judge an estimator by what was realised.

    Parameters
    ----------
    estimates : of windows that do not overlap, weeks for example.
    realised : metrics by the first day of the window; windows without labels yet are left out.

    Returns
    -------
    Grade
        Not trustworthy when a coverage as low (or high) as seen is rarer than one in twenty for an honest band, or
        when the mean error is beyond two standard errors and beyond half of ``within``. The exact binomial interval
        is that of Clopper & Pearson (1934), "The use of confidence or fiducial limits". It takes windows to be
        independent; those that one estimator served share its error, and are a harder test of it.
    """
    import numpy as np
    from scipy.stats import binomtest

    table = [row for made in estimates if (row := _compared(made, realised, metric)) is not None]
    claimed = estimates[0].coverage if estimates else COVERAGE
    if not table:
        verdict = f"No estimate of {metric} can be graded yet: no window has both an estimate and labels."
        return Grade(metric, 0, None, None, None, within, None, None, None, claimed, False, verdict)
    errors, weeks = np.array([row["error"] for row in table]), len(table)
    hits = sum(row["covered"] for row in table)
    test = binomtest(hits, weeks, claimed)
    ends = test.proportion_ci(0.95, method="exact")
    bias, spread = float(errors.mean()), float(errors.std(ddof=1) / weeks**0.5) if weeks > 1 else None
    biased = spread is not None and abs(bias) > max(2 * spread, within / 2)
    honest = bool(test.pvalue >= UNCERTAIN)
    share = float((abs(errors) <= within).mean())
    return Grade(
        metric=metric,
        weeks=weeks,
        bias=bias,
        bias_standard_error=spread,
        mean_absolute_error=float(abs(errors).mean()),
        within=within,
        share_within=share,
        covered=hits / weeks,
        covered_interval=(float(ends.low), float(ends.high)),
        claimed=claimed,
        trustworthy=honest and not biased,
        verdict=_verdict(metric, weeks, hits / weeks, claimed, honest, bias if biased else None, share, within),
        table=tuple(table),
    )


def corrected(made: Estimate, past: Sequence[tuple[Estimate, float | None]], metric: str) -> Estimate:
    """An estimate with its bands widened by as much as those before turned out to be too narrow.

    A band knows how days differed where its estimator was fitted. What it cannot know, such as a model promoted in one
    season and serving in the next, shows in how far the estimates before were off.

    Parameters
    ----------
    past : estimates of windows that do not overlap, as they were issued, and the metric that was realised, None where
        not known.

    Returns
    -------
    Estimate
        With ``widened_by`` and all bands about their estimates scaled by it; never narrower than computed.

    Notes
    -----
    The factor is the root mean square of the errors in units of the standard error that the band as computed implies,
    shrunk towards one as if ``WEEKS_BELIEVED`` windows had borne the band out. It is a scale learnt online from
    these estimates, whichever version they were of; compare Gibbs & Candès (2021), "Adaptive conformal inference
    under distribution shift".
    """
    from scipy.special import ndtri

    squares = []
    for before, happened in past:
        estimated = before.values.get(metric)
        if happened is None or estimated is None or metric not in before.intervals:
            continue
        low, high = before.intervals[metric]
        half = (high - estimated if happened > estimated else estimated - low) / before.widened_by
        if half > 0:
            squares.append((float(ndtri((1 + before.coverage) / 2)) * (happened - estimated) / half) ** 2)
    factor = max(1.0, ((WEEKS_BELIEVED + sum(squares)) / (WEEKS_BELIEVED + len(squares))) ** 0.5)
    values = {name: value for name, value in made.values.items() if value is not None}
    scaled = {
        name: (values[name] - factor * (values[name] - low), values[name] + factor * (high - values[name]))
        for name, (low, high) in made.intervals.items()
    }
    return replace(made, intervals=scaled, widened_by=factor)


def _compared(
    made: Estimate, realised: Mapping[date, Mapping[str, float | None]], metric: str
) -> dict[str, Any] | None:
    if made.first_day is None or made.last_day is None or metric not in made.intervals:
        return None
    estimated, happened = made.values[metric], realised.get(made.first_day, {}).get(metric)
    if estimated is None or happened is None:
        return None
    low, high = made.intervals[metric]
    return {
        "first_day": made.first_day,
        "last_day": made.last_day,
        "estimated": estimated,
        "low": low,
        "high": high,
        "realised": happened,
        "error": estimated - happened,
        "covered": low <= happened <= high,
    }


def _verdict(
    metric: str,
    weeks: int,
    covered: float,
    claimed: float,
    honest: bool,
    bias: float | None,
    share: float,
    within: float,
) -> str:
    text = (
        f"The estimated {metric} was within {within:g} of the realised one in {share:.0%} of {weeks} weeks; its band "
        f"covers {covered:.0%} where {claimed:.0%} is claimed"
    )
    if not honest:
        text += ", too narrow to be believed" if covered < claimed else ", wider than need be"
    if bias is not None:
        text += f"; it is {abs(bias):.3g} too {'high' if bias > 0 else 'low'} on average"
    return f"{text}."
