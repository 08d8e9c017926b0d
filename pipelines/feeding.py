"""Landing days by itself, for pipelines that bring a feed of the past: to watch the loop live."""

from datetime import date, timedelta

import dagster as dg

from lifecycle.pipeline import Pipeline
from resources.landing import Landing
from resources.settings import Settings


def next_day(pipeline: Pipeline, landing: Landing) -> date | None:
    """The day after the last that landed, None when the feed has come to its end."""
    landed = landing.fingerprints(pipeline)
    following = max(landed) + timedelta(days=1) if landed else pipeline.first_day
    return None if pipeline.last_day and following > pipeline.last_day else following


def build(pipeline: Pipeline, settings: Settings) -> dg.Definitions:  # noqa: ARG001
    feed = pipeline.feed
    if feed is None:
        return dg.Definitions()

    @dg.op(name=f"{pipeline.name}__land_next_day")
    def land_next_day(context: dg.OpExecutionContext, landing: dg.ResourceParam[Landing]) -> None:
        day = next_day(pipeline, landing)
        if day is None:
            context.log.info(f"the feed of {pipeline.name} ends on {pipeline.last_day}; nothing more to land")
            return
        files = feed(landing.root, day)
        context.log.info(f"landed {day}: {', '.join(path.name for path in files)} under {landing.root}")

    @dg.job(
        name=f"{pipeline.name}__feed",
        executor_def=dg.in_process_executor,
        description="Puts the files of the next day into the landing folder, as an upstream would.",
    )
    def feed_job() -> None:
        land_next_day()

    schedule = dg.ScheduleDefinition(
        name=f"{pipeline.name}__land_a_day_a_minute",
        job=feed_job,
        cron_schedule="* * * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Lands the next day of the past every minute, so that the loop can be watched live.",
    )
    return dg.Definitions(jobs=[feed_job], schedules=[schedule])
