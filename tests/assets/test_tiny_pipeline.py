"""A pipeline that the product has never heard of lives its whole life: only its own module knows of cafés."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets import drift_report
from lifecycle import scoring
from lifecycle.calendar import days_between
from lifecycle.drift.monitored_rows import judged_rows
from pipelines.driver import CHECKS_SENSOR, FIRST_MODEL_SENSOR, Driver, Ran
from resources.configured import plain_clients
from resources.settings import Settings
from tests.tiny import CALENDAR, FIRST_DAY, OFFERS_FROM, TINY, Seen, day_rows, last_check, write_day, write_rows

HISTORY_UNTIL = date(2024, 2, 28)
FIRST_NIGHT = date(2024, 2, 29)
RETRAINED = FIRST_NIGHT + timedelta(days=TINY.retraining.cool_down_days)
LAST_NIGHT = RETRAINED + timedelta(days=1)
SLOTS_A_DAY = 40
SEEN = (("drift_report", "no_drift"), ("performance_report", "performs"), ("hindcasts", "complete"))
SERVED = ("batch_seconds", "forecasts_per_second")

# The till of one café could not be read on the 5th: that hour's orders are delivered two days later.
LATE_SLOT, LATE_FROM, LATE_TO = "market-2024-03-05-12", date(2024, 3, 5), date(2024, 3, 7)


@dataclass
class Life:
    """What happened, night by night."""

    driver: Driver
    runs: list[Ran] = field(default_factory=list)
    asked: dict[date, list[dg.RunRequest]] = field(default_factory=dict)
    checks: dict[tuple[date, str], Seen] = field(default_factory=dict)

    def read(self, table: str, first: date | None = None, last: date | None = None) -> pl.DataFrame:
        return self.driver.lake.read(f"{TINY.name}/{table}", first, last)

    @property
    def ledger(self) -> pl.DataFrame:
        return self.driver.ledger.entries(TINY.name)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    driver = Driver(TINY, Settings(home=tmp_path_factory.mktemp("cafes")))
    story = Life(driver)
    for day in days_between(FIRST_DAY, HISTORY_UNTIL):
        driver.land(day)
    story.runs.append(driver.build_history(FIRST_DAY, HISTORY_UNTIL))
    for day in days_between(FIRST_NIGHT, LAST_NIGHT):
        _land(driver, day)
        story.runs += driver.nights()
        for asset, name in SEEN:
            story.checks[day, name] = last_check(driver, asset, name)
        story.asked[day] = driver.tick(FIRST_MODEL_SENSOR) + driver.tick(CHECKS_SENSOR)
        story.runs += [driver.run(request) for request in story.asked[day]]
    yield story
    driver.instance.dispose()


def _land(driver: Driver, day: date) -> None:
    write_day(driver.settings.landing, day)
    rows = day_rows(day)["orders"]
    if day == LATE_FROM:
        rows = [row for row in rows if row["slot_id"] != LATE_SLOT]
    if day == LATE_TO:
        rows += [row for row in day_rows(LATE_FROM)["orders"] if row["slot_id"] == LATE_SLOT]
    write_rows(driver.settings.landing, "orders", f"{day}.csv", rows)


def test_every_run_of_the_pipeline_succeeds_and_every_night_runs_once(life: Life) -> None:
    assert [ran for ran in life.runs if not ran.success] == []
    nights = [ran.day for ran in life.runs if ran.job == f"{TINY.name}__nightly"]
    assert nights == days_between(FIRST_NIGHT, LAST_NIGHT)


def test_every_stage_has_been_through(life: Life) -> None:
    graph = life.driver.definitions.get_repository_def().asset_graph
    made = {
        key for key in graph.materializable_asset_keys if life.driver.instance.get_latest_materialization_event(key)
    }

    assert made == set(graph.materializable_asset_keys)
    assert {key.path[1] for key in made} == {
        "raw",
        "validated",
        "features",
        "feature_catalogue",
        "online_features",
        "training_set",
        "probe",
        "trained_model",
        "registered_version",
        "deployment",
        "batch_predictions",
        "hindcasts",
        "drift_report",
        "performance_report",
        "diagnosis",
    }


def test_the_first_model_is_asked_for_by_the_missing_champion(life: Life) -> None:
    (request,) = life.asked[FIRST_NIGHT]

    assert request.job_name == f"{TINY.name}__retrain"
    assert request.partition_key == str(FIRST_NIGHT)
    assert request.tags["perennial/decided_by"] == "train_first_model"
    assert f"no model serves for {FIRST_NIGHT}" in request.tags["perennial/cause"]


def test_examples_know_nothing_that_came_after_they_were_asked_about(life: Life) -> None:
    rows = life.read("training_set", FIRST_NIGHT, FIRST_NIGHT)

    assert rows["event_day"].max() == FIRST_NIGHT
    assert set(rows["moment"]) == {"batch", "online"}
    gate_days = rows.filter(pl.col("part") == "gate")["event_day"].unique().sort().to_list()
    assert gate_days == days_between(FIRST_NIGHT - timedelta(days=TINY.gate.window_days - 1), FIRST_NIGHT)
    # A slot of the batch is asked about at the close of the day before: ten hours of its café were counted that day.
    batch = rows.filter((pl.col("moment") == "batch") & (pl.col("event_day") > FIRST_DAY + timedelta(days=1)))
    assert set(batch["cafe_orders_count_24h"]) == {10.0}
    yesterday = {}
    for day in days_between(FIRST_DAY, FIRST_NIGHT):
        for cafe in ("harbour", "station"):
            told = [int(str(row["orders"])) for row in day_rows(day)["orders"] if row["cafe"] == cafe]
            yesterday[cafe, day + timedelta(days=1)] = sum(told) / len(told) if told else None
    for cafe, day, mean in batch.select("cafe", "event_day", "cafe_orders_orders_mean_24h").unique().iter_rows():
        if (cafe, day) in yesterday:
            assert mean == pytest.approx(yesterday[cafe, day])


def test_each_night_forecasts_every_slot_of_tomorrow_once(life: Life) -> None:
    for day in days_between(FIRST_NIGHT + timedelta(days=1), LAST_NIGHT):
        rows = life.read("batch_predictions", day, day)
        announced = [row["slot_id"] for row in day_rows(day)["slots"]]
        assert sorted(rows["slot_id"]) == sorted(announced)
        assert rows["score"].is_finite().all()
        assert rows["event_timestamp"].unique().to_list() == [CALENDAR.close(day)]


def test_there_is_no_forecast_before_there_is_a_model_but_the_slots_are_kept(life: Life) -> None:
    rows = life.read("batch_predictions", FIRST_NIGHT, FIRST_NIGHT)
    assert rows.height == SLOTS_A_DAY
    assert rows["score"].null_count() == SLOTS_A_DAY


def test_what_a_day_brought_is_held_against_what_its_version_says_just_before_each_slot(life: Life) -> None:
    forecast = life.read("batch_predictions").drop_nulls("score").select("slot_id", "model_version", "event_day")
    made = life.read("hindcasts")
    known = forecast.filter(pl.col("event_day") <= LAST_NIGHT)

    assert made.select("slot_id", "model_version").sort("slot_id").equals(known.drop("event_day").sort("slot_id"))
    # The last training learnt of the same slots at the same moments, and its rows say what was known then.
    day = life.driver.ledger.last_training_day(TINY.name)
    learnt = life.read("training_set", day, day).filter(pl.col("moment") == "online").join(made, on="slot_id")
    assert learnt.height
    registry = plain_clients(life.driver.settings)[0]
    for (number,), rows in learnt.group_by("model_version"):
        version = registry.version(TINY.name, number)
        again = scoring.score(registry.estimator(version), rows, version.features, TINY)
        assert again == pytest.approx(rows["hindcast"].to_numpy())
        assert (rows["event_timestamp"] == rows["event_timestamp_right"]).all()
    assert life.checks[LAST_NIGHT, "complete"].passed
    news = life.read("performance_report").filter(pl.col("model_version").is_not_null())["settled_news"]
    assert news.drop_nulls().abs().max() > 0


def test_what_a_champion_served_counts_beside_what_it_was_judged_on(life: Life) -> None:
    registry = plain_clients(life.driver.settings)[0]
    version = registry.versions(TINY.name)[-1]
    judged = drift_report._by_night(registry.judged(version))
    served = life.read("batch_predictions").filter(pl.col("model_version") == version.number)
    outcomes = life.read("validated/orders").select("slot_id", label=pl.col("orders").cast(pl.Float64))
    sample = judged_rows(judged, TINY.task, None, served.join(outcomes, on="slot_id"))

    assert sample is not None
    assert judged is not None
    assert sample.frame.height > judged.height


def test_the_discounts_make_the_forecasts_fail_with_an_error(life: Life) -> None:
    before = life.checks[OFFERS_FROM - timedelta(days=1), "performs"]
    third_day = life.checks[OFFERS_FROM + timedelta(days=2), "performs"]
    inputs = life.checks[OFFERS_FROM + timedelta(days=2), "no_drift"]

    assert before.passed
    assert (third_day.passed, third_day.severity) == (False, "ERROR")
    assert "Forecasts are below what happened" in third_day.message
    assert "Feature discount drifted" in inputs.message


def test_errors_are_diagnosed_on_a_page(life: Life) -> None:
    checks = {day: json.loads(found) for day, found in life.read("diagnosis").select("day", "checks").iter_rows()}
    first = min(checks)
    page = life.driver.settings.reports / TINY.name / "diagnosis" / f"{first}.html"

    assert first >= OFFERS_FROM
    assert any(check.startswith("performance_report:performs") for check in checks[first])
    assert "Version 1, trained through" in page.read_text()


def test_checks_that_fail_while_it_cools_down_ask_for_nothing(life: Life) -> None:
    cooling = days_between(FIRST_NIGHT + timedelta(days=1), RETRAINED - timedelta(days=1))

    assert any(life.checks[day, "performs"].severity == "ERROR" for day in cooling if day >= OFFERS_FROM)
    assert {day: life.asked[day] for day in cooling} == {day: [] for day in cooling}


def test_the_failed_checks_then_ask_for_exactly_one_retraining(life: Life) -> None:
    (request,) = life.asked[RETRAINED]

    assert request.tags["perennial/decided_by"] == "retrain_on_failed_checks"
    assert request.tags["perennial/cause"].startswith("performance_report:performs: Forecasts are below")
    assert life.asked[LAST_NIGHT] == []
    assert [ran.day for ran in life.runs if ran.job.endswith("__retrain")] == [FIRST_NIGHT, RETRAINED]


def test_a_sensor_asked_again_with_its_cursor_asks_for_nothing(life: Life) -> None:
    name = f"{TINY.name}__{CHECKS_SENSOR}"
    cursor = life.driver.cursors[name]
    assert life.driver.tick(CHECKS_SENSOR) == []
    assert life.driver.cursors[name] == cursor
    assert life.driver.tick(FIRST_MODEL_SENSOR) == []


def test_the_gate_decides_and_the_ledger_says_why(life: Life) -> None:
    entries = life.ledger.select("day", "event", "decided_by", "version", "replaces").rows()

    assert entries == [
        (FIRST_NIGHT, "gate", "train_first_model", 1, None),
        (FIRST_NIGHT, "promotion", "gate", 1, None),
        (RETRAINED, "probe", "retrain_on_failed_checks", 1, None),
        (RETRAINED, "gate", "retrain_on_failed_checks", 2, 1),
        (RETRAINED, "promotion", "gate", 2, 1),
    ]
    assert json.loads(life.ledger["evidence"][2])["worth"] is True
    reason, evidence = life.ledger.row(3, named=True)["reason"], json.loads(life.ledger["evidence"][3])
    assert "version 2 is better than version 1" in reason
    assert evidence["cause"].startswith("performance_report:performs")
    assert evidence["improvement"] > 0
    assert evidence["first_day"] == str(RETRAINED - timedelta(days=TINY.gate.window_days - 1))


def test_a_model_serves_from_the_night_after_its_promotion(life: Life) -> None:
    def versions(day: date) -> list[int]:
        return life.read("batch_predictions", day, day)["model_version"].unique().to_list()

    assert versions(RETRAINED) == [1]
    assert versions(LAST_NIGHT) == [2]
    assert life.driver.ledger.served_at(TINY.name, RETRAINED - timedelta(days=1)) == 1
    assert life.driver.ledger.served_at(TINY.name, RETRAINED) == 2


def test_an_outcome_delivered_late_counts_once_and_from_the_day_it_came(life: Life) -> None:
    judged = dict(life.read("performance_report").select("day", "rows").rows())
    window = TINY.monitor.performance_days * SLOTS_A_DAY

    assert judged[LATE_TO - timedelta(days=1)] == window - 1
    assert judged[LATE_TO] == window
    (late,) = life.read("validated/orders").filter(pl.col("slot_id") == LATE_SLOT).rows(named=True)
    assert late["available_at"] == CALENDAR.close(LATE_TO)
    assert late["counted_at"] == datetime.combine(LATE_FROM, time(12), UTC)


def test_how_long_the_forecasts_of_a_night_took_is_told_from_the_first_version_on(life: Life) -> None:
    forecasts = life.read("batch_predictions").group_by("day").agg(pl.col("batch_seconds").unique())
    took = {day: seconds for day, (seconds,) in forecasts.iter_rows()}
    report = life.read("performance_report").select("day", "error_rate", "batch_seconds", "forecasts_per_second")

    assert report.row(0) == (FIRST_NIGHT, None, None, None), "no version served"
    for day, failed, seconds, rate in report.rows()[1:]:
        assert (failed, seconds, rate) == (0.0, took[day], SLOTS_A_DAY / took[day])
        assert 0 < seconds < 60
    page = _page(life.driver)
    assert page["batch_seconds"] == pytest.approx(took[LAST_NIGHT], rel=1e-3)
    assert page["forecasts_per_second"] == pytest.approx(SLOTS_A_DAY / took[LAST_NIGHT], rel=1e-3)
    assert str(page["served"]).startswith("40 forecasts issued, 0.00% without a score; they took ")


def test_how_long_forecasts_of_an_earlier_release_took_is_not_known(life: Life, tmp_path: Path) -> None:
    shutil.copytree(life.driver.settings.root, tmp_path / "home")
    driver = Driver(TINY, Settings(home=tmp_path / "home"))
    report_since = [*SERVED, "settled_news"]
    for table, since in (("batch_predictions", ["batch_seconds"]), ("performance_report", report_since)):
        rows = driver.lake.read(f"{TINY.name}/{table}").drop(since)
        shutil.rmtree(driver.lake.path(f"{TINY.name}/{table}"))
        driver.lake.write(f"{TINY.name}/{table}", rows, FIRST_NIGHT, LAST_NIGHT)

    assert driver.night(LAST_NIGHT).success
    report = driver.lake.read(f"{TINY.name}/performance_report", LAST_NIGHT, LAST_NIGHT)
    assert report.select("error_rate", *SERVED).row(0) == (0.0, None, None)
    page = _page(driver)
    assert not set(SERVED) & set(page)
    assert page["served"] == "40 forecasts issued, 0.00% without a score; how long they took is not known"
    driver.instance.dispose()


def test_a_new_champion_is_judged_on_what_it_forecast_itself(life: Life, tmp_path: Path) -> None:
    shutil.copytree(life.driver.settings.root, tmp_path / "home")
    driver = Driver(TINY, Settings(home=tmp_path / "home"))
    day, table = LAST_NIGHT + timedelta(days=1), f"{TINY.name}/batch_predictions"
    _land(driver, day)
    assert driver.night(day).success

    (judged,) = driver.lake.read(f"{TINY.name}/performance_report", day, day).rows(named=True)
    assert (judged["model_version"], judged["rows"]) == (2, SLOTS_A_DAY), "the days before were its predecessor's"
    assert _page(driver)["labels_without_forecast"] == 0

    lost = RETRAINED - timedelta(days=1)
    driver.lake.write(table, driver.lake.read(table, lost, lost).clear(), lost, lost)
    assert driver.night(day).success
    assert _page(driver)["labels_without_forecast"] == SLOTS_A_DAY


def _page(driver: Driver) -> dict[str, object]:
    event = driver.instance.get_latest_materialization_event(dg.AssetKey([TINY.name, "performance_report"]))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_building_a_night_again_gives_the_same_bytes_and_the_model_that_was_live_then(life: Life) -> None:
    """Last in the file: it makes new versions of the tables."""
    tables = ["validated/orders", "features/cafe_orders", "batch_predictions", "performance_report"]
    before = {table: life.read(table, RETRAINED, RETRAINED) for table in tables}

    assert life.driver.night(RETRAINED).success
    for table in tables:
        order = [name for name in ("slot_id", "event_timestamp", "cafe") if name in before[table].columns]
        again = life.read(table, RETRAINED, RETRAINED)
        assert again.sort(order or "day").equals(before[table].sort(order or "day")), table
