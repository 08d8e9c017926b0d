"""Values that a column never held, among those that it did."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.jumps import Jump
from lifecycle.drift.profiles import bounded
from lifecycle.drift.reference import profile
from lifecycle.drift.rescoring import Rescoring
from lifecycle.drift.strangers import find_strangers
from lifecycle.features import Feature
from lifecycle.losses import row_losses

MONDAY = date(2024, 1, 1)
FEATURES = (Feature("heat", "float", ""), Feature("mean", "float", ""), Feature("airport", "string", ""))
AIRPORTS = 3
LIMIT = 0.005


def rows(first: int, days: int, per_day: int = 90) -> pl.DataFrame:
    """Days that have nothing to do with each other: the heat at each airport in whole degrees, and a mean of much."""
    random = np.random.default_rng((5, first))
    place = np.repeat(np.arange(days), per_day)
    airport = random.integers(0, AIRPORTS, place.size)
    of_day = np.clip(random.normal(60, 12, days), 35, 85)
    frame = pl.DataFrame(
        {
            "day": pl.Series([MONDAY + timedelta(days=first + int(number)) for number in place]),
            "heat": np.round(of_day[:, None] + random.normal(0, 2, (days, AIRPORTS)))[place, airport],
            "mean": random.normal(60, 12, days)[place] + random.normal(0, 1, place.size),
            "airport": np.array(["EWR", "JFK", "LGA"])[airport],
        }
    )
    chances = model(frame)
    return frame.with_columns(score=chances, label=(random.random(place.size) < chances).astype(float))


def model(asked: pl.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(3 - 0.04 * asked["heat"].fill_null(0.0).to_numpy() - 0.01 * asked["mean"].to_numpy()))


JUDGED = rows(0, 14)
BEFORE = pl.concat([JUDGED, rows(14, 70)])


def strangers(
    window: pl.DataFrame,
    before: pl.DataFrame = BEFORE,
    limit: float = LIMIT,
    learnt: tuple[float, ...] | None = None,
) -> list[Jump]:
    reference = profile(JUDGED, FEATURES, JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {})
    profiles = [bounded(each, None, learnt) for each in reference.features]
    losses = row_losses(JUDGED["label"].to_numpy(), JUDGED["score"].to_numpy(), "classification")
    asked = Rescoring(JUDGED, losses, "classification", model)
    days = window["day"].unique().sort().to_list()[-5:]
    return find_strangers(profiles, window, days, before, asked, limit)


def test_days_like_those_before_hold_no_strangers() -> None:
    for first in range(84, 140, 5):
        assert strangers(rows(first, 5)) == []


@pytest.mark.parametrize("factor", [0.5, 5 / 9, 1.5])
def test_another_unit_is_found_though_every_value_is_in_range(factor: float) -> None:
    window = rows(84, 4).with_columns(pl.col("heat") * factor + (30 if factor < 1 else -30) + 0.3)
    found = strangers(window)
    assert {(jump.name, jump.group, jump.how) for jump in found} == {("heat", None, "unseen")}
    assert found[-1].day == MONDAY + timedelta(days=87)
    assert min(jump.harm for jump in found) > LIMIT / 2


def test_what_costs_nothing_is_not_called() -> None:
    assert strangers(rows(84, 4).with_columns(pl.col("heat") + 0.5), limit=0.5) == []


def test_a_column_whose_values_never_repeat_has_strangers_every_day() -> None:
    assert strangers(rows(84, 4).with_columns(pl.col("mean") * 0.9)) == []


def test_a_column_that_never_repeats_is_called_where_its_values_lie_outside_all_that_came() -> None:
    low, high = float(BEFORE["mean"].min()), float(BEFORE["mean"].max())  # type: ignore[arg-type]

    def at(value: float, learnt: tuple[float, float] | None = None) -> list[tuple[str, str]]:
        window = rows(84, 4).with_columns(pl.col("mean") / 60 + value - 1)
        return [(jump.name, jump.how) for jump in strangers(window, limit=0.0005, learnt=learnt)]

    assert set(at(low - 0.4 * (high - low))) == {("mean", "unseen")}
    assert at(high + 0.15 * (high - low)) == [], "a season goes on"
    assert at(low - 0.4 * (high - low), learnt=(0.0, high)) == [], "what was learnt from may come again"


def test_how_far_the_last_record_was_ahead_of_other_days_may_be_gone_again() -> None:
    wide = float(BEFORE["mean"].max() - BEFORE["mean"].min())  # type: ignore[operator]
    top = float(BEFORE["mean"].max())  # type: ignore[arg-type]
    stormy = BEFORE.with_columns(
        pl.when(pl.col("day") == MONDAY + timedelta(days=40)).then(top + 0.5 * wide).otherwise("mean").alias("mean")
    )
    window = rows(84, 4).with_columns(pl.col("mean") / 60 + top + wide)
    assert strangers(window, before=stormy, limit=0.0005) == []
    assert strangers(window, limit=0.0005) != []


def test_a_record_is_no_stranger_and_what_is_over_is_not_called() -> None:
    highest = float(BEFORE["heat"].max())  # type: ignore[arg-type]
    assert strangers(rows(84, 4).with_columns(heat=pl.lit(highest + 1.5))) == []
    odd = pl.when(pl.col("day") < MONDAY + timedelta(days=87)).then(pl.col("heat") + 0.3).otherwise("heat")
    assert MONDAY + timedelta(days=87) not in {jump.day for jump in strangers(rows(84, 4).with_columns(heat=odd))}


def test_a_day_of_strangers_may_be_chance_where_there_was_one_and_three_are_not() -> None:
    odd = rows(84, 3).with_columns(pl.col("heat") + 0.3)
    assert [jump.day for jump in strangers(odd)] == [odd["day"].max()]


def test_what_was_learnt_from_is_no_stranger_though_it_has_not_come_of_late() -> None:
    cold = rows(84, 4).with_columns(heat=pl.lit(float(BEFORE["heat"].min()) - 12))  # type: ignore[arg-type]
    assert strangers(cold) != []
    assert strangers(cold, learnt=(0.0, 90.0)) == []


def test_a_value_that_was_learnt_from_is_no_stranger_though_it_has_not_come_of_late() -> None:
    between = rows(84, 4).with_columns(pl.col("heat") + 0.5)
    assert strangers(between) != []
    assert strangers(between, learnt=tuple(np.arange(0, 100, 0.5).tolist())) == []


def test_the_last_digits_of_a_number_make_no_stranger() -> None:
    assert strangers(rows(84, 4).with_columns(pl.col("heat") * (1 + 1e-12))) == []


@pytest.mark.parametrize("name", ["count", "strange", "value", "day_", "flag", "among"])
def test_a_column_may_have_any_name(name: str) -> None:
    renamed = {"heat": name}
    window = rows(84, 4).with_columns(pl.col("heat") + 0.3).rename(renamed)
    frames = JUDGED.rename(renamed), BEFORE.rename(renamed)
    reference = profile(
        frames[0], (Feature(name, "float", ""),), JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {}
    )
    losses = row_losses(JUDGED["label"].to_numpy(), JUDGED["score"].to_numpy(), "classification")
    asked = Rescoring(frames[0], losses, "classification", lambda rows: model(rows.rename({name: "heat"})))
    days = window["day"].unique().sort().to_list()
    found = find_strangers(reference.features, window, days, frames[1], asked, LIMIT)
    assert {jump.name for jump in found} == {name}


def test_too_few_days_and_columns_that_are_not_there_tell_nothing() -> None:
    window = rows(84, 4).with_columns(pl.col("heat") + 0.3)
    assert strangers(window, BEFORE.filter(pl.col("day") < MONDAY + timedelta(days=14))) == []
    assert strangers(window, BEFORE.drop("heat")) == []
    assert strangers(window.with_columns(pl.col("heat").cast(pl.String))) == []
    assert strangers(window, BEFORE.with_columns(heat=pl.lit(None, pl.Float64))) == []
