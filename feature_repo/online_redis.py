"""Online rows in Redis: one hash a view, one field an entity.

Rows of several views come in one round trip. A row is one field, so a reader sees it whole or not at all; it is
compared with the one it would replace inside Redis, so several writers cannot overwrite newer with older.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from feature_repo.online_backend import Found, OnlineStoreUnavailable, StoredRow, Wanted, without_password

if TYPE_CHECKING:
    from redis import Redis

_PREFIX = "online:"
_HEADER = struct.Struct(">qq")
_NEVER = -(2**63)
_SCRIPT_ROWS, _TRIP_SCRIPTS = 500, 20
# A field begins with event and created, 64 bits each. Lua's numbers hold 53 bits, so they are compared in halves.
_PUT = """
for i = 1, #ARGV, 2 do
    local old, new, replace = redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1], true
    if old then
        local o, n = {struct.unpack('>i4I4i4I4', old)}, {struct.unpack('>i4I4i4I4', new)}
        for part = 1, 4 do
            if n[part] ~= o[part] then
                replace = n[part] > o[part]
                break
            end
        end
    end
    if replace then
        redis.call('HSET', KEYS[1], ARGV[i], new)
    end
end
"""


class RedisBackend:
    """Rows in a Redis server, version 4 or newer.

    Parameters
    ----------
    timeout_seconds : the longest wait for a connection and for an answer; each is tried twice, because the server
        may have been started anew since the last call.
    """

    def __init__(self, uri: str, timeout_seconds: float) -> None:
        self._uri, self._timeout = uri, timeout_seconds

    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        trip = _SCRIPT_ROWS * _TRIP_SCRIPTS
        with self._clear_errors():
            script: Any = self._redis.register_script(_PUT)
            for start in range(0, len(rows), trip):
                pipeline = self._redis.pipeline(transaction=False)
                for first in range(start, min(start + trip, len(rows)), _SCRIPT_ROWS):
                    fields = [part for row in rows[first : first + _SCRIPT_ROWS] for part in _field(row)]
                    script(keys=[_PREFIX + table], args=fields, client=pipeline)
                pipeline.execute()

    def get(self, wanted: Wanted) -> list[list[Found | None]]:
        asked = [(table, keys) for table, keys in wanted if keys]
        with self._clear_errors():
            pipeline: Any = self._redis.pipeline(transaction=False)
            for table, keys in asked:
                pipeline.hmget(_PREFIX + table, keys)
            answers = iter(pipeline.execute())
        return [[_found(field) for field in next(answers)] if keys else [] for _, keys in wanted]

    def drop(self, table: str) -> None:
        with self._clear_errors():
            self._redis.unlink(_PREFIX + table)

    def close(self) -> None:
        self._redis.close()

    @cached_property
    def _redis(self) -> Redis:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return Redis.from_url(
            self._uri,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=Retry(NoBackoff(), 1),
        )

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except RedisError as error:
            raise OnlineStoreUnavailable(
                f"the online store at {without_password(self._uri)} fails: {error}. Start the server, or name another "
                "one in the setting PERENNIAL_ONLINE_URI; rows that were not written come with the next refresh"
            ) from error


def _field(row: StoredRow) -> tuple[bytes, bytes]:
    return row.key, _HEADER.pack(row.event, _NEVER if row.created is None else row.created) + row.values


def _found(field: bytes | None) -> Found | None:
    return None if field is None else (_HEADER.unpack_from(field)[0], field[_HEADER.size :])
