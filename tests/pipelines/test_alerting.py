"""Whatever fails is heard of once: runs, checks, and the sensors and schedules themselves."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.driver import Driver
from resources.settings import Settings
from tests.tiny import FIRST_DAY, TINY, write_day, write_rows


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(TINY, Settings(home=tmp_path))


def tick(driver: Driver, cursor: str | None) -> tuple[list[dict[str, str]], str | None]:
    """Evaluates the alert sensor; returns all alerts sent so far and the new cursor."""
    context = dg.build_sensor_context(
        instance=driver.instance,
        cursor=cursor,
        repository_def=driver.definitions.get_repository_def(),
        sensor_name="alert_on_failures",
        resources=dict(driver.definitions.resources or {}),
    )
    with context:
        done = driver.definitions.resolve_sensor_def("alert_on_failures").evaluate_tick(context)
    from resources.alerts import Alerts

    return Alerts(driver.settings.alerts_path).sent(), done.cursor


def test_a_night_that_fails_is_heard_of_once_with_its_reason(driver: Driver) -> None:
    write_day(driver.settings.landing, FIRST_DAY)
    write_rows(driver.settings.landing, "slots", f"{FIRST_DAY}.csv", [{"slot": "a", "cafe": "harbour"}])
    _, cursor = tick(driver, None)

    ran = list(driver.nights())
    assert [run.success for run in ran] == [False]

    alerts, cursor = tick(driver, cursor)
    runs = [alert for alert in alerts if alert["source"] == f"run {TINY.name}__nightly"]
    checks = [alert for alert in alerts if "validated/slots:contract" in alert["source"]]
    assert len(runs) == 1
    assert str(FIRST_DAY) in runs[0]["message"]
    assert runs[0]["link"].startswith("/runs/")
    assert len(checks) == 1
    assert f"{FIRST_DAY}.csv: column" in checks[0]["message"]
    assert "'slot_id'" in checks[0]["message"]

    again, _ = tick(driver, cursor)
    assert again == alerts


def test_the_schedule_asks_for_the_oldest_day_that_is_due(driver: Driver) -> None:
    from datetime import UTC, datetime

    write_day(driver.settings.landing, FIRST_DAY)
    context = dg.build_schedule_context(
        instance=driver.instance,
        scheduled_execution_time=datetime(2024, 3, 1, 3, tzinfo=UTC),
        repository_def=driver.definitions.get_repository_def(),
        resources=dict(driver.definitions.resources or {}),
    )
    with context:
        done = driver.definitions.resolve_schedule_def(f"{TINY.name}__run_nightly").evaluate_tick(context)

    assert [request.partition_key for request in done.run_requests or []] == [str(FIRST_DAY)]
