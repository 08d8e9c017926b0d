"""Hindcasts: what a model says just before an event, and what of its errors that explains."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.performance.concept import concept_drift, errors_by_day, levels_told
from lifecycle.performance.hindcasts import HINDCAST, apart_from_news, beside_forecasts, with_hindcasts
from lifecycle.pipeline import Moment, MonitorRule, Spine

START = date(2013, 3, 1)
ROWS_A_DAY = 400


def make_days(days: int, shift_from: int | None = None, shift: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Days of storms and calm ones: the forecasts know none of it, the hindcasts two thirds."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(days):
        storm, base = random.normal(0, 0.8), random.normal(-1.2, 0.6, ROWS_A_DAY)
        moved = shift if shift_from is not None and number >= shift_from else 0.0
        chance = 1 / (1 + np.exp(-(base + storm + random.normal(0, 0.2) + moved)))
        frames.append(
            pl.DataFrame(
                {
                    "day": [START + timedelta(days=number)] * ROWS_A_DAY,
                    "score": 1 / (1 + np.exp(-base)),
                    HINDCAST: 1 / (1 + np.exp(-(base + storm * 2 / 3))),
                    "label": (random.random(ROWS_A_DAY) < chance).astype(float),
                }
            )
        )
    return pl.concat(frames)


def test_levels_vary_less_apart_from_news_and_tell_a_change_as_it_is() -> None:
    errors = list(errors_by_day(make_days(80, shift_from=60, shift=1.0), "classification").values())
    levels, told = np.array([error.level for error in errors]), levels_told(errors)

    assert told[30:60].std() < 0.6 * levels[30:60].std()
    assert told[60:].mean() - told[30:60].mean() == pytest.approx(1.0, abs=0.25)


def test_how_far_news_counts_is_learnt_from_the_days_before_alone() -> None:
    random = np.random.default_rng(1)
    news = random.normal(0, 0.3, 200)
    levels = 1.5 * news + random.normal(0, 0.05, 200)
    told = apart_from_news(levels, news)
    later = apart_from_news(np.append(levels[:50], levels[50:] + 9), news)

    assert told[0] == pytest.approx(levels[0] - news[0]), "with no day before, hindcasts count in full"
    assert told[150:].std() < 0.07
    assert later[:50] == pytest.approx(told[:50])


def test_little_news_teaches_little() -> None:
    random = np.random.default_rng(2)
    calm, levels = random.normal(0, 0.02, 40), random.normal(0, 0.3, 40)
    calm[-1], levels[-1] = 0.5, levels[-1] + 0.5  # the first storm, which hindcasts see as it is
    for news in (calm, np.append(np.full(39, 2.8e-17), 0.5), np.append(np.zeros(39), 0.5)):
        assert abs(apart_from_news(levels, news)[-1]) < 1.0
    steady = apart_from_news(levels, np.full(40, 0.3))
    assert steady == pytest.approx(levels - 0.3)


def test_a_lasting_change_that_hindcasts_see_is_no_news_for_ever() -> None:
    late = pl.col("day") >= START + timedelta(days=50)
    odds = (pl.col(HINDCAST) / (1 - pl.col(HINDCAST))) * pl.when(late).then(np.exp(0.8)).otherwise(1.0)
    nights = [START + timedelta(days=number) for number in range(52, 80)]

    def found(seed: int) -> bool:
        days = make_days(80, shift_from=50, shift=1.0, seed=seed)
        errors = errors_by_day(days.with_columns((odds / (1 + odds)).alias(HINDCAST)), "classification")
        return any(concept_drift(errors, MonitorRule(), night).errors for night in nights)

    assert sum(map(found, range(8))) >= 6


def test_without_news_levels_are_as_they_were() -> None:
    levels, none = np.array([0.3, np.nan, -0.2, 0.1]), np.full(4, np.nan)
    assert apart_from_news(levels, none) == pytest.approx(levels, nan_ok=True)
    assert apart_from_news(levels, np.zeros(4)) == pytest.approx(levels, nan_ok=True)
    assert apart_from_news(np.array([]), np.array([])).size == 0
    some = apart_from_news(levels, np.array([0.1, 0.1, np.nan, np.inf]))
    assert some == pytest.approx([0.2, np.nan, -0.2, 0.1], nan_ok=True)


def test_a_shift_of_the_labels_is_found_within_three_days_where_forecasts_alone_do_not_tell_it() -> None:
    def nights_found(frame: pl.DataFrame) -> int:
        errors = errors_by_day(frame, "classification")
        return bool(concept_drift(errors, MonitorRule(), START + timedelta(days=52)).errors)

    worlds = [make_days(53, shift_from=50, shift=1.0, seed=seed) for seed in range(20)]
    with_news = sum(nights_found(world) for world in worlds)
    alone = sum(nights_found(world.drop(HINDCAST)) for world in worlds)
    assert with_news >= 17
    assert alone <= 12


def test_days_without_hindcasts_have_no_news_and_rows_without_one_count_with_their_forecast() -> None:
    days = make_days(3)
    first = pl.col("day") == START
    none = days.with_columns(pl.when(first).then(None).otherwise(HINDCAST).alias(HINDCAST))
    found = errors_by_day(none, "classification")
    assert found[START].news is None
    assert found[START + timedelta(days=1)].news is not None
    as_forecast = days.with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise("score").alias(HINDCAST)
    )
    assert [error.news for error in errors_by_day(as_forecast, "classification").values()] == pytest.approx([0, 0, 0])


def test_rows_keep_their_order_and_an_event_that_was_announced_late_has_none() -> None:
    forecasts = pl.DataFrame({"order": ["c", "a", "a", "b"], "score": [0.1, 0.2, 0.2, 0.3]})
    made = pl.DataFrame({"order": ["b", "a", "a"], HINDCAST: [0.5, 0.3, 0.4]})
    assert with_hindcasts(forecasts, made, ["order"])[HINDCAST].to_list() == [None, 0.4, 0.4, 0.5]
    assert with_hindcasts(forecasts, made.clear(), ["order"])[HINDCAST].to_list() == [None] * 4


@pytest.mark.parametrize(
    ("moments", "last"),
    [
        ((Moment("night"),), "night"),
        ((Moment("night"), Moment("hour", timedelta(hours=1)), Moment("day", timedelta(hours=24))), "hour"),
    ],
)
def test_the_last_moment_is_that_of_the_shortest_lead(moments: tuple[Moment, ...], last: str) -> None:
    spine = Spine("orders", ("order",), "at", moments, ("order",))
    assert spine.last_moment.name == last
    scored = pl.DataFrame(
        {
            "order": ["a", "b"] * len(moments),
            "moment": [moment.name for moment in moments for _ in range(2)],
            "score": [0.1 * place for place in range(2 * len(moments))],
        }
    )
    beside = beside_forecasts(scored, spine, ["order"])
    assert beside.height == 2
    assert beside[HINDCAST].to_list() == scored.filter(pl.col("moment") == last)["score"].to_list()
