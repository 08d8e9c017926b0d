"""Forecasts that are as often right as they say, for tests of what a champion promises and is expected to do."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

START = date(2013, 3, 4)


def calibrated_forecasts(
    first: int, days: int, spread: float = 1.0, seed: int = 0, rows_a_day: int = 100
) -> pl.DataFrame:
    """Forecasts from a number of days after ``START`` on, each label of which is known on its day.

    Parameters
    ----------
    spread : standard deviation of their log-odds: the less, the less they rank.
    """
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(1.2 - random.normal(0, spread, days * rows_a_day)))
    of_days = [START + timedelta(days=first + number) for number in range(days) for _ in range(rows_a_day)]
    labels = (random.random(scores.size) < scores).astype(float)
    return pl.DataFrame({"day": of_days, "score": scores, "label": labels, "known_day": of_days})
