"""What a champion promises, from its judging and its first days of service."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.promise import FIRST_DAYS, Promise, first_days, promise, promised_by
from lifecycle.ranking import ranking_with_error

START = date(2013, 3, 4)
JUDGED_DAYS, ROWS_A_DAY = 14, 100


def make_forecasts(first: int, days: int, spread: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Calibrated forecasts from the day ``first`` on; the less they spread, the less they rank."""
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(1.2 - random.normal(0, spread, days * ROWS_A_DAY)))
    return pl.DataFrame(
        {
            "day": [START + timedelta(days=first + number) for number in range(days) for _ in range(ROWS_A_DAY)],
            "score": scores,
            "label": (random.random(scores.size) < scores).astype(float),
        }
    )


JUDGED = make_forecasts(0, JUDGED_DAYS)
SERVED = make_forecasts(JUDGED_DAYS, 60, seed=1)
KNOWN_DAYS = JUDGED_DAYS * (1 + FIRST_DAYS)
LAST_OF_FIRST = START + timedelta(days=KNOWN_DAYS - 1)


def test_it_is_told_from_the_judged_days_and_the_first_that_are_served() -> None:
    assert first_days(JUDGED) == (START + timedelta(days=JUDGED_DAYS), LAST_OF_FIRST)
    told = promise(JUDGED, SERVED, date.max, "classification")
    days = pl.concat([JUDGED, SERVED.filter(pl.col("day") <= LAST_OF_FIRST)])
    value, error = ranking_with_error(days, "classification")
    assert (told.ranking, told.ranking_error, told.days) == (value, error, KNOWN_DAYS)
    assert told.gap == pytest.approx(days["score"].mean() - days["label"].mean())


def test_days_that_are_held_against_it_and_later_ones_do_not_count() -> None:
    before = START + timedelta(days=20)
    told = promise(JUDGED, SERVED, before, "classification")
    assert told.days == 20
    worse = SERVED.with_columns(label=pl.when(pl.col("day") < before).then("label").otherwise(1 - pl.col("label")))
    assert promise(JUDGED, worse, before, "classification") == told
    lost_for_good = SERVED.with_columns(
        label=pl.when(pl.col("day") <= LAST_OF_FIRST).then("label").otherwise(1 - pl.col("label"))
    )
    assert promise(JUDGED, lost_for_good, date.max, "classification") == promise(
        JUDGED, SERVED, date.max, "classification"
    )


def test_more_days_make_it_surer_and_a_lucky_fortnight_is_not_what_is_expected() -> None:
    lucky = make_forecasts(0, JUDGED_DAYS, spread=1.2, seed=2)
    at_first = promise(lucky, SERVED, START, "classification")
    later = promise(lucky, SERVED, date.max, "classification")
    assert at_first.ranking is not None
    assert later.ranking is not None
    assert later.ranking < at_first.ranking - 0.02
    told = [promise(JUDGED, SERVED, before, "classification").ranking_error for before in (START, date.max)]
    assert told[1] < told[0]


@pytest.mark.parametrize("fallen", [{"spread": 0.3}, {"seed": 4}])
def test_a_change_that_comes_with_the_promotion_is_not_what_was_promised(fallen: dict[str, float]) -> None:
    changed = make_forecasts(JUDGED_DAYS, 60, **fallen)  # type: ignore[arg-type]
    if "seed" in fallen:  # more happens than is forecast
        changed = changed.with_columns(label=pl.max_horizontal("label", pl.col("score") > 0.3))
    for days in (7, 60):
        before = START + timedelta(days=JUDGED_DAYS + days)
        assert promise(JUDGED, changed, before, "classification").days == JUDGED_DAYS


def test_an_error_of_its_days_tells_that_of_fewer() -> None:
    assert Promise(0.7, days=56).scaled(0.01, 14) == pytest.approx(0.02)
    assert Promise(0.7).scaled(0.01, 14) == 0.0  # nothing is known of its days
    assert Promise(0.7, days=56).scaled(0.01, 0) == 0.0


@pytest.mark.parametrize("odd", [None, float("nan")])
def test_labels_that_are_not_known_are_left_out(odd: float | None) -> None:
    unknown = SERVED.with_columns(label=pl.lit(odd, pl.Float64))
    assert promise(JUDGED, unknown, date.max, "classification").days == JUDGED_DAYS


def test_where_nothing_is_known_nothing_is_promised() -> None:
    assert promise(JUDGED.with_columns(label=pl.lit(None, pl.Float64)), SERVED.clear(), date.max, "regression") == (
        Promise(None)
    )
    one_class = promise(JUDGED.with_columns(label=0.0), SERVED.clear(), date.max, "classification")
    assert (one_class.ranking, one_class.ranking_error) == (None, 0.0)
    assert one_class.gap > 0
    assert promised_by(None, "classification") == Promise(None)
