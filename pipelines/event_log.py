"""Reading Dagster's event log. The one module that uses Dagster's private interfaces, and only for reading.

Dagster has no public way to walk the evaluations of checks; ``asset_sensor`` sees only the last event of a tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from math import inf

import dagster as dg

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_PAGE = 200


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a check.

    Parameters
    ----------
    record : number of the evaluation in the event log; grows with time.
    at : seconds since the epoch.
    day : the partition, None for an evaluation of a whole range.
    numbers : the numbers among its metadata, by name.
    """

    record: int
    at: float
    check: dg.AssetCheckKey
    day: date | None
    passed: bool
    severity: dg.AssetCheckSeverity
    message: str
    run_id: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.check.asset_key.to_user_string()}:{self.check.name}"


def evaluations(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], after: int, until: int | None = None
) -> Iterator[Evaluation]:
    """All evaluations of some checks, recorded after a record and up to another, oldest first."""
    wanted = set(checks)
    return (
        found for found in _evaluations(instance, after) if found.check in wanted and found.record <= (until or inf)
    )


def failed_checks(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], after: int, until: int | None = None
) -> list[Evaluation]:
    """Those that failed."""
    return [found for found in evaluations(instance, checks, after, until) if not found.passed]


def newest_record(instance: dg.DagsterInstance) -> int:
    """The newest evaluation of any check, 0 before the first."""
    newest = instance.event_log_storage.get_event_records(_evaluations_after(0), limit=1, ascending=False)
    return newest[0].storage_id if newest else 0


def unfinished_runs(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    """The runs of a job that wait or are under way."""
    return list(instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED)))


def _evaluations_after(record: int) -> dg.EventRecordsFilter:
    # Events and not the rows of the checks' own history: such a row is made when a run is planned and filled in
    # place when the check is evaluated, so a reader that looks in between takes it for seen.
    return dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=record)


def _evaluations(instance: dg.DagsterInstance, after: int) -> Iterator[Evaluation]:
    storage = instance.event_log_storage
    while records := storage.get_event_records(_evaluations_after(after), limit=_PAGE, ascending=True):
        for record in records:
            found = record.event_log_entry.get_dagster_event().asset_check_evaluation_data
            yield Evaluation(
                record=record.storage_id,
                at=record.timestamp,
                check=found.asset_check_key,
                day=date.fromisoformat(found.partition) if found.partition else None,
                passed=found.passed,
                severity=found.severity,
                message=found.description or "",
                run_id=record.run_id,
                numbers=_numbers(found.metadata),
            )
        after = records[-1].storage_id


def _numbers(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, float]:
    numeric = (dg.FloatMetadataValue, dg.IntMetadataValue)
    return {
        name: value.value for name, value in metadata.items() if isinstance(value, numeric) and value.value is not None
    }
