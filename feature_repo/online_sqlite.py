"""Online rows in a SQLite file: one table a view, one row an entity.

In write-ahead mode readers neither wait for a writer nor fail because of it: they see the rows as they were before
its transaction. Writers wait for each other, no longer than the timeout.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from feature_repo.online_backend import Found, OnlineStoreUnavailable, StoredRow, Wanted

_LARGEST_QUERY = 512  # keys; one statement is prepared for every power of two up to it
_WAL_ATTEMPTS = 10
_UPSERT = """
INSERT INTO {table} (key, event, created, vals) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET event = excluded.event, created = excluded.created, vals = excluded.vals
WHERE excluded.event > event
   OR (excluded.event = event AND ifnull(excluded.created, {never}) >= ifnull(created, {never}))
"""
_NEVER = -(2**63)


class SqliteBackend:
    """Rows in one SQLite file; every thread and process has a connection of its own.

    Parameters
    ----------
    path : the file; its folder is made when missing.
    timeout_seconds : the longest wait for another writer.
    """

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._path, self._timeout = path, timeout_seconds
        self._mine = threading.local()
        self._open: list[sqlite3.Connection] = []

    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        name = _quoted(table)
        with self._connection() as connection, _transaction(connection, "IMMEDIATE"):
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {name} (key BLOB PRIMARY KEY, event INTEGER NOT NULL, created INTEGER, "
                "vals BLOB NOT NULL) WITHOUT ROWID"
            )
            connection.executemany(_UPSERT.format(table=name, never=_NEVER), rows)

    def get(self, wanted: Wanted) -> list[list[Found | None]]:
        with self._connection() as connection, _transaction(connection, "DEFERRED"):  # all tables at one moment
            return [_rows(connection, _quoted(table), keys) for table, keys in wanted]

    def drop(self, table: str) -> None:
        with self._connection() as connection, _transaction(connection, "IMMEDIATE"):
            connection.execute(f"DROP TABLE IF EXISTS {_quoted(table)}")

    def close(self) -> None:
        while self._open:
            self._open.pop().close()
        self._mine = threading.local()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            # A connection must not be used in a child process that inherited it.
            if getattr(self._mine, "process", None) != os.getpid():
                self._mine.connection, self._mine.process = self._connect(), os.getpid()
            yield self._mine.connection
        except sqlite3.Error as error:
            raise OnlineStoreUnavailable(
                f"the online store in {self._path} fails: {error}. Look at the file, its folder and the disk; a "
                "broken file can be removed: the next refresh fills it again"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        _write_ahead(connection)
        # With a write-ahead log this cannot break the file; a power cut may lose the last rows, which come again.
        connection.execute("PRAGMA synchronous = NORMAL")
        self._open.append(connection)
        return connection


def _rows(connection: sqlite3.Connection, table: str, keys: Sequence[bytes]) -> list[Found | None]:
    found: dict[bytes, Found] = {}
    try:
        for start in range(0, len(keys), _LARGEST_QUERY):
            some = keys[start : start + _LARGEST_QUERY]
            places = 1 << (len(some) - 1).bit_length()
            query = f"SELECT key, event, vals FROM {table} WHERE key IN ({','.join('?' * places)})"
            some = [*some, *[some[-1]] * (places - len(some))]
            found.update((key, (event, values)) for key, event, values in connection.execute(query, some))
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
    return [found.get(key) for key in keys]


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches a new file to write-ahead mode, which several processes may try at once.

    SQLite refuses the switch while another holds the file, without waiting; to begin a write is to wait for it.
    """
    for attempt in range(_WAL_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            with _transaction(connection, "IMMEDIATE"):
                pass


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
