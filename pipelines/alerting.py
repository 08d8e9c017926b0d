"""Alerts about anything that failed: runs, checks, and the sensors and schedules themselves."""

import json
from datetime import UTC, datetime

import dagster as dg

from pipelines.event_log import failed_checks, newest_record
from resources.alerts import Alert, Alerts
from resources.settings import Settings


def build(settings: Settings) -> dg.Definitions:  # noqa: ARG001
    @dg.sensor(
        name="alert_on_failures",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts about runs that failed, checks that failed with an error, and ticks of sensors and "
        "schedules that failed. To the log and to alerts.jsonl in the state folder.",
    )
    def alert_on_failures(context: dg.SensorEvaluationContext, alerts: dg.ResourceParam[Alerts]) -> dg.SkipReason:
        now = datetime.now(UTC).timestamp()
        seen = json.loads(context.cursor) if context.cursor else {"since": now - 3600, "check": 0}
        newest = newest_record(context.instance)
        repository = context.repository_def
        checks = list(repository.asset_graph.asset_check_keys) if repository else []
        found = [
            *_runs(context.instance, seen["since"]),
            *_checks(context.instance, checks, int(seen["check"]), newest),
            *_ticks(context.instance, seen["since"]),
        ]
        for alert in found:
            alerts.send(alert)
        context.update_cursor(json.dumps({"since": now, "check": newest}))
        return dg.SkipReason(f"{len(found)} alerts sent")

    return dg.Definitions(sensors=[alert_on_failures])


def _runs(instance: dg.DagsterInstance, since: float) -> list[Alert]:
    moment = datetime.fromtimestamp(since, UTC)
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=moment), limit=100
    )
    return [
        Alert(
            source=f"run {record.dagster_run.job_name}",
            severity="ERROR",
            message=f"failed for {record.dagster_run.tags.get('dagster/partition', 'no partition')}",
            link=f"/runs/{record.dagster_run.run_id}",
        )
        for record in records
    ]


def _checks(instance: dg.DagsterInstance, checks: list[dg.AssetCheckKey], after: int, until: int) -> list[Alert]:
    return [
        Alert(
            source=f"check {failed.title} for {failed.day or 'a range of days'}",
            severity="ERROR",
            message=failed.message,
            link=f"/assets/{'/'.join(failed.check.asset_key.path)}?view=checks",
        )
        for failed in failed_checks(instance, checks, after, until)
        if failed.severity == dg.AssetCheckSeverity.ERROR
    ]


def _ticks(instance: dg.DagsterInstance, since: float) -> list[Alert]:
    """Failed ticks: Dagster itself never says when a sensor or a schedule fails."""
    from dagster._core.scheduler.instigation import TickStatus

    alerts = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=since, statuses=[TickStatus.FAILURE], limit=5
        )
        alerts += [
            Alert(
                source=f"{state.instigator_type.value.lower()} {state.name}",
                severity="ERROR",
                message=tick.error.message.strip() if tick.error else "failed",
                link=f"/locations/pipelines.definitions/sensors/{state.name}",
            )
            for tick in ticks
        ]
    return alerts
