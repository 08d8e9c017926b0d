"""The challenger of a day: the model that can be trained at its close, with all that judges and monitors it.

What belongs here: from labelled rows to a challenger, and the meeting with the champion. The steps of a training are
in ``training.py``, the gate's rule in ``gate.py``; when to train is the policy's business.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle import gate, scoring
from lifecycle.performance.hindcasts import HINDCAST, beside_forecasts
from lifecycle.probe import Probe, Recipe, probe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl

    from lifecycle.baselines import Baseline
    from lifecycle.drift.reference import Reference
    from lifecycle.pipeline import Pipeline, RetrainPolicy

KEY, DAY, MOMENT, LABEL, KNOWN = "event_key", "day", "moment", "label", "known_day"


@dataclass(frozen=True, eq=False)
class Challenger:
    """A model with its threshold, its reference and the days it was judged on.

    Parameters
    ----------
    day : the day at whose close it was trained.
    trained_through : last day it has learnt from.
    baseline_losses : mean loss of the simple baselines on the gate's window.
    judged : (rows,) the window as the nightly batch asks about it: ``day``, ``label``, ``known_day``, ``score``,
        ``hindcast`` and the features.
    cpu_seconds : of everything that made it.
    """

    day: date
    model: Any = field(repr=False)
    features: tuple[str, ...] = field(repr=False)
    threshold: float | None
    trained_through: date
    recipe: Recipe
    importances: Mapping[str, float] = field(repr=False)
    baseline_losses: Mapping[str, float] = field(repr=False)
    reference: Reference = field(repr=False)
    judged: pl.DataFrame = field(repr=False)
    cpu_seconds: float

    def score(self, rows: pl.DataFrame, pipeline: Pipeline) -> np.ndarray:
        """(rows,) forecasts."""
        return scoring.score(self.model, rows, self.features, pipeline)


def known_by(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """The labelled rows of which the label was known at the close of a day."""
    import polars as pl

    return rows.filter(pl.col(KNOWN) <= day, pl.col(DAY) <= day, pl.col(LABEL).is_not_null())


def split(pipeline: Pipeline, rows: pl.DataFrame, day: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to learn from and the gate's window, as they are known at the close of a day.

    Parameters
    ----------
    rows : (rows,) of all moments with ``event_key``, ``day``, ``label``, ``known_day`` and the features.

    Returns
    -------
    training, window
        The former sampled by hash of the key, the latter whole: the last ``GateRule.window_days`` days.
    """
    import polars as pl

    from lifecycle.splits import sample_by_hash

    training = known_by(rows, day).filter(pl.col(DAY) < _gate_starts(pipeline, day))
    kept = sample_by_hash(training[KEY].to_numpy(), pipeline.training.max_rows, pipeline.training.seed)
    return training.filter(pl.Series(kept, dtype=pl.Boolean)), gate_window(pipeline, rows, day)


def gate_window(pipeline: Pipeline, rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """The labelled days that are kept out of training at the close of a day, for champion and challenger to meet on."""
    import polars as pl

    return known_by(rows.filter(pl.col(DAY) >= _gate_starts(pipeline, day)), day)


def train_challenger(pipeline: Pipeline, rows: pl.DataFrame, day: date) -> Challenger:
    """Train, judge and profile the model of a day on what was known at its close.

    Parameters
    ----------
    rows : see ``split``; rows and labels that were not known by then are not looked at.

    Raises
    ------
    ValueError
        If there are too few labelled days; see ``training.train``.
    """
    from lifecycle.training import train

    started = time.process_time()
    training, window = split(pipeline, rows, day)
    trained = train(
        training_frame(pipeline, training),
        pipeline.inputs,
        LABEL,
        pipeline.training,
        pipeline.task,
        costs=pipeline.costs,
        groups=pipeline.slices,
    )
    names = tuple(feature.name for feature in pipeline.inputs)
    scores, labels = scoring.score(trained.estimator, window, names, pipeline), window[LABEL].to_numpy()
    losses = baseline_losses(pipeline, trained.baselines, training_frame(pipeline, window), labels)
    judged = _judged(pipeline, window, scores, names)
    return Challenger(
        day=day,
        model=trained.estimator,
        features=names,
        threshold=trained.threshold,
        trained_through=training[DAY].max(),  # type: ignore[arg-type]
        recipe=Recipe(trained.family, trained.params, trained.calibration),
        importances=trained.importances,
        baseline_losses=losses,
        reference=reference_of(pipeline, judged, trained.threshold, as_nightly(pipeline, training)),
        judged=judged,
        cpu_seconds=time.process_time() - started,
    )


def meet(pipeline: Pipeline, challenger: Challenger, champion: Challenger | None, rows: pl.DataFrame) -> gate.Decision:
    """The gate's decision on the newest labelled days that neither has learnt from.

    Parameters
    ----------
    rows : see ``split``; what was not known at the close of the challenger's day is not looked at.
    """
    import polars as pl

    window = gate_window(pipeline, rows, challenger.day)
    learnt = max([challenger.trained_through, *([champion.trained_through] if champion else [])])
    window = window.filter(pl.col(DAY) > learnt)
    return gate.decide(
        gate.Scored(f"the model of {challenger.day}", challenger.score(window, pipeline)),
        gate.Scored(f"that of {champion.day}", champion.score(window, pipeline)) if champion else None,
        window[LABEL].to_numpy(),
        window[DAY].to_numpy().astype("datetime64[D]"),
        window.select(pipeline.slices),
        challenger.baseline_losses,
        pipeline.gate,
        pipeline.task,
    )


def probe_challenger(
    pipeline: Pipeline, policy: RetrainPolicy, champion: Challenger, rows: pl.DataFrame, day: date
) -> tuple[Probe, float]:
    """The probe of ``lifecycle/probe.py`` at the close of a day, and its CPU seconds."""
    started = time.process_time()
    training, window = split(pipeline, rows, day)
    answer = probe(
        champion.recipe,
        champion.score(window, pipeline) if window.height else None,
        training_frame(pipeline, training),
        training_frame(pipeline, window),
        pipeline.inputs,
        LABEL,
        pipeline.task,
        pipeline.gate,
        confidence=policy.probe_confidence or 0.0,
        calibration_days=pipeline.training.fold_days,
        calibration_rows=pipeline.training.tuning_rows,
        max_rows=pipeline.training.max_rows,
        seed=pipeline.training.seed,
    )
    return answer, time.process_time() - started


def training_frame(pipeline: Pipeline, rows: pl.DataFrame) -> pd.DataFrame:
    """Rows as the trainer takes them: inputs, label, event day, key, moment and slices.

    Parameters
    ----------
    rows : (rows,) ``event_key``, ``day``, ``moment``, ``label``, the features and slices.
    """
    import polars as pl

    names = [feature.name for feature in pipeline.inputs]
    extra = rows.select(
        LABEL,
        pl.col(DAY).cast(pl.Datetime("us")).alias("event_day"),
        KEY,
        MOMENT,
        *(pl.col(name).cast(pl.String) for name in pipeline.slices if name not in names),
    ).to_pandas()
    inputs = scoring.model_inputs(rows, names, pipeline)
    return inputs.assign(**{name: extra[name].to_numpy() for name in extra.columns})


def _gate_starts(pipeline: Pipeline, day: date) -> date:
    return day - timedelta(days=pipeline.gate.window_days - 1)


def as_nightly(pipeline: Pipeline, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as the nightly batch asks about them: those of the first moment."""
    import polars as pl

    return rows.filter(pl.col(MOMENT) == pipeline.spine.moments[0].name)


def _judged(pipeline: Pipeline, window: pl.DataFrame, scores: np.ndarray, names: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    scored = window.with_columns(pl.Series("score", scores, dtype=pl.Float64))
    nightly = beside_forecasts(scored, pipeline.spine, [KEY])
    return nightly.select(list(dict.fromkeys([KEY, DAY, LABEL, KNOWN, "score", HINDCAST, *names, *pipeline.slices])))


def baseline_losses(
    pipeline: Pipeline, baselines: Sequence[Baseline], frame: pd.DataFrame, labels: np.ndarray
) -> dict[str, float]:
    """Mean loss of each simple baseline on some rows, in the form of ``training_frame``."""
    from lifecycle.losses import row_losses

    return {
        baseline.name: float(row_losses(labels, baseline.predict(frame), pipeline.task).mean())
        for baseline in baselines
    }


def reference_of(pipeline: Pipeline, judged: pl.DataFrame, threshold: float | None, learnt: pl.DataFrame) -> Reference:
    """The profile of the days a model was judged on, as the nightly batch asks about them.

    Scores on rows the model has learnt from are sharper than those to come; the judged days are the most recent ones
    it has not learnt from.

    Parameters
    ----------
    judged : (rows,) ``day``, ``label``, ``score`` and the features.
    learnt : (rows,) the features of what it has learnt from, as the nightly batch asks about them: how columns go
        together takes more days to see than it was judged on.
    """
    from lifecycle.drift.reference import profile
    from lifecycle.drift.relations import learn
    from lifecycle.evaluation import evaluate

    labels, scores = judged[LABEL].to_numpy(), judged["score"].to_numpy()
    days = judged[DAY].to_numpy().astype("datetime64[D]")
    metrics = evaluate(labels, scores, days, pipeline.task, threshold=threshold, slices=None, seed=0).metrics
    made = profile(judged, pipeline.inputs, scores, labels, metrics, days)
    return replace(made, relations=learn(learnt, pipeline.inputs))
