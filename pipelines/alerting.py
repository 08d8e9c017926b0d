"""The sensor that alerts about anything that failed, what retrainings came to, and rules of thumb that broke."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from lifecycle.pipeline import Pipeline
from pipelines import alert_sources as sources
from pipelines import heartbeat
from pipelines.event_log import evaluations, newest_record
from resources.alerts import Alerts
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry
from resources.settings import Settings

# What is recorded at one moment may be stored a little later; what is seen twice is counted once.
OVERLAP = timedelta(minutes=5)
FIRST_LOOK = timedelta(hours=1)


def build(pipelines: Sequence[Pipeline], settings: Settings) -> dg.Definitions:
    @dg.sensor(
        name="alert_on_failures",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts about runs that failed, checks that failed with an error, ticks of sensors and schedules "
        "that failed, retrainings, and rules of thumb that broke; and says when a problem is over. Once per problem, "
        "to the log, to alerts.jsonl in the state folder and to the channels in PERENNIAL_ALERT_URLS.",
    )
    def alert_on_failures(
        context: dg.SensorEvaluationContext,
        alerts: dg.ResourceParam[Alerts],
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        registry: dg.ResourceParam[Registry],
    ) -> dg.SkipReason:
        now = datetime.now(UTC)
        last = json.loads(context.cursor) if context.cursor else {"since": (now - FIRST_LOOK).timestamp(), "check": 0}
        since, newest = datetime.fromtimestamp(last["since"], UTC) - OVERLAP, newest_record(context.instance)
        repository = context.repository_def
        checks = list(repository.asset_graph.asset_check_keys) if repository else []
        evaluated = list(evaluations(context.instance, checks, int(last["check"]), newest))
        events = [
            *sources.of_runs(context.instance, since),
            *sources.of_checks(evaluated),
            *sources.of_ticks(context.instance, since),
            *sources.of_retrainings(context.instance, ledger, pipelines, since),
            *sources.of_rules(pipelines, evaluated, lake, registry),
        ]
        told = alerts.report(events, now)
        context.update_cursor(json.dumps({"since": now.timestamp(), "check": newest}))
        # Last, so that an evaluation that fails is no sign of life.
        heartbeat.beat(settings, now)
        return dg.SkipReason(f"{told} alerts sent")

    return dg.Definitions(sensors=[alert_on_failures])
