"""When a model is retrained: when checks fail, when enough new labels came, every month, or by hand."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from assets import stage
from assets.deployment import CAUSE_ID_TAG, CAUSE_TAG, DECIDED_BY_TAG
from assets.validated import validated_table
from lifecycle.pipeline import Pipeline
from lifecycle.retraining import Cause, Retrain, State, Wait, decide
from pipelines.event_log import failed_checks, newest_record, unfinished_runs
from pipelines.jobs import retrain_name
from resources.lake import Lake
from resources.ledger import Ledger
from resources.settings import Settings


def trigger_checks(pipeline: Pipeline) -> list[dg.AssetCheckKey]:
    """The checks whose errors ask for a retraining."""
    return [
        dg.AssetCheckKey(stage.key(pipeline, "drift_report"), "no_drift"),
        dg.AssetCheckKey(stage.key(pipeline, "performance_report"), "performs"),
    ]


def first_model_check(pipeline: Pipeline) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(stage.key(pipeline, "batch_predictions"), "has_champion")


def request_for(
    pipeline: Pipeline, causes: Sequence[Cause], instance: dg.DagsterInstance, ledger: Ledger, decided_by: str
) -> dg.RunRequest | dg.SkipReason:
    """Asks the policy whether to retrain because of some causes; the newest cause's day is today."""
    if not causes:
        return dg.SkipReason("nothing asks for a retraining")
    state = State(
        last_training_day=ledger.last_training_day(pipeline.name),
        running=bool(unfinished_runs(instance, retrain_name(pipeline))),
    )
    match decide(causes, state, pipeline.retraining, max(cause.day for cause in causes)):
        case Wait(reason):
            return dg.SkipReason(reason)
        case Retrain() as answer:
            return dg.RunRequest(
                run_key=answer.cause.evidence,
                job_name=retrain_name(pipeline),
                partition_key=str(answer.day),
                tags={
                    CAUSE_TAG: answer.cause.detail[:250],
                    CAUSE_ID_TAG: " ".join(answer.evidence)[:250],
                    DECIDED_BY_TAG: decided_by,
                },
            )


def causes_of_failed_checks(
    pipeline: Pipeline, instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], after: int, until: int
) -> list[Cause]:
    """The errors of some checks recorded after a record and up to another, as causes."""
    return [
        Cause(
            "check",
            f"{failed.check.asset_key.path[-1]}:{failed.check.name}: {failed.message}",
            failed.day,
            f"{pipeline.name}-check-{failed.record}",
        )
        for failed in failed_checks(instance, checks, after, until)
        if failed.severity == dg.AssetCheckSeverity.ERROR and failed.day is not None
    ]


def _on_checks(
    pipeline: Pipeline, name: str, checks: Sequence[dg.AssetCheckKey], description: str
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{pipeline.name}__{name}",
        job_name=retrain_name(pipeline),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]) -> dg.RunRequest | dg.SkipReason:
        seen, newest = int(context.cursor or 0), newest_record(context.instance)
        causes = causes_of_failed_checks(pipeline, context.instance, checks, seen, newest)
        answer = request_for(pipeline, causes, context.instance, ledger, name)
        # A cause that has to wait is not kept: what still ails tomorrow will fail tomorrow's check.
        context.update_cursor(str(newest))
        return answer

    return sensor


def build(pipeline: Pipeline, settings: Settings) -> dg.Definitions:  # noqa: ARG001
    policy = pipeline.retraining

    @dg.sensor(
        name=f"{pipeline.name}__retrain_on_new_labels",
        job_name=retrain_name(pipeline),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING if policy.new_labels else dg.DefaultSensorStatus.STOPPED,
        description="Asks for a retraining when enough labels have become known since the last one.",
    )
    def retrain_on_new_labels(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.RunRequest | dg.SkipReason:
        last = ledger.last_training_day(pipeline.name)
        if policy.new_labels is None or last is None:
            return dg.SkipReason("no number of labels is declared" if last else "no model has been trained yet")
        counts = lake.row_counts(validated_table(pipeline, pipeline.label.table))
        new = sum(rows for day, rows in counts.items() if day > last)
        if new < policy.new_labels:
            return dg.SkipReason(f"{new} labels since the training of {last}; {policy.new_labels} ask for the next")
        day = max(counts)
        cause = Cause("labels", f"{new} labels since the training of {last}", day, f"{pipeline.name}-labels-{last}")
        return request_for(pipeline, [cause], context.instance, ledger, "retrain_on_new_labels")

    @dg.schedule(
        name=f"{pipeline.name}__retrain_monthly",
        job_name=retrain_name(pipeline),
        cron_schedule="0 5 1 * *",
        execution_timezone=pipeline.calendar.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retrains on the first day of every month, as of the newest day in the lake.",
    )
    def retrain_monthly(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
    ) -> dg.RunRequest | dg.SkipReason:
        days = lake.days(validated_table(pipeline, pipeline.label.table))
        if not days:
            return dg.SkipReason("no labels yet")
        month = context.scheduled_execution_time.strftime("%Y-%m")
        return request_for(
            pipeline, [monthly_cause(pipeline, days[-1], month)], context.instance, ledger, "retrain_monthly"
        )

    return dg.Definitions(
        sensors=[
            _on_checks(
                pipeline,
                "retrain_on_failed_checks",
                trigger_checks(pipeline),
                "Retrains when the drift or performance check of a day fails with an error: one training at a time, "
                f"never twice for one cause, and not within {policy.cool_down_days} days of the last.",
            ),
            _on_checks(
                pipeline,
                "train_first_model",
                [first_model_check(pipeline)],
                "Trains when no model serves.",
            ),
            retrain_on_new_labels,
        ],
        schedules=[retrain_monthly],
    )


def monthly_cause(pipeline: Pipeline, day: date, month: str) -> Cause:
    return Cause("schedule", f"monthly retraining of {month}", day, f"{pipeline.name}-month-{month}")
