"""Where alerts come from: failed runs, checks and ticks, what a retraining came to, and rules of thumb that broke.

What belongs here: reading Dagster's log and the lake, and putting what is found into words. Each source tells both
what went wrong and what went well, since the latter ends a problem. Not what is told to whom (``resources.alerts``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.batch_predictions import predictions_table
from assets.deployment import CAUSE_TAG, DECIDED_BY_TAG, TAG_LENGTH
from assets.drift_report import drift_table
from assets.parity import ONLINE_P99_MS, PARITY
from assets.performance_history import performance_table
from lifecycle.alert_rules import Measurement, Verdict, judge
from lifecycle.pipeline import Pipeline
from pipelines.event_log import Evaluation
from pipelines.jobs import retrain_name
from resources.alerts import Alert, Resolved
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus

Event = Alert | Resolved
_LOCATION = "pipelines.definitions"
# Standard errors: a rule of thumb warns where chance would on one night in forty; three make the check an error.
WARNED_FROM = 2.0
RANKED = {"auc": "AUC", "r2": "R²"}
_MOST_RUNS, _MOST_TICKS, _MOST_NAMED = 1000, 5, 5


def of_runs(instance: dg.DagsterInstance, since: datetime) -> Iterator[Event]:
    """Runs that failed; one of the same job and partition that succeeds ends the problem."""
    statuses = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    for record in instance.get_run_records(dg.RunsFilter(statuses=statuses, updated_after=since), limit=_MOST_RUNS):
        run = record.dagster_run
        common: dict[str, Any] = {
            "source": f"run {run.job_name}",
            "about": _partition(run),
            "link": f"/runs/{run.run_id}",
            "at": _moment(record.end_time or record.update_timestamp.timestamp()),
        }
        if run.status == dg.DagsterRunStatus.SUCCESS:
            yield Resolved("a later run succeeded", **common)
            continue
        cause = f"; asked for by {run.tags.get(DECIDED_BY_TAG, '')}: {run.tags[CAUSE_TAG]}" if _caused(run) else ""
        message = f"failed for {_partition(run) or 'no partition'}{cause}"
        yield Alert(severity="ERROR", message=message, evidence=f"run-{run.run_id}", **common)


def of_checks(evaluations: Sequence[Evaluation]) -> Iterator[Event]:
    """Checks that failed with an error; an evaluation without one, of that day or a later, ends the problem."""
    for found in evaluations:
        day = str(found.day or "a range of days")
        common: dict[str, Any] = {
            "source": f"check {found.title}",
            "link": _page_of(found),
            "day": found.day,
            "at": _moment(found.at),
        }
        if found.passed:
            yield Resolved(f"passes for {day}", **common)
        elif found.severity == dg.AssetCheckSeverity.ERROR:
            evidence = f"check-{found.record}"
            yield Alert(severity="ERROR", message=f"{day}: {found.message}", evidence=evidence, **common)
        else:
            yield Resolved(f"only warns for {day}: {found.message}", **common)


def _page_of(found: Evaluation) -> str:
    """Where to look: the diagnosis of a report's error, of anything else the check."""
    pipeline, *path = found.check.asset_key.path
    error = not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
    if error and found.day and path in (["drift_report"], ["performance_report"]):
        return f"/assets/{pipeline}/diagnosis?view=partitions&partition={found.day}"
    return f"/assets/{'/'.join([pipeline, *path])}?view=checks&checkDetail={found.check.name}"


def of_ticks(instance: dg.DagsterInstance, since: datetime) -> Iterator[Event]:
    """Ticks of sensors and schedules that failed, which Dagster never tells; one that does not ends the problem."""
    # Its module takes SQLAlchemy with it, which a code location need not load.
    from dagster._core.scheduler.instigation import TickStatus

    for state in instance.all_instigator_state():
        kind = state.instigator_type.value.lower()
        common: dict[str, Any] = {
            "source": f"{kind} {state.name}",
            "link": f"/locations/{_LOCATION}/{kind}s/{state.name}",
        }
        failed = _ticks(instance, state, since, [TickStatus.FAILURE], _MOST_TICKS)
        went_well = _ticks(instance, state, since, [TickStatus.SUCCESS, TickStatus.SKIPPED], 1)
        for tick in failed:
            message = tick.error.message.strip() if tick.error else "failed"
            evidence, at = f"tick-{state.name}-{tick.tick_id}", _moment(tick.timestamp)
            yield Alert(severity="ERROR", message=message, evidence=evidence, at=at, **common)
        for tick in went_well:
            yield Resolved("runs again", at=_moment(tick.timestamp), **common)


def of_retrainings(
    instance: dg.DagsterInstance, ledger: Ledger, pipelines: Sequence[Pipeline], since: datetime
) -> Iterator[Event]:
    """Retrainings that started, and what was decided; a promotion ends the problems that asked for it."""
    for pipeline in pipelines:
        started = dg.RunsFilter(job_name=retrain_name(pipeline), created_after=since)
        for record in instance.get_run_records(started, limit=_MOST_RUNS):
            run = record.dagster_run
            cause = f"{run.tags[DECIDED_BY_TAG]}: {run.tags[CAUSE_TAG]}" if _caused(run) else "a person"
            yield Alert(
                source=f"retraining {pipeline.name}",
                severity="INFO",
                message=f"started as of {_partition(run)}, asked for by {cause}",
                link=f"/runs/{run.run_id}",
                about=f"run {run.run_id[:8]}",
                evidence=f"started-{run.run_id}",
                at=_moment(record.create_timestamp.timestamp()),
            )
        entries = ledger.entries(pipeline.name)
        for entry in entries.filter(entries["recorded_at"] > since).iter_rows(named=True):
            yield from _decided(pipeline, entry)


def of_rules(
    pipelines: Sequence[Pipeline], evaluations: Sequence[Evaluation], lake: Lake, registry: Registry
) -> Iterator[Event]:
    """Rules of thumb on the newest day whose reports were made, and the newest whose requests were asked online.

    Being within the limit again ends the problem.
    """
    for pipeline in pipelines:
        reports = {stage.key(pipeline, name) for name in ("drift_report", "performance_report")}
        parity = dg.AssetCheckKey(stage.key(pipeline, "batch_predictions"), PARITY)
        if made := _newest(found for found in evaluations if found.check.asset_key in reports):
            measured = measurements(pipeline, made.day, lake, registry)  # type: ignore[arg-type]
            yield from (_met(pipeline, verdict, made) for verdict in judge(pipeline.monitor.alerts, measured))
        timed = (found for found in evaluations if found.check == parity and ONLINE_P99_MS in found.numbers)
        if asked := _newest(timed):
            yield from (_met(pipeline, verdict, asked) for verdict in judge(pipeline.monitor.alerts, [latency(asked)]))


def latency(parity: Evaluation) -> Measurement:
    """How long requests took to get their features from the online store, as the check of a night timed them."""
    asked = f"{parity.numbers['compared_online']:.0f} asked"
    subject = f"the features of one request from the online store, in milliseconds ({asked})"
    return Measurement("latency_p99_ms", parity.numbers[ONLINE_P99_MS], subject)


def measurements(pipeline: Pipeline, day: date, lake: Lake, registry: Registry) -> Iterator[Measurement]:
    """What the reports of a day hold that rules speak of: PSI, the error rate, and AUC or R²."""
    import polars as pl

    schema = {"day": pl.Date()}
    for row in lake.read_if_exists(drift_table(pipeline), schema, day, day).iter_rows(named=True):
        if row["psi"] is not None:
            yield Measurement("psi", row["psi"], row["name"], noise=row["expected_psi"])
    ranking = "auc" if pipeline.task == "classification" else "r2"
    for row in lake.read_if_exists(performance_table(pipeline), schema, day, day).iter_rows(named=True):
        if row.get("error_rate") is not None:
            yield Measurement("error_rate", row["error_rate"])
        # A row of an earlier release does not tell what was promised.
        error = row.get(f"{ranking}_fall_standard_error") or row.get(f"{ranking}_standard_error")
        # One day alone, such as a new champion's first, cannot tell by how much it varies.
        if row.get(ranking) is not None and error is not None:
            promised = row.get(f"{ranking}_promised")
            baseline = _at_judging(pipeline, day, ranking, lake, registry) if promised is None else promised
            yield Measurement("ranking", row[ranking], RANKED[ranking], baseline, WARNED_FROM * error)


def _at_judging(pipeline: Pipeline, day: date, metric: str, lake: Lake, registry: Registry) -> float | None:
    """The metric with which the version that forecast the day was judged."""
    before = day - timedelta(days=1)
    issued = lake.read(predictions_table(pipeline), before, before, ["model_version"])["model_version"].drop_nulls()
    if not issued.len():
        return None
    return registry.reference(registry.version(pipeline.name, int(issued[-1]))).metrics.get(metric)


def _newest(evaluations: Iterable[Evaluation]) -> Evaluation | None:
    """The last evaluation of the newest day."""
    of_days = [found for found in evaluations if found.day is not None]
    return max(of_days, key=lambda found: (found.day, found.record), default=None)


def _met(pipeline: Pipeline, verdict: Verdict, report: Evaluation) -> Event:
    asset = "drift_report" if verdict.rule.measure == "psi" else "performance_report"
    link = f"/assets/{pipeline.name}/{asset}?view=partitions&partition={report.day}"
    common: dict[str, Any] = {
        "source": f"rule {verdict.rule.name}",
        "about": pipeline.name,
        "link": _page_of(report) if verdict.rule.measure == "latency_p99_ms" else link,
        "day": report.day,
        "at": _moment(report.at),
    }
    if not verdict.broken_by:
        return Resolved(f"within the limit on {report.day}", **common)
    more = len(verdict.broken_by) - _MOST_NAMED
    text = "; ".join(verdict.broken_by[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
    evidence = f"rule-{verdict.rule.name}-{pipeline.name}-{report.record}"
    return Alert(severity="WARN", message=f"{report.day}: {text}", evidence=evidence, **common)


def _decided(pipeline: Pipeline, entry: dict[str, Any]) -> Iterator[Event]:
    version, at = entry["version"], entry["recorded_at"]
    link = f"/assets/{pipeline.name}/deployment?view=partitions&partition={entry['day']}"
    evidence = json.loads(entry["evidence"])
    match entry["event"]:
        case "gate" if evidence["promote"]:
            message = f"promoted as of {entry['day']}: {entry['reason']}"
            asked = _causes(pipeline, evidence.get("cause_id", ""))
            if asked:
                yield Resolved(f"version {version} of {pipeline.name} was promoted", link=link, evidence=asked, at=at)
        case "gate":
            message = f"refused as of {entry['day']}, the champion stays: {entry['reason']}"
        case "probe":
            saved = "probed, and worth a training" if evidence["worth"] else "probed, and not trained"
            message = f"{saved}, as of {entry['day']}: {entry['reason']}"
        case "rollback":
            message = (
                f"serves again instead of version {entry['replaces']}, by {entry['decided_by']}: {entry['reason']}"
            )
        case _:
            return
    identity = f"{pipeline.name}-{entry['event']}-{version}-{at.isoformat()}"
    source = f"{'rollback' if entry['event'] == 'rollback' else 'retraining'} {pipeline.name}"
    yield Alert(source, "INFO", message, link, f"version {version}", identity, at=at)


def _causes(pipeline: Pipeline, cause_ids: str) -> tuple[str, ...]:
    """The evidence of alerts that a retraining answers: those of its causes that are checks."""
    listed = cause_ids.split()
    if len(cause_ids) >= TAG_LENGTH:  # a tag's end is cut, and half a number is another number
        listed = listed[:-1]
    prefix = f"{pipeline.name}-"
    return tuple(cause.removeprefix(prefix) for cause in listed if cause.startswith(f"{prefix}check-"))


def _ticks(
    instance: dg.DagsterInstance, state: InstigatorState, since: datetime, statuses: list[TickStatus], limit: int
) -> Sequence[InstigatorTick]:
    return instance.get_ticks(
        state.instigator_origin_id, state.selector_id, after=since.timestamp(), statuses=statuses, limit=limit
    )


def _caused(run: dg.DagsterRun) -> bool:
    return CAUSE_TAG in run.tags and DECIDED_BY_TAG in run.tags


def _partition(run: dg.DagsterRun) -> str:
    """The partition of a run, or its range; empty when it has none."""
    ends = [run.tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end")]
    return run.tags.get("dagster/partition") or "...".join(end for end in ends if end)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
