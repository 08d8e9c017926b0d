"""The aircraft of a flight is not announced: it is looked up, as of each prediction time."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from assets.examples import read_spine
from assets.validated import validated_table
from lifecycle.calendar import days_between
from pipelines.driver import Driver
from pipelines.flight_delays import PIPELINE
from pipelines.flight_delays.declaration import AIRCRAFT_REMEMBERED
from resources.feature_store import FeatureStore
from resources.settings import Settings

pytestmark = pytest.mark.slow

LAST = date(2013, 1, 4)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    driver = Driver(PIPELINE, Settings(home=tmp_path_factory.mktemp("flights")))
    for day in days_between(PIPELINE.first_day, LAST):
        driver.land(day)
    assert driver.build_history(PIPELINE.first_day, LAST).success
    return driver


@pytest.fixture(scope="module")
def rows(driver: Driver) -> pl.DataFrame:
    spine = read_spine(PIPELINE, driver.lake, date(2013, 1, 2), LAST)
    return FeatureStore(driver.settings.root, driver.lake).retrieve(PIPELINE, spine)


def test_a_flight_has_the_aircraft_that_last_flew_under_its_number(driver: Driver, rows: pl.DataFrame) -> None:
    departures = driver.lake.read(validated_table(PIPELINE, "departures")).filter(pl.col("aircraft").is_not_null())
    flown: dict[tuple[str, int, str], list[tuple[object, str]]] = {}
    for carrier, flight, origin, when, aircraft in departures.select(
        "carrier", "flight", "origin", "known_at", "aircraft"
    ).iter_rows():
        flown.setdefault((carrier, flight, origin), []).append((when, aircraft))

    asked = rows.select("carrier", "flight", "origin", "event_timestamp", "aircraft").sample(500, seed=1)
    for carrier, flight, origin, asked_at, aircraft in asked.iter_rows():
        before = [
            (when, tail)
            for when, tail in flown.get((carrier, flight, origin), [])
            if asked_at - AIRCRAFT_REMEMBERED <= when <= asked_at
        ]
        assert aircraft == (max(before)[1] if before else None), (carrier, flight, origin, asked_at)
    assert 0.3 < rows["aircraft"].is_not_null().mean() < 1


def test_other_views_are_read_by_the_key_that_was_found(driver: Driver, rows: pl.DataFrame) -> None:
    register = driver.lake.read(validated_table(PIPELINE, "aircraft"))
    seats = dict(register.select("aircraft", pl.col("seats").cast(pl.Float64)).iter_rows())

    assert rows["aircraft_seats"].to_list() == [seats.get(tail) for tail in rows["aircraft"]]
    assert rows.filter(pl.col("aircraft").is_null())["aircraft_count_7d"].is_null().all()


def test_what_was_looked_up_is_no_input_of_the_model() -> None:
    assert "last_aircraft" not in [feature.name for feature in PIPELINE.features]
