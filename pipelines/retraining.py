"""When a model is retrained: when checks fail, when enough new labels came, when the calendar says so, or by hand.

What belongs here: bringing what happened to the pipeline's policy (``lifecycle.policy``), which decides; and the run
that its answer asks for.
"""

from collections.abc import Callable, Sequence
from datetime import date

import dagster as dg

from assets import stage
from assets.deployment import CAUSE_ID_TAG, CAUSE_KIND_TAG, CAUSE_TAG, DECIDED_BY_TAG, TAG_LENGTH
from assets.issued import REPAIR_TAG
from assets.performance_report import ESTIMATED_TO_PERFORM, NO_CONCEPT_DRIFT, PERFORMS
from assets.validated import validated_table
from lifecycle.pipeline import Pipeline
from lifecycle.policy import Night, causes, labels_cause, schedule_cause
from lifecycle.retraining import Cause, Retrain, State, Wait, decide
from pipelines.event_log import Evaluation, failed_checks, newest_record, unfinished_runs
from pipelines.jobs import retrain_name
from resources.lake import Lake
from resources.ledger import Ledger
from resources.settings import Settings


def drift_checks(pipeline: Pipeline) -> list[dg.AssetCheckKey]:
    """The checks whose errors are drift."""
    return [dg.AssetCheckKey(stage.key(pipeline, "drift_report"), "no_drift")]


def performance_checks(pipeline: Pipeline) -> list[dg.AssetCheckKey]:
    """The checks whose errors are performance, realised and after the labels."""
    report = stage.key(pipeline, "performance_report")
    return [dg.AssetCheckKey(report, name) for name in (PERFORMS, NO_CONCEPT_DRIFT)]


def estimate_checks(pipeline: Pipeline) -> list[dg.AssetCheckKey]:
    """The checks whose errors are performance as it is estimated before the labels."""
    return [dg.AssetCheckKey(stage.key(pipeline, "performance_report"), ESTIMATED_TO_PERFORM)]


def first_model_check(pipeline: Pipeline) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(stage.key(pipeline, "batch_predictions"), "has_champion")


def state_of(pipeline: Pipeline, instance: dg.DagsterInstance, ledger: Ledger) -> State:
    """What the policy must know of retraining so far."""
    return State(
        last_training_day=ledger.last_training_day(pipeline.name),
        running=bool(unfinished_runs(instance, retrain_name(pipeline))),
        last_probe_day=ledger.last_probe_day(pipeline.name),
    )


def request_for(
    pipeline: Pipeline, asking: Sequence[Cause], state: State, decided_by: str, checks: Sequence[Evaluation] = ()
) -> dg.RunRequest | dg.SkipReason:
    """Asks the policy whether to retrain because of some causes; the newest cause's day is today.

    Parameters
    ----------
    checks : the failed evaluations that the causes come from; the run names them, so that its promotion closes their
        alerts.
    """
    if not asking:
        return dg.SkipReason("nothing asks for a retraining")
    match decide(asking, state, pipeline.retraining, max(cause.day for cause in asking)):
        case Wait(reason):
            return dg.SkipReason(reason)
        case Retrain() as answer:
            named = [f"{pipeline.name}-check-{failed.record}" for failed in checks]
            return dg.RunRequest(
                run_key=answer.cause.evidence,
                job_name=retrain_name(pipeline),
                partition_key=str(answer.day),
                tags={
                    CAUSE_TAG: answer.cause.detail[:TAG_LENGTH],
                    CAUSE_KIND_TAG: answer.cause.kind,
                    CAUSE_ID_TAG: " ".join(dict.fromkeys([*answer.evidence, *named]))[:TAG_LENGTH],
                    DECIDED_BY_TAG: decided_by,
                },
            )


def errors_of(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], after: int, until: int
) -> list[Evaluation]:
    """The errors of some checks, warnings not among them, recorded after a record and up to another.

    Reports that a repair made again are about nights that have asked already, and ask for nothing.
    """
    return [
        failed
        for failed in failed_checks(instance, checks, after, until)
        if failed.severity == dg.AssetCheckSeverity.ERROR
        and failed.day is not None
        and not _is_repair(instance, failed.run_id)
    ]


def _is_repair(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and REPAIR_TAG in run.tags


def night_of(pipeline: Pipeline, failed: Sequence[Evaluation]) -> Night | None:
    """What the errors of some nights tell the policy at the close of the newest; None without errors."""
    if not failed:
        return None

    def told(checks: Sequence[dg.AssetCheckKey]) -> tuple[str, ...]:
        return tuple(_title(one) for one in failed if one.check in checks)

    return Night(
        day=max(one.day for one in failed if one.day is not None),
        drift=told(drift_checks(pipeline)),
        performance=told(performance_checks(pipeline)),
        estimate=told(estimate_checks(pipeline)),
    )


def new_labels(pipeline: Pipeline, lake: Lake, since: date) -> tuple[int, date]:
    """Labels that landed after a day, and the newest day of labels."""
    counts = lake.row_counts(validated_table(pipeline, pipeline.label.table))
    return sum(rows for day, rows in counts.items() if day > since), max(counts, default=since)


def _title(failed: Evaluation) -> str:
    return f"{failed.check.asset_key.path[-1]}:{failed.check.name}: {failed.message}"


def _on_checks(pipeline: Pipeline) -> dg.SensorDefinition:
    """Errors of the night's reports, as the policy hears them."""
    checks = [*drift_checks(pipeline), *performance_checks(pipeline), *estimate_checks(pipeline)]
    policy = pipeline.retraining

    @dg.sensor(
        name=f"{pipeline.name}__retrain_on_failed_checks",
        job_name=retrain_name(pipeline),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Retrains when the drift or performance check of a day fails with an error, as far as the "
        "pipeline's policy hears it: one training at a time, never twice for one cause, and not within "
        f"{policy.cool_down_days} days of the last."
        + (" A probe comes first and saves what is not worth it." if policy.probe_confidence is not None else ""),
    )
    def sensor(context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]) -> dg.RunRequest | dg.SkipReason:
        seen, newest = int(context.cursor or 0), newest_record(context.instance)
        failed = errors_of(context.instance, checks, seen, newest)
        # A cause that has to wait is not kept: what still ails tomorrow will fail tomorrow's check.
        context.update_cursor(str(newest))
        night = night_of(pipeline, failed)
        if night is None:
            return dg.SkipReason("nothing asks for a retraining")
        state = state_of(pipeline, context.instance, ledger)
        asking = causes(pipeline.name, night, state, policy)
        return request_for(pipeline, asking, state, "retrain_on_failed_checks", failed)

    return sensor


def _first_model(pipeline: Pipeline) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{pipeline.name}__train_first_model",
        job_name=retrain_name(pipeline),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Trains when no model serves.",
    )
    def sensor(context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]) -> dg.RunRequest | dg.SkipReason:
        seen, newest = int(context.cursor or 0), newest_record(context.instance)
        failed = errors_of(context.instance, [first_model_check(pipeline)], seen, newest)
        context.update_cursor(str(newest))
        asking = [
            Cause("check", _title(one), one.day, f"{pipeline.name}-check-{one.record}")
            for one in failed
            if one.day is not None
        ]
        if not asking:
            return dg.SkipReason("a model serves, or none was asked for")
        return request_for(pipeline, asking, state_of(pipeline, context.instance, ledger), "train_first_model")

    return sensor


def _on_count(
    pipeline: Pipeline,
    name: str,
    declared: bool,
    description: str,
    make: Callable[[Night, State], Cause | None],
) -> dg.SensorDefinition:
    """What is counted from the last training: labels, and days."""

    @dg.sensor(
        name=f"{pipeline.name}__{name}",
        job_name=retrain_name(pipeline),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING if declared else dg.DefaultSensorStatus.STOPPED,
        description=description,
    )
    def sensor(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
    ) -> dg.RunRequest | dg.SkipReason:
        if not declared:
            return dg.SkipReason("the pipeline's policy does not ask for it")
        state = state_of(pipeline, context.instance, ledger)
        if state.last_training_day is None:
            return dg.SkipReason("no model has been trained yet")
        labels, newest = new_labels(pipeline, lake, state.last_training_day)
        night = Night(newest, new_labels=labels)
        cause = make(night, state)
        if cause is None:
            since = f"since the training of {state.last_training_day}"
            return dg.SkipReason(f"{labels:,} labels and {(newest - state.last_training_day).days} days {since}")
        return request_for(pipeline, [cause], state, name)

    return sensor


def build(pipeline: Pipeline, settings: Settings) -> dg.Definitions:  # noqa: ARG001
    policy = pipeline.retraining

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
        state = state_of(pipeline, context.instance, ledger)
        return request_for(pipeline, [monthly_cause(pipeline, days[-1], month)], state, "retrain_monthly")

    return dg.Definitions(
        sensors=[
            _on_checks(pipeline),
            _first_model(pipeline),
            _on_count(
                pipeline,
                "retrain_on_new_labels",
                policy.new_labels is not None,
                "Asks for a retraining when enough labels have become known since the last one.",
                lambda night, state: labels_cause(pipeline.name, night, state, policy),
            ),
            _on_count(
                pipeline,
                "retrain_on_age",
                policy.every_days is not None,
                "Asks for a retraining when the last one, or the last probe, is as many days old as the policy says.",
                lambda night, state: schedule_cause(pipeline.name, night, state, policy),
            ),
        ],
        schedules=[retrain_monthly],
    )


def monthly_cause(pipeline: Pipeline, day: date, month: str) -> Cause:
    return Cause("schedule", f"monthly retraining of {month}", day, f"{pipeline.name}-month-{month}")
