"""How a feature is replaced while a model serves: in place it is refused, under a new name it works to the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl
import pytest

from lifecycle.calendar import days_between
from lifecycle.features import WindowView
from lifecycle.pipeline import Pipeline
from pipelines.driver import Driver
from pipelines.jobs import nightly_name
from pipelines.rollback import rollback
from resources.configured import _feature_store, plain_clients, plain_feature_store
from resources.registry import Registry, Version
from resources.settings import Settings
from tests.tiny import FIRST_DAY, TINY, VIEWS, last_check, variant

ORDERS, SEATS = VIEWS
assert isinstance(ORDERS, WindowView)
FIRST_MODEL, SECOND_MODEL = date(2024, 2, 25), date(2024, 3, 12)
NIGHT = timedelta(days=1)
OLD, NEW = "cafe_orders_orders_mean_24h", "cafe_orders_rush_mean_24h"


def _busy_hours_only() -> pl.Expr:
    return pl.when(pl.col("orders") > 10).then(pl.col("orders"))


RUSH = replace(ORDERS.aggregates[0], value="rush", expression=_busy_hours_only)
CHANGED = variant(
    views=(
        replace(
            ORDERS, aggregates=(replace(ORDERS.aggregates[0], expression=_busy_hours_only), *ORDERS.aggregates[1:])
        ),
        SEATS,
    )
)
REMOVED = variant(derived=TINY.derived[1:])
OLD_NAMES = tuple(f"cafe_orders_orders_mean_{window}" for window in ("24h", "7d"))
BOTH = variant(views=(replace(ORDERS, aggregates=(*ORDERS.aggregates, RUSH)), SEATS), retired=OLD_NAMES)
NEW_ONLY = variant(views=(replace(ORDERS, aggregates=(*ORDERS.aggregates[1:], RUSH)), SEATS))


@dataclass
class Home:
    """One state folder that declarations come to, each as in a process of its own."""

    settings: Settings

    def driver(self, pipeline: Pipeline) -> Driver:
        _feature_store.cache_clear()
        return Driver(pipeline, self.settings)

    @property
    def registry(self) -> Registry:
        return plain_clients(self.settings)[0]

    def champion(self) -> Version:
        found = self.registry.champion(TINY.name)
        assert found is not None
        return found

    def versions(self, driver: Driver) -> dict[str, int | None]:
        tables = [f"{TINY.name}/features/{view.name}" for view in VIEWS] + [f"{TINY.name}/batch_predictions"]
        return {table: driver.lake.version(table) for table in tables}

    def refusal(self, pipeline: Pipeline, day: date) -> str:
        """Runs a night that must fail before features are written, and returns why it did."""
        driver = self.driver(pipeline)
        before = self.versions(driver)
        job = driver.definitions.resolve_job_def(nightly_name(pipeline))
        result = job.execute_in_process(
            instance=driver.instance, partition_key=str(day), raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
        assert not result.success
        assert self.versions(driver) == before, "nothing was written"
        failed = [event for event in result.all_events if event.is_step_failure]
        assert {event.step_key for event in failed} == {f"{TINY.name}__features"}
        return str(failed[0].step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The first model serves; the days up to the second have landed."""
    made = Home(Settings(home=tmp_path_factory.mktemp("cafes")))
    driver = made.driver(TINY)
    for day in days_between(FIRST_DAY, SECOND_MODEL + NIGHT):
        driver.land(day)
    assert driver.build_history(FIRST_DAY, SECOND_MODEL).success
    assert driver.retrain(FIRST_MODEL).success
    yield made
    driver.instance.dispose()


def test_a_version_keeps_what_its_features_are_and_the_service_it_is_pinned_to(home: Home) -> None:
    version = home.champion()
    told = home.registry.definitions(version)

    assert version.feature_service == TINY.feature_service
    assert tuple(version.fingerprints) == version.features == tuple(feature.name for feature in TINY.inputs)
    assert "mean of orders over the last 24h per cafe" in told["features"][OLD]["definition"]
    feast = plain_feature_store(home.settings)._feast(TINY)
    assert version.feature_service in {service.name for service in feast.list_feature_services()}


def test_changing_a_feature_in_place_is_refused_with_both_definitions_and_what_to_do(home: Home) -> None:
    message = home.refusal(CHANGED, FIRST_MODEL + 2 * NIGHT)

    assert "Model 'cafe_orders', version 1 (champion)" in message
    assert f"- {OLD!r} was: mean of orders over the last 24h per cafe, from orders by counted_at" in message
    assert "now it is: mean of orders = " in message
    assert home.champion().fingerprints[OLD] in message
    assert "Pipeline.retired" in message
    assert "there is none to roll back to" in message


def test_removing_a_feature_is_refused_too(home: Home) -> None:
    message = home.refusal(REMOVED, FIRST_MODEL + 2 * NIGHT)

    assert "'hour' was: " in message
    assert "now it is: not declared" in message


def test_a_model_is_not_trained_and_judged_on_features_the_champion_does_not_know(home: Home) -> None:
    assert not home.driver(CHANGED).retrain(FIRST_MODEL + NIGHT).success
    assert home.champion().number == 1
    assert [version.number for version in home.registry.versions(TINY.name)] == [1]


def test_a_feature_is_replaced_by_declaring_retraining_and_removing(home: Home) -> None:
    driver = home.driver(BOTH)
    assert driver.build_history(FIRST_DAY, SECOND_MODEL).success, "adding is allowed"
    assert driver.night(SECOND_MODEL).success
    assert driver.retrain(SECOND_MODEL).success
    assert driver.ledger.entries(TINY.name)["event"].to_list()[-1] == "promotion"
    second = home.champion()
    assert (second.number, NEW in second.features, OLD in second.features) == (2, True, False)
    assert second.feature_service == BOTH.feature_service == NEW_ONLY.feature_service

    driver = home.driver(NEW_ONLY)
    assert driver.night(SECOND_MODEL + NIGHT).success
    forecasts = driver.lake.read(f"{TINY.name}/batch_predictions", SECOND_MODEL + NIGHT, SECOND_MODEL + NIGHT)
    assert forecasts["model_version"].unique().to_list() == [2]
    assert forecasts["score"].is_finite().all()
    # What the first version forecast the night before can no longer be hindcast by it, and the night goes on.
    seen = last_check(driver, "hindcasts", "complete")
    assert (seen.passed, seen.severity) == (False, "WARN")
    assert seen.message.endswith("; version 1 takes features that are declared otherwise now")
    # What it has said while they were there stays.
    assert home.driver(BOTH).night(SECOND_MODEL + NIGHT).success
    said = driver.lake.read(f"{TINY.name}/hindcasts", SECOND_MODEL + NIGHT, SECOND_MODEL + NIGHT)
    driver = home.driver(NEW_ONLY)
    assert driver.night(SECOND_MODEL + NIGHT).success
    assert said.height
    assert driver.lake.read(f"{TINY.name}/hindcasts", SECOND_MODEL + NIGHT, SECOND_MODEL + NIGHT).equals(said)
    page = json.loads((home.settings.reports / TINY.name / "features.json").read_text())
    assert set(page["gone"]) == set(OLD_NAMES)


def test_services_of_both_versions_are_in_feasts_registry(home: Home) -> None:
    feast = plain_feature_store(home.settings)._feast(NEW_ONLY)
    services = {service.name for service in feast.list_feature_services()}

    assert {version.feature_service for version in home.registry.versions(TINY.name)} <= services


def test_going_back_to_a_version_whose_feature_is_gone_is_refused_with_the_way_out(home: Home) -> None:
    rollback(home.settings, TINY.name, why="to see what happens", by="a person")
    message = home.refusal(NEW_ONLY, SECOND_MODEL + NIGHT)

    assert "version 1 (champion)" in message
    assert f"{OLD!r} was: mean of orders over the last 24h per cafe" in message
    assert "python -m pipelines.rollback cafe_orders --to 2" in message
    rollback(home.settings, TINY.name, why="as told", to=2, by="a person")
    assert home.driver(NEW_ONLY).night(SECOND_MODEL + NIGHT).success


def test_a_version_that_the_gate_refuses_holds_no_features_back(home: Home) -> None:
    strict = replace(NEW_ONLY, gate=replace(TINY.gate, confidence=1.0, max_slice_regression=-1e9))
    assert home.driver(strict).retrain(SECOND_MODEL + NIGHT).success

    assert home.champion().number == 2
    assert home.registry.challenger(TINY.name) is None
    assert [version.number for version in home.registry.versions(TINY.name)] == [3, 2, 1]
