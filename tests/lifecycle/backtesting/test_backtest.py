"""A past period under several policies: what they ask for, what it costs, and that none of them sees the future."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lifecycle.backtesting.backtest import OWN, Policy, Retraining, Simulation, policies, simulate
from lifecycle.backtesting.results import Span, compare, cumulative_gain, graded_weeks, months
from tests.lifecycle.backtesting.backtest_world import CHANGE, FIRST_NIGHT, LAST_NIGHT, PIPELINE, rows, world

POLICIES = {policy.name: policy for policy in policies(PIPELINE.retraining)}
WHOLE = Span("whole", FIRST_NIGHT + timedelta(days=2), LAST_NIGHT)
WORLD = world(rows())


@pytest.fixture(scope="module")
def simulated() -> dict[str, Simulation]:
    return {name: simulate(WORLD, policy, FIRST_NIGHT, LAST_NIGHT) for name, policy in POLICIES.items()}


@pytest.fixture(scope="module")
def results(simulated: dict[str, Simulation]) -> dict[str, dict[str, Any]]:
    spans = [WHOLE, *months(WHOLE.first, WHOLE.last)]
    return {entry["policy"]: entry for entry in compare(PIPELINE, list(simulated.values()), spans)}


def test_every_policy_has_the_same_first_model_and_calendar(simulated: dict[str, Simulation]) -> None:
    for simulation in simulated.values():
        assert simulation.retrainings[0].day == FIRST_NIGHT
        assert simulation.forecasts["day"].min() == FIRST_NIGHT + timedelta(days=2)
        assert simulation.forecasts["day"].max() == LAST_NIGHT + timedelta(days=1)
        assert_frame_equal(simulation.forecasts.select("event_key"), simulated["never"].forecasts.select("event_key"))


def test_what_is_promoted_forecasts_from_the_next_night_on(simulated: dict[str, Simulation]) -> None:
    served = dict(simulated["weekly"].forecasts.select("day", "version").iter_rows())
    for retraining in simulated["weekly"].retrainings:
        if retraining.promoted:
            assert served[retraining.day + timedelta(days=2)] == retraining.day
            assert served.get(retraining.day + timedelta(days=1)) != retraining.day


def test_the_calendar_asks_every_week_and_at_the_end_of_every_month(simulated: dict[str, Simulation]) -> None:
    weekly = [one.day for one in simulated["weekly"].retrainings]
    assert {(after - before).days for before, after in itertools.pairwise(weekly)} == {7}
    assert [one.day for one in simulated["monthly"].retrainings[1:]] == [date(2024, 2, 29)]
    assert len(simulated["never"].retrainings) == 1


def test_monitors_ask_after_the_world_has_changed(simulated: dict[str, Simulation]) -> None:
    for name in ("performance", OWN):
        asked = [one for one in simulated[name].retrainings[1:] if one.day >= CHANGE]
        assert asked
        assert asked[0].day <= CHANGE + timedelta(days=14)  # an error just before leaves it cooling down
        assert asked[0].kind in ("performance", "estimate", "drift")


def test_a_policy_hears_its_own_monitors_only(simulated: dict[str, Simulation]) -> None:
    assert simulated["weekly"].nights.columns == ["day"]
    assert simulated["drift"].nights.columns == ["day", "drift"]
    assert simulated["performance"].nights.columns == ["day", "realised", "concept"]
    assert set(simulated[OWN].nights.columns) == {"day", "drift", "realised", "concept", "estimate"}
    assert {one.kind for one in simulated["estimate"].retrainings[1:]} <= {"estimate"}


def test_a_probe_that_advises_against_training_saves_its_cost(simulated: dict[str, Simulation]) -> None:
    probed = [one for one in simulated[OWN].retrainings if one.probe is not None]
    assert probed
    for one in probed:
        assert one.probe_cpu_seconds > 0
        assert (one.promoted is None) == (not one.probe.worth)
        assert (one.cpu_seconds == 0) == (one.promoted is None)


def test_retraining_after_a_change_pays(results: dict[str, dict[str, Any]]) -> None:
    whole = {name: entry["spans"]["whole"] for name, entry in results.items()}
    assert whole["never"]["gain"] == 0
    assert whole["weekly"]["gain_share"] == 1
    assert whole["weekly"]["regret"] == 0
    assert whole["weekly"]["gain_interval"][0] > 0
    assert whole[OWN]["gain"] > 0
    assert whole[OWN]["gain_share"] == pytest.approx(whole[OWN]["gain"] / whole["weekly"]["gain"])
    assert whole[OWN]["regret"] == pytest.approx(1000 * (whole["weekly"]["gain"] - whole[OWN]["gain"]))
    assert whole["weekly"]["trained"] == 5
    assert whole["weekly"]["cpu_share"] == 1
    assert whole["never"]["cpu_seconds"] == 0
    json.dumps(results, default=str, allow_nan=False)


def test_months_add_up_to_the_whole(results: dict[str, dict[str, Any]]) -> None:
    for entry in results.values():
        spans = dict(entry["spans"])
        whole = spans.pop("whole")
        rows_of = np.array([span["rows"] for span in spans.values()])
        losses = np.array([span["loss"] for span in spans.values()])
        assert rows_of.sum() == whole["rows"]
        assert (rows_of * losses).sum() / rows_of.sum() == pytest.approx(whole["loss"])


def test_the_gain_so_far_ends_at_the_gain(simulated: dict[str, Simulation], results: dict[str, dict[str, Any]]) -> None:
    days, lines = cumulative_gain(PIPELINE, list(simulated.values()))
    whole = results["weekly"]["spans"]["whole"]
    at_the_end = lines["weekly"][days.index(WHOLE.last)]
    assert at_the_end == pytest.approx(whole["gain"] * whole["rows"])
    assert set(lines["never"]) == {0.0}


def test_estimates_are_graded_week_by_week(simulated: dict[str, Simulation]) -> None:
    grade, table = graded_weeks(WORLD, simulated["never"], 1)
    assert grade["weeks"] == len(table) >= 4
    assert all(row["first_day"] >= (FIRST_NIGHT + timedelta(days=2)).isoformat() for row in table)
    assert all(date.fromisoformat(row["last_day"]).weekday() == 6 for row in table)
    errors = [[abs(row["error"]) for row in graded_weeks(WORLD, simulated["never"], ahead)[1]] for ahead in (1, 7)]
    assert sum(errors[0]) < sum(errors[1])  # six days of labels known, or none


def test_gains_need_a_policy_to_be_held_against(simulated: dict[str, Simulation]) -> None:
    with pytest.raises(ValueError, match="no policy is named 'never'"):
        compare(PIPELINE, [simulated["weekly"]], [WHOLE])
    shorter = simulate(WORLD, POLICIES["monthly"], FIRST_NIGHT, LAST_NIGHT - timedelta(days=3))
    with pytest.raises(ValueError, match="simulate the same nights"):
        compare(PIPELINE, [simulated["never"], shorter], [WHOLE])


def test_the_same_simulation_gives_the_same_numbers(simulated: dict[str, Simulation]) -> None:
    again = simulate(world(rows()), POLICIES[OWN], FIRST_NIGHT, LAST_NIGHT)
    assert_frame_equal(again.forecasts, simulated[OWN].forecasts)
    assert_frame_equal(again.nights, simulated[OWN].nights)
    assert [_decided(one) for one in again.retrainings] == [_decided(one) for one in simulated[OWN].retrainings]


@pytest.mark.parametrize(
    ("name", "seen"), [("weekly", CHANGE), (OWN, CHANGE + timedelta(days=14)), (OWN, CHANGE + timedelta(days=17))]
)
def test_no_decision_sees_the_future(simulated: dict[str, Simulation], name: str, seen: date) -> None:
    other = simulate(world(_another_future(rows(), seen)), POLICIES[name], FIRST_NIGHT, seen + timedelta(days=4))

    def until(simulation: Simulation) -> tuple[list[dict[str, Any]], pl.DataFrame, pl.DataFrame]:
        decided = [_decided(one) for one in simulation.retrainings if one.day <= seen]
        issued = simulation.forecasts.filter(pl.col("day") <= seen + timedelta(days=1))
        issued = issued.select("event_key", "day", "score", "threshold", "version")
        return decided, issued, simulation.nights.filter(pl.col("day") <= seen)

    expected, found = until(simulated[name]), until(other)
    assert found[0] == expected[0]
    assert len(found[0]) > 1
    assert_frame_equal(found[1], expected[1])
    assert_frame_equal(found[2], expected[2])
    # The other future is really another one.
    assert not other.forecasts["score"].equals(simulated[name].forecasts["score"].head(other.forecasts.height))


def test_a_first_model_that_the_gate_refuses_is_asked_for_again() -> None:
    # On the days of the first gate most orders are late, which no model could have learnt.
    gated = pl.col("day").is_between(FIRST_NIGHT - timedelta(days=6), FIRST_NIGHT)
    late = pl.when(gated).then((pl.col("hour") > -1.5).cast(pl.Float64)).otherwise(pl.col("label"))
    hopeless = rows().with_columns(late.alias("label"))
    simulation = simulate(world(hopeless), POLICIES["never"], FIRST_NIGHT, FIRST_NIGHT + timedelta(days=8))
    days = [one.day for one in simulation.retrainings]
    assert simulation.retrainings[0].promoted is False
    assert days == [FIRST_NIGHT, FIRST_NIGHT + timedelta(days=7)]


def test_a_policy_says_what_it_hears() -> None:
    assert Policy("x", POLICIES["weekly"].rule).monitors == ()
    assert POLICIES["drift"].monitors == ("drift",)
    assert POLICIES["performance"].rule.cool_down_days == PIPELINE.retraining.cool_down_days


def _decided(one: Retraining) -> dict[str, Any]:
    """What was decided, without what it cost, which is measured anew."""
    told = asdict(one)
    told["probe"] = None if one.probe is None else {**asdict(one.probe), "seconds": 0.0}
    return {name: value for name, value in told.items() if not name.endswith("cpu_seconds")}


def _another_future(frame: pl.DataFrame, seen: date) -> pl.DataFrame:
    """Everything that was not known at the close of a day is otherwise: labels, and events after tomorrow's."""
    unknown, later = pl.col("known_day") > seen, pl.col("day") > seen + timedelta(days=1)
    return frame.with_columns(
        pl.when(unknown).then(1 - pl.col("label")).otherwise(pl.col("label")).alias("label"),
        *(pl.when(later).then(3 - 2 * pl.col(name)).otherwise(pl.col(name)).alias(name) for name in ("staff", "hour")),
    )


def test_forecasts_stand_beside_what_their_champion_says_at_the_last_moment() -> None:
    nightly = rows()
    later = nightly.with_columns(pl.lit("online").alias("moment"), pl.col("staff") + 0.3)
    known = later.filter(pl.int_range(pl.len()) % 10 != 0)  # some were announced too late to be asked about
    both = pl.concat([nightly, known]).sort("day", "event_key", "moment")
    lived = world(both)
    champion = lived.train(FIRST_NIGHT)
    made = lived.forecasts(champion, CHANGE, CHANGE + timedelta(days=3))

    expected = known.with_columns(pl.Series("again", champion.score(known, PIPELINE)))
    joined = made.join(expected.select("event_key", "again"), on="event_key", how="left", maintain_order="left")
    assert joined["hindcast"].equals(joined["again"], check_names=False)
    assert 0 < made["hindcast"].null_count() < made.height / 5
    judged = champion.judged.filter(pl.col("hindcast").is_not_null())
    assert (judged["hindcast"] > judged["score"]).mean() > 0.9, "of the judged days, too"
