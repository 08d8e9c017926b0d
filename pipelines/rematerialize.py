"""Makes partitions again, and no others: the runs that repair what a blast radius lists.

What belongs here: which runs, in which order, and running them. What is touched is found by ``assets/lineage.py``.
Models are never trained here, and diagnoses stay: they tell what was seen at the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import dagster as dg

from assets import stage
from assets.issued import REPAIR_TAG, issued_table
from lifecycle.blast_radius import Touches, contiguous_runs
from lifecycle.calendar import days_between
from lifecycle.pipeline import Pipeline
from pipelines.event_log import unfinished_runs
from pipelines.jobs import nightly_name
from resources.lake import Lake
from resources.landing import Landing

# Their checks are recorded per day, and each reads the rows of the days before it: day by day, in order.
BY_DAY = ("drift_report", "performance_report")
# They tell how things stand at the newest day.
NEWEST_ONLY = ("feature_catalogue",)
KEPT = ("diagnosis",)
FIRST = ("raw", "validated", "features", "online_features")


@dataclass(frozen=True)
class Step:
    """One run: some assets, for all days from ``first`` to ``last``."""

    assets: tuple[str, ...]
    first: date
    last: date

    def __str__(self) -> str:
        days = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"{', '.join(self.assets)}: {days}"


def steps(touches: Touches, newest: date) -> list[Step]:
    """The runs that make touched partitions again, each after those it needs.

    Assets of one stage with the same days share a run; a run never covers a day that is not touched.

    Parameters
    ----------
    newest : the newest day there is, for assets that only tell of it.
    """
    found: list[Step] = []
    days_of = {asset: frozenset(days) for asset, days in touches.items() if asset not in KEPT}
    days_of |= {asset: days_of[asset] & {newest} for asset in NEWEST_ONLY if asset in days_of}
    groups: dict[tuple[str, frozenset[date]], list[str]] = {}
    for asset, days in days_of.items():
        if asset not in BY_DAY:
            groups.setdefault((asset.partition("/")[0], days), []).append(asset)
    # Forecasts are compared with what is online, so that comes before.
    for name in dict.fromkeys([*FIRST, *(stage_name for stage_name, _ in groups)]):
        for (stage_name, days), assets in groups.items():
            if stage_name == name:
                found += [Step(tuple(assets), first, last) for first, last in contiguous_runs(days)]
    reported = {asset: days_of[asset] for asset in BY_DAY if asset in days_of}
    for day in sorted(set().union(*reported.values())):
        found.append(Step(tuple(asset for asset, days in reported.items() if day in days), day, day))
    return found


def not_landed(pipeline: Pipeline, todo: list[Step], landing: Landing, lake: Lake) -> list[str]:
    """Raw partitions that hold rows and whose files are gone: to ingest them again would empty them."""
    found = []
    for step in todo:
        for asset in step.assets:
            if asset.startswith("raw/"):
                there = landing.files(pipeline.name, asset.removeprefix("raw/"))
                rows = lake.row_counts(f"{pipeline.name}/{asset}")
                days = [day for day in days_between(step.first, step.last) if rows.get(day) and day not in there]
                found += [f"{asset}:{day}" for day in days]
    return found


def landed_beside(pipeline: Pipeline, todo: list[Step], landing: Landing) -> list[str]:
    """Files that have landed since the night of a day that is ingested again, of tables that are not.

    To ingest one table of a day marks the whole day as taken in, so no night will look at them by itself.
    """
    raw = {(asset, day) for step in todo for asset in step.assets for day in days_between(step.first, step.last)}
    days = {day for asset, day in raw if asset.startswith("raw/")}
    found = []
    for table in pipeline.tables:
        files = landing.files(pipeline.name, table.name)
        for day in sorted(days):
            note = landing.ingested / pipeline.name / f"{day}.json"
            newer = note.exists() and any(
                path.stat().st_mtime > note.stat().st_mtime for path in files.get(day, ()) if path.exists()
            )
            if newer and (f"raw/{table.name}", day) not in raw:
                found.append(f"raw/{table.name}:{day}")
    return found


@dataclass(frozen=True)
class Rematerializer:
    """Runs steps in this process, as runs of the nightly job that everybody sees in Dagster.

    While one is under way no night starts.
    """

    pipeline: Pipeline
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    lake: Lake

    def run(self, todo: list[Step], what: str, reissue: bool = False) -> Iterator[tuple[Step, float]]:
        """Runs the steps in order and yields each with its seconds once it is done.

        Parameters
        ----------
        what : what is repaired; the runs' tag ``perennial/repair``.
        reissue : whether the new forecasts count as issued from now on.

        Raises
        ------
        RuntimeError
            If a night is under way, or a run fails; what was done until then stays.
        """
        job = nightly_name(self.pipeline)
        running = unfinished_runs(self.instance, job)
        if running:
            raise RuntimeError(
                f"{job} is running for {running[0].tags.get('dagster/partition')}: wait until it is done"
            )
        for step in todo:
            started = time.perf_counter()
            self._execute(step, what)
            if reissue and "batch_predictions" in step.assets:
                self._reissue(step)
            yield step, time.perf_counter() - started

    def _execute(self, step: Step, what: str) -> None:
        one_day = step.first == step.last
        tags = {REPAIR_TAG: what}
        if not one_day:
            tags |= {
                "dagster/asset_partition_range_start": str(step.first),
                "dagster/asset_partition_range_end": str(step.last),
            }
        result = self.definitions.resolve_job_def(nightly_name(self.pipeline)).execute_in_process(
            instance=self.instance,
            partition_key=str(step.first) if one_day else None,
            tags=tags,
            asset_selection=[stage.key(self.pipeline, *asset.split("/")) for asset in step.assets],
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        if not result.success:
            raise RuntimeError(f"the run for {step} failed, see /runs/{result.run_id}; what comes after it was not run")

    def _reissue(self, step: Step) -> None:
        table = issued_table(self.pipeline)
        kept = [day for day in self.lake.days(table) if step.first <= day <= step.last]
        if kept:
            self.lake.drop_days(table, kept, self.lake.version(table) or 0)
