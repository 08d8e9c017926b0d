"""When a night runs: at 03:00 for the days that have closed, and as soon as files land; missed days first, in order."""

from datetime import UTC, date, datetime

import dagster as dg

from lifecycle.calendar import days_between
from lifecycle.pipeline import Pipeline
from pipelines.event_log import unfinished_runs
from pipelines.jobs import nightly_name
from resources.landing import NOTHING_LANDED, Landing
from resources.settings import Settings

FINGERPRINT_TAG = "perennial/landed"


def due_days(pipeline: Pipeline, landing: Landing, now: datetime) -> list[tuple[date, str]]:
    """The days whose files are not in the lake as they are now, oldest first, with their fingerprints.

    Looked at are the days from the first that was ever ingested or landed to the last that has closed. A pipeline
    with a last day tells history: what has closed is then what has landed. A day for which nothing ever landed is
    due once, so that its absence is noticed, when a later one is there.
    """
    landed = landing.fingerprints(pipeline)
    if not landed:
        return []
    last = max(landed) if pipeline.last_day else _last_closed(pipeline, now)
    due = [(day, landed.get(day, NOTHING_LANDED)) for day in days_between(min(landed), last)]
    return [(day, found) for day, found in due if landing.remembered(pipeline, day) != found]


def _last_closed(pipeline: Pipeline, now: datetime) -> date:
    """The last business day that has closed by ``now``."""
    from datetime import timedelta

    return pipeline.calendar.day_of(now) - timedelta(days=1)


def next_night(
    pipeline: Pipeline, landing: Landing, instance: dg.DagsterInstance, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """The request for the oldest day that is due, one at a time so that days run in order."""
    running = unfinished_runs(instance, nightly_name(pipeline))
    if running:
        return dg.SkipReason(f"the night of {running[0].tags.get('dagster/partition')} is under way")
    for day, fingerprint in due_days(pipeline, landing, now):
        run_key = f"{pipeline.name}-{day}-{fingerprint}"
        if not _attempted(instance, pipeline, day, fingerprint):
            return dg.RunRequest(
                run_key=run_key,
                job_name=nightly_name(pipeline),
                partition_key=str(day),
                tags={FINGERPRINT_TAG: fingerprint},
            )
    return dg.SkipReason("every day that landed has been run")


def _attempted(instance: dg.DagsterInstance, pipeline: Pipeline, day: date, fingerprint: str) -> bool:
    """Whether a night was run for these very files before: a failed one waits for a person or for new files."""
    tags = {"dagster/partition": str(day), FINGERPRINT_TAG: fingerprint}
    return bool(instance.get_runs(dg.RunsFilter(job_name=nightly_name(pipeline), tags=tags), limit=1))


def build(pipeline: Pipeline, settings: Settings) -> dg.Definitions:  # noqa: ARG001
    @dg.sensor(
        name=f"{pipeline.name}__run_nightly_on_new_files",
        job_name=nightly_name(pipeline),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs the night of a day whose files have landed, or landed again; one day at a time, in order.",
    )
    def run_nightly_on_new_files(
        context: dg.SensorEvaluationContext, landing: dg.ResourceParam[Landing]
    ) -> dg.RunRequest | dg.SkipReason:
        return next_night(pipeline, landing, context.instance, datetime.now(UTC))

    @dg.schedule(
        name=f"{pipeline.name}__run_nightly",
        job_name=nightly_name(pipeline),
        cron_schedule=f"0 {pipeline.calendar.close_hour} * * *",
        execution_timezone=pipeline.calendar.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="At the close of the day, runs its night; days that were missed come first and the sensor "
        "run_nightly_on_new_files goes on from there, in order.",
    )
    def run_nightly(
        context: dg.ScheduleEvaluationContext, landing: dg.ResourceParam[Landing]
    ) -> dg.RunRequest | dg.SkipReason:
        return next_night(pipeline, landing, context.instance, context.scheduled_execution_time.astimezone(UTC))

    return dg.Definitions(sensors=[run_nightly_on_new_files], schedules=[run_nightly])
