"""From labelled rows to a model that can be registered.

What belongs here: the order of the steps. Each step is a module of its own: splits, tuning, models,
calibration, value, evaluation, baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from lifecycle import models
from lifecycle.baselines import Baseline, fit_baselines
from lifecycle.evaluation import Evaluation, evaluate
from lifecycle.losses import row_losses
from lifecycle.parallel import in_order
from lifecycle.splits import Fold, sample_by_hash, time_folds
from lifecycle.tuning import Progress, TuningResult, tune
from lifecycle.value import best_threshold

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lifecycle.features import Feature
    from lifecycle.pipeline import CostMatrix, Task, TrainingPlan

IMPORTANCE_ROWS = 2000


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model, and everything that is known about it from its training rows.

    Parameters
    ----------
    estimator : fitted on all rows used, calibrated in classification; takes a frame with the features.
    threshold : decision threshold of highest value on the validation rows; None without costs.
    calibration : slope and intercept of the sigmoid; None in regression.
    rows : rows that the estimator was fitted on.
    folds : first and last day of each validation block are in them.
    scores, labels, days : (validation rows,) what models that had learnt from earlier days only forecast, what
        happened, and when. Scores of a block are calibrated on the blocks before it, those of the first are not.
    evaluation : of these scores.
    baselines, baseline_losses : fitted on all rows; and the mean loss on the validation rows of ones fitted on
        earlier days.
    importances : growth of the mean loss on the last block when a feature's values are shuffled.
    """

    estimator: Any
    family: str
    params: dict[str, Any]
    threshold: float | None
    calibration: tuple[float, float] | None
    rows: int
    folds: tuple[Fold, ...] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    days: np.ndarray = field(repr=False)
    evaluation: Evaluation
    baselines: list[Baseline]
    baseline_losses: dict[str, float]
    tuning: TuningResult
    importances: dict[str, float]


def train(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    label: str,
    plan: TrainingPlan,
    task: Task,
    *,
    costs: CostMatrix | None = None,
    groups: Sequence[str] = (),
    day: str = "event_day",
    key: str = "event_key",
    progress: Progress | None = None,
) -> TrainedModel:
    """Tune, validate, calibrate and fit a model.

    Parameters
    ----------
    frame : labelled rows with the features, ``label``, ``groups``, ``day`` and ``key``; numbers as floats,
        texts as objects.
    features : the model's inputs; those of type "string" are categories.
    costs : value of decisions; sets the threshold in classification.
    groups : columns for baselines and slices.
    day, key : columns with the event's day, and with what identifies the event.
    progress : told of every step.

    Raises
    ------
    ValueError
        If columns are missing, labels are missing or of one class, or there are fewer days than the plan needs.
    """
    import numpy as np

    from lifecycle.calibration import SigmoidCalibrated

    say = progress or (lambda _: None)
    _check(frame, features, label, plan, groups, day, key)
    frame = frame[sample_by_hash(frame[key].to_numpy(), plan.max_rows, plan.seed)].reset_index(drop=True)
    days = _days(frame, day)
    folds = time_folds(days, plan.folds, plan.fold_days)
    columns = _Columns.of(features, label)

    tried = sample_by_hash(frame[key].to_numpy(), plan.tuning_rows, plan.seed)
    say(f"tuning on {int(tried.sum()):,} of {len(frame):,} rows")
    on_sample = [fold.within(tried) for fold in folds]
    tuning = tune(frame[tried], label, on_sample, plan, task, columns.numeric, columns.categorical, progress)

    say(
        f"fitting {tuning.family} on {len(frame):,} rows and validating it on {plan.folds} blocks of "
        f"{plan.fold_days} days"
    )
    recipe = _Recipe(tuning.family, tuning.params, columns, task, plan.seed)
    estimator, validated = _fit_and_validate(frame, folds, recipe, groups)
    calibration = _calibration(validated) if task == "classification" else None
    scores = _past_calibrated(validated, task)
    labels = np.concatenate([block.labels for block in validated])
    judged = np.concatenate([np.flatnonzero(fold.validation) for fold in folds])
    threshold = _threshold(validated, calibration, costs)

    return TrainedModel(
        estimator=SigmoidCalibrated(estimator, *calibration) if calibration else estimator,
        family=tuning.family,
        params=tuning.params,
        threshold=threshold,
        calibration=calibration,
        rows=len(frame),
        folds=tuple(folds),
        scores=scores,
        labels=labels,
        days=days[judged],
        evaluation=evaluate(
            labels,
            scores,
            days[judged],
            task,
            threshold,
            frame.iloc[judged][list(groups)] if groups else None,
            plan.seed,
        ),
        baselines=fit_baselines(frame, label, groups, task),
        baseline_losses=_baseline_losses(validated, task),
        tuning=tuning,
        importances=_importances(validated[-1].model, frame[folds[-1].validation], recipe),
    )


@dataclass(frozen=True)
class _Columns:
    names: list[str]
    numeric: list[str]
    categorical: list[str]
    label: str

    @classmethod
    def of(cls, features: Sequence[Feature], label: str) -> _Columns:
        categorical = [feature.name for feature in features if feature.type == "string"]
        names = [feature.name for feature in features]
        return cls(names, [name for name in names if name not in categorical], categorical, label)


@dataclass(frozen=True)
class _Recipe:
    """The winner of the tuning, to be fitted on any rows."""

    family: str
    params: dict[str, Any]
    columns: _Columns
    task: Task
    seed: int

    def fit(self, rows: pd.DataFrame) -> Any:
        columns = self.columns
        inputs, labels = rows[columns.names], rows[columns.label].to_numpy(dtype=float)
        return models.fit(
            self.family, self.params, inputs, labels, columns.numeric, columns.categorical, self.task, self.seed
        )

    def predict(self, model: Any, rows: pd.DataFrame) -> np.ndarray:
        return models.predict(model, rows[self.columns.names], self.task)


@dataclass(frozen=True)
class _Block:
    """A validation block, forecast by a model and by baselines that had learnt from earlier days only."""

    model: Any
    raw: np.ndarray
    labels: np.ndarray
    baselines: dict[str, np.ndarray]


def _fit_and_validate(
    frame: pd.DataFrame, folds: Sequence[Fold], recipe: _Recipe, groups: Sequence[str]
) -> tuple[Any, list[_Block]]:
    """The model of all rows, and what the blocks say of models like it: fits that do not wait for each other."""
    validate = (partial(_validate, frame, fold, recipe, groups) for fold in folds)
    work: list[Callable[[], Any]] = [partial(recipe.fit, frame), *validate]  # the longest first
    estimator, *validated = in_order(lambda part: part(), work)
    return estimator, validated


def _validate(frame: pd.DataFrame, fold: Fold, recipe: _Recipe, groups: Sequence[str]) -> _Block:
    past, block = frame[fold.train], frame[fold.validation]
    label = recipe.columns.label
    model = recipe.fit(past)
    baselines = fit_baselines(past, label, groups, recipe.task)
    return _Block(
        model,
        recipe.predict(model, block),
        block[label].to_numpy(dtype=float),
        {baseline.name: baseline.predict(block) for baseline in baselines},
    )


def _calibration(blocks: Sequence[_Block]) -> tuple[float, float]:
    import numpy as np

    from lifecycle.calibration import fit_sigmoid

    return fit_sigmoid(
        np.concatenate([block.raw for block in blocks]), np.concatenate([block.labels for block in blocks])
    )


def _past_calibrated(blocks: Sequence[_Block], task: Task) -> np.ndarray:
    """Scores of all blocks, each calibrated on those before it.

    Calibrated on themselves, their mean would be that of the labels by construction, and say nothing.
    """
    import numpy as np

    from lifecycle.calibration import calibrate

    if task == "regression":
        return np.concatenate([block.raw for block in blocks])
    later = [calibrate(block.raw, *_calibration(blocks[:n])) for n, block in enumerate(blocks) if n]
    return np.concatenate([blocks[0].raw, *later])


def _threshold(
    blocks: Sequence[_Block], calibration: tuple[float, float] | None, costs: CostMatrix | None
) -> float | None:
    """The best threshold on the scores as the final model will give them."""
    import numpy as np

    from lifecycle.calibration import calibrate

    if calibration is None or costs is None:
        return None
    scores = calibrate(np.concatenate([block.raw for block in blocks]), *calibration)
    return best_threshold(scores, np.concatenate([block.labels for block in blocks]), costs)


def _baseline_losses(blocks: Sequence[_Block], task: Task) -> dict[str, float]:
    import numpy as np

    labels = np.concatenate([block.labels for block in blocks])
    forecasts = {name: np.concatenate([block.baselines[name] for block in blocks]) for name in blocks[0].baselines}
    return {name: float(row_losses(labels, scores, task).mean()) for name, scores in forecasts.items()}


def _importances(model: Any, rows: pd.DataFrame, recipe: _Recipe) -> dict[str, float]:
    """Growth of the mean loss when one feature's values change places, on rows the model has not learnt from.

    Notes
    -----
    Permutation importance; Breiman (2001), "Random forests". Features that carry the same information hide
    each other's importance.
    """
    import numpy as np

    rng = np.random.default_rng(recipe.seed)
    names = recipe.columns.names
    if len(rows) > IMPORTANCE_ROWS:
        rows = rows.iloc[np.sort(rng.choice(len(rows), IMPORTANCE_ROWS, replace=False))]
    inputs, labels = rows[names], rows[recipe.columns.label].to_numpy(dtype=float)

    def loss(frame: pd.DataFrame) -> float:
        return float(row_losses(labels, models.predict(model, frame, recipe.task), recipe.task).mean())

    whole = loss(inputs)
    order = rng.permutation(len(inputs))
    shuffled = in_order(lambda name: loss(inputs.assign(**{name: inputs[name].to_numpy()[order]})), names)
    return {name: found - whole for name, found in zip(names, shuffled, strict=True)}


def _days(frame: pd.DataFrame, day: str) -> np.ndarray:
    return frame[day].to_numpy().astype("datetime64[D]")


def _check(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    label: str,
    plan: TrainingPlan,
    groups: Sequence[str],
    day: str,
    key: str,
) -> None:
    import numpy as np

    needed = [*(feature.name for feature in features), label, *groups, day, key]
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        raise ValueError(f"training needs the columns {absent}; the frame has {list(frame.columns)}")
    missing = int(frame[label].isna().sum())
    if missing:
        raise ValueError(f"label {label!r} is missing in {missing} of {len(frame)} rows; pass labelled rows only")
    present = np.unique(_days(frame, day)).size
    if present < plan.min_days:
        raise ValueError(f"column {day!r} holds {present} days; the training plan needs {plan.min_days}: wait for more")
