"""The gate: whether a challenger may become champion.

What belongs here: the decision, with all its reasons, from scores and labels. Scoring the window and moving
the alias are the deployment's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from lifecycle.losses import row_losses

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import GateRule, Task

MINIMUM_ROWS = 200
MINIMUM_DAYS = 5  # resampling fewer clusters understates what days differ by


@dataclass(frozen=True)
class Scored:
    """A version and its scores on the gate's window, one per row."""

    name: str
    scores: np.ndarray


@dataclass(frozen=True)
class Criterion:
    """One condition of the gate: ``value`` beside ``limit``, and a sentence that says how it went."""

    name: str
    value: float
    limit: float
    passed: bool
    detail: str


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is promoted, and everything that spoke for and against it.

    Parameters
    ----------
    improvement : mean loss of the champion minus that of the challenger; None without a champion.
    interval : central interval of the improvement that leaves out ``1 - confidence`` on either side.
    probability : share of the resamples in which the challenger's loss is lower.
    draws : (resamples,) the improvement in every resample, for drawing; empty without a champion.
    """

    promote: bool
    criteria: tuple[Criterion, ...]
    improvement: float | None
    interval: tuple[float, float] | None
    probability: float | None
    rows: int
    first_day: date | None
    last_day: date | None
    draws: np.ndarray = field(repr=False, compare=False)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for every criterion, those that failed first."""
        ordered = sorted(self.criteria, key=lambda criterion: criterion.passed)
        return tuple(criterion.detail for criterion in ordered)

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON-ready values, without the draws."""
        return {
            "promote": self.promote,
            "reasons": list(self.reasons),
            "criteria": [vars(criterion) for criterion in self.criteria],
            "improvement": self.improvement,
            "interval": list(self.interval) if self.interval else None,
            "probability": self.probability,
            "rows": self.rows,
            "first_day": self.first_day.isoformat() if self.first_day else None,
            "last_day": self.last_day.isoformat() if self.last_day else None,
        }


def decide(
    challenger: Scored,
    champion: Scored | None,
    labels: np.ndarray,
    days: np.ndarray,
    slices: pl.DataFrame,
    baseline_losses: Mapping[str, float],
    rule: GateRule,
    task: Task,
) -> Decision:
    """Decide whether ``challenger`` may replace ``champion``.

    It must have a lower mean loss with the rule's confidence, be calibrated on average or no worse so than the
    champion, be no worse than any baseline, and lose no more than the rule allows in any slice with enough rows.
    The first version, which has no champion to beat, must pass the rest.

    Parameters
    ----------
    labels : (rows,) what happened on the window.
    days : (rows,) datetime64[D], the day of each row; days are resampled, not rows.
    slices : (rows,) frame with one column per way of slicing; may have no columns.
    baseline_losses : mean loss of each baseline on the same rows.

    Raises
    ------
    ValueError
        If lengths differ, or a score or label is missing.
    """
    import numpy as np

    labels, days = np.asarray(labels, dtype=float), np.asarray(days, dtype="datetime64[D]")
    _check_lengths(labels, days, slices)
    evidence = _enough_evidence(labels, days, rule, task)
    if not all(criterion.passed for criterion in evidence):
        return _decision(evidence, days, np.empty(0), None, rule)
    loss = row_losses(labels, challenger.scores, task)
    criteria = [*evidence, _calibrated(challenger, champion, labels, rule), *_beats_baselines(loss, baseline_losses)]
    if champion is None:
        return _decision(criteria, days, np.empty(0), None, rule)
    gain = row_losses(labels, champion.scores, task) - loss
    draws = improvement_draws(gain, days, rule.resamples, rule.seed)
    criteria.insert(0, _better(challenger, champion, float(gain.mean()), draws, rule))
    criteria += [_slice_holds(name, slices[name], gain, rule) for name in slices.columns]
    return _decision(criteria, days, draws, float(gain.mean()), rule)


def improvement_draws(gain: np.ndarray, days: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap distribution of the mean of paired differences, resampling whole days.

    Rows of a day share its weather and its disruptions, so that they are not independent; days nearly are.

    Parameters
    ----------
    gain : (rows,) loss of the champion minus loss of the challenger.
    days : (rows,) day of each row.

    Returns
    -------
    (resamples,) array
        Widened by sqrt(G / (G - 1)), as G resampled days vary less than G new ones.

    Notes
    -----
    The cluster bootstrap; Field & Welsh (2007), "Bootstrapping clustered data", JRSS B 69. The sums and
    counts of each day suffice, so that a resample costs as many operations as there are days.
    """
    import numpy as np

    _, index = np.unique(days, return_inverse=True)
    sums, counts = np.bincount(index, weights=gain), np.bincount(index)
    clusters = sums.size
    taken = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    draws, mean = (taken @ sums) / (taken @ counts), gain.mean()
    return mean + (draws - mean) * np.sqrt(clusters / max(clusters - 1, 1))


def _enough_evidence(labels: np.ndarray, days: np.ndarray, rule: GateRule, task: Task) -> list[Criterion]:
    import numpy as np

    rows, present, fewest = labels.size, np.unique(days).size, max(2, min(MINIMUM_DAYS, rule.window_days))
    criteria = [
        _at_least("enough rows", rows, MINIMUM_ROWS, f"The window holds {rows:,} labelled rows"),
        _at_least("enough days", present, fewest, f"The window holds {present} days with labels"),
    ]
    if task == "classification":
        classes = np.unique(labels).size
        criteria.append(_at_least("both classes", classes, 2, f"The labels of the window have {classes} classes"))
    return criteria


def _at_least(name: str, value: int, limit: int, text: str) -> Criterion:
    passed = value >= limit
    return Criterion(
        name, value, limit, passed, f"{text}; at least {limit} are needed" + (", so that holds." if passed else ".")
    )


def _better(challenger: Scored, champion: Scored, improvement: float, draws: np.ndarray, rule: GateRule) -> Criterion:
    probability = float((draws > 0).mean())
    passed = improvement > 0 and probability >= rule.confidence
    detail = (
        f"{challenger.name} {'is' if passed else 'is not shown to be'} better than {champion.name}: mean loss "
        f"{'lower' if improvement >= 0 else 'higher'} by {abs(improvement):.4f}, lower in {probability:.1%} of the "
        f"resamples of days, {rule.confidence:.0%} needed."
    )
    return Criterion("better than champion", probability, rule.confidence, passed, detail)


def _calibrated(challenger: Scored, champion: Scored | None, labels: np.ndarray, rule: GateRule) -> Criterion:
    """Calibrated on average; or no worse than what serves, as refusing it would keep the larger gap."""
    score, label = float(challenger.scores.mean()), float(labels.mean())
    gap, limit = abs(score - label), rule.max_calibration_gap
    served = abs(float(champion.scores.mean()) - label) if champion is not None else 0.0
    relation = "within" if gap <= limit else "beyond"
    detail = f"Mean score {score:.3f} against mean label {label:.3f}: a gap of {gap:.3f}, {relation} {limit:g}."
    if gap > limit and served > limit:
        limit = served
        detail = f"{detail[:-1]}, {'no larger' if gap <= limit else 'and larger'} than the champion's {served:.3f}."
    return Criterion("calibration gap", gap, limit, gap <= limit, detail)


def _beats_baselines(loss: np.ndarray, baseline_losses: Mapping[str, float]) -> list[Criterion]:
    mean, criteria = float(loss.mean()), []
    for name, limit in baseline_losses.items():
        passed = mean <= limit
        detail = f"Mean loss {mean:.4f} is {'not ' if passed else ''}worse than baseline {name} with {limit:.4f}."
        criteria.append(Criterion(f"baseline {name}", mean, float(limit), passed, detail))
    return criteria


def _slice_holds(name: str, values: pl.Series, gain: np.ndarray, rule: GateRule) -> Criterion:
    """No value of a slice with enough rows loses more than the rule allows."""
    import numpy as np
    import polars as pl

    limit, label = rule.max_slice_regression, f"slice {name}"
    # Summed by numpy in row order: the order of a parallel sum would change the last digit from run to run.
    keys, index = np.unique(values.cast(pl.String).fill_null("missing").to_numpy(), return_inverse=True)
    rows = np.bincount(index, minlength=keys.size)
    growth = np.bincount(index, weights=-gain, minlength=keys.size) / rows
    judged = [place for place in np.argsort(-growth, kind="stable") if rows[place] >= rule.min_slice_rows]
    if not judged:
        return Criterion(label, 0.0, limit, True, f"No {name} has {rule.min_slice_rows} rows, so none is judged apart.")
    worst = float(growth[judged[0]])
    failed = [place for place in judged if growth[place] > limit]
    if not failed:
        detail = f"Worst {name} is {keys[judged[0]]}: mean loss changed by {worst:+.4f}, {limit:+g} allowed."
        return Criterion(label, worst, limit, True, detail)
    named = ", ".join(f"{keys[place]} ({growth[place]:+.4f} over {rows[place]:,} rows)" for place in failed[:5])
    return Criterion(label, worst, limit, False, f"Mean loss grew by more than {limit:g} for {name} {named}.")


def _decision(
    criteria: list[Criterion], days: np.ndarray, draws: np.ndarray, improvement: float | None, rule: GateRule
) -> Decision:
    import numpy as np

    interval = None
    if draws.size:
        low, high = np.quantile(draws, [1 - rule.confidence, rule.confidence])
        interval = (float(low), float(high))
    return Decision(
        promote=all(criterion.passed for criterion in criteria),
        criteria=tuple(criteria),
        improvement=improvement,
        interval=interval,
        probability=float((draws > 0).mean()) if draws.size else None,
        rows=days.size,
        first_day=days.min().item() if days.size else None,
        last_day=days.max().item() if days.size else None,
        draws=draws,
    )


def _check_lengths(labels: np.ndarray, days: np.ndarray, slices: pl.DataFrame) -> None:
    if days.shape != labels.shape:
        raise ValueError(f"days have {days.size} rows, labels {labels.size}; pass the day of every label")
    if slices.width and slices.height != labels.size:
        raise ValueError(f"slices have {slices.height} rows, labels {labels.size}; pass one row per label")
