"""What a night costs, and whether it costs more as history grows."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measurement import Measurement, landed_year, new_home, say

if TYPE_CHECKING:
    from lifecycle.pipeline import Pipeline
    from pipelines.driver import Driver, Ran

# Numbers of the last nights, in the year; both are Sundays, so that both measure one weekly report.
EARLY, LATE = 63, 301
NIGHTS = 5


def measure(folder: Path) -> Iterator[Measurement]:
    """Runs the nights up to day 63 and up to day 301 in turn, each in a state folder with the history up to then."""
    from resources.settings import quiet_environment

    quiet_environment()
    pipeline = _pipeline()
    landing = landed_year(pipeline, folder)
    drivers = {number: _prepared(pipeline, landing, folder / f"nightly_{number}", number) for number in (EARLY, LATE)}
    nights: dict[int, list[Ran]] = {EARLY: [], LATE: []}
    features: dict[int, list[float]] = {EARLY: [], LATE: []}
    for back in range(NIGHTS, -1, -1):
        for number, driver in drivers.items():
            ran = _night(driver, number - back)
            if back < NIGHTS:  # the first night of each is the warm-up
                nights[number].append(ran)
                features[number].append(_step_seconds(driver, "features"))
    early, late = (statistics.median(ran.seconds for ran in nights[number]) for number in (EARLY, LATE))
    say(f"medians: {early:.2f} s up to day {EARLY}, {late:.2f} s up to day {LATE}")
    home = (
        "The lake holds real history, its logs a commit a day; a champion serves (trained on fewer rows and trials "
        "than the product's) and its forecasts fill the windows of the reports; Evidently's report is made on the "
        "Sunday only, the slowest of the nights"
    )
    yield Measurement(
        "nightly_seconds",
        late,
        "s",
        "≤ 5",
        f"One run of `{pipeline.name}__nightly` for one day, all stages, in a process that has run one before: median "
        f"of {NIGHTS} nights up to day {LATE} ({_spread(nights[LATE])}). {home}.",
    )
    yield Measurement(
        "nightly_growth",
        late / early,
        "ratio",
        "≤ 1.33",
        f"Median of {NIGHTS} nights up to day {LATE} ({_spread(nights[LATE])}) over that of {NIGHTS} up to day {EARLY} "
        f"({_spread(nights[EARLY])}), run in turn in one process. {home}.",
    )
    before, after = (statistics.median(features[number]) for number in (EARLY, LATE))
    yield Measurement(
        "features_growth",
        after / before,
        "ratio",
        "≤ 1.33",
        f"The step that builds the features of one more day, of all {len(pipeline.views)} views, in the same nights: "
        f"median {after:.2f} s up to day {LATE} over {before:.2f} s up to day {EARLY}.",
    )


def _step_seconds(driver: Driver, stage: str) -> float:
    """How long a step of the last run took, by Dagster's own account."""
    import dagster as dg

    run = driver.instance.get_runs(limit=1)[0]
    step = f"{driver.pipeline.name}__{stage}"
    logs = driver.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    found = [event for log in logs if (event := log.get_dagster_event()).step_key == step]
    return float(found[0].step_success_data.duration_ms) / 1000


def _pipeline() -> Pipeline:
    """The pipeline with a training that is quick and possible on few days; its nights are the product's."""
    from pipelines.flight_delays import PIPELINE

    plan = dataclasses.replace(
        PIPELINE.training,
        families=("hist_gradient_boosting",),
        trials=1,
        tuning_rows=4_000,
        max_rows=20_000,
        folds=1,
        fold_days=7,
        min_days=14,
    )
    # Whether these small models drift is not the question: reports are made on Sundays and not when a check fails.
    monitor = dataclasses.replace(PIPELINE.monitor, prediction_psi=float("inf"))
    return dataclasses.replace(PIPELINE, training=plan, monitor=monitor)


def _prepared(pipeline: Pipeline, landing: Path, home: Path, number: int) -> Driver:
    """A state folder on the morning of the warm-up night, ``NIGHTS`` before the day of that number."""
    from pipelines.driver import Driver
    from resources.settings import Settings

    started = time.perf_counter()
    driver = Driver(pipeline, Settings(home=new_home(landing, home)))
    window = max(pipeline.monitor.drift_days, pipeline.monitor.performance_days)
    last = _day(pipeline, number - NIGHTS - 1)
    trained = last - timedelta(days=window)
    _check(driver.build_history(pipeline.first_day, last).success, f"history up to {last}")
    for log in sorted(Path(driver.lake.root).rglob("_delta_log")):
        commit_day_by_day(log, pipeline.first_day, last)
    _check(driver.retrain(trained).success, f"training as of {trained}")
    _check(driver.ledger.served_at(pipeline.name, trained) is not None, f"promotion as of {trained}")
    _forecast(driver, trained + timedelta(days=1), last)
    say(f"history up to {last} with a champion in {time.perf_counter() - started:.0f} s (not counted)")
    return driver


def _forecast(driver: Driver, first: date, last: date) -> None:
    """The forecasts and reports of some days, as one run."""
    from assets import stage
    from pipelines.jobs import nightly_name

    stages = ("online_features", "batch_predictions", "drift_report", "performance_report")
    result = driver.definitions.resolve_job_def(nightly_name(driver.pipeline)).execute_in_process(
        instance=driver.instance,
        asset_selection=[stage.key(driver.pipeline, name) for name in stages],
        tags={"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    _check(result.success, f"forecasts for {first} to {last}")


def commit_day_by_day(log: Path, first: date, last: date) -> None:
    """Rewrites the log of a table that was written in one commit as nights would have left it: a commit a day.

    The table's files stay as they are. Checkpoints are made as often as the lake makes them.

    Parameters
    ----------
    log : the folder ``_delta_log`` of a table partitioned by day, with one commit in it.
    """
    from deltalake import DeltaTable

    from lifecycle.calendar import days_between
    from resources.lake import CHECKPOINT_EVERY

    only = log / f"{0:020}.json"
    actions: list[dict[str, Any]] = [json.loads(line) for line in only.read_text().splitlines()]
    head = [action for action in actions if "protocol" in action or "metaData" in action]
    info = [action for action in actions if "commitInfo" in action]
    for version, day in enumerate(days_between(first, last)):
        added = [
            action for action in actions if action.get("add", {}).get("partitionValues", {}).get("day") == str(day)
        ]
        lines = [json.dumps(action) for action in [*([] if version else head), *added, *info]]
        (log / f"{version:020}.json").write_text("\n".join(lines) + "\n")
        if version and version % CHECKPOINT_EVERY == 0:
            DeltaTable(str(log.parent), version=version).create_checkpoint()


def _night(driver: Driver, number: int) -> Ran:
    ran = driver.night(_day(driver.pipeline, number))
    _check(ran.success, f"night of {ran.day}")
    say(f"night of day {number} ({ran.day:%a %d %b}): {ran.seconds:.2f} s, {ran.cpu_seconds:.2f} s of CPU")
    return ran


def _day(pipeline: Pipeline, number: int) -> date:
    return pipeline.first_day + timedelta(days=number - 1)


def _spread(nights: list[Ran]) -> str:
    seconds = sorted(ran.seconds for ran in nights)
    cpu = statistics.median(ran.cpu_seconds for ran in nights)
    return f"{statistics.median(seconds):.2f} s, {seconds[0]:.2f} to {seconds[-1]:.2f} s, median {cpu:.2f} s of CPU"


def _check(success: bool, what: str) -> None:
    if not success:
        raise RuntimeError(f"{what} failed: a measurement of it would say nothing; look at the log above")
