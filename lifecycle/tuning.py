"""The search for a family and its parameters.

What belongs here: trials over time-ordered folds. What the winner becomes is in ``training.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifecycle import models
from lifecycle.losses import row_losses
from lifecycle.parallel import in_order

if TYPE_CHECKING:
    import numpy as np
    import optuna
    import pandas as pd

    from lifecycle.pipeline import Task, TrainingPlan
    from lifecycle.splits import Fold

Progress = Callable[[str], object]


@dataclass(frozen=True)
class TuningResult:
    """What won, and all that was tried.

    Parameters
    ----------
    loss : mean of the winner's losses over the folds.
    trials : one row per trial in order: ``number``, ``family``, ``params``, ``fold_losses``, ``loss`` (None when
        it was stopped early), ``state`` (complete, pruned, fail), ``seconds``.
    """

    family: str
    params: dict[str, Any]
    loss: float
    trials: list[Mapping[str, Any]]
    seconds: float


def tune(
    frame: pd.DataFrame,
    label: str,
    folds: Sequence[Fold],
    plan: TrainingPlan,
    task: Task,
    numeric: Sequence[str],
    categorical: Sequence[str],
    progress: Progress | None = None,
) -> TuningResult:
    """Find the family and parameters with the lowest mean loss over the folds.

    Each family's defaults are tried first, so that a simple model is never overlooked; the rest of the budget
    goes where the search sees promise. A trial that is worse than the median after a fold is stopped.

    Parameters
    ----------
    frame : (rows,) inputs and ``label``.
    folds : masks over these rows, in time.
    progress : told of every trial.

    Returns
    -------
    TuningResult
        The same for the same frame, plan and machine, unless the plan's ``timeout_seconds`` ran out; at least
        one trial is finished in any case.

    Raises
    ------
    ValueError
        If there are no folds, families or trials, a family is unknown, or lengths differ.

    Notes
    -----
    Multivariate TPE; Falkner, Klein & Hutter (2018), "BOHB: robust and efficient hyperparameter optimization at
    scale".
    """
    import optuna

    families = [models.family(name) for name in plan.families]
    _check(frame, folds, plan)
    started = time.perf_counter()
    parts = [_Part(frame, label, fold, task, numeric, categorical) for fold in folds]

    def objective(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("family", list(plan.families))
        params = models.family(name).suggest(trial)
        trial.set_user_attr("params", params)

        def loss_of(part: _Part) -> float:
            return part.loss(name, params, plan.seed)

        losses: list[float] = []
        for step, loss in enumerate(in_order(loss_of, parts)):
            losses.append(loss)
            trial.set_user_attr("fold_losses", losses)
            trial.report(sum(losses) / len(losses), step)
            if step + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return sum(losses) / len(losses)

    def tell(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if progress is not None:
            progress(_sentence(_trial_row(trial), plan.trials))

    with _quiet():
        study = _study(plan)
        for family in families:
            study.enqueue_trial({"family": family.name, **family.defaults})
        study.optimize(objective, n_trials=plan.trials, timeout=plan.timeout_seconds, n_jobs=1, callbacks=[tell])
    best = study.best_trial
    return TuningResult(
        family=best.params["family"],
        params=best.user_attrs["params"],
        loss=float(study.best_value),
        trials=[_trial_row(trial) for trial in study.trials if trial.state.is_finished()],
        seconds=time.perf_counter() - started,
    )


class _Part:
    """A fold as the trials need it: what a family makes of its rows is made once for all trials."""

    def __init__(
        self,
        frame: pd.DataFrame,
        label: str,
        fold: Fold,
        task: Task,
        numeric: Sequence[str],
        categorical: Sequence[str],
    ) -> None:
        names = [*numeric, *categorical]
        self._past, self._block = frame.loc[fold.train, names], frame.loc[fold.validation, names]
        labels = frame[label].to_numpy(dtype=float)
        self._learnt, self._happened = labels[fold.train], labels[fold.validation]
        self._task: Task = task
        self._numeric, self._categorical = numeric, categorical
        self._made: dict[str, tuple[models.Material, np.ndarray]] = {}

    def loss(self, family: str, params: models.Params, seed: int) -> float:
        """Mean loss on the block of a model that has learnt from the days before it."""
        learnt, block = self._of(family)
        scores = models.predict(models.fit_model(learnt, params, seed), block, self._task)
        return float(row_losses(self._happened, scores, self._task).mean())

    def _of(self, family: str) -> tuple[models.Material, np.ndarray]:
        if family not in self._made:
            learnt = models.material(family, self._past, self._learnt, self._numeric, self._categorical, self._task)
            self._made[family] = learnt, learnt.columns.transform(self._block)
        return self._made[family]


def _study(plan: TrainingPlan) -> optuna.Study:
    import optuna

    return optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=plan.seed, n_startup_trials=max(4, plan.trials // 3)),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=max(3, len(plan.families))),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna writes a line per trial to the error stream; ``progress`` is told instead."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _check(frame: pd.DataFrame, folds: Sequence[Fold], plan: TrainingPlan) -> None:
    if not folds or not plan.families or plan.trials < len(plan.families):
        raise ValueError(
            f"tuning has {len(folds)} folds, families {list(plan.families)} and {plan.trials} trials; it needs a "
            "fold, a family, and a trial for each family"
        )
    lengths = {"frame": len(frame)} | {f"fold {n}": fold.train.size for n, fold in enumerate(folds)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ: {lengths}; pass folds of the frame's rows")


def _trial_row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "family": trial.params.get("family"),
        "params": trial.user_attrs.get("params", {}),
        "fold_losses": trial.user_attrs.get("fold_losses", []),
        "loss": trial.value if trial.state.name == "COMPLETE" else None,
        "state": trial.state.name.lower(),
        "seconds": trial.duration.total_seconds() if trial.duration else 0.0,
    }


def _sentence(trial: dict[str, Any], trials: int) -> str:
    outcome = "stopped early" if trial["loss"] is None else f"loss {trial['loss']:.5f}"
    return f"trial {trial['number'] + 1} of {trials}: {trial['family']}, {outcome}, {trial['seconds']:.1f} s"
