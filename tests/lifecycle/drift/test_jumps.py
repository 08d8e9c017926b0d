"""Days that are unlike those before them, and what they cost if the values that moved are of no use."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.jumps import Jump, find_jumps
from lifecycle.drift.reference import Reference, profile
from lifecycle.drift.rescoring import MOST_ROWS, Rescoring, Swap
from lifecycle.drift.seasonal import SeasonalReference, seasonal_reference
from lifecycle.features import Feature
from lifecycle.losses import row_losses

MONDAY = date(2024, 1, 1)
FEATURES = (Feature("hour", "float", ""), Feature("wind", "float", ""), Feature("airport", "string", ""))
LIMIT = 0.005


def rows(first: int, days: int, per_day: int = 400, windy: tuple[int, ...] = ()) -> pl.DataFrame:
    """A timetable that is the same on every weekday of each carrier, and wind that is what it is."""
    random = np.random.default_rng((7, first))
    place = np.repeat(np.arange(days), per_day)
    numbers = first + place
    carrier = random.choice(["UA", "DL", "HA"], place.size, p=[0.83, 0.12, 0.05])
    hour = np.where(carrier == "DL", random.integers(5, 12, place.size), random.integers(12, 22, place.size))
    wind = random.gamma(4.0, 2.0, place.size) + random.normal(0, 2, days)[place]
    wind = np.where(np.isin(numbers, windy), wind + 25, wind)
    frame = pl.DataFrame(
        {
            "day": pl.Series([MONDAY + timedelta(days=int(n)) for n in numbers]),
            "hour": hour.astype(float),
            "wind": wind,
            "airport": random.choice(["EWR", "JFK"], place.size),
            "carrier": carrier,
        }
    )
    chances = model(frame)
    return frame.with_columns(score=chances, label=(random.random(place.size) < chances).astype(float))


def model(asked: pl.DataFrame) -> np.ndarray:
    late, blown = asked["hour"].fill_null(40.0).to_numpy(), asked["wind"].fill_null(0.0).to_numpy()
    return 1 / (1 + np.exp(5 - 0.25 * late - 0.06 * blown))


JUDGED = rows(0, 14)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return profile(JUDGED, FEATURES, JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {})


def rescoring() -> Rescoring:
    losses = row_losses(JUDGED["label"].to_numpy(), JUDGED["score"].to_numpy(), "classification")
    return Rescoring(JUDGED, losses, "classification", model)


def past(reference: Reference, windy: tuple[int, ...] = ()) -> SeasonalReference:
    return seasonal_reference(reference, rows(14, 42, windy=windy), 6, slices=("carrier", "airport"))


def jumps(reference: Reference, window: pl.DataFrame, before: SeasonalReference) -> list[Jump]:
    days = window["day"].unique().sort().to_list()
    return find_jumps(reference.features, window, days, before, rescoring(), LIMIT, 0.05)


def test_days_like_those_before_have_not_jumped(reference: Reference) -> None:
    assert jumps(reference, rows(56, 7), past(reference)) == []


def test_hours_that_come_as_minutes_of_a_day_are_found_though_they_are_in_range(reference: Reference) -> None:
    window = rows(56, 2).with_columns(pl.col("hour") / 3 + 4)
    found = jumps(reference, window, past(reference))
    assert {(jump.name, jump.group) for jump in found} == {("hour", None)}  # groups are not named where all rows moved
    assert [jump.day for jump in found] == [MONDAY + timedelta(days=56), MONDAY + timedelta(days=57)]
    assert found[0].harm > LIMIT


def test_the_shifted_timetable_of_one_carrier_is_found_among_those_of_the_others(reference: Reference) -> None:
    shifted = pl.when(pl.col("carrier") == "DL").then(pl.col("hour") + 8).otherwise("hour")
    window = rows(56, 1).with_columns(hour=shifted)
    (found,) = (jump for jump in jumps(reference, window, past(reference)) if jump.group)
    assert (found.name, found.group) == ("hour", ("carrier", "DL"))


def test_a_carrier_with_few_rows_a_day_is_not_looked_at_by_itself(reference: Reference) -> None:
    before = past(reference)
    assert before.groups == (None, ("carrier", "DL"), ("carrier", "UA"), ("airport", "EWR"), ("airport", "JFK"))


def test_a_storm_is_no_broken_column_where_the_days_before_had_one_too(reference: Reference) -> None:
    storm = rows(56, 1, windy=(56,))
    assert [jump.name for jump in jumps(reference, storm, past(reference))] == ["wind"]
    assert jumps(reference, storm, past(reference, windy=(28, 42))) == []  # Mondays, too
    assert jumps(reference, storm, past(reference, windy=(30, 45))) == []


def test_what_the_model_does_not_use_may_jump_as_it_likes(reference: Reference) -> None:
    window = rows(56, 1).with_columns(pl.lit("LGA").alias("airport"))
    assert jumps(reference, window, past(reference)) == []


def test_values_that_go_missing_or_leave_the_range_are_found_whatever_days_are_like(reference: Reference) -> None:
    before = past(reference)
    for broken in (pl.lit(None, pl.Float64), pl.col("hour") * 60, pl.lit(3.0)):
        found = jumps(reference, rows(56, 1).with_columns(hour=broken), before)
        assert [(jump.name, jump.group) for jump in found] == [("hour", None)]
    some = pl.when(pl.int_range(pl.len()) % 3 > 0).then("hour")
    assert [jump.name for jump in jumps(reference, rows(56, 1).with_columns(hour=some), before)] == ["hour"]
    of_one = pl.when(pl.col("carrier") != "DL").then("hour")
    (found_of_one,) = jumps(reference, rows(56, 1).with_columns(hour=of_one), before)
    assert found_of_one.group == ("carrier", "DL")


def test_one_day_that_was_broken_before_or_had_hardly_any_rows_hides_nothing(reference: Reference) -> None:
    odd = MONDAY + timedelta(days=30)
    calm = rows(14, 42)
    few = pl.concat([calm.filter(pl.col("day") != odd), calm.filter(pl.col("day") == odd).head(2)])
    once = calm.with_columns(hour=pl.when(pl.col("day") != odd).then("hour"))
    moved = rows(56, 1).with_columns(pl.col("hour") / 3 + 4)
    gone = rows(56, 1).with_columns(hour=pl.lit(None, pl.Float64))
    for frame in (few, once):
        before = seasonal_reference(reference, frame, 6, slices=("carrier",))
        assert [jump.name for jump in jumps(reference, moved, before)] == ["hour"]
        assert [jump.name for jump in jumps(reference, gone, before)] == ["hour"]


def test_values_that_often_miss_are_not_called_when_as_many_miss_as_on_a_day_before(reference: Reference) -> None:
    def with_gaps(frame: pl.DataFrame) -> pl.DataFrame:
        gap = (pl.col("day").dt.day() % 4 == 0) & (pl.int_range(pl.len()) % 2 == 0)
        return frame.with_columns(hour=pl.when(~gap).then("hour"))

    before = seasonal_reference(reference, with_gaps(rows(14, 42)), 6)
    assert jumps(reference, with_gaps(rows(56, 7)), before) == []


def test_of_a_column_that_misses_now_and_then_no_one_day_tells_that_it_is_broken() -> None:
    def with_gaps(frame: pl.DataFrame, share: float) -> pl.DataFrame:
        gap = (pl.col("day").dt.day() % 5 == 0) & ((pl.int_range(pl.len()) * 0.618) % 1 < share)
        return frame.with_columns(hour=pl.when(~gap).then("hour"))

    judged = with_gaps(JUDGED, 0.5)
    reference = profile(judged, FEATURES, judged["score"].to_numpy(), judged["label"].to_numpy(), {})
    before = seasonal_reference(reference, with_gaps(rows(14, 42), 0.5), 6)
    assert jumps(reference, with_gaps(rows(63, 7), 0.9), before) == []


@pytest.mark.parametrize("broken", [pl.col("hour") * 60, pl.lit(None, pl.Float64)])
def test_days_on_which_many_miss_hide_nothing_of_what_is_lost_today(reference: Reference, broken: pl.Expr) -> None:
    def with_gaps(frame: pl.DataFrame) -> pl.DataFrame:
        gap = (pl.col("day").dt.day() % 10 == 0) & (pl.int_range(pl.len()) % 3 > 0)
        return frame.with_columns(hour=pl.when(~gap).then("hour"))

    window = rows(56, 1).with_columns(hour=broken)
    (without,) = jumps(reference, window, seasonal_reference(reference, rows(14, 42), 6))
    (found,) = jumps(reference, window, seasonal_reference(reference, with_gaps(rows(14, 42)), 6))
    assert found.harm > 0.9 * without.harm


def test_where_a_season_has_left_the_range_each_new_day_is_no_news(reference: Reference) -> None:
    left, window = (frame.with_columns(hour=pl.col("hour") + 40) for frame in (rows(14, 42), rows(56, 2)))
    assert [jump.name for jump in jumps(reference, window, past(reference))] == ["hour", "hour"]
    assert jumps(reference, window, seasonal_reference(reference, left, 6)) == []


def test_values_beyond_declared_bounds_on_days_before_are_counted_as_lost_there(reference: Reference) -> None:
    declared = (Feature("hour", "float", "", 0, 24),)
    beyond = rows(14, 42).with_columns(hour=pl.col("hour") + 12)
    counted = seasonal_reference(reference.bounded(declared), beyond, 6, slices=("carrier",))
    shares = counted.lost_rows("hour")[0] / counted.counts["hour"][0].sum(axis=1)
    assert shares == pytest.approx(np.full(42, (beyond["hour"] > 24).mean()), abs=0.1)
    assert counted.lost_rows("wind").sum() == 0
    assert seasonal_reference(reference, beyond, 6).lost_rows("hour").sum() == 0


def test_a_column_that_the_judged_rows_or_the_window_lack_is_left_out(reference: Reference) -> None:
    window = rows(56, 1).with_columns(pl.col("hour") + 8)
    assert jumps(reference, window.drop("hour"), past(reference)) == []
    without = Rescoring(JUDGED.drop("hour"), rescoring().losses, "classification", model)
    assert find_jumps(reference.features, window, [window["day"][0]], past(reference), without, LIMIT, 0.05) == []


def test_without_enough_like_days_nothing_is_called(reference: Reference) -> None:
    window = rows(56, 1).with_columns(pl.col("hour") + 8)
    short = seasonal_reference(reference, rows(28, 28), 4, slices=("carrier",))
    assert jumps(reference, window, short) == []


def test_where_some_values_leave_the_range_what_became_of_the_others_costs_too(reference: Reference) -> None:
    moved = pl.col("hour") + 20
    (found,) = jumps(reference, rows(56, 1).with_columns(moved), past(reference))
    (growth,) = rescoring().growths([Swap("hour", np.arange(JUDGED.height), JUDGED.select(moved)["hour"])])
    beyond = (rows(56, 1)["hour"] + 20 > 22 + 17).mean()
    assert 0.15 < beyond < 0.4
    assert found.harm == pytest.approx(growth / JUDGED.height, rel=0.2)


def test_a_day_is_asked_what_it_costs_though_most_labelled_rows_are_unlike_it() -> None:
    def with_weekday(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(hour=pl.col("day").dt.weekday().cast(pl.Float64) + 13)

    judged, features = with_weekday(JUDGED).with_columns(score=0.3), (Feature("hour", "float", ""),)
    reference = profile(judged, features, judged["score"].to_numpy(), judged["label"].to_numpy(), {})
    losses = row_losses(judged["label"].to_numpy(), model(judged), "classification")
    asked = Rescoring(judged, losses, "classification", model)
    before = seasonal_reference(reference, with_weekday(rows(14, 42)), 6)
    monday = with_weekday(rows(56, 1)).with_columns(hour=pl.lit(20.0))
    (jump,) = find_jumps(reference.features, monday, [monday["day"][0]], before, asked, LIMIT, 0.05)
    mondays = np.flatnonzero(judged["day"].dt.weekday() == 1)
    (growth,) = asked.growths([Swap("hour", mondays, pl.repeat(20.0, mondays.size, eager=True))])
    assert jump.harm == pytest.approx(growth / mondays.size, rel=0.05)


def test_rescoring_gives_the_growth_of_the_loss_by_other_values() -> None:
    whole = rescoring()
    places = whole.some()
    assert (places.size, np.unique(places).size) == (MOST_ROWS, MOST_ROWS)
    of_days = np.unique(JUDGED["day"].to_numpy()[places], return_counts=True)[1]
    assert of_days.min() > 0.7 * of_days.mean()
    later = JUDGED["day"].to_numpy() > np.datetime64(MONDAY)
    a_day_less = np.flatnonzero(later)[
        Rescoring(JUDGED.filter(later), whole.losses[later], "classification", model).some()
    ]
    assert np.isin(a_day_less, places).mean() > 0.9  # mostly the same rows, whichever days there are
    same = Swap("hour", places, JUDGED["hour"][pl.Series(places)])
    missing = Swap("hour", places, pl.Series([None] * places.size, dtype=pl.Float64))
    nothing = Swap("wind", np.empty(0, dtype=int), pl.Series([], dtype=pl.Float64))
    assert whole.growths([]) == []
    assert whole.growths([nothing]) == [0]
    one_by_one = [whole.growths([swap])[0] for swap in (same, missing, nothing)]
    assert one_by_one[0] == pytest.approx(0, abs=1e-9)
    assert one_by_one[1] > 100
    assert whole.growths([same, missing, nothing] * 20) == pytest.approx(one_by_one * 20)  # more than fit at once
    broken = replace(missing, broken=True)
    silent = Rescoring(JUDGED.with_columns(label=pl.lit(0.0)), whole.losses, "classification", model)
    assert silent.growths([broken]) == whole.growths([broken])  # no labels are asked
    assert whole.growths([broken])[0] == pytest.approx(one_by_one[1], rel=0.1)  # the model knows the truth
    assert whole.growths([replace(same, broken=True)])[0] == pytest.approx(0, abs=1e-9)
    few = JUDGED["carrier"].to_numpy() == "HA"
    assert (few[whole.some(few)].all(), whole.some(few).size) == (True, few.sum())


def test_timid_forecasts_lose_more_than_they_announce_where_a_column_tells_nothing() -> None:
    def timid(asked: pl.DataFrame) -> np.ndarray:
        scores = model(asked)
        return np.asarray(1 / (1 + np.exp(0.275 - 0.5 * np.log(scores / (1 - scores)))))

    frame = JUDGED.with_columns(score=timid(JUDGED))
    losses = row_losses(frame["label"].to_numpy(), frame["score"].to_numpy(), "classification")
    asked = Rescoring(frame, losses, "classification", timid)
    places = asked.some()
    the_same = Swap("hour", places, pl.repeat(16.0, places.size, eager=True))
    of_labels, held_broken = asked.growths([the_same, replace(the_same, broken=True)])
    assert held_broken == pytest.approx(of_labels, rel=0.1)
    assert held_broken / asked.understated < 0.5 * of_labels
