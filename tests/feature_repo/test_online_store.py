"""The online store through Feast's own front door and straight at its backends, with real files and a real Redis."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.redis_server import NOT_INSTALLED, RedisServer, installed, redis_server
from feature_repo.online_backend import OnlineBackend, OnlineStoreUnavailable, StoredRow, open_backend
from feature_repo.online_store import RowOnlineStore, RowOnlineStoreConfig
from feature_repo.online_values import KeyEncoder

ROOT = Path(__file__).parents[2]
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BACKENDS = ["sqlite", pytest.param("redis", marks=pytest.mark.skipif(not installed(), reason=NOT_INSTALLED))]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store."""
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/online.db"
        return
    server: RedisServer = request.getfixturevalue("redis")
    yield server.uri
    from redis import Redis

    Redis.from_url(server.uri).flushall()


@pytest.fixture
def backend(uri: str) -> OnlineBackend:
    return open_backend(uri, 2.0)


def test_the_newest_row_stays_in_whatever_order_rows_come(backend: OnlineBackend) -> None:
    rows = [StoredRow(b"k", 1, 9, b"old"), StoredRow(b"k", 2, 1, b"corrected"), StoredRow(b"k", 2, 0, b"new")]
    for number, order in enumerate(itertools.permutations(rows)):
        for row in order:
            backend.put(f"singly {number}", [row])
        backend.put(f"together {number}", order)
        found = backend.get([(f"singly {number}", [b"k"]), (f"together {number}", [b"k"])])
        assert found == [[(2, b"corrected")], [(2, b"corrected")]]


def test_of_rows_equal_in_both_moments_the_one_written_last_stays(backend: OnlineBackend) -> None:
    backend.put("t", [StoredRow(b"k", 1, 1, b"first"), StoredRow(b"k", 1, 1, b"second")])
    assert backend.get([("t", [b"k"])]) == [[(1, b"second")]]
    backend.put("t", [StoredRow(b"k", 1, 1, b"third"), StoredRow(b"k", 1, None, b"created who knows when")])
    assert backend.get([("t", [b"k"])]) == [[(1, b"third")]]


@pytest.mark.parametrize("moment", [-(2**62), -1, 0, 2**31, 2**32 + 1, 2**53 + 1, 2**62])
def test_moments_are_compared_to_the_last_of_their_64_bits(backend: OnlineBackend, moment: int) -> None:
    backend.put("t", [StoredRow(b"k", moment, None, b"new"), StoredRow(b"k", moment - 1, None, b"old")])
    assert backend.get([("t", [b"k"])]) == [[(moment, b"new")]]
    backend.put("t", [StoredRow(b"k", moment + 1, None, b"newer")])
    assert backend.get([("t", [b"k"])]) == [[(moment + 1, b"newer")]]


def test_what_is_not_stored_is_none_and_the_order_of_the_question_is_kept(backend: OnlineBackend) -> None:
    keys = [f"{number}\0'\"".encode() for number in range(1200)]
    backend.put("t", [StoredRow(key, 1, None, key) for key in keys])
    asked = [keys[7], b"nobody", keys[3], *keys[::-1], keys[7]]
    assert backend.get([("t", asked), ("no such table", [b"k"]), ("t", [])]) == [
        [(1, keys[7]), None, (1, keys[3]), *((1, key) for key in keys[::-1]), (1, keys[7])],
        [None],
        [],
    ]


def test_a_dropped_table_is_empty_and_can_be_filled_again(backend: OnlineBackend) -> None:
    backend.drop("t")
    backend.put("t", [StoredRow(b"k", 2, None, b"old")])
    backend.put("other", [StoredRow(b"k", 2, None, b"other")])
    backend.drop("t")
    assert backend.get([("t", [b"k"]), ("other", [b"k"])]) == [[None], [(2, b"other")]]
    backend.put("t", [StoredRow(b"k", 1, None, b"new")])
    backend.close()
    assert backend.get([("t", [b"k"])]) == [[(1, b"new")]]


WRITER = """
import random, sys
from feature_repo.online_backend import StoredRow, open_backend
backend, seed = open_backend(sys.argv[1], 20.0), int(sys.argv[2])
rng = random.Random(seed)
for _ in range(60):
    moments = [rng.randrange(10_000) for _ in range(50)]
    backend.put("t", [StoredRow(b"%d" % (n % 20), m, seed, b"%d %d" % (m, seed)) for n, m in enumerate(moments)])
    print(*(f"{n % 20}:{m}" for n, m in enumerate(moments)))
"""


def test_two_processes_at_once_leave_the_newest_row_of_every_key(backend: OnlineBackend, uri: str) -> None:
    writers = [_process(WRITER, uri, str(seed)) for seed in (1, 2)]
    newest: dict[int, tuple[int, int]] = {}
    for seed, writer in enumerate(writers, start=1):
        written, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        for pair in written.split():
            key, moment = map(int, pair.split(":"))
            newest[key] = max(newest.get(key, (0, 0)), (moment, seed))
    found = backend.get([("t", [b"%d" % key for key in newest])])[0]
    assert found == [(moment, b"%d %d" % (moment, seed)) for moment, seed in newest.values()]


ENDLESS = """
import itertools, sys
from feature_repo.online_backend import StoredRow, open_backend
backend = open_backend(sys.argv[1], 20.0)
for n in itertools.count(1):
    backend.put("t", [StoredRow(b"%d" % key, n, None, b"%d," % n * 50) for key in range(2000)])
    print(n, flush=True)
"""


def test_reading_goes_on_while_another_process_writes(backend: OnlineBackend, uri: str) -> None:
    writer = _process(ENDLESS, uri)
    assert writer.stdout is not None
    writer.stdout.readline()
    keys = [b"%d" % key for key in range(0, 2000, 400)]
    slowest, seen, reads, end = 0.0, set(), 0, time.monotonic() + 30
    while (reads < 400 or len(seen) < 3) and time.monotonic() < end:
        reads += 1
        started = time.perf_counter()
        found = backend.get([("t", keys)])[0]
        slowest = max(slowest, time.perf_counter() - started)
        for row in found:
            assert row is not None
            assert row[1] == b"%d," % row[0] * 50, "a row of two writes"
            seen.add(row[0])
    writer.kill()
    writer.communicate()
    assert len(seen) >= 3, "the writer did not write meanwhile"
    assert slowest < 1.0


def _process(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


# A store that fails


@pytest.mark.skipif(not installed(), reason=NOT_INSTALLED)
def test_a_redis_that_goes_away_is_one_clear_error_and_one_that_comes_back_is_used_again() -> None:
    with redis_server() as server:
        backend = open_backend(server.uri, 0.5)
        backend.put("t", [StoredRow(b"k", 1, None, b"v")])
        server.kill()
        for call in (
            lambda: backend.get([("t", [b"k"])]),
            lambda: backend.put("t", [StoredRow(b"k", 1, None, b"v")]),
            lambda: backend.drop("t"),
        ):
            started = time.perf_counter()
            with pytest.raises(OnlineStoreUnavailable, match=rf"redis://127.0.0.1:{server.port}/0 fails.*Start the"):
                call()
            assert time.perf_counter() - started < 3
        server.start()
        assert backend.get([("t", [b"k"])]) == [[None]]


def test_a_server_that_takes_connections_and_says_nothing_is_given_up_on() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        backend = open_backend(f"redis://user:secret@127.0.0.1:{deaf.getsockname()[1]}/0", 0.2)
        started = time.perf_counter()
        with pytest.raises(OnlineStoreUnavailable) as caught:
            backend.get([("t", [b"k"])])
        assert time.perf_counter() - started < 3
        assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "online.db").write_text("no database " * 100)
    with pytest.raises(OnlineStoreUnavailable, match=r"online\.db fails: file is not a database"):
        open_backend(f"sqlite://{tmp_path}/online.db", 1.0).get([("t", [b"k"])])
    with pytest.raises(OnlineStoreUnavailable, match="unable to open"):
        open_backend(f"sqlite://{tmp_path}", 1.0).get([("t", [b"k"])])


def test_a_uri_of_another_kind_and_a_variable_that_is_not_set_are_refused() -> None:
    with pytest.raises(ValueError, match=r"postgres://host/db.*write sqlite:///"):
        open_backend("postgres://me:secret@host/db", 1.0)
    with pytest.raises(ValueError, match="names no file"):
        open_backend("sqlite://", 1.0)
    with pytest.raises(ValueError, match="set the environment variables"):
        RowOnlineStoreConfig(uri="${NOT_SET}", default_uri="sqlite://${NOT_SET_EITHER}/x.db").connect()
    default = RowOnlineStoreConfig(uri="${NOT_SET}", default_uri="sqlite:///tmp/x.db").connect()
    assert default is open_backend("sqlite:///tmp/x.db", 2.0)


def test_keys_are_feasts_own() -> None:
    parts = st.tuples(st.text(min_size=1), st.text() | st.integers(-(2**63), 2**63 - 1))

    @given(st.lists(parts, min_size=1, max_size=3))
    def same(pairs: list[tuple[str, str | int]]) -> None:
        pairs = list(dict(pairs).items())
        values = [Value(string_val=v) if isinstance(v, str) else Value(int64_val=v) for _, v in pairs]
        entity = EntityKey(join_keys=[name for name, _ in pairs], entity_values=values)
        key = KeyEncoder([name for name, _ in pairs]).encode([value for _, value in pairs])
        assert key == serialize_entity_key(entity, entity_key_serialization_version=3)

    same()
    with pytest.raises(ValueError, match="text or a whole number, not True"):
        KeyEncoder(["a"]).encode([True])


# Through Feast

CAFE = Entity(name="cafe", join_keys=["cafe"], value_type=ValueType.STRING)
FIELDS = {
    "number": Int64,
    "share": Float64,
    "word": String,
    "open": Bool,
    "since": UnixTimestamp,
    "history": Array(Float64),
}


def _feast(folder: Path, uri: str, *objects: Any) -> FeatureStore:
    config = RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "feature_repo.online_store.RowOnlineStore", "uri": uri},
        offline_store={"type": "feature_repo.offline_store.AsOfOfflineStore"},
        entity_key_serialization_version=3,
        materialization={"pull_latest_features": True},
    )
    store = FeatureStore(config=config)
    store.apply([CAFE, *objects])
    return store


def _view(folder: Path, rows: list[dict[str, Any]], **fields: Any) -> FeatureView:
    path = folder / f"table{len(list(folder.iterdir()))}"
    moment = pl.Datetime("us", "UTC")
    frame = pl.DataFrame(rows, schema_overrides={"event_timestamp": moment, "created": moment, "since": moment})
    write_deltalake(str(path), frame.to_arrow())
    source = FileSource(
        name="rows",
        path=str(path),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    return FeatureView(
        name="stats",
        entities=[CAFE],
        ttl=timedelta(days=3),
        schema=[Field(name="cafe", dtype=String), *(Field(name=name, dtype=kind) for name, kind in fields.items())],
        source=PushSource(name="pushed", batch_source=source),
    )


def _row(cafe: str | None, at: datetime = NOON, **values: Any) -> dict[str, Any]:
    return {"cafe": cafe, "event_timestamp": at, "created": at, **values}


def _online(store: FeatureStore, *cafes: str | None, features: tuple[str, ...] = ("number",)) -> dict[str, list[Any]]:
    rows = [{"cafe": cafe} for cafe in cafes]
    found: dict[str, list[Any]] = store.get_online_features([f"stats:{name}" for name in features], rows).to_dict()
    return {name: found[name] for name in features}


def test_values_of_every_type_come_back_as_they_were(tmp_path: Path, uri: str) -> None:
    values = {"number": 2**53 - 1, "share": 0.1, "word": "Grüße", "open": True, "since": NOON, "history": [0.5, 1.5]}
    nothing = dict.fromkeys(values)
    store = _feast(tmp_path, uri, _view(tmp_path, [_row("a", **values), _row("b", **nothing)], **FIELDS))
    store.materialize(NOON - HOUR, NOON)
    found = _online(store, "a", "b", "nobody", features=tuple(FIELDS))
    for name, value in values.items():
        stored, empty, unknown = found[name]
        assert (stored.timestamp() if name == "since" else stored) == (NOON.timestamp() if name == "since" else value)
        assert not empty
        assert unknown is None


def test_a_push_of_older_values_changes_nothing(tmp_path: Path, uri: str) -> None:
    store = _feast(tmp_path, uri, _view(tmp_path, [_row("a", number=1)], number=Int64))
    store.materialize(NOON - HOUR, NOON)

    store.push("pushed", pd.DataFrame([_row("a", NOON - HOUR, number=0), _row("b", NOON - HOUR, number=7)]))
    assert _online(store, "a", "b") == {"number": [1, 7]}
    store.write_to_online_store("stats", pd.DataFrame([_row("a", NOON + HOUR, number=2)]))
    store.materialize(NOON - HOUR, NOON + HOUR)  # a nightly run that comes later brings an older row
    assert _online(store, "a") == {"number": [2]}


def test_a_missing_key_finds_nothing_and_cannot_be_written(tmp_path: Path, uri: str) -> None:
    store = _feast(tmp_path, uri, _view(tmp_path, [_row("a", number=1), _row(None, number=5)], number=Int64))
    store.materialize(NOON - HOUR, NOON)
    lacking = EntityKey(join_keys=["cafe"], entity_values=[Value()])
    named = EntityKey(join_keys=["cafe"], entity_values=[Value(string_val="a")])
    found = RowOnlineStore().online_read(store.config, store.get_feature_view("stats"), [lacking, named, lacking])
    assert found == [(None, None), (NOON, {"number": Value(int64_val=1)}), (None, None)]
    with pytest.raises(ValueError, match=r"view 'stats': a row lacks a part of its key: \{'cafe': None\}"):
        store.write_to_online_store("stats", pd.DataFrame([_row(None, number=5), _row("b", number=6)]))
    assert _online(store, "b") == {"number": [None]}


def test_rows_of_before_a_feature_was_declared_lack_it(tmp_path: Path, uri: str) -> None:
    rows = [_row("a", number=1, share=0.5)]
    store = _feast(tmp_path, uri, _view(tmp_path, rows, number=Int64))
    store.materialize(NOON - HOUR, NOON)
    store.apply([_view(tmp_path, rows, number=Int64, share=Float64)])
    assert _online(store, "a", features=("number", "share")) == {"number": [1], "share": [None]}
    response = store.get_online_features(["stats:share"], [{"cafe": "a"}]).proto
    place = list(response.metadata.feature_names.val).index("share")
    assert list(response.results[place].statuses) == [FieldStatus.NOT_FOUND]


def test_rows_go_with_their_view_and_with_the_store(tmp_path: Path, uri: str) -> None:
    view = _view(tmp_path, [_row("a", number=1)], number=Int64)
    store = _feast(tmp_path, uri, view)
    store.materialize(NOON - HOUR, NOON)
    store.apply([], objects_to_delete=[store.get_feature_view("stats")], partial=False)
    store.apply([CAFE, view])
    assert _online(store, "a") == {"number": [None]}

    store.materialize(NOON - HOUR, NOON)
    assert _online(store, "a") == {"number": [1]}
    store.teardown()
    assert open_backend(uri, 2.0).get([("test_stats", [KeyEncoder(["cafe"]).encode(["a"]) or b""])]) == [[None]]
