"""The probe: would a new model beat the champion? Asked with one fit, before a training of many.

What belongs here: the refit with the champion's own recipe and its comparison on labelled days that it has not learnt
from. Tuning and the gate come after it, if it says that they are worth their cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lifecycle.features import Feature
    from lifecycle.pipeline import GateRule, Task

LIKELIER_THAN_NOT = 0.5


@dataclass(frozen=True)
class Recipe:
    """How the champion was made.

    Parameters
    ----------
    calibration : slope and intercept of its sigmoid; None when it has none, and then the refit has none either.
    """

    family: str
    params: Mapping[str, Any]
    calibration: tuple[float, float] | None = None

    @classmethod
    def of_run(cls, logged: Mapping[str, str], estimator: Any = None) -> Recipe:
        """The recipe of a training run, from the parameters it logged as text and the model it left.

        Parameters
        ----------
        logged : ``family`` and the family's hyperparameters; others are ignored.
        estimator : the fitted champion; its ``slope`` and ``intercept``, if it has them, are the calibration.

        Raises
        ------
        ValueError
            If the family or one of its hyperparameters was not logged or cannot be read.
        """
        from lifecycle.models import family

        if "family" not in logged:
            raise ValueError(f"the champion's run logged {sorted(logged)}, not its 'family'; retrain it to log it")
        chosen = family(logged["family"])
        absent = [name for name in chosen.defaults if name not in logged]
        if absent:
            raise ValueError(f"the champion's run did not log {absent} of family {chosen.name!r}; retrain it to log it")
        params = {name: _as(type(default), name, logged[name]) for name, default in chosen.defaults.items()}
        line = (getattr(estimator, "slope", None), getattr(estimator, "intercept", None))
        calibration = None if line[0] is None or line[1] is None else (float(line[0]), float(line[1]))
        return cls(chosen.name, params, calibration)


@dataclass(frozen=True)
class Probe:
    """What a refit would bring.

    Parameters
    ----------
    gain : mean loss of the champion minus that of the refit on the window; None when nothing could be compared.
    interval : central interval of the gain that leaves out ``1 - GateRule.confidence`` on either side.
    probability : share of the resamples of days in which the refit is better.
    worth : whether a training is worth its cost.
    seconds : wall time of the refit and its comparison.
    rows, window_rows : learnt from, and compared on.
    detail : all this as a sentence.
    reason : why there is no verdict; None when there is one.
    """

    gain: float | None
    interval: tuple[float, float] | None
    probability: float | None
    worth: bool
    seconds: float
    rows: int
    window_rows: int
    detail: str
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The probe as JSON-ready values."""
        return {**vars(self), "interval": list(self.interval) if self.interval else None}


def probe(
    champion: Recipe | None,
    champion_scores: np.ndarray | None,
    training: pd.DataFrame,
    window: pd.DataFrame,
    features: Sequence[Feature],
    label: str,
    task: Task,
    rule: GateRule,
    *,
    confidence: float = LIKELIER_THAN_NOT,
    calibration_days: int = 14,
    calibration_rows: int = 40_000,
    max_rows: int = 150_000,
    seed: int = 0,
    day: str = "event_day",
    key: str = "event_key",
) -> Probe:
    """Fit the champion's recipe on the newest labels, and compare the two on days neither has learnt from.

    Parameters
    ----------
    champion, champion_scores : its recipe, and its (window rows,) scores of ``window``; None before the first
        promotion, when training is worth it.
    training, window : labelled rows with the features, ``label``, ``day`` and ``key``; the window's days follow those
        of the training, as in the gate.
    rule : the gate's: its resamples, seed and confidence.
    confidence : share of the resamples from which training is worth it.
    calibration_days : last days of ``training`` on which the refit is calibrated.
    calibration_rows : rows that the model it is calibrated by learns from; two numbers need fewer than a forecast.
    max_rows : rows fitted on, sampled by hash of ``key``.

    Returns
    -------
    Probe
        Without a verdict, with its reason and ``worth`` true, where nothing can be compared: no champion, or the
        gate would not judge such a window either (few rows or days, one class).

    Raises
    ------
    ValueError
        If columns are missing, lengths differ, or the window reaches into the training days.

    Notes
    -----
    The refit takes the champion's hyperparameters, as tuning costs many fits: a new tuning adds to the gain. It is
    calibrated anew, for one more fit, on the last training days by a model that has not seen them; forecasts that
    are off on average are what most often asks for a training, and the old calibration would keep them off. The
    comparison is that of ``gate.decide``: the paired bootstrap that resamples whole days.
    """
    import numpy as np

    from lifecycle.gate import improvement_draws
    from lifecycle.splits import sample_by_hash

    started = time.perf_counter()
    _check(training, window, champion_scores, features, label, day, key)
    labels, days = window[label].to_numpy(dtype=float), _days(window, day)
    reason = _no_verdict(champion is None or champion_scores is None, training, labels, days, label, rule, task)
    if champion is None or champion_scores is None or reason is not None:
        text = f"The probe compared nothing: {reason} A training is the way to find out."
        return Probe(
            None, None, None, True, time.perf_counter() - started, len(training), len(window), text, reason=reason
        )
    rows = training[sample_by_hash(training[key].to_numpy(), max_rows, seed)]
    past, block = _calibrating(rows, _days(rows, day), key, calibration_days, calibration_rows, seed)
    scores = _refit(champion, rows, window, past, block, features, label, task, seed)
    gains = _losses(labels, champion_scores, task) - _losses(labels, scores, task)
    draws = improvement_draws(gains, days, rule.resamples, rule.seed)
    gain, probability = float(gains.mean()), float((draws > 0).mean())
    low, high = np.quantile(draws, [1 - rule.confidence, rule.confidence])
    worth = gain > 0 and probability >= confidence
    detail = (
        f"A refit on {len(rows):,} rows would {'lower' if gain >= 0 else 'raise'} the mean loss by {abs(gain):.4f} "
        f"({low:+.4f} to {high:+.4f}) on {labels.size:,} rows of {np.unique(days).size} days; better in "
        f"{probability:.0%} of the resamples, {confidence:.0%} needed."
    )
    seconds = time.perf_counter() - started
    return Probe(gain, (float(low), float(high)), probability, worth, seconds, len(rows), labels.size, detail)


def _refit(
    champion: Recipe,
    rows: pd.DataFrame,
    window: pd.DataFrame,
    past: pd.DataFrame,
    block: pd.DataFrame,
    features: Sequence[Feature],
    label: str,
    task: Task,
    seed: int,
) -> np.ndarray:
    """(window rows,) scores of the refit, calibrated on ``block`` by a model of ``past``."""
    from lifecycle import models
    from lifecycle.calibration import calibrate, fit_sigmoid
    from lifecycle.parallel import in_order

    names = [feature.name for feature in features]
    categorical = [feature.name for feature in features if feature.type == "string"]
    numeric = [name for name in names if name not in categorical]

    def scores_of(learnt: pd.DataFrame, asked: pd.DataFrame) -> np.ndarray:
        labels = learnt[label].to_numpy(dtype=float)
        model = models.fit(
            champion.family, dict(champion.params), learnt[names], labels, numeric, categorical, task, seed
        )
        return models.predict(model, asked[names], task)

    if champion.calibration is None:
        return scores_of(rows, window)
    if min(past[label].nunique(), block[label].nunique()) < 2:
        return calibrate(scores_of(rows, window), *champion.calibration)
    scores, calibrating = in_order(lambda pair: scores_of(*pair), [(rows, window), (past, block)])
    return calibrate(scores, *fit_sigmoid(calibrating, block[label].to_numpy(dtype=float)))


def _calibrating(
    rows: pd.DataFrame, days: np.ndarray, key: str, block_days: int, most: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At most ``most`` rows of the days before the last ``block_days``, whole events, and all rows of those."""
    from lifecycle.splits import sample_by_hash

    block = days > days.max() - block_days
    past = rows[~block]
    return past[sample_by_hash(past[key].to_numpy(), most, seed)], rows[block]


def _losses(labels: np.ndarray, scores: np.ndarray, task: Task) -> np.ndarray:
    from lifecycle.losses import row_losses

    return row_losses(labels, scores, task)


def _no_verdict(
    no_champion: bool,
    training: pd.DataFrame,
    labels: np.ndarray,
    days: np.ndarray,
    label: str,
    rule: GateRule,
    task: Task,
) -> str | None:
    import numpy as np

    from lifecycle.gate import MINIMUM_DAYS, MINIMUM_ROWS

    fewest = max(2, min(MINIMUM_DAYS, rule.window_days))
    if no_champion:
        return "no champion serves yet."
    if training.empty:
        return "there are no labelled rows to refit on."
    if labels.size < MINIMUM_ROWS or np.unique(days).size < fewest:
        return (
            f"the window holds {labels.size:,} labelled rows of {np.unique(days).size} days; the gate needs "
            f"{MINIMUM_ROWS} rows of {fewest} days."
        )
    if task == "classification":
        for name, values in (("training rows", training[label].to_numpy()), ("window", labels)):
            if np.unique(values).size < 2:
                return f"all labels of the {name} are {values[0]:g}."
    return None


def _check(
    training: pd.DataFrame,
    window: pd.DataFrame,
    champion_scores: np.ndarray | None,
    features: Sequence[Feature],
    label: str,
    day: str,
    key: str,
) -> None:
    needed = [*(feature.name for feature in features), label, day, key]
    for name, frame in (("training", training), ("window", window)):
        absent = [column for column in needed if column not in frame.columns]
        if absent:
            raise ValueError(f"{name} lacks the columns {absent}; it has {list(frame.columns)}")
        missing = int(frame[label].isna().sum())
        if missing:
            raise ValueError(f"{name}: label {label!r} is missing in {missing} rows; pass labelled rows only")
    if champion_scores is not None and len(champion_scores) != len(window):
        raise ValueError(
            f"champion_scores has {len(champion_scores)} rows, the window {len(window)}; pass one score per row"
        )
    if len(training) and len(window) and _days(training, day).max() >= _days(window, day).min():
        raise ValueError(
            f"training reaches {_days(training, day).max()}, the window begins {_days(window, day).min()}: leave the "
            "window's days out of the training rows, or the refit is judged on what it has learnt"
        )


def _days(frame: pd.DataFrame, day: str) -> np.ndarray:
    return frame[day].to_numpy().astype("datetime64[D]")


def _as(kind: type, name: str, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"the champion's run logged {name} = {text!r}, which is no {kind.__name__}")
