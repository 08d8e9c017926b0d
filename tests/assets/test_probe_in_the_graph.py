"""A probe before a training: it saves the run what is not worth it, and everybody can see that it did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
import pytest

from lifecycle.calendar import days_between
from lifecycle.pipeline import RetrainPolicy
from pipelines.driver import FIRST_MODEL_SENSOR, Driver
from resources.settings import Settings
from tests.tiny import FIRST_DAY, TINY, variant

HISTORY_UNTIL = date(2024, 2, 27)
FIRST_NIGHT = date(2024, 2, 28)
SECOND_NIGHT = date(2024, 2, 29)
AGE_SENSOR = "retrain_on_age"
# A day after the champion's training there is next to nothing new to learn: no refit is better beyond all doubt.
DOUBTFUL = variant(retraining=RetrainPolicy(every_days=1, probe_confidence=0.999, probe_again_days=2))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    driver = Driver(DOUBTFUL, Settings(home=tmp_path_factory.mktemp("probe")))
    for day in days_between(FIRST_DAY, HISTORY_UNTIL):
        driver.land(day)
    assert driver.build_history(FIRST_DAY, HISTORY_UNTIL).success
    for day in (FIRST_NIGHT, SECOND_NIGHT):
        driver.land(day)
        assert all(ran.success for ran in driver.nights())
        for request in driver.tick(FIRST_MODEL_SENSOR):
            assert driver.run(request).success
    yield driver
    driver.instance.dispose()


@pytest.fixture(scope="module")
def request_by_age(driver: Driver) -> dg.RunRequest:
    (request,) = driver.tick(AGE_SENSOR)
    return request


@pytest.fixture(scope="module")
def saved(driver: Driver, request_by_age: dg.RunRequest) -> Driver:
    assert driver.run(request_by_age).success
    return driver


def _versions(driver: Driver) -> list[int]:
    return driver.ledger.entries(TINY.name)["version"].drop_nulls().unique().sort().to_list()


def test_the_first_model_is_not_probed(driver: Driver) -> None:
    events = driver.ledger.entries(TINY.name).filter(driver.ledger.entries(TINY.name)["day"] == FIRST_NIGHT)["event"]
    assert events.to_list() == ["gate", "promotion"]


def test_the_calendar_asks_when_the_last_training_is_old_enough(request_by_age: dg.RunRequest) -> None:
    assert request_by_age.partition_key == str(SECOND_NIGHT)
    assert request_by_age.tags["perennial/cause_kind"] == "schedule"
    assert request_by_age.tags["perennial/decided_by"] == AGE_SENSOR
    assert request_by_age.tags["perennial/cause"] == f"1 days have passed since the training of {FIRST_NIGHT}"


def test_a_probe_that_advises_against_it_saves_the_training(saved: Driver) -> None:
    entry = saved.ledger.entries(TINY.name).row(-1, named=True)
    evidence = json.loads(entry["evidence"])

    assert (entry["day"], entry["event"], entry["decided_by"], entry["version"]) == (
        SECOND_NIGHT,
        "probe",
        AGE_SENSOR,
        1,
    )
    assert evidence["worth"] is False
    assert evidence["probability"] < 0.999
    assert evidence["cause"].startswith("1 days have passed")
    assert _versions(saved) == [1]


def test_the_saved_training_is_skipped_and_its_probe_is_on_the_asset_s_page(saved: Driver) -> None:
    probe = dg.AssetKey([TINY.name, "probe"])
    (seen,) = saved.instance.fetch_observations(probe, limit=1).records
    observation = seen.event_log_entry.asset_observation
    trained = saved.instance.get_materialized_partitions(dg.AssetKey([TINY.name, "trained_model"]))

    assert observation.partition == str(SECOND_NIGHT)
    assert observation.metadata["verdict"].value.startswith("training saved: ")
    assert trained == {str(FIRST_NIGHT)}


def test_the_calendar_counts_anew_from_a_probe(saved: Driver) -> None:
    assert saved.ledger.last_probe_day(TINY.name) == SECOND_NIGHT
    assert saved.tick(AGE_SENSOR) == []


def test_what_a_person_asks_for_is_trained_without_a_probe(saved: Driver) -> None:
    assert saved.retrain(SECOND_NIGHT).success

    events = saved.ledger.entries(TINY.name).filter(saved.ledger.entries(TINY.name)["day"] == SECOND_NIGHT)["event"]
    assert [event for event in events if event != "promotion"] == ["probe", "gate"]
    assert _versions(saved) == [1, 2]
    assert saved.ledger.last_probe_day(TINY.name) is None


def test_a_day_later_the_calendar_asks_again(saved: Driver) -> None:
    third = SECOND_NIGHT + timedelta(days=1)
    saved.land(third)
    assert all(ran.success for ran in saved.nights())

    (request,) = saved.tick(AGE_SENSOR)
    assert request.tags["perennial/cause"] == f"1 days have passed since the training of {SECOND_NIGHT}"
