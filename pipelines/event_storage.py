"""Dagster's event log in one SQLite file, without what makes it slow. Uses Dagster's private interfaces.

Dagster's own consolidated storage opens a new engine for every statement, so that every statement is compiled
again, asks with every event which tables and columns there are, and stores the events of a backfill one by one: 365
days of 22 assets are 16,000 events of 8 ms. Here the engine is kept, what is there is asked once, and an event, or
the events that Dagster hands over as a batch, go in as one transaction. What a night asks and says hundreds of times
is SQL here and not built of Python objects every time, which takes ten times as long as running it. The tables are
Dagster's: the instance can go back to ``ConsolidatedSqliteEventLogStorage`` at any time.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from dagster import AssetKey, DagsterEventType, EventLogRecord, EventRecordsFilter
from dagster._core.assets import AssetDetails
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.event_log.base import AssetRecord
from dagster._core.storage.event_log.schema import AssetKeyTable
from dagster._serdes import deserialize_value
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine

BUSY_SECONDS = 60

_INSERT_EVENT = """
INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
_PLAN_CHECK = """
INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id, execution_status, evaluation_event,
    evaluation_event_timestamp, evaluation_event_storage_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_CHECK = """
UPDATE asset_check_executions
SET execution_status = ?, evaluation_event = ?, evaluation_event_timestamp = ?, evaluation_event_storage_id = ?,
    materialization_event_storage_id = ?
WHERE asset_key = ? AND check_name = ? AND run_id = ? AND partition IS ?"""
_ASSET_DETAILS = "SELECT asset_details FROM asset_keys WHERE asset_key = ?"
_EVENTS_OF_PARTITION = """
SELECT id, event FROM event_logs
WHERE dagster_event_type = ? AND asset_key = ? AND partition = ? ORDER BY id DESC LIMIT ?"""
_TAGS_BY_PARTITION = """
SELECT latest.partition, tags.key, tags.value
FROM (
    SELECT partition, max(id) AS id FROM event_logs
    WHERE asset_key = ? AND dagster_event_type = ? AND partition IN ({partitions}) GROUP BY partition
) AS latest JOIN asset_event_tags AS tags ON tags.event_id = latest.id
WHERE tags.key IN ({keys})"""


class SqliteEventStorage(ConsolidatedSqliteEventLogStorage):
    """One SQLite file for all events, with one engine a process and batches in one transaction."""

    @cached_property
    def _engine(self) -> Engine:
        engine = create_engine(self._conn_string, connect_args={"timeout": BUSY_SECONDS})

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            # With a write-ahead log this loses nothing when a process is killed.
            connection.execute("PRAGMA synchronous=NORMAL")

        return engine

    @cached_property
    def _open(self) -> threading.local:
        """The connection whose transaction is under way in this thread."""
        return threading.local()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        connection: Connection | None = getattr(self._open, "connection", None)
        if connection is not None:
            yield connection  # part of what is stored together
            return
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _together(self) -> Iterator[Connection]:
        """One transaction for all that is asked and stored within."""
        with self._connect() as connection:
            before = getattr(self._open, "connection", None)
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = before

    @cached_property
    def _found(self) -> set[str]:
        """Tables and columns that are known to be there; only a migration brings more, and none goes."""
        return set()

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._found:
            with self._engine.connect() as connection:
                if not self._engine.dialect.has_table(connection, table_name):
                    return False
            self._found.add(table_name)
        return True

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        name = f"asset_keys.{column_name}"
        if name not in self._found and super()._has_asset_key_col_on_connection(conn, column_name):
            self._found.add(name)
        return name in self._found

    def store_event(self, event: EventLogEntry) -> None:
        """Stores an event with all that goes with it."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events that come together (the partitions of a backfill, the plan of a run) in one transaction."""
        with self._together() as connection:
            self._open.rows = {}
            try:
                self._store(connection, events)
            finally:
                self._open.rows = None

    def _store(self, connection: Connection, events: Sequence[EventLogEntry]) -> None:
        stored = [(entry, self._insert(connection, entry)) for entry in events]
        assets = [(entry, number) for entry, number in stored if _is(entry, ASSET_EVENTS)]
        if assets:
            self._store_asset_event_tags(connection, [entry for entry, _ in assets], [n for _, n in assets])
        # An asset's own row holds its last event only.
        for entry, number in {str(e.get_dagster_event().asset_key): (e, n) for e, n in assets}.values():
            self._store_asset_event(connection, entry, number)
        for entry, number in stored:
            if _is(entry, ASSET_CHECK_EVENTS):
                self.store_asset_check_event(entry, number)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        # Nearly always there is a row: to insert first, as Dagster does, is to fail first.
        values = self._get_asset_entry_values(event, event_id, self._has_asset_key_index_cols_on_connection(conn))
        key = str(event.get_dagster_event().asset_key.to_string())  # type: ignore[union-attr]
        if values and not conn.execute(AssetKeyTable.update().where(AssetKeyTable.c.asset_key == key), values).rowcount:
            conn.execute(AssetKeyTable.insert(), {"asset_key": key, **values})

    def _event_to_row(self, event: EventLogEntry) -> dict[str, Any]:
        """The event's row, which is made once while the event is stored: that of a check is also in the check's."""
        rows: dict[int, dict[str, Any]] | None = getattr(self._open, "rows", None)
        if rows is None:
            return super()._event_to_row(event)
        if id(event) not in rows:
            rows[id(event)] = super()._event_to_row(event)
        return rows[id(event)]

    def _insert(self, connection: Connection, entry: EventLogEntry) -> int:
        row = self._event_to_row(entry)
        values = (row["run_id"], row["event"], row["dagster_event_type"], _stored(row["timestamp"]))
        cursor = _sqlite(connection).execute(
            _INSERT_EVENT, (*values, row["step_key"], row["asset_key"], row["partition"])
        )
        return int(cursor.lastrowid)

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        planned: Any = event.get_dagster_event().event_specific_data
        days = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        row, status = self._event_to_row(event), AssetCheckExecutionRecordStatus.PLANNED.value
        name = (planned.asset_key.to_string(), planned.check_name)
        said = (row["event"], _stored(row["timestamp"]), event_id)
        with self._connect() as connection:
            _sqlite(connection).executemany(_PLAN_CHECK, [(*name, day, event.run_id, status, *said) for day in days])

    def _update_asset_check_evaluation(self, event: EventLogEntry, event_id: int | None) -> None:
        data: Any = event.get_dagster_event().event_specific_data
        status = AssetCheckExecutionRecordStatus
        target = data.target_materialization_data
        with self._connect() as connection:
            row = self._event_to_row(event)
            found = _sqlite(connection).execute(
                _UPDATE_CHECK,
                (
                    (status.SUCCEEDED if data.passed else status.FAILED).value,
                    row["event"],
                    _stored(row["timestamp"]),
                    event_id,
                    target.storage_id if target else None,
                    data.asset_key.to_string(),
                    data.check_name,
                    event.run_id,
                    data.partition,
                ),
            )
            if found.rowcount != 1:  # nothing was planned, or twice: Dagster knows what to do
                super()._update_asset_check_evaluation(event, event_id)

    # What every step asks of its inputs, and every check of what it judges

    def _get_assets_details(self, asset_keys: Sequence[AssetKey]) -> Sequence[AssetDetails | None]:
        with self._connect() as connection:
            read = _sqlite(connection).execute
            rows = [read(_ASSET_DETAILS, (key.to_string(),)).fetchone() for key in asset_keys]
        return [deserialize_value(row[0], AssetDetails) if row and row[0] else None for row in rows]

    def get_asset_records(self, asset_keys: Sequence[AssetKey] | None = None) -> Sequence[AssetRecord]:
        with self._together():
            return super().get_asset_records(asset_keys)

    def _get_event_records(
        self, event_records_filter: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> Sequence[EventLogRecord]:
        asked = event_records_filter
        key, partitions = asked.asset_key, list(asked.asset_partitions or ())
        only = EventRecordsFilter(asked.event_type, asset_key=key, asset_partitions=partitions)
        with self._together() as connection:
            if key is None or len(partitions) != 1 or ascending or asked != only or self._was_wiped(key):
                return super()._get_event_records(asked, limit, ascending)
            values = (asked.event_type.value, key.to_string(), *partitions, limit or -1)
            rows = _sqlite(connection).execute(_EVENTS_OF_PARTITION, values).fetchall()
        return [EventLogRecord(number, deserialize_value(text, EventLogEntry)) for number, text in rows]

    def get_latest_tags_by_partition(
        self,
        asset_key: AssetKey,
        event_type: DagsterEventType,
        tag_keys: Sequence[str],
        asset_partitions: Sequence[str] | None = None,
        before_cursor: int | None = None,
        after_cursor: int | None = None,
    ) -> Mapping[str, Mapping[str, str]]:
        bounded = before_cursor is not None or after_cursor is not None
        known = len(tag_keys) == len(self.get_asset_tags_to_index(set(tag_keys)))
        found: dict[str, dict[str, str]] = {}
        with self._together() as connection:
            if not asset_partitions or bounded or not known or self._was_wiped(asset_key):
                return super().get_latest_tags_by_partition(
                    asset_key, event_type, tag_keys, asset_partitions, before_cursor, after_cursor
                )
            query = _TAGS_BY_PARTITION.format(partitions=_marks(asset_partitions), keys=_marks(tag_keys))
            values = (asset_key.to_string(), event_type.value, *asset_partitions, *tag_keys)
            for partition, tag, value in _sqlite(connection).execute(query, values):
                found.setdefault(partition, {})[tag] = value
        return found

    def _was_wiped(self, key: AssetKey) -> bool:
        """Whether events of an asset are to be left out; that is seldom, and Dagster's own query does it."""
        (details,) = self._get_assets_details([key])
        return details is not None and bool(details.last_wipe_timestamp)


def _sqlite(connection: Connection) -> Any:
    """SQLite's own connection, in the same transaction."""
    return connection.connection.dbapi_connection


def _stored(moment: Any) -> str:
    """A moment as SQLAlchemy writes it."""
    return str(moment.isoformat(" ", "microseconds"))


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _is(entry: EventLogEntry, kinds: Any) -> bool:
    return entry.is_dagster_event and entry.dagster_event_type in kinds
