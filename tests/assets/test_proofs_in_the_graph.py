"""Proofs in the graph: leaks that are planted stop a training, and a skew that is planted is shown with its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_repo.objects import view_table
from feature_repo.online_backend import open_backend
from lifecycle.business_day import business_day
from lifecycle.calendar import days_between
from lifecycle.features import Derived, Feature
from lifecycle.parity import disagreements
from lifecycle.pipeline import Pipeline
from lifecycle.windows import feature_rows
from pipelines.driver import Driver, Ran
from resources.configured import plain_feature_store
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.online_writing import OnlineWriter
from resources.settings import Settings
from resources.tables import validated_table
from tests import deliveries
from tests.tiny import CALENDAR, FIRST_DAY, TINY, Seen, day_rows, last_check, variant, write_day, write_rows

TODAY = FIRST_DAY + timedelta(days=21)
NIGHTS = days_between(TODAY + timedelta(days=1), TODAY + timedelta(days=3))
LAST = NIGHTS[-1]
HOUR = timedelta(hours=1)
ORDERS = TINY.views[0]
# What is proved does not depend on how well a model is tuned.
CAFES = variant(training=replace(TINY.training, families=("linear",), trials=1))

# The tills of three cafés were read on time and their books came on the 12th; so did a recount of all seats.
UNHEARD_FROM, HEARD = FIRST_DAY + timedelta(days=5), FIRST_DAY + timedelta(days=11)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A history with late deliveries, as it should be."""
    found = Driver(CAFES, Settings(home=tmp_path_factory.mktemp("proofs")))
    for day in days_between(FIRST_DAY, TODAY):
        _land(found, day)
    assert found.build_history(FIRST_DAY, TODAY).success
    yield found
    found.instance.dispose()


def _land(driver: Driver, day: date) -> None:
    write_day(driver.settings.landing, day)
    if UNHEARD_FROM <= day <= HEARD:
        days = [day] if day < HEARD else days_between(UNHEARD_FROM, HEARD)
        rows = [(told, row) for told in days for row in day_rows(told)["orders"]]
        heard = [row for told, row in rows if told == HEARD or (row["cafe"] == "harbour") == (day < HEARD)]
        write_rows(driver.settings.landing, "orders", f"{day}.csv", heard)
    if day == HEARD:
        counted = f"{UNHEARD_FROM}T10:00:00Z"
        recount = [{**row, "seats": 7, "known_at": counted} for row in day_rows(FIRST_DAY)["seats"]]
        write_rows(driver.settings.landing, "seats", f"{day}.csv", recount)


@pytest.fixture
def tables(driver: Driver) -> Iterator[dict[str, pl.DataFrame]]:
    """The feature tables as they should be; they are so again after the test."""
    found = {view.name: driver.lake.read(view_table(TINY, view)) for view in TINY.views}
    yield found
    for view in TINY.views:
        _rewrite(driver, view.name, found[view.name])


def _rewrite(driver: Driver, view: str, rows: pl.DataFrame) -> None:
    dated = rows.with_columns(business_day("created", CALENDAR).alias("day"))
    first, last = FIRST_DAY - timedelta(days=1), LAST
    driver.lake.write(view_table(TINY, TINY.view(view)), dated.filter(pl.col("day") <= last), first, last)


def _retrain(driver: Driver, pipeline: Pipeline = CAFES) -> tuple[Ran, Seen]:
    asked = driver if pipeline is CAFES else Driver(pipeline, driver.settings)
    ran = asked.retrain(TODAY)
    return ran, last_check(driver, "training_set", "no_leak")


def _forecast(driver: Driver, **asked: Any) -> dg.ExecuteInProcessResult:
    """Forecasts made again, and nothing else."""
    job = dg.define_asset_job("forecast", dg.AssetSelection.assets(dg.AssetKey([TINY.name, "batch_predictions"])))
    definitions = dg.Definitions.merge(driver.definitions, dg.Definitions(jobs=[job]))
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    return definitions.resolve_job_def("forecast").execute_in_process(
        instance=driver.instance, run_config=quiet, **asked
    )


def _assert_blocked(driver: Driver, ran: Ran, seen: Seen, feature: str) -> str:
    """The first line about the feature in the check's table."""
    assert not ran.success
    assert (seen.passed, seen.severity) == (False, "ERROR")
    assert feature in seen.message
    assert driver.instance.get_latest_materialization_event(dg.AssetKey([TINY.name, "trained_model"])) is None
    lines = str(seen.metadata["leaks"]).splitlines()
    assert lines[0] == "| slot_id | event_timestamp | feature | in the training set | recomputed | why |"
    return next(line for line in lines if f"| {feature} |" in line)


def test_a_feature_table_that_is_an_hour_ahead_stops_the_training(driver: Driver, tables) -> None:
    ahead = tables["cafe_orders"].with_columns(pl.col("event_timestamp") - HOUR, pl.col("created") - HOUR)
    _rewrite(driver, "cafe_orders", ahead)

    ran, seen = _retrain(driver)
    line = _assert_blocked(driver, ran, seen, "cafe_orders_orders_mean_24h")
    slot, moment, _, found, recomputed = [cell.strip() for cell in line.strip("|").split("|")][:5]
    assert slot.split("-")[0] in ("harbour", "market", "museum", "station")
    right = tables["cafe_orders"].filter(
        (pl.col("cafe") == slot.split("-")[0])
        & (pl.col("event_timestamp") <= pl.lit(moment).str.to_datetime("%Y-%m-%d %H:%M:%S%z"))
    )
    assert float(recomputed) == right.sort("event_timestamp")["cafe_orders_orders_mean_24h"][-1] != float(found)


def test_rows_stamped_as_created_before_they_could_be_had_stop_the_training(driver: Driver, tables) -> None:
    _rewrite(driver, "cafe_seats", tables["cafe_seats"].with_columns(pl.col("event_timestamp").alias("created")))

    ran, seen = _retrain(driver)
    line = _assert_blocked(driver, ran, seen, "seats")
    assert "| seats | 7.0 |" in line  # the recount, before it was delivered


def test_a_feature_made_of_the_label_stops_the_training(driver: Driver) -> None:
    def from_the_label() -> pl.Expr:
        return pl.col("label") * 2 + pl.col("staff")

    def from_the_outcome() -> pl.Expr:
        return (pl.col("label_known_at") - pl.col("event_time")).dt.total_minutes()

    leaking = variant(
        derived=(
            *TINY.derived,
            Derived(Feature("busy", "float", "how busy it gets"), from_the_label),
            Derived(Feature("counted_after", "float", "minutes"), from_the_outcome),
        )
    )
    ran, seen = _retrain(driver, leaking)
    line = _assert_blocked(driver, ran, seen, "busy")
    assert line.endswith("| computed from label: not known at the prediction time |")
    assert "computed from label_known_at" in str(seen.metadata["leaks"])
    assert seen.message.startswith("20 of 20 examples")


@pytest.mark.usefixtures("tables")
def test_facts_that_are_taken_for_delivered_when_they_were_known_stop_the_training(driver: Driver) -> None:
    facts = driver.lake.read(validated_table(TINY, "orders")).with_columns(pl.col("counted_at").alias("known_at"))
    on_time = facts.with_columns(pl.col("known_at").alias("available_at"))
    rows = feature_rows(ORDERS, on_time, CALENDAR.open(FIRST_DAY), CALENDAR.close(TODAY))
    _rewrite(driver, "cafe_orders", rows)

    ran, seen = _retrain(driver)
    _assert_blocked(driver, ran, seen, "cafe_orders_orders_mean_24h")
    slots = [
        line.split("|")[1].strip() for line in str(seen.metadata["leaks"]).splitlines()[2:] if line.startswith("|")
    ]
    assert {slot.split("-")[0] for slot in slots} <= {"market", "museum", "station"}  # the harbour's came in time


def test_examples_without_a_leak_are_trained_on(driver: Driver) -> None:
    """After the leaks: what they changed is as it was."""
    ran, seen = _retrain(driver)

    assert ran.success
    assert seen.passed
    assert seen.message == "20 examples computed again from what was known: all 7 features equal"
    assert driver.instance.get_latest_materialization_event(dg.AssetKey([TINY.name, "trained_model"]))


def test_the_sample_goes_over_the_whole_period_and_is_the_same_again(driver: Driver) -> None:
    first = last_check(driver, "training_set", "no_leak").metadata
    assert str(first["first_asked"]) < str(CALENDAR.close(FIRST_DAY + timedelta(days=2)))
    assert str(first["last_asked"]) > str(CALENDAR.open(TODAY - timedelta(days=2)))

    _, again = _retrain(driver)
    assert again.metadata == first


def test_night_after_night_stored_inputs_are_what_both_stores_say(driver: Driver) -> None:
    for day in NIGHTS:
        driver.land(day)
        assert [ran.success for ran in driver.nights()] == [True]
        seen = last_check(driver, "batch_predictions", "parity")
        assert seen.passed
        assert seen.message == "25 forecasts with 7 inputs: stored = offline = online"
        assert seen.metadata["online_stands_at"] == str(CALENDAR.close(day))
        median, p99 = (float(str(seen.metadata[name])) for name in ("online_median_ms", "online_p99_ms"))
        assert 0 < median <= p99


def test_an_old_day_built_again_is_compared_with_the_offline_store_alone(driver: Driver) -> None:
    assert driver.night(NIGHTS[0]).success
    seen = last_check(driver, "batch_predictions", "parity")

    assert seen.passed
    assert "stored = offline; the online store stands at" in seen.message
    assert (seen.metadata["compared_online"], seen.metadata["forecasts"]) == (0, 25)
    assert "online_p99_ms" not in seen.metadata


def test_days_that_are_built_in_one_run_are_compared_in_one_run(driver: Driver) -> None:
    tags = {"dagster/asset_partition_range_start": str(NIGHTS[0]), "dagster/asset_partition_range_end": str(LAST)}
    result = _forecast(driver, tags=tags)

    assert result.success
    seen = last_check(driver, "batch_predictions", "parity")
    assert seen.passed
    assert 0 < int(str(seen.metadata["compared_online"])) < 25
    took = driver.lake.read(f"{TINY.name}/batch_predictions", NIGHTS[0], LAST).select("day", "batch_seconds").unique()
    assert took["day"].sort().to_list() == NIGHTS, "each day has a figure of its own"


def test_a_value_overwritten_online_is_shown_with_all_three(driver: Driver) -> None:
    rows = (
        driver.lake.read(view_table(TINY, ORDERS)).filter(pl.col("cafe") == "station").sort("event_timestamp").tail(1)
    )
    true = rows["cafe_orders_orders_mean_7d"].item()
    skewed = rows.with_columns(pl.lit(1.5).alias("cafe_orders_orders_mean_7d"), pl.col("created") + HOUR)
    backend = open_backend(f"sqlite://{driver.settings.root}/feast/online.db", 5.0)
    OnlineWriter(TINY, backend, "perennial").write(ORDERS, skewed)
    assert driver.night(LAST).success

    seen = last_check(driver, "batch_predictions", "parity")
    assert (seen.passed, seen.severity) == (False, "ERROR")
    assert seen.message.endswith("values are not the same everywhere: cafe_orders_orders_mean_7d")
    lines = [line for line in str(seen.metadata["disagreements"]).splitlines()[2:] if line.startswith("|")]
    assert lines
    for line in lines:
        assert f"| cafe station | cafe_orders_orders_mean_7d | {true} | {true} | 1.5 |" in line
    OnlineWriter(TINY, backend, "perennial").write(ORDERS, rows.with_columns(pl.col("created") + 2 * HOUR))


def test_another_implementation_of_a_view_offline_is_shown_with_all_three(driver: Driver, tables) -> None:
    """The table is made anew, a little otherwise, after it went online."""
    name = "cafe_orders_orders_mean_7d"
    _rewrite(driver, "cafe_orders", tables["cafe_orders"].with_columns(pl.col(name).round(1)))
    assert _forecast(driver, partition_key=str(LAST)).success

    seen = last_check(driver, "batch_predictions", "parity")
    assert not seen.passed
    line = next(line for line in str(seen.metadata["disagreements"]).splitlines() if "| cafe station |" in line)
    _, batch, offline, online = [cell.strip() for cell in line.strip(" |").split("|")][-4:]
    assert batch == offline == str(round(float(online), 1)) != online


def test_a_value_that_was_pushed_since_the_close_is_not_held_against_the_store(driver: Driver) -> None:
    store = plain_feature_store(driver.settings)
    orders = pl.DataFrame(day_rows(LAST + timedelta(days=1))["orders"]).filter(pl.col("cafe") == "museum")
    store.push(TINY, "orders", orders.with_columns(pl.all().cast(pl.String)), CALENDAR.close(LAST) + 12 * HOUR)
    assert driver.night(LAST).success

    seen = last_check(driver, "batch_predictions", "parity")
    assert seen.passed
    assert "online, but for what was pushed since: {'cafe_orders': " in seen.message


def test_stores_agree_at_every_hour_after_the_close_also_when_values_grow_stale(tmp_path: Path) -> None:
    """With every kind of feature: visits end before the close, and one after the other their ttl runs out."""
    asked = [deliveries.Order(shop, 12.5, asked=1440 + 180 * hours) for hours in range(24) for shop in deliveries.SHOPS]
    facts = {
        "visits": deliveries.visits(
            [
                deliveries.Visit("north", "ann", 20.0, left=400),
                deliveries.Visit("north", None, 41.5, left=1380),
                deliveries.Visit("north", "bo", None, left=1200, late=240),
            ]
        ),
        "register": deliveries.register([deliveries.Entry("bo", 30, noted=10)]),
    }
    pipeline, close = deliveries.DELIVERIES, deliveries.CALENDAR.close(deliveries.FIRST_DAY)
    store = FeatureStore(tmp_path, Lake(str(tmp_path / "lake")))
    for view in deliveries.VIEWS:
        known = deliveries.with_known_at(view, facts[view.table])
        rows = feature_rows(view, known, deliveries.START, close).with_columns(
            pl.lit(deliveries.FIRST_DAY).alias("day")
        )
        store.lake.write(view_table(pipeline, view), rows, deliveries.FIRST_DAY, deliveries.FIRST_DAY)
    store.refresh_online(pipeline, deliveries.START, close)

    spine = deliveries.requests(asked)
    offline = store.retrieve(pipeline, spine)
    answers = [
        store.online(pipeline, [row | {"due_at": row["event_time"]}], as_of=row["event_timestamp"])
        for row in spine.iter_rows(named=True)
    ]
    online = pl.concat(answer.frame for answer in answers)

    assert disagreements(pipeline, offline, offline, online).is_empty()
    states = {state for answer in answers for state in answer[0].status.values()}
    assert states == {"present", "stale", "missing"}
    assert 0 < offline["last_minutes"].null_count() < offline.height
