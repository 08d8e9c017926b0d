"""The profile that comes with a champion."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from time import perf_counter

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.profiles import CategoricalProfile, NumericProfile, category_bins, number_bins
from lifecycle.drift.reference import Reference, profile
from lifecycle.drift.relations import learn
from lifecycle.features import Feature

DELAY = Feature("delay", "float", "minutes")
SEATS = Feature("seats", "int", "seats")
ORIGIN = Feature("origin", "string", "airport")


def make_frame(rows: int = 1000) -> pl.DataFrame:
    random = np.random.default_rng(1)
    delays = np.where(random.random(rows) < 0.1, np.nan, random.normal(8, 20, rows))
    return pl.DataFrame(
        {
            "delay": delays,
            "seats": random.integers(50, 300, rows),
            "origin": random.choice(["JFK", "EWR", "LGA"], rows, p=[0.5, 0.3, 0.2]),
            "day": [date(2013, 1, 1) + timedelta(days=n % 14) for n in range(rows)],
        }
    )


def profile_of(frame: pl.DataFrame, *features: Feature) -> Reference:
    return profile(frame, features, np.full(frame.height, 0.3), None, {})


def test_a_reference_survives_the_way_through_json_exactly() -> None:
    frame = make_frame()
    labels, scores = (np.arange(1000) % 4 == 0).astype(float), np.linspace(0, 1, 1000)
    metrics = {"auc": 0.1 + 0.2, "r2": float("nan")}
    reference = profile(frame, (ORIGIN, DELAY, SEATS), scores, labels, metrics)
    assert Reference.from_json(reference.to_json()) == reference
    assert reference.feature_names == ["origin", "delay", "seats"]
    assert reference.label_mean == 0.25
    assert reference.metrics == {"auc": 0.1 + 0.2}
    assert (reference.first_day, reference.last_day) == (date(2013, 1, 1), date(2013, 1, 14))


def test_its_bounds_are_those_declared_and_its_values_those_it_learnt_from() -> None:
    frame = make_frame()
    reference = profile_of(frame.filter(pl.col("seats") < 200), DELAY, SEATS)
    assert reference.bounded([Feature("seats", "int", "", 1, 900)]).features[1].learnt is None  # type: ignore[union-attr]
    relations = learn(frame, (DELAY, SEATS))
    delay, seats = replace(reference, relations=relations).bounded([Feature("seats", "int", "", 1, 900)]).features
    assert isinstance(seats, NumericProfile)
    assert isinstance(delay, NumericProfile)
    assert (seats.lowest, seats.highest) == (1, 900)
    assert seats.learnt is not None
    assert (seats.learnt[0], seats.learnt[-1]) == (frame["seats"].min(), frame["seats"].max())
    assert set(seats.learnt) <= set(frame["seats"])
    assert (delay.lowest, delay.highest) == (None, None)
    assert seats.counts == reference.features[1].counts


def test_quantile_bins_hold_a_tenth_each_and_missing_values_are_counted_apart() -> None:
    (delay,) = profile_of(make_frame(10_000), DELAY).features
    assert isinstance(delay, NumericProfile)
    present = sum(delay.counts)
    np.testing.assert_allclose(np.array(delay.counts) / present, 0.1, atol=0.001)
    assert present + delay.missing == 10_000
    assert len(delay.bins) == len(delay.bin_counts) == 11


def test_a_constant_column_notices_values_on_either_side() -> None:
    (seats,) = profile_of(pl.DataFrame({"seats": [5] * 20}), SEATS).features
    assert isinstance(seats, NumericProfile)
    assert seats.counts == (0, 20, 0)
    assert seats.bins == ("< 5", "≤ 5", "> 5", "missing")
    assert number_bins(seats, np.array([4.0, 5.0, 6.0, np.nan])).tolist() == [0, 1, 2, 3]


def test_bins_are_named_with_as_many_digits_as_it_takes_to_tell_them_apart() -> None:
    (pressure,) = profile_of(pl.DataFrame({"seats": [1012.1, 1012.2, 1013.0] * 10}), SEATS).features
    assert pressure.bins == ("< 1012.1", "≤ 1012.1", "≤ 1012.2", "≤ 1013", "> 1013", "missing")


def test_a_column_without_any_value_has_a_profile_too() -> None:
    frame = pl.DataFrame({"delay": [None, None], "origin": [None, None]})
    delay, origin = profile_of(frame, DELAY, ORIGIN).features
    assert isinstance(delay, NumericProfile)
    assert (delay.counts, delay.missing, delay.mean) == ((0,), 2, None)
    assert origin == CategoricalProfile("origin", (), (), 0, 2)


def test_one_row_is_enough_for_a_profile() -> None:
    reference = profile_of(make_frame(1), DELAY, SEATS, ORIGIN)
    assert Reference.from_json(reference.to_json()) == reference


def test_new_categories_have_a_bin_of_their_own_and_rare_ones_are_pooled() -> None:
    (origin,) = profile_of(pl.DataFrame({"origin": ["JFK"] * 3 + ["LGA"] + [None]}), ORIGIN).features
    assert isinstance(origin, CategoricalProfile)
    assert category_bins(origin, pl.Series(["LGA", "EWR", "JFK", "SWF", None])).tolist() == [1, 2, 0, 2, 3]

    (tail,) = profile_of(pl.DataFrame({"origin": [f"N{n}" for n in range(500)]}), ORIGIN).features
    assert isinstance(tail, CategoricalProfile)
    assert (len(tail.categories), tail.other) == (128, 372)
    assert category_bins(tail, pl.Series(["unheard of"])).tolist() == [128]


def test_fifty_features_of_a_hundred_thousand_rows_take_a_second_and_few_bytes() -> None:
    random = np.random.default_rng(2)
    names = [f"feature_{n}" for n in range(50)]
    frame = pl.DataFrame({name: random.normal(size=100_000) for name in names})
    started = perf_counter()
    reference = profile_of(frame, *(Feature(name, "float", "") for name in names))
    assert perf_counter() - started < 5  # one second on an idle machine
    assert len(reference.to_json()) < 500_000


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"delay": []}, schema={"delay": pl.Float64}), "no rows"),
        (pl.DataFrame({"seats": [1]}), "lacks the features"),
        (pl.DataFrame({"delay": ["late"]}), "'delay' has type String"),
    ],
)
def test_what_cannot_be_profiled_is_refused_by_name(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile_of(frame, DELAY)


@pytest.mark.parametrize("text", ["", "{}", '{"features": 3}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the JSON of a reference"):
        Reference.from_json(text)
