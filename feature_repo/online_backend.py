"""What an online backend is: rows by table and key, of which the newest always wins.

What belongs here: the interface that the backends share, and choosing one by its URI. The backends are in
``online_sqlite.py`` and ``online_redis.py``; what the bytes of a row mean is said in ``online_values.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

Wanted = Sequence[tuple[str, Sequence[bytes]]]
Found = tuple[int, bytes]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class OnlineStoreUnavailable(ConnectionError):  # noqa: N818
    """The online store cannot be reached or does not answer; the message says which one and what to do."""


class StoredRow(NamedTuple):
    """The latest row of one entity in one table.

    Parameters
    ----------
    key : the entity's key, as ``online_values.encode_key`` makes it.
    event : event timestamp, microseconds since 1970 in UTC.
    created : created timestamp likewise; None where the source has none, which is earlier than any.
    values : all values of the row, as ``online_values.encode_values`` makes them.
    """

    key: bytes
    event: int
    created: int | None
    values: bytes


class OnlineBackend(Protocol):
    """Where rows are kept. All methods raise ``OnlineStoreUnavailable`` when the store cannot be reached."""

    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        """Writes rows; makes the table when it is missing.

        A row is never replaced by one of an older event timestamp; of equal ones the later created wins, and of
        equal ones in that too the one written last. This holds row by row, whoever writes at the same time.
        """

    def get(self, wanted: Wanted) -> list[list[Found | None]]:
        """(event, values) of the keys of several tables, in their order; None where there is no row or no table."""

    def drop(self, table: str) -> None:
        """Removes a table with all its rows; nothing happens when there is none."""

    def close(self) -> None:
        """Closes the connections; the next call opens new ones."""


@lru_cache(maxsize=16)
def open_backend(uri: str, timeout_seconds: float) -> OnlineBackend:
    """The backend that a URI names, opened once a process; connections are made when first used.

    Parameters
    ----------
    uri : ``sqlite:///absolute/path.db``, ``redis://[user:password@]host:port/db`` or the same with ``rediss``.
    timeout_seconds : the longest wait for a connection, an answer, or another writer's lock.

    Raises
    ------
    ValueError
        If the URI is of another kind.
    """
    match urlsplit(uri).scheme:
        case "sqlite":
            from feature_repo.online_sqlite import SqliteBackend

            return SqliteBackend(_path(uri), timeout_seconds)
        case "redis" | "rediss":
            from feature_repo.online_redis import RedisBackend

            return RedisBackend(uri, timeout_seconds)
    raise ValueError(
        f"online store {without_password(uri)!r}: write sqlite:///absolute/path.db or redis://host:port/db "
        f"(setting PERENNIAL_ONLINE_URI)"
    )


def without_password(uri: str) -> str:
    """A URI as it may be shown."""
    parts = urlsplit(uri)
    if not parts.username and not parts.password:
        return parts._replace(query="").geturl()
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of a moment; one without time zone is taken to be in UTC, as Feast does."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def moment_of(count: int) -> datetime:
    """The moment (UTC) so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=count)


def _path(uri: str) -> str:
    """The absolute path in a SQLite URI; three slashes or four, the path begins at the root."""
    path = uri.removeprefix("sqlite:").lstrip("/")
    if not path:
        raise ValueError(f"online store {uri!r} names no file; write sqlite:///absolute/path.db")
    return f"/{path}"
