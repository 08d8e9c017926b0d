"""Faults are chosen on clean rows and do what they say, from their first day on."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.backtesting.faults import NEVER_SEEN, SIZES, Fault, inject, suite
from lifecycle.features import Feature

FIRST = date(2024, 5, 1)
START = date(2024, 5, 11)
FEATURES = (
    Feature("delay", "float", ""),
    Feature("seats", "int", ""),
    Feature("rain", "float", "mostly none"),
    Feature("flag", "float", "always one"),
    Feature("carrier", "string", ""),
    Feature("origin", "string", ""),
    Feature("idle", "float", "of no use"),
)
IMPORTANCES = {"carrier": 0.03, "delay": 0.02, "rain": 0.015, "flag": 0.013, "seats": 0.01, "origin": 0.001, "idle": 0}


def rows(days: int = 20, per_day: int = 40, seed: int = 0) -> pl.DataFrame:
    random, n = np.random.default_rng(seed), days * per_day
    label = (random.random(n) < 0.25).astype(float)
    return pl.DataFrame(
        {
            "row": range(n),
            "day": [FIRST + timedelta(days=place // per_day) for place in range(n)],
            "delay": (random.normal(10, 5, n) + 5 * label).astype(np.float32),
            "seats": random.integers(50, 400, n).astype(np.int16),
            "rain": random.exponential(1, n) * (random.random(n) < 0.2),
            "flag": np.ones(n),
            "idle": random.normal(0, 1, n),
            "carrier": random.choice(["AA", "UA", "UA", "DL"], n),
            "origin": random.choice(["JFK", "EWR"], n),
            "label": label,
        },
        schema_overrides={"day": pl.Date},
    )


CLEAN = rows()
FAULTS = suite(FEATURES, IMPORTANCES, CLEAN, ("carrier", "origin"), "classification")
ODDS = [Fault(f"odds{size}", "label_shift", "label", size, "") for size in (-2.0, 0.7, 3.0)]


def of_kind(kind: str) -> list[Fault]:
    return [fault for fault in FAULTS if fault.kind == kind]


def early(frame: pl.DataFrame, first_day: date = START) -> pl.DataFrame:
    return frame.filter(pl.col("day") < first_day)


def late(frame: pl.DataFrame, first_day: date = START) -> pl.DataFrame:
    return frame.filter(pl.col("day") >= first_day)


def test_the_suite_hurts_what_matters_and_suits_each_kind_at_several_sizes() -> None:
    hurt = {kind: list(dict.fromkeys(fault.column for fault in of_kind(kind))) for kind in SIZES}
    assert hurt == {
        "unit_change": ["delay", "seats"],
        "stuck_sensor": ["delay", "rain", "seats"],
        "group_shift": ["delay"],
        "label_shift": ["label"],
        "new_category": ["carrier", "origin"],
        "missing": ["carrier", "delay", "rain"],
    }
    assert {fault.group for fault in of_kind("group_shift")} == {
        ("carrier", "UA"),
        ("origin", CLEAN["origin"].mode().sort()[0]),
    }
    for kind, sizes in SIZES.items():
        for group in {fault.group for fault in of_kind(kind)}:
            found = [fault for fault in of_kind(kind) if fault.group == group and fault.column == hurt[kind][0]]
            assert tuple(fault.size for fault in found) == sizes
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.description for fault in FAULTS)
    assert suite(FEATURES, IMPORTANCES, CLEAN, ("carrier", "origin"), "classification") == FAULTS


@settings(max_examples=80, deadline=None)
@given(
    fault=st.sampled_from([*FAULTS, *ODDS]),
    first=st.integers(1, 22),
    seed=st.integers(0, 5),
    shuffled=st.booleans(),
)
def test_earlier_rows_and_other_columns_stay_and_the_same_fault_hurts_the_same(
    fault: Fault, first: int, seed: int, shuffled: bool
) -> None:
    frame, first_day = rows(seed=seed), FIRST + timedelta(days=first)
    if shuffled:
        frame = frame.sample(fraction=1, shuffle=True, seed=seed)
    broken = inject(frame, fault, first_day)
    assert broken.schema == frame.schema
    assert broken["day"].equals(frame["day"])
    assert early(broken, first_day).equals(early(frame, first_day))
    assert broken.equals(inject(frame, fault, first_day))
    assert late(broken, first_day).equals(late(frame, first_day)) == (first >= 20)
    if fault.kind != "label_shift":
        assert broken.drop(fault.column).equals(frame.drop(fault.column))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_day_is_hurt_alike_whatever_other_days_there_are_and_whenever_the_fault_began(fault: Fault) -> None:
    day = START + timedelta(days=4)
    whole = inject(CLEAN, fault, START).filter(pl.col("day") == day)
    few = CLEAN.filter(pl.col("day").is_between(START - timedelta(days=1), day))
    assert inject(few, fault, START).filter(pl.col("day") == day).equals(whole)
    if fault.kind != "stuck_sensor":
        assert inject(CLEAN, fault, day).filter(pl.col("day") == day).equals(whole)


def test_a_change_of_unit_multiplies_and_whole_numbers_stay_whole() -> None:
    for fault in of_kind("unit_change"):
        before, after = late(CLEAN)[fault.column].cast(pl.Float64), late(inject(CLEAN, fault, START))[fault.column]
        assert np.allclose(after, before * fault.size, atol=0.51 if fault.column == "seats" else 1e-4)
    flood = Fault("flood", "unit_change", "seats", 1000.0, "")
    assert late(inject(CLEAN, flood, START))["seats"].max() == 2**15 - 1


@pytest.mark.parametrize("size", [0.25, 0.5, 1.0])
def test_shares_are_shares_of_every_day_and_larger_ones_include_smaller_ones(size: float) -> None:
    last = early(CLEAN)[-1]
    for kind, is_hurt in (
        ("missing", pl.col("delay").is_null()),
        ("stuck_sensor", pl.col("delay") == last["delay"][0]),
        ("new_category", pl.col("carrier") == NEVER_SEEN),
    ):
        column = "carrier" if kind == "new_category" else "delay"
        smaller, larger = (
            late(inject(CLEAN, Fault("x", kind, column, share, ""), START)).select("day", hurt=is_hurt)
            for share in (size * 0.7, size)
        )
        shares = larger.group_by("day").agg(pl.col("hurt").mean())["hurt"]
        assert shares.to_list() == pytest.approx([size] * 10, abs=1 / 40)
        assert (larger["hurt"] | ~smaller["hurt"]).all()


def test_a_small_share_also_hurts_days_of_one_row() -> None:
    lonely = rows(days=400, per_day=1)
    broken = inject(lonely, Fault("x", "missing", "delay", 0.25, ""), START)
    assert 60 < broken["delay"].null_count() < 140


def test_a_group_is_shifted_by_deviations_of_the_clean_rows_and_no_other_group_is() -> None:
    spread = float(CLEAN["delay"].cast(pl.Float64).to_numpy().std())
    for fault in of_kind("group_shift"):
        assert fault.group is not None
        name, value = fault.group
        moved = late(inject(CLEAN, fault, START))["delay"] - late(CLEAN)["delay"]
        within = (late(CLEAN)[name] == value).to_numpy()
        assert np.allclose(moved.to_numpy()[within], fault.size * spread, atol=1e-4)
        assert (moved.to_numpy()[~within] == 0).all()


@pytest.mark.parametrize("size", [-1.0, 0.5, 1.0, 2.0])
def test_the_base_rate_moves_by_log_odds_and_rows_of_a_class_look_as_before(size: float) -> None:
    frame = rows(days=20, per_day=1000)
    broken = inject(frame, Fault("x", "label_shift", "label", size, ""), START)
    for day in late(frame)["day"].unique():
        before, after = (each.filter(pl.col("day") == day)["label"].mean() for each in (frame, broken))
        expected = 1 / (1 + np.exp(-np.log(before / (1 - before)) - size))  # type: ignore[operator]
        assert after == pytest.approx(expected, abs=0.0011)
    for label in (0, 1):
        was, now = (late(each).filter(pl.col("label") == label)["delay"] for each in (frame, broken))
        assert now.mean() == pytest.approx(was.mean(), abs=0.3)
        assert now.std() == pytest.approx(was.std(), abs=0.3)
    # Whole rows were drawn: each stands in the clean frame, on the same day.
    assert broken.join(frame, on=frame.columns, how="anti").is_empty()


def test_days_without_labels_or_of_one_class_have_no_odds_to_shift() -> None:
    odd = CLEAN.with_columns(
        label=pl.when(pl.col("day") == START).then(0.0).when(pl.col("row") % 2 == 0).then(None).otherwise("label")
    )
    broken = inject(odd, ODDS[2], START)
    assert broken.filter(pl.col("day") == START).equals(odd.filter(pl.col("day") == START))
    assert broken["label"].is_null().equals(odd["label"].is_null())
    unknown = pl.col("label").is_null()
    assert broken.filter(unknown).equals(odd.filter(unknown))


def test_in_regression_labels_are_shifted_by_deviations() -> None:
    numbers = CLEAN.with_columns(label=pl.col("delay").cast(pl.Float64))
    shifts = [each for each in suite(FEATURES, IMPORTANCES, numbers, (), "regression") if each.kind == "label_shift"]
    assert [each.size for each in shifts] == list(SIZES["label_shift"])
    moved = late(inject(numbers, shifts[-1], START))["label"] - late(numbers)["label"]
    assert np.allclose(moved, 2 * numbers["label"].to_numpy().std())


def test_a_sensor_sticks_at_its_last_known_value() -> None:
    gap = CLEAN.with_columns(delay=pl.when(pl.col("day") < START - timedelta(days=1)).then("delay"))
    fault = Fault("x", "stuck_sensor", "delay", 1.0, "")
    value = CLEAN.filter(pl.col("day") == START - timedelta(days=2))["delay"][-1]
    assert late(inject(gap, fault, START))["delay"].unique().to_list() == [value]
    with pytest.raises(ValueError, match=r"fault 'x' \(stuck_sensor of column 'delay'\): there is no value before"):
        inject(gap, fault, FIRST)


def test_rows_without_a_day_and_categories_of_their_own_type_are_no_trouble() -> None:
    frame = CLEAN.with_columns(
        day=pl.when(pl.col("row") < 795).then("day"), carrier=pl.col("carrier").cast(pl.Categorical)
    )
    for fault in FAULTS:
        broken = inject(frame, fault, START)
        assert broken.schema == frame.schema
        assert broken.tail(5).equals(frame.tail(5))


def test_a_period_before_the_fault_and_an_empty_frame_stay_as_they_are() -> None:
    for fault in FAULTS:
        assert inject(CLEAN, fault, date(2030, 1, 1)).equals(CLEAN)
        if fault.kind != "stuck_sensor":
            assert inject(CLEAN.clear(), fault, START).equals(CLEAN.clear())


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("melted", 1.0, "its kind is none of"),
        ("missing", 1.2, "it is a share of rows"),
        ("unit_change", float("nan"), "must be finite"),
        ("group_shift", 1.0, "needs the unit of its size"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(kind: str, size: float, message: str) -> None:
    with pytest.raises(ValueError, match=rf"fault 'x' \({kind} of column 'delay'\).*{message}"):
        Fault("x", kind, "delay", size, "")


def test_a_frame_that_a_fault_cannot_hurt_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"fault 'x' .*column 'delay'.*lacks the columns \['delay'\]"):
        inject(CLEAN.drop("delay"), Fault("x", "missing", "delay", 1.0, ""), START)
    with pytest.raises(ValueError, match="the column holds String; it must hold numbers"):
        inject(CLEAN, Fault("x", "unit_change", "carrier", 2.0, ""), START)
    with pytest.raises(ValueError, match="the column holds Float32; a new category needs text"):
        inject(CLEAN, Fault("x", "new_category", "delay", 1.0, ""), START)
    with pytest.raises(ValueError, match="changes the odds of 0 and 1, and 3 was found"):
        inject(CLEAN.with_columns(label=pl.lit(3.0)), ODDS[0], START)
    with pytest.raises(ValueError, match="column 'day' holds String"):
        inject(CLEAN.with_columns(pl.col("day").cast(pl.String)), ODDS[0], START)
    twice = inject(CLEAN, Fault("x", "new_category", "carrier", 1.0, ""), FIRST)
    with pytest.raises(ValueError, match="already; inject it into clean rows"):
        inject(twice, Fault("y", "new_category", "carrier", 1.0, ""), START)


def test_a_suite_needs_rows_columns_and_importances() -> None:
    with pytest.raises(ValueError, match=r"lacks the columns \['idle', 'label'\]"):
        suite(FEATURES, IMPORTANCES, CLEAN.drop("idle", "label"), (), "classification")
    with pytest.raises(ValueError, match="no rows"):
        suite(FEATURES, IMPORTANCES, CLEAN.clear(), (), "classification")
    with pytest.raises(ValueError, match="no feature a value above zero"):
        suite(FEATURES, {}, CLEAN, (), "classification")
    nothing = CLEAN.with_columns(carrier=pl.lit(None, dtype=pl.String))
    assert not [each for each in suite(FEATURES, IMPORTANCES, nothing, ("carrier",), "classification") if each.group]
