"""Whatever fails is heard of once, and so is its end: runs, checks, ticks, retrainings, rules of thumb."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.drift_report import drift_table
from assets.performance_history import performance_table
from lifecycle.alert_rules import AlertRule
from pipelines.alert_sources import of_rules, of_ticks
from pipelines.driver import FIRST_MODEL_SENSOR, Driver
from pipelines.event_log import Evaluation
from resources.alerts import Alert, Alerts, Resolved, alerts
from resources.configured import plain_clients
from resources.settings import Settings
from tests.loopback import Webhook, webhook
from tests.tiny import FIRST_DAY, TINY, check_key, day_rows, last_check, variant, write_day, write_rows

SENSOR = "alert_on_failures"
Line = dict[str, Any]


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as server:
        yield server


@pytest.fixture
def driver(tmp_path: Path, hook: Webhook) -> Driver:
    return Driver(TINY, Settings(home=tmp_path, alert_urls=f"json://127.0.0.1:{hook.port}"))  # type: ignore[arg-type]


def tick(driver: Driver) -> list[Line]:
    """Evaluates the sensor as the daemon would, and returns what people were told."""
    sender: Alerts = alerts(driver.settings)
    before = len(sender.lines())
    context = dg.build_sensor_context(
        instance=driver.instance,
        cursor=driver.cursors.get(SENSOR),
        repository_def=driver.definitions.get_repository_def(),
        sensor_name=SENSOR,
        resources=dict(driver.definitions.resources or {}),
    )
    with context:
        done = driver.definitions.resolve_sensor_def(SENSOR).evaluate_tick(context)
    driver.cursors[SENSOR] = done.cursor
    return [line for line in sender.lines()[before:] if line.get("sent")]


def test_a_night_that_fails_is_heard_of_once_and_so_is_the_one_that_mends_it(driver: Driver, hook: Webhook) -> None:
    landing = driver.settings.landing
    write_day(landing, FIRST_DAY)
    write_rows(landing, "slots", f"{FIRST_DAY}.csv", [{"slot": "a", "cafe": "harbour"}])
    assert tick(driver) == []
    assert driver.settings.heartbeat.exists()

    assert [run.success for run in driver.nights()] == [False]
    told = {line["source"]: line for line in tick(driver)}
    run, check = told[f"run {TINY.name}__nightly"], told[f"check {TINY.name}/validated/slots:contract"]
    assert (run["severity"], run["about"]) == ("ERROR", str(FIRST_DAY))
    assert run["link"].startswith("http://localhost:3000/runs/")
    assert f"{FIRST_DAY}.csv: column" in check["message"]
    assert "'slot_id'" in check["message"]
    assert check["link"] == (
        f"http://localhost:3000/assets/{TINY.name}/validated/slots?view=checks&checkDetail=contract"
    )
    assert len(hook.messages) == len(told)
    assert tick(driver) == [], "seen"

    driver.cursors.pop(SENSOR)
    assert tick(driver) == [], "nor when the sensor's memory is lost"

    write_rows(landing, "slots", f"{FIRST_DAY}.csv", day_rows(FIRST_DAY)["slots"])
    assert [run.success for run in driver.nights()] == [True]
    over = tick(driver)
    assert {line["source"] for line in over if line["kind"] == "resolved"} >= {run["source"], check["source"]}
    assert f"[RESOLVED] {run['source']} ({FIRST_DAY})" in hook.titles
    assert tick(driver) == []


@pytest.mark.slow
def test_a_retraining_is_news_and_its_promotion_ends_what_asked_for_it(driver: Driver) -> None:
    day = FIRST_DAY + timedelta(days=24)
    for n in range(25):
        write_day(driver.settings.landing, FIRST_DAY + timedelta(days=n))
    assert driver.build_history(FIRST_DAY, day).success
    assert driver.night(day).success

    (missing,) = [line for line in tick(driver) if line["kind"] == "alert"]
    assert missing["source"] == f"check {TINY.name}/batch_predictions:has_champion"

    (request,) = driver.tick(FIRST_MODEL_SENSOR)
    assert driver.run(request).success
    lines = {(line["kind"], line["about"].split(" ")[0]): line for line in tick(driver)}
    asked, decided, ended = lines["alert", "run"], lines["alert", "version"], lines["resolved", ""]
    assert (asked["severity"], decided["severity"]) == ("INFO", "INFO")
    assert f"started as of {day}, asked for by train_first_model: batch_predictions:has_champion" in asked["message"]
    assert decided["about"] == "version 1"
    assert decided["message"].startswith(f"promoted as of {day}: ")
    assert decided["link"] == f"http://localhost:3000/assets/{TINY.name}/deployment?view=partitions&partition={day}"
    assert ended["source"] == missing["source"]
    assert ended["message"] == f"version 1 of {TINY.name} was promoted"
    assert tick(driver) == []


def test_what_was_decided_is_told_whichever_way_it_went(driver: Driver) -> None:
    driver.ledger.record(TINY.name, FIRST_DAY, "gate", "a person", "not better", 4, 3, {"promote": False})
    driver.ledger.record(TINY.name, FIRST_DAY, "rollback", "ann", "complaints", 2, 3)

    refused, back = tick(driver)
    assert (refused["source"], refused["about"]) == (f"retraining {TINY.name}", "version 4")
    assert refused["message"] == f"refused as of {FIRST_DAY}, the champion stays: not better"
    assert (back["source"], back["message"]) == (
        f"rollback {TINY.name}",
        "serves again instead of version 3, by ann: complaints",
    )
    assert tick(driver) == []


def test_a_retraining_that_fails_is_told_with_what_asked_for_it(driver: Driver) -> None:
    tags = {"perennial/cause": "no_drift: predictions drifted", "perennial/decided_by": "retrain_on_failed_checks"}
    assert not driver.retrain(FIRST_DAY, tags).success

    (failed,) = [line for line in tick(driver) if line["severity"] == "ERROR" and line["source"].startswith("run")]
    assert failed["source"] == f"run {TINY.name}__retrain"
    assert failed["message"] == (
        f"failed for {FIRST_DAY}; asked for by retrain_on_failed_checks: no_drift: predictions drifted"
    )


def test_a_schedule_whose_tick_fails_is_heard_of_until_one_does_not(driver: Driver) -> None:
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        ScheduleInstigatorData,
        TickData,
        TickStatus,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._utils.error import SerializableErrorInfo

    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="pipelines.definitions"))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "nightly")
    data = ScheduleInstigatorData("0 3 * * *", start_timestamp=0.0)
    state = InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, data)
    driver.instance.add_instigator_state(state)
    now = datetime.now(UTC).timestamp()

    def ticked(seconds: float, status: TickStatus, error: SerializableErrorInfo | None = None) -> None:
        driver.instance.create_tick(
            TickData(
                state.instigator_origin_id,
                "nightly",
                InstigatorType.SCHEDULE,
                status,
                now + seconds,
                selector_id=state.selector_id,
                error=error,
            )
        )

    ticked(-20, TickStatus.FAILURE, SerializableErrorInfo("the disk is full\n", [], "OSError"))
    (failed,) = [line for line in tick(driver) if line["kind"] == "alert"]
    assert (failed["source"], failed["message"]) == ("schedule nightly", "the disk is full")
    assert failed["link"] == "http://localhost:3000/locations/pipelines.definitions/schedules/nightly"

    ticked(-10, TickStatus.SKIPPED)
    assert [type(event) for event in of_ticks(driver.instance, datetime.fromtimestamp(now - 60, UTC))] == [
        Alert,
        Resolved,
    ]
    assert [line["source"] for line in tick(driver)] == ["schedule nightly"]


def test_rules_judge_what_the_reports_hold_and_are_silent_about_the_rest(driver: Driver) -> None:
    day = date(2024, 3, 8)
    registry, _ = plain_clients(driver.settings)

    def drift(**psi: float) -> None:
        names, values = list(psi), list(psi.values())
        frame = pl.DataFrame({"day": day, "name": names, "psi": values, "expected_psi": 0.01})
        driver.lake.write(drift_table(TINY), frame, day, day)

    def events() -> list[Alert | Resolved]:
        report = Evaluation(
            7, 0.0, check_key("drift_report", "no_drift"), day, True, dg.AssetCheckSeverity.WARN, "", ""
        )
        parity = replace(report, check=check_key("batch_predictions", "parity"))  # the online store was not asked
        return list(of_rules([TINY], [report, parity], driver.lake, registry))

    assert events() == [], "no report yet, no verdict"

    drift(prediction=0.4, staff=0.205, hour=0.9)
    (psi,) = events()
    assert isinstance(psi, Alert)
    assert (psi.source, psi.severity, psi.about) == ("rule PSI", "WARN", TINY.name)
    above = "above 0.20 beyond the 0.01 of chance"
    assert psi.message == f"{day}: PSI of hour is 0.90, {above}; PSI of prediction is 0.40, {above}"
    assert psi.link == f"/assets/{TINY.name}/drift_report?view=partitions&partition={day}"

    drift(prediction=0.1)
    served = pl.DataFrame({"day": [day], "rows": [40], "error_rate": [0.002]})
    driver.lake.write(performance_table(TINY), served, day, day)
    found = {event.source: event for event in events()}
    assert set(found) == {"rule PSI", "rule error rate"}
    assert isinstance(found["rule PSI"], Resolved)
    assert isinstance(found["rule error rate"], Resolved)

    for error, kind in ((0.05, Alert), (0.2, Resolved)):  # as sure as the promise and the window's days are
        fallen = served.with_columns(r2=0.5, r2_standard_error=0.01, r2_promised=0.8, r2_fall_standard_error=error)
        driver.lake.write(performance_table(TINY), fallen, day, day)
        accuracy = {event.source: event for event in events()}["rule accuracy"]
        assert isinstance(accuracy, kind)
        if isinstance(accuracy, Alert):
            said = "more than 5% and more than the 0.100 of chance below the baseline 0.800"
            assert accuracy.message == f"{day}: accuracy (R²) is 0.500, {said}"
    one_day = served.with_columns(r2=0.5, r2_promised=0.8)
    driver.lake.write(performance_table(TINY), one_day, day, day)
    assert "rule accuracy" not in {event.source for event in events()}


def test_requests_that_a_night_timed_are_held_against_the_limit_of_p99(driver: Driver) -> None:
    impatient = AlertRule("p99 latency", "latency_p99_ms", 1e-6)
    cafes = variant(monitor=replace(TINY.monitor, alerts=(impatient,)))

    for day, pipeline in ((FIRST_DAY, cafes), (FIRST_DAY + timedelta(days=1), TINY)):
        driver.land(day)
        assert [run.success for run in driver.nights()] == [True]
        seen = last_check(driver, "batch_predictions", "parity")
        asking = Driver(pipeline, driver.settings)
        asking.cursors = driver.cursors
        (told,) = [line for line in tick(asking) if line["source"] == "rule p99 latency"]
        if pipeline is TINY:
            assert told["kind"] == "resolved"
            continue
        p99 = float(str(seen.metadata["online_p99_ms"]))
        said = (
            "p99 latency of the features of one request from the online store, in milliseconds (25 asked) is "
            f"{p99:.3g}, above 1e-06"
        )
        assert (told["severity"], told["message"]) == ("WARN", f"{day}: {said}")
        link = f"/assets/{TINY.name}/batch_predictions?view=checks&checkDetail=parity"
        assert told["link"] == f"http://localhost:3000{link}"


def test_the_schedule_asks_for_the_oldest_day_that_is_due(driver: Driver) -> None:
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
