"""How columns go together, and the days on which one of them no longer does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.departures import day_means, find_departures
from lifecycle.drift.jumps import Jump
from lifecycle.drift.reference import Reference, profile
from lifecycle.drift.relations import LEVELS, Relations, learn
from lifecycle.drift.rescoring import Rescoring
from lifecycle.features import Feature
from lifecycle.losses import row_losses

MONDAY = date(2024, 1, 1)
FEATURES = (
    Feature("heat", "float", ""),
    Feature("cooling", "float", ""),
    Feature("load", "int", ""),
    Feature("colour", "string", ""),
    Feature("constant", "float", ""),
)
LIMIT = 0.01
NUMBERS = ("heat", "cooling", "load")


def rows(first: int, days: int, per_day: int = 120) -> pl.DataFrame:
    """Weather that makes days very different, cooling that follows the heat, and a load that follows nothing."""
    random = np.random.default_rng((3, first))
    day = np.repeat(np.arange(days), per_day)
    heat = random.normal(15, 8, days)[day] + random.normal(0, 2, day.size)
    cooling = np.maximum(2.0 * heat + random.normal(0, 3, day.size), 0.0)
    frame = pl.DataFrame(
        {
            "day": pl.Series([MONDAY + timedelta(days=first + int(number)) for number in day]),
            "heat": heat,
            "cooling": cooling,
            "load": random.poisson(20, day.size),
            "colour": random.choice(["red", "blue"], day.size),
            "constant": 1.0,
        }
    )
    chances = model(frame)
    return frame.with_columns(score=chances, label=(random.random(day.size) < chances).astype(float))


def model(asked: pl.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(2 - 0.06 * asked["cooling"].fill_null(0.0).to_numpy()))


def heated(asked: pl.DataFrame) -> np.ndarray:
    """Another model, which looks at the heat alone."""
    return 1 / (1 + np.exp(2 - 0.12 * asked["heat"].fill_null(0.0).to_numpy()))


LEARNT, JUDGED, PAST = rows(0, 60), rows(60, 14), rows(74, 30)
RELATIONS = learn(LEARNT, FEATURES)


def departures(
    window: pl.DataFrame, frame: pl.DataFrame = PAST, model: Callable[[pl.DataFrame], np.ndarray] = model
) -> list[Jump]:
    relations = RELATIONS
    assert relations is not None
    usual = day_means(relations, frame)
    assert usual is not None
    losses = row_losses(JUDGED["label"].to_numpy(), model(JUDGED), "classification")
    days = window["day"].unique().sort().to_list()[-5:]
    asked = Rescoring(JUDGED, losses, "classification", model)
    return find_departures(relations, window, days, usual, asked, LIMIT, 0.05)


def test_a_column_departs_from_what_the_others_say_only_where_it_is_changed() -> None:
    assert RELATIONS is not None
    assert RELATIONS.numbers == NUMBERS  # a constant goes with nothing
    basis = RELATIONS.basis(JUDGED)
    spread = RELATIONS.departures(basis).std(axis=0)
    assert spread[0] < 0.4
    assert spread[1] < 0.4
    assert spread[2] > 0.9
    cool = RELATIONS.departures(RELATIONS.basis(JUDGED.with_columns(pl.col("cooling") / 3)))
    assert cool[:, 1].mean() < -0.5


def test_departures_of_the_mean_row_are_the_mean_of_the_departures() -> None:
    assert RELATIONS is not None
    basis = RELATIONS.basis(JUDGED.with_columns(heat=pl.when(pl.int_range(pl.len()) % 3 > 0).then("heat")))
    of_mean = RELATIONS.departures(basis.mean(axis=0)[None, :])[0]
    assert of_mean == pytest.approx(RELATIONS.departures(basis).mean(axis=0))
    moved = RELATIONS.shifted(basis, 0, 0.7)
    assert RELATIONS.shifted(basis.mean(axis=0)[None, :], 0, 0.7)[0] == pytest.approx(moved.mean(axis=0))


def test_values_move_within_what_was_seen_and_missing_ones_stay_missing() -> None:
    assert RELATIONS is not None
    column = pl.Series("heat", [None, -100.0, 15.0, 100.0])
    same, higher = RELATIONS.moved(column, 0, 0.0), RELATIONS.moved(column, 0, 1.0)
    assert same.null_count() == higher.null_count() == 1
    assert same[2] == pytest.approx(15, abs=1)
    assert 18 < higher[2] < 30
    whole = RELATIONS.moved(JUDGED["load"], 2, 0.4)
    assert (whole == whole.round()).all()
    low, high = LEARNT["heat"].min(), LEARNT["heat"].max()
    assert all(low <= value <= high for value in higher.drop_nulls())  # type: ignore[operator]


def test_relations_come_back_from_the_json_of_a_reference() -> None:
    made = profile(JUDGED, FEATURES, JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {})
    assert Reference.from_json(made.to_json()).relations is None
    assert RELATIONS is not None
    assert len(RELATIONS.quantiles[0]) == LEVELS
    assert Relations.from_dict(json.loads(json.dumps(asdict(RELATIONS)))) == RELATIONS


@pytest.mark.parametrize("frame", [LEARNT.clear(), LEARNT.with_columns(heat=1.0, cooling=None, load=2)])
def test_without_two_columns_that_vary_there_are_no_relations(frame: pl.DataFrame) -> None:
    assert learn(frame, FEATURES) is None


def test_a_unit_that_looks_like_other_weather_is_found_and_the_right_column_is_blamed() -> None:
    found = departures(rows(104, 3).with_columns(pl.col("cooling") * 0.4))
    assert {(jump.name, jump.group, jump.how) for jump in found} == {("cooling", None, "alone")}
    assert {jump.day for jump in found} >= {MONDAY + timedelta(days=104), MONDAY + timedelta(days=106)}
    assert found[0].harm > LIMIT


def test_weather_that_was_never_seen_but_moves_all_that_goes_with_it_is_no_departure() -> None:
    for by in (-6.0, 12.0):
        hot = rows(104, 5).with_columns(pl.col("heat") + by, (pl.col("cooling") + 2 * by).clip(0))
        assert departures(hot) == []


def test_days_like_those_before_are_hardly_ever_called() -> None:
    called = [departures(rows(110 + 5 * number, 5)) for number in range(20)]
    assert sum(map(bool, called)) <= 1


def test_what_the_champion_does_not_use_may_depart_as_it_likes() -> None:
    assert departures(rows(104, 3).with_columns(pl.col("heat") * 0.3)) == []


def test_what_is_mended_is_not_called_on_the_day_it_is_right_again() -> None:
    called = 0
    for first in range(104, 134):
        mended = pl.col("day") == MONDAY + timedelta(days=first + 3)
        window = rows(first, 4).with_columns(pl.when(mended).then("cooling").otherwise(pl.col("cooling") * 0.4))
        called += bool(departures(window))
    assert called <= 2


def test_a_column_that_goes_missing_is_not_blamed_on_those_it_goes_with() -> None:
    for gone in (pl.lit(True), pl.int_range(pl.len()) % 2 == 0):
        for first in range(104, 114):
            window = rows(first, 3).with_columns(cooling=pl.when(~gone).then("cooling"))
            assert departures(window, model=heated) == []


def test_few_days_few_rows_and_frames_of_another_feature_set_are_not_judged() -> None:
    assert RELATIONS is not None
    broken = rows(104, 3).with_columns(pl.col("cooling") * 0.4)
    assert departures(broken, PAST.filter(pl.col("day") < MONDAY + timedelta(days=78))) == []
    assert departures(broken, PAST.group_by("day").head(5)) == []
    assert departures(broken.group_by("day").head(5)) == []
    assert day_means(RELATIONS, PAST.drop("heat")) is None
    assert day_means(RELATIONS, PAST.with_columns(pl.col("heat").cast(pl.String))) is None
    assert departures(broken.drop("colour")) == []
    missing = broken.with_columns(cooling=pl.lit(None, pl.Float64))
    assert departures(missing) == []  # that is what values lost are looked for


def test_what_hardly_shows_in_a_day_shows_in_three_and_is_called_on_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def called_whole() -> int:
        windows = (rows(first, 3).with_columns(pl.col("cooling") * 0.65) for first in range(104, 124))
        return sum(len({jump.day for jump in departures(window)}) == 3 for window in windows)

    of_spans = called_whole()
    monkeypatch.setattr("lifecycle.drift.departures.SPANS", (1,))
    assert of_spans >= called_whole() + 3


def test_where_past_days_never_follow_each_other_single_days_are_judged() -> None:
    every_other = PAST.filter(pl.col("day").dt.ordinal_day() % 2 == 0)
    found = departures(rows(104, 3).with_columns(pl.col("cooling") * 0.4), every_other)
    assert {jump.name for jump in found} == {"cooling"}
