"""The faster event log holds what Dagster's own holds."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from pipelines.event_storage import SqliteEventStorage

DAYS = dg.StaticPartitionsDefinition(["monday", "tuesday"])


@dg.asset(partitions_def=DAYS, check_specs=[dg.AssetCheckSpec("full", asset="shelf", partitions_def=DAYS)])
def shelf() -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={"boxes": 3}, check_results=[dg.AssetCheckResult(passed=False, check_name="full")]
    )


@dg.asset(partitions_def=DAYS, deps=[shelf])
def shop() -> None: ...


def _instance(home: Path, module: str, name: str) -> dg.DagsterInstance:
    home.mkdir()
    (home / "dagster.yaml").write_text(
        f"telemetry:\n  enabled: false\nevent_log_storage:\n  module: {module}\n  class: {name}\n"
        f"  config:\n    base_dir: {home}/events\n"
    )
    return dg.DagsterInstance.from_config(str(home))


def _told(instance: dg.DagsterInstance) -> dict[str, object]:
    """What people and sensors ask an instance, without what differs from run to run."""
    runs = [
        dg.materialize([shelf, shop], instance=instance, partition_key=day).run_id
        for day in ("monday", "tuesday", "monday")
    ]
    numbers = {run: number for number, run in enumerate(runs)}
    storage = instance.event_log_storage
    checks = storage.get_asset_check_execution_history(dg.AssetCheckKey(shelf.key, "full"), limit=10)
    return {
        "events": [[event.dagster_event_type for event in instance.all_logs(run)] for run in runs],
        "materialized": {
            asset.key.to_user_string(): storage.get_materialized_partitions(asset.key) for asset in (shelf, shop)
        },
        "records": [
            (record.asset_entry.asset_key, numbers[str(record.asset_entry.last_run_id)])
            for record in instance.get_asset_records([shelf.key, shop.key])
        ],
        "fetched": [
            (found.partition_key, found.asset_materialization.metadata if found.asset_materialization else None)
            for found in instance.fetch_materializations(shelf.key, limit=10).records
        ],
        "checks": [(check.status, check.partition, numbers[check.run_id]) for check in checks],
    }


def test_a_run_leaves_the_same_history_as_in_dagsters_own_log(tmp_path: Path) -> None:
    ours = _instance(tmp_path / "ours", SqliteEventStorage.__module__, SqliteEventStorage.__name__)
    own = ConsolidatedSqliteEventLogStorage
    theirs = _instance(tmp_path / "theirs", "dagster._core.storage.event_log", own.__name__)
    assert isinstance(ours.event_log_storage, SqliteEventStorage)
    found = _told(ours)
    assert found == _told(theirs)
    assert found["materialized"] == {"shelf": {"monday", "tuesday"}, "shop": {"monday", "tuesday"}}
