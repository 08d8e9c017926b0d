"""The faster event log holds what Dagster's own holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
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
        "partition": [
            (found.storage_id, found.partition_key, numbers[found.run_id])
            for found in instance.fetch_materializations(_of("monday"), limit=5).records
        ],
        "planned": [
            number
            for day in ("monday", "tuesday")
            for number, run in enumerate(runs)
            for found in instance.get_event_records(_planned(day))
            if found.run_id == run
        ],
        "data_versions": sorted(
            storage.get_latest_tags_by_partition(
                shelf.key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], ["monday", "tuesday", "none"]
            )
        ),
        "checks": [
            (
                check.status,
                check.partition,
                numbers[check.run_id],
                _judged(check).storage_id,
                numbers[_judged(check).run_id],
            )
            for check in checks
        ],
    }


def _of(day: str) -> dg.AssetRecordsFilter:
    return dg.AssetRecordsFilter(asset_key=shelf.key, asset_partitions=[day])


def _planned(day: str) -> dg.EventRecordsFilter:
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    return dg.EventRecordsFilter(kind, asset_key=shelf.key, asset_partitions=[day])


def _judged(check: AssetCheckExecutionRecord) -> AssetCheckEvaluationTargetMaterializationData:
    """The materialization that a check has looked at."""
    assert check.evaluation is not None
    assert check.evaluation.target_materialization_data is not None
    return check.evaluation.target_materialization_data


def _rows(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """What stands in the tables, as far as it is the same in every run."""
    columns = {
        "event_logs": "id, dagster_event_type, step_key, asset_key, partition, length(timestamp)",
        "asset_check_executions": "asset_key, check_name, partition, execution_status, evaluation_event_storage_id, "
        "materialization_event_storage_id, length(evaluation_event_timestamp)",
        "asset_event_tags": "event_id, asset_key, key",
        "asset_keys": "asset_key",
    }
    with closing(sqlite3.connect(home / "events" / "event_log.db")) as connection:
        return {
            table: connection.execute(f"SELECT {names} FROM {table}").fetchall() for table, names in columns.items()
        }


def test_a_run_leaves_the_same_history_as_in_dagsters_own_log(tmp_path: Path) -> None:
    ours = _instance(tmp_path / "ours", SqliteEventStorage.__module__, SqliteEventStorage.__name__)
    own = ConsolidatedSqliteEventLogStorage
    theirs = _instance(tmp_path / "theirs", "dagster._core.storage.event_log", own.__name__)
    assert isinstance(ours.event_log_storage, SqliteEventStorage)
    found = _told(ours)
    assert found == _told(theirs)
    assert _rows(tmp_path / "ours") == _rows(tmp_path / "theirs")
    assert found["materialized"] == {"shelf": {"monday", "tuesday"}, "shop": {"monday", "tuesday"}}


def test_what_was_wiped_is_not_told_of_any_more(tmp_path: Path) -> None:
    instance = _instance(tmp_path / "ours", SqliteEventStorage.__module__, SqliteEventStorage.__name__)
    dg.materialize([shelf, shop], instance=instance, partition_key="monday")
    assert instance.fetch_materializations(_of("monday"), limit=5).records
    instance.wipe_assets([shelf.key])
    kind, days = dg.DagsterEventType.ASSET_MATERIALIZATION, ["monday"]
    tags = instance.event_log_storage.get_latest_tags_by_partition
    assert not instance.fetch_materializations(_of("monday"), limit=5).records
    assert not tags(shelf.key, kind, [DATA_VERSION_TAG], days)
    dg.materialize([shelf, shop], instance=instance, partition_key="monday")
    assert len(instance.fetch_materializations(_of("monday"), limit=5).records) == 1
    assert set(tags(shelf.key, kind, [DATA_VERSION_TAG], days)) == {"monday"}
