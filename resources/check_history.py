"""What checks said about the partitions of their assets, read from Dagster's event log.

What belongs here: looking up evaluations by check and day, by interfaces of Dagster that are private, only for reading.
Walking all of them in order is ``pipelines.event_log``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation


@dataclass(frozen=True)
class Said:
    """One evaluation of a check about one day.

    Parameters
    ----------
    asset, check : names, the asset's without the pipeline.
    error : whether it failed with an error; a failure without is a warning.
    """

    asset: str
    check: str
    day: date
    passed: bool
    error: bool
    message: str

    @property
    def title(self) -> str:
        return f"{self.asset}:{self.check}"


def said_about(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], day: date) -> list[Said]:
    """What each check said last about a day; those that said nothing are left out."""
    # Its module takes SQLAlchemy with it, which a code location need not load.
    from dagster._core.storage.event_log.base import PartitionKeyFilter

    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        checks, partition_filter=PartitionKeyFilter(key=str(day))
    )
    return [_said(found.evaluation, day) for check in checks if (found := records.get(check)) and found.evaluation]


def failed_between(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], first: date, last: date
) -> list[Said]:
    """What failed last about the days ``first`` to ``last``, errors and warnings, in order of day."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
    from dagster._core.storage.event_log.base import PartitionKeyFilter

    names = [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]
    failed = {AssetCheckExecutionRecordStatus.FAILED}
    found: dict[tuple[dg.AssetCheckKey, date], Said] = {}
    storage = instance.event_log_storage
    for info in storage.get_asset_check_partition_info(list(checks), partition_keys=names):
        if info.latest_execution_status != AssetCheckExecutionRecordStatus.FAILED or info.partition_key is None:
            continue
        day = date.fromisoformat(info.partition_key)
        history = storage.get_asset_check_execution_history(
            info.check_key, limit=1, status=failed, partition_filter=PartitionKeyFilter(key=info.partition_key)
        )
        if history and history[0].evaluation:
            found[info.check_key, day] = _said(history[0].evaluation, day)
    return sorted(found.values(), key=lambda said: (said.day, said.title))


def _said(evaluation: AssetCheckEvaluation, day: date) -> Said:
    return Said(
        asset="/".join(evaluation.asset_key.path[1:]),
        check=evaluation.check_name,
        day=day,
        passed=evaluation.passed,
        error=not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR,
        message=evaluation.description or "",
    )
