"""Whether a new model would beat the champion, asked with one fit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lifecycle import models
from lifecycle.features import Feature
from lifecycle.pipeline import GateRule
from lifecycle.probe import Probe, Recipe, probe

FEATURES = (Feature("x", "float", ""), Feature("carrier", "string", ""))
RECIPE = Recipe("linear", {"penalty_strength": 10.0})
RULE = GateRule(window_days=7)
FIRST = np.datetime64("2013-03-01", "us")


def rows(first: int, days: int, slope: float, seed: int) -> pd.DataFrame:
    """Forty flights a day whose lateness follows ``x`` with a slope."""
    random, count = np.random.default_rng(seed), 40 * days
    x = random.normal(size=count)
    return pd.DataFrame(
        {
            "x": x,
            "carrier": random.choice(["AA", "UA"], count).astype(object),
            "label": (random.random(count) < 1 / (1 + np.exp(-slope * x))).astype(float),
            "event_day": FIRST + np.repeat(np.arange(first, first + days), 40) * np.timedelta64(1, "D"),
            "event_key": [f"{first}-{n}" for n in range(count)],
        }
    )


def scores_of(learnt: pd.DataFrame, window: pd.DataFrame) -> np.ndarray:
    inputs = ["x", "carrier"]
    fitted = models.fit(
        "linear",
        dict(RECIPE.params),
        learnt[inputs],
        learnt["label"].to_numpy(),
        ["x"],
        ["carrier"],
        "classification",
        0,
    )
    return models.predict(fitted, window[inputs], "classification")


OLD, NEW, WINDOW = rows(0, 20, 1.5, 1), rows(20, 20, -1.5, 2), rows(40, 8, -1.5, 3)
STALE = scores_of(OLD, WINDOW)


def ask(
    recipe: Recipe | None = RECIPE,
    scores: np.ndarray | None = STALE,
    training: pd.DataFrame = NEW,
    window: pd.DataFrame = WINDOW,
) -> Probe:
    return probe(recipe, scores, training, window, FEATURES, "label", "classification", RULE)


def test_after_a_change_of_the_world_a_refit_is_worth_it() -> None:
    answer = ask()
    assert answer.worth
    assert answer.gain is not None
    assert answer.interval is not None
    assert answer.interval[0] < answer.gain < answer.interval[1]
    assert answer.probability == 1
    assert answer.rows == 800
    assert answer.seconds > 0
    assert answer.detail.startswith("A refit on 800 rows would lower the mean loss by 0.")
    json.dumps(answer.to_dict(), allow_nan=False)


def test_a_champion_that_still_holds_makes_a_refit_on_worse_rows_not_worth_it() -> None:
    answer = ask(scores=scores_of(NEW, WINDOW), training=OLD)
    assert not answer.worth
    assert answer.gain is not None
    assert answer.gain < 0
    assert "would raise the mean loss" in answer.detail


def test_the_same_rows_give_the_same_answer() -> None:
    first, second = ask(), ask()
    assert (first.gain, first.interval, first.probability) == (second.gain, second.interval, second.probability)


def test_the_refit_is_calibrated_anew_where_the_champion_is_calibrated() -> None:
    twisted = ask(Recipe("linear", RECIPE.params, (1.0, 3.0)))
    assert twisted.gain == pytest.approx(ask().gain, abs=0.02)  # whatever the champion's own line was


def test_a_level_that_moved_lately_is_what_the_new_calibration_mends() -> None:
    later = rows(0, 32, 1.5, 4)
    moved = (later["event_day"] >= FIRST + np.timedelta64(18, "D")).to_numpy()
    random = np.random.default_rng(5)
    later.loc[moved & (random.random(len(later)) < 0.5), "label"] = 1.0
    training, window = later[:-320], later[-320:]
    scores = scores_of(later[:720], window)  # of the eighteen days before the level moved
    plain = ask(scores=scores, training=training, window=window)
    calibrated = ask(Recipe("linear", RECIPE.params, (1.0, 0.0)), scores, training, window)
    assert calibrated.gain > plain.gain  # type: ignore[operator]


def test_with_too_few_days_to_calibrate_on_the_champion_s_line_is_taken_over() -> None:
    few = NEW[:400]
    answers = [ask(Recipe("linear", RECIPE.params, (1.0, level)), training=few) for level in (0.0, 3.0)]
    assert answers[1].gain < answers[0].gain  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"recipe": None, "scores": None}, "no champion serves yet"),
        ({"training": NEW[:0]}, "no labelled rows to refit on"),
        ({"window": WINDOW[:0], "scores": STALE[:0]}, "0 labelled rows of 0 days"),
        ({"window": WINDOW[:80], "scores": STALE[:80]}, "80 labelled rows of 2 days"),
        ({"window": WINDOW.assign(label=0.0)}, "all labels of the window are 0"),
        ({"training": NEW.assign(label=1.0)}, "all labels of the training rows are 1"),
    ],
)
def test_where_nothing_can_be_compared_training_is_the_way_to_find_out(changed: dict, reason: str) -> None:
    answer = ask(**changed)
    assert answer.worth
    assert answer.reason is not None
    assert reason in answer.reason
    assert (answer.gain, answer.probability) == (None, None)


def test_a_window_the_refit_has_learnt_from_is_refused() -> None:
    with pytest.raises(ValueError, match="leave the window's days out"):
        ask(training=pd.concat([NEW, WINDOW]))


def test_missing_columns_labels_and_scores_are_named() -> None:
    with pytest.raises(ValueError, match=r"window lacks the columns \['x'\]"):
        ask(window=WINDOW.drop(columns="x"))
    with pytest.raises(ValueError, match="label 'label' is missing in 800 rows"):
        ask(training=NEW.assign(label=np.nan))
    with pytest.raises(ValueError, match="champion_scores has 5 rows"):
        ask(scores=STALE[:5])


def test_regression_is_probed_by_squared_error() -> None:
    answer = probe(RECIPE, np.full(len(WINDOW), 5.0), NEW, WINDOW, FEATURES, "label", "regression", RULE)
    assert answer.worth
    assert answer.gain == pytest.approx(20, rel=0.2)


def test_the_recipe_is_read_from_what_the_training_run_logged() -> None:
    logged = {
        "family": "hist_gradient_boosting",
        "learning_rate": "0.1",
        "max_iter": "80",
        "max_leaf_nodes": "16",
        "min_samples_leaf": "60",
        "l2_regularization": "1.0",
        "rows": "150000",
    }
    recipe = Recipe.of_run(logged)
    assert recipe.params == models.family("hist_gradient_boosting").defaults
    assert isinstance(recipe.params["max_iter"], int)
    with pytest.raises(ValueError, match=r"did not log \['max_iter'\]"):
        Recipe.of_run({name: value for name, value in logged.items() if name != "max_iter"})
    with pytest.raises(ValueError, match="max_iter = 'many'"):
        Recipe.of_run(logged | {"max_iter": "many"})


def test_the_calibration_is_read_from_the_champion() -> None:
    from lifecycle.calibration import SigmoidCalibrated

    recipe = Recipe.of_run({"family": "linear", "penalty_strength": "3.5"}, SigmoidCalibrated(None, 1.2, -0.3))
    assert recipe.calibration == (1.2, -0.3)
    assert recipe.params == {"penalty_strength": 3.5}
