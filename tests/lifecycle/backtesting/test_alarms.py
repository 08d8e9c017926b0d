"""False alarms in a world without change, and how soon a fault is found in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lifecycle.backtesting.alarms import (
    CleanRun,
    Injection,
    detection,
    false_alarms,
    inject_and_watch,
    stationary_rows,
    watch_nights,
)
from lifecycle.backtesting.faults import Fault
from lifecycle.backtesting.watch import MONITORS, Monitor
from lifecycle.drift.monitoring import Champion, monitor_night
from tests.lifecycle.backtesting.backtest_world import FIRST, FIRST_NIGHT, LAST_NIGHT, PIPELINE, rows, world

SAME = rows(change=FIRST)  # discounts are there from the first day on
START = FIRST_NIGHT + timedelta(days=12)
BROKEN = Fault("unit_change:staff:-1", "unit_change", "staff", -1.0, "staff has the other sign")
HARMLESS = Fault("missing:hour:1", "missing", "hour", 0.02, "hour is missing in a few rows")


@pytest.fixture(scope="module")
def clean() -> CleanRun:
    still = world(stationary_rows(SAME, seed=4))
    return watch_nights(still, still.train(FIRST_NIGHT), LAST_NIGHT, [START - timedelta(days=1)])


def test_shuffled_days_keep_their_rows_and_waits() -> None:
    before, after = SAME, stationary_rows(SAME, seed=4)
    assert not after["event_key"].equals(before["event_key"])
    assert after["day"].is_sorted()
    waits = [frame.sort("event_key").select(pl.col("known_day") - pl.col("day")) for frame in (before, after)]
    assert_frame_equal(*waits)
    together = [set(frame.group_by("day").agg(pl.col("event_key").min())["event_key"]) for frame in (before, after)]
    assert together[0] == together[1]


def test_where_nothing_changes_errors_are_rare(clean: CleanRun) -> None:
    table = {row["monitor"]: row for row in false_alarms([clean.nights], ("realised", "concept"))}
    assert clean.nights["day"].min() == FIRST_NIGHT + timedelta(days=PIPELINE.monitor.least_days)
    assert table["any"]["nights"] == clean.nights.height
    assert table["any"]["share"] <= 0.2
    assert table["heard by the policy"]["share"] <= table["any"]["share"]
    assert table["any"]["interval"] is None


def test_several_worlds_give_an_interval() -> None:
    nights = [_nights([None, "x", None, None]), _nights([None, None, None, None]), _nights(["x", "x", None, "x"])]
    row = false_alarms(nights, ())[0]
    assert row["share"] == pytest.approx(1 / 3)
    assert row["interval"][0] < 1 / 3 < row["interval"][1]
    assert row["episodes"] == pytest.approx(3 * 365 / 12)
    assert row["worlds"] == 3


def test_a_fault_that_costs_all_skill_is_found(clean: CleanRun) -> None:
    found = inject_and_watch(clean, BROKEN, START)
    assert found.cost > 1
    assert found.first(MONITORS) is not None
    assert found.first(MONITORS) <= 3  # type: ignore[operator]
    assert found.found["realised"] != 0  # no label of a faulty forecast is known on the night it is issued


def test_a_night_says_the_same_however_many_older_forecasts_it_is_given(clean: CleanRun) -> None:
    champion, last = clean.champion, LAST_NIGHT
    pipeline = replace(PIPELINE, monitor=replace(PIPELINE.monitor, seasonal_weeks=1))
    known = Champion(champion.reference, champion.judged, champion.importances, champion.threshold)
    since = last - timedelta(days=pipeline.monitor.drift_lookback_days - 1)
    own, reports = pl.col("version") == champion.day, []
    for first in (since, since - timedelta(days=5)):
        issued = clean.world.forecasts(champion, first, last)
        reports.append(monitor_night(pipeline, known, issued, last, own))
    assert reports[0] is not None
    assert reports[0] == reports[1]


def test_what_costs_nothing_raises_nothing_new(clean: CleanRun) -> None:
    found = inject_and_watch(clean, HARMLESS, START)
    assert abs(found.cost) < 0.05
    assert found.first(MONITORS) is None


def test_an_injection_leaves_the_clean_run_as_it_was(clean: CleanRun) -> None:
    memory = clean.snapshots[START - timedelta(days=1)]
    before = ({day: dict(means) for day, means in memory.errors_by_day.items()}, dict(memory.estimates))
    first, second = (inject_and_watch(clean, BROKEN, START) for _ in range(2))
    assert first == second
    assert (memory.errors_by_day, memory.estimates) == before


def test_the_share_found_counts_costly_faults_only() -> None:
    made = [
        _injection("big", 0.4, {"drift": 1}),
        _injection("big", 0.3, {"drift": 5, "realised": 2}),
        _injection("big", 0.04, {}),  # into a champion that hardly looks at the column
        _injection("small", 0.01, {}),
        _injection("late", 0.2, {"realised": 6}),
    ]
    answer = detection(made, ("drift",))
    rows_of = {row["name"]: row for row in answer["faults"]}
    assert rows_of["big"]["days_median"] == 2
    assert rows_of["big"]["days_worst"] is None
    assert (rows_of["big"]["costly"], rows_of["big"]["costly_found"]) == (2, 1)
    assert rows_of["big"]["found_within"] == pytest.approx(2 / 3)
    assert rows_of["big"]["found_within_by_the_policy"] == pytest.approx(1 / 3)
    assert (rows_of["small"]["costly"], rows_of["small"]["costly_found"]) == (0, None)
    assert rows_of["small"]["days_median"] is None
    assert answer["costly"]["faults"] == 2
    assert answer["costly"]["by_any_monitor"] == pytest.approx(2 / 3)
    assert answer["costly"]["by_the_policy"] == pytest.approx(1 / 3)
    assert answer["costly"]["missed"] == ["late"]


def _nights(texts: list[str | None]) -> pl.DataFrame:
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(len(texts))]
    return pl.DataFrame(
        {"day": days, **dict.fromkeys(MONITORS, texts)},
        schema={"day": pl.Date(), **{monitor: pl.String() for monitor in MONITORS}},
    )


def _injection(name: str, cost: float, found: dict[Monitor, int]) -> Injection:
    fault = Fault(name, "missing", "x", 0.5, name)
    return Injection(fault, date(2024, 3, 1), cost, {monitor: found.get(monitor) for monitor in MONITORS})


def test_weeks_without_any_skill_to_lose_tell_no_cost_and_hide_no_other() -> None:
    known, unknown = _injection("missing:hour:1", 0.5, {"drift": 1}), _injection("missing:hour:1", float("nan"), {})
    found = detection([known, unknown], ("drift",))
    assert (found["costly"]["injections"], found["costly"]["by_any_monitor"], found["unknown"]) == (1, 1.0, 1)
