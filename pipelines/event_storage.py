"""Dagster's event log in one SQLite file, without what makes it slow. Uses Dagster's private interfaces.

Dagster's own consolidated storage opens a new engine for every statement, so that every statement is compiled
again, asks with every event which tables and columns there are, and stores the events of a backfill one by one: 365
days of 22 assets are 16,000 events of 8 ms. Here the engine is kept, what is there is asked once, and an event, or
the events that Dagster hands over as a batch, go in as one transaction. The tables are Dagster's: the instance can
go back to ``ConsolidatedSqliteEventLogStorage`` at any time.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine

BUSY_SECONDS = 60


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
        with self._connect() as connection:
            self._open.connection = connection
            try:
                self._store(connection, events)
            finally:
                self._open.connection = None

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

    def _insert(self, connection: Connection, entry: EventLogEntry) -> int:
        # The row as parameters and not as part of the statement, so that this is compiled once.
        result = connection.execute(SqlEventLogStorageTable.insert(), self._event_to_row(entry))
        key: Any = result.inserted_primary_key
        return int(key[0])


def _is(entry: EventLogEntry, kinds: Any) -> bool:
    return entry.is_dagster_event and entry.dagster_event_type in kinds
