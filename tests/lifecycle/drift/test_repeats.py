"""Values that keep coming back, where none ever did."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.jumps import Jump
from lifecycle.drift.reference import profile
from lifecycle.drift.repeats import SPAN, find_repeats
from lifecycle.drift.rescoring import Rescoring
from lifecycle.features import Feature
from lifecycle.losses import row_losses

MONDAY = date(2024, 1, 1)
FEATURES = (Feature("heat", "float", ""), Feature("rain", "int", ""), Feature("airport", "string", ""))
AIRPORTS = 3
LIMIT = 0.005


def rows(first: int, days: int, per_day: int = 90) -> pl.DataFrame:
    """Days that have nothing to do with each other: each airport has its heat, told on most of them."""
    random = np.random.default_rng((5, first))
    place = np.repeat(np.arange(days), per_day)
    airport = random.integers(0, AIRPORTS, place.size)
    heat = random.normal(60, 12, (days, AIRPORTS))[place, airport]
    told = random.random(days)[place] > 0.15
    frame = pl.DataFrame(
        {
            "day": pl.Series([MONDAY + timedelta(days=first + int(number)) for number in place]),
            "heat": pl.Series(np.where(told, heat, np.nan)).fill_nan(None),
            "rain": random.poisson(0.2, days)[place],
            "airport": np.array(["EWR", "JFK", "LGA"])[airport],
        }
    )
    chances = model(frame)
    return frame.with_columns(score=chances, label=(random.random(place.size) < chances).astype(float))


def model(asked: pl.DataFrame) -> np.ndarray:
    heat, rain = (asked[name].fill_null(0).fill_nan(0).to_numpy() for name in ("heat", "rain"))
    return np.asarray(1 / (1 + np.exp(4 - 0.05 * heat - 0.5 * rain)))


JUDGED = rows(0, 14)
BEFORE = pl.concat([JUDGED, rows(14, 70)])


def repeats(window: pl.DataFrame, before: pl.DataFrame = BEFORE, limit: float = LIMIT) -> list[Jump]:
    reference = profile(JUDGED, FEATURES, JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {})
    losses = row_losses(JUDGED["label"].to_numpy(), JUDGED["score"].to_numpy(), "classification")
    days = window["day"].unique().sort().to_list()[-5:]
    return find_repeats(
        reference.features, window, days, before, Rescoring(JUDGED, losses, "classification", model), limit, 0.05
    )


def stuck(window: pl.DataFrame, value: float | None, share: float = 0.4) -> pl.DataFrame:
    """The value in some rows of the last days of a span."""
    broken = pl.col("day").is_in(window["day"].unique().sort()[-SPAN:].implode())
    broken &= (pl.int_range(pl.len()) * 0.618) % 1 < share
    return window.with_columns(heat=pl.when(broken).then(pl.lit(value, pl.Float64)).otherwise("heat"))


def test_days_like_those_before_hold_no_repeats() -> None:
    for first in range(84, 140, 5):
        assert repeats(rows(first, 5)) == []


@pytest.mark.parametrize("value", [20.0, 100.0, None])
def test_what_sticks_or_misses_in_some_rows_day_after_day_is_found_on_all_of_them(value: float | None) -> None:
    window = stuck(rows(84, 5), value)
    found = repeats(window)
    told = None if value is None else str(value)
    assert {(jump.name, jump.group, jump.how, jump.value) for jump in found} == {("heat", None, "repeated", told)}
    assert [jump.day for jump in found] == window["day"].unique().sort()[-SPAN:].to_list()
    assert min(jump.harm for jump in found) > LIMIT / 2


def test_fewer_days_are_no_repeat() -> None:
    assert repeats(stuck(rows(84, SPAN - 1), 20.0)) == []
    with_a_gap = stuck(rows(84, 5), 20.0).filter(pl.col("day") != MONDAY + timedelta(days=87))
    assert repeats(with_a_gap) == []


def test_what_always_comes_back_is_no_repeat() -> None:
    assert repeats(rows(84, 5).with_columns(rain=pl.lit(0))) == []
    assert repeats(stuck(rows(84, 5), 20.0), before=BEFORE.with_columns(heat=pl.lit(50.0))) == []


def test_what_comes_often_may_come_on_days_that_follow_each_other_by_chance() -> None:
    turns = BEFORE.with_columns(heat=20.0 + 30 * (pl.col("day").dt.ordinal_day() % 3))
    assert repeats(rows(84, 5).with_columns(heat=pl.lit(20.0)), before=turns) == []
    assert repeats(rows(84, 5).with_columns(heat=pl.lit(21.0)), before=turns) != []


def test_rows_without_a_value_are_held_against_rows_without_one() -> None:
    always = BEFORE.with_columns(heat=pl.lit(50.0))
    assert repeats(stuck(rows(84, 5), None), before=always) != []


def test_it_costs_by_the_rows_beyond_those_that_always_hold_the_value() -> None:
    some = (pl.int_range(pl.len()) * 0.618) % 1 < 0.2
    before = BEFORE.with_columns(heat=pl.when(some).then(100.0).otherwise("heat"))
    (alone, *_), (beyond, *_) = (repeats(stuck(rows(84, 5), 100.0, 0.8), frame) for frame in (BEFORE, before))
    assert beyond.harm == pytest.approx(0.75 * alone.harm, rel=0.1)


def test_what_was_not_mended_is_called_as_long_as_it_lasts() -> None:
    lasting = pl.when((pl.int_range(pl.len()) * 0.618) % 1 < 0.4).then(20.0).otherwise("heat").alias("heat")
    window = rows(84, 14).with_columns(lasting)
    assert len(repeats(window, pl.concat([BEFORE, window]))) == 5


def test_what_costs_nothing_is_not_called() -> None:
    assert repeats(stuck(rows(84, 5), 20.0), limit=0.5) == []


def test_too_few_days_and_columns_that_are_not_there_tell_nothing() -> None:
    window = stuck(rows(84, 5), 20.0)
    assert repeats(window, BEFORE.filter(pl.col("day") < MONDAY + timedelta(days=14))) == []
    assert repeats(window, BEFORE.drop("heat")) == []
    assert repeats(window, BEFORE.group_by("day").head(20)) == []
    assert repeats(window, BEFORE.filter(pl.col("day").dt.ordinal_day() % 3 > 0)) == []
    assert repeats(window.with_columns(heat=pl.lit(float("nan")))) != []
