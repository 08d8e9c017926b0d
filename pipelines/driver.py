"""Drives a pipeline in this process: lands days, evaluates sensors, and executes the runs they ask for.

This is what the daemon does, without its waiting: the same sensors, jobs, checks and instance.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import dagster as dg

from lifecycle.pipeline import Pipeline
from pipelines.build import build_definitions
from pipelines.instance import open_instance
from pipelines.jobs import history_name, nightly_name, retrain_name
from resources.lake import Lake
from resources.ledger import Ledger
from resources.settings import Settings

NIGHTLY_SENSOR = "run_nightly_on_new_files"
FIRST_MODEL_SENSOR = "train_first_model"
CHECKS_SENSOR = "retrain_on_failed_checks"
POLICY_SENSORS = (CHECKS_SENSOR, "retrain_on_new_labels", "retrain_on_age")


@dataclass(frozen=True)
class Ran:
    """One run and what it cost."""

    job: str
    day: date
    success: bool
    seconds: float
    cpu_seconds: float
    tags: dict[str, str]


@dataclass
class Driver:
    """A pipeline under its own state folder, driven in this process.

    Attributes
    ----------
    cursors : where each sensor stands, by name.
    """

    pipeline: Pipeline
    settings: Settings
    instance: dg.DagsterInstance = field(init=False)
    definitions: dg.Definitions = field(init=False)
    cursors: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.instance = open_instance(self.settings)
        self.definitions = build_definitions([self.pipeline], self.settings)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri or str(self.settings.lake))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.lake)

    def land(self, day: date) -> None:
        """Lets the feed bring a day."""
        if self.pipeline.feed is None:
            raise ValueError(
                f"pipeline {self.pipeline.name!r} has no feed; put its files under {self.settings.landing}"
            )
        self.pipeline.feed(self.settings.landing, day)

    def build_history(self, first: date, last: date) -> Ran:
        """Raw, validated and feature rows of a range of days, as one run."""
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        return self._execute(history_name(self.pipeline), last, tags, ranged=True)

    def nights(self) -> Iterator[Ran]:
        """Runs every night that the sensor asks for, until it asks for none."""
        while requests := self.tick(NIGHTLY_SENSOR):
            for request in requests:
                yield self.run(request)

    def tick(self, sensor: str) -> list[dg.RunRequest]:
        """Evaluates one of the pipeline's sensors once, as the daemon would."""
        name = f"{self.pipeline.name}__{sensor}"
        definition = self.definitions.resolve_sensor_def(name)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            repository_def=self.definitions.get_repository_def(),
            sensor_name=name,
            resources=dict(self.definitions.resources or {}),
        )
        with context:
            tick = definition.evaluate_tick(context)
        self.cursors[name] = tick.cursor
        return [request for request in tick.run_requests or [] if not self._ran(request.run_key)]

    def run(self, request: dg.RunRequest) -> Ran:
        """Executes what a sensor asked for."""
        tags = {**request.tags, "dagster/run_key": request.run_key or ""}
        return self._execute(str(request.job_name), date.fromisoformat(str(request.partition_key)), tags)

    def retrain(self, day: date, tags: dict[str, str] | None = None) -> Ran:
        """Retrains as of a day."""
        return self._execute(retrain_name(self.pipeline), day, tags or {})

    def night(self, day: date) -> Ran:
        """Runs the night of a day, due or not."""
        return self._execute(nightly_name(self.pipeline), day, {})

    def _execute(self, job: str, day: date, tags: dict[str, str], ranged: bool = False) -> Ran:
        started, cpu = time.perf_counter(), time.process_time()
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=None if ranged else str(day),
            tags=tags,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
        ran = Ran(job, day, result.success, time.perf_counter() - started, time.process_time() - cpu, tags)
        _settle(job)
        return ran

    def _ran(self, run_key: str | None) -> bool:
        """The daemon never runs a run key twice; neither do we."""
        return bool(self.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": run_key or ""}), limit=1))


_settled: set[str] = set()


def _settle(job: str) -> None:
    """Lets the garbage collector pass over what the first run of a job has loaded.

    Libraries leave some million objects that stay for good; to look through them again costs a quarter of a second,
    about once a night.
    """
    if job not in _settled:
        _settled.add(job)
        gc.collect()
        gc.freeze()
