"""A small world for tests of the backtest: eleven weeks of sixty orders a day, and a change on a day.

What belongs here: rows as ``pipelines.backtest_rows`` loads them, of a pipeline with three inputs whose models are
fitted in a tenth of a second.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from lifecycle.backtesting.backtest import World
from lifecycle.challenger import Challenger, train_challenger
from lifecycle.pipeline import CostMatrix, GateRule, MonitorRule, Pipeline, RetrainPolicy, TrainingPlan
from tests.tiny import CAFES, variant

FIRST = date(2024, 1, 1)
DAYS, PER_DAY = 76, 60
FIRST_NIGHT, LAST_NIGHT = FIRST + timedelta(days=34), FIRST + timedelta(days=DAYS - 2)
CHANGE = FIRST + timedelta(days=50)

PIPELINE: Pipeline = variant(
    views=(),
    task="classification",
    costs=CostMatrix(true_positive=4.0, false_positive=-1.0, false_negative=0.0),
    training=TrainingPlan(families=("linear",), trials=1, folds=2, fold_days=4, min_days=14),
    gate=GateRule(window_days=7, resamples=200, max_calibration_gap=0.2, max_slice_regression=1.0),
    monitor=MonitorRule(drift_days=7, performance_days=7, least_days=5),
    retraining=RetrainPolicy(cool_down_days=7, on_estimate=True, probe_confidence=0.5, probe_again_days=3),
)


def rows(change: date = CHANGE, seed: int = 1) -> pl.DataFrame:
    """Whether a café runs out of cake follows its staff; from the change on also its discounts."""
    random, count = np.random.default_rng(seed), DAYS * PER_DAY
    ages = np.repeat(np.arange(DAYS), PER_DAY)
    staff, discount, hour = (random.normal(size=count) for _ in range(3))
    discount[ages < (change - FIRST).days] = 0.0
    odds = 1.5 * staff + 2.5 * discount - 0.4
    late = random.random(count) < 0.1
    return pl.DataFrame(
        {
            "event_key": [f"{age}-{place}" for place, age in enumerate(ages)],
            "day": np.datetime64(FIRST) + ages,
            "moment": ["batch"] * count,
            "label": (random.random(count) < 1 / (1 + np.exp(-odds))).astype(float),
            "known_day": np.datetime64(FIRST) + ages + late,
            "cafe": random.choice(list(CAFES), count),
            "hour": hour,
            "staff": staff,
            "discount": discount,
        }
    ).with_columns(pl.col("day", "known_day").cast(pl.Date))


def world(frame: pl.DataFrame) -> World:
    """The rows with a trainer that trains every day's model once."""
    made: dict[date, Challenger] = {}

    def train(day: date) -> Challenger:
        if day not in made:
            made[day] = train_challenger(PIPELINE, frame, day)
        return made[day]

    return World(PIPELINE, frame, train)
