"""Reading Dagster's event log. The one module that uses Dagster's private interfaces, and only for reading.

Dagster has no public way to walk the evaluations of one check; ``asset_sensor`` sees only the last event of a tick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_PAGE = 200


@dataclass(frozen=True)
class FailedCheck:
    """One evaluation that failed.

    Parameters
    ----------
    record : number of the evaluation in the event log; grows with time.
    day : the partition, None for an evaluation of a whole range.
    """

    record: int
    check: dg.AssetCheckKey
    day: date | None
    severity: dg.AssetCheckSeverity
    message: str
    run_id: str

    @property
    def title(self) -> str:
        return f"{self.check.asset_key.to_user_string()}:{self.check.name}"


def failed_checks(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], after: int) -> list[FailedCheck]:
    """All evaluations of some checks recorded after a record that failed, oldest first."""
    found = [failed for key in checks for failed in _failures_of(instance, key, after)]
    return sorted(found, key=lambda failed: failed.record)


def newest_record(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]) -> int:
    """The newest record of some checks, 0 before the first."""
    storage = instance.event_log_storage
    newest = [storage.get_asset_check_execution_history(key, limit=1) for key in checks]
    return max((records[0].id for records in newest if records), default=0)


def unfinished_runs(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    """The runs of a job that wait or are under way."""
    return list(instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED)))


def _failures_of(instance: dg.DagsterInstance, key: dg.AssetCheckKey, after: int) -> Iterable[FailedCheck]:
    cursor = None
    while True:
        records = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=_PAGE, cursor=cursor, status={AssetCheckExecutionRecordStatus.FAILED}
        )
        for record in records:
            if record.id <= after:
                return
            evaluation = record.evaluation
            if evaluation is not None:
                partition = evaluation.partition
                yield FailedCheck(
                    record=record.id,
                    check=key,
                    day=date.fromisoformat(partition) if partition else None,
                    severity=evaluation.severity,
                    message=evaluation.description or "",
                    run_id=record.run_id,
                )
        if len(records) < _PAGE:
            return
        cursor = records[-1].id
