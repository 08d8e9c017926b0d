"""What point-in-time retrieval costs beside bare as-of joins, beside Feast's DuckDB store, and as data grow.

The data are made here and look like the first pipeline's: a year of flights asked for once each, and eight views of
airports, airlines, routes and aircraft whose values change by the hour or with every flight. A tenth of a percent of
the feature rows are corrected a day later.

    python -m benchmarks.retrieval /folder     # the memory of one retrieval in this process, as JSON
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measurement import Measurement, run_process, say

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureStore

SPINE_ROWS = 336_776
REPEATS = 10
RUNS = 5
ONE_OF = 20
YEAR = timedelta(days=365)
START = datetime(2013, 1, 1, tzinfo=UTC)
KEYS = {"origin": 3, "dest": 105, "carrier": 16, "aircraft": 3_322, "flight": 3_844}
CORRECTED = 0.001


@dataclass(frozen=True)
class Shape:
    """A view to be made: its join keys, rows, number of features and ttl."""

    name: str
    keys: tuple[str, ...]
    rows: int
    features: int
    ttl: timedelta

    def feature_names(self) -> list[str]:
        return [f"{self.name}_{number}" for number in range(self.features)]


SHAPES = (
    Shape("weather", ("origin",), 26_115, 8, timedelta(hours=12)),
    Shape("airport", ("origin",), 20_000, 5, timedelta(days=2)),
    Shape("airline", ("carrier",), 72_439, 5, timedelta(days=7)),
    Shape("destination", ("dest",), 295_061, 5, timedelta(days=28)),
    Shape("route", ("origin", "dest"), 330_000, 5, timedelta(days=28)),
    Shape("airline_airport", ("carrier", "origin"), 157_582, 5, timedelta(days=7)),
    Shape("aircraft", ("aircraft",), 330_000, 4, timedelta(days=28)),
    Shape("flight_number", ("flight",), 250_000, 3, timedelta(days=60)),
)
_SIZE = (
    f"{SPINE_ROWS:,} entity rows, {len(SHAPES)} views of {min(shape.rows for shape in SHAPES):,} to "
    f"{max(shape.rows for shape in SHAPES):,} rows, {sum(shape.features for shape in SHAPES)} features, made to look "
    "like flight_delays; Parquet files; rows created later left out (filter_by_created_timestamp)"
)


def measure(folder: Path) -> Iterator[Measurement]:
    """Makes a year and ten years side by side, and retrieves all features of both."""
    started = time.perf_counter()
    year, ten = folder / "retrieval_1", folder / f"retrieval_{REPEATS}"
    make(year, repeats=1)
    make(ten, repeats=REPEATS)
    say(f"made {SPINE_ROWS:,} and {SPINE_ROWS * REPEATS:,} rows in {time.perf_counter() - started:.0f} s (not counted)")
    yield _beside_polars(year)
    if find_spec("duckdb") and find_spec("ibis"):
        yield _beside_duckdb(year)
    else:
        say("pit_vs_feast is not measured: Feast's DuckDB store is not installed; pip install 'feast[duckdb]'")
    yield _growth(year, ten)
    yield _peak(year)


def _beside_polars(folder: Path) -> Measurement:
    """Our store through Feast and bare joins over frames in memory, in turn."""
    store, spine = feast_store(folder, OURS), _spine(folder)
    frames = {shape.name: _table(folder, shape) for shape in SHAPES}
    ours, bare = _in_turn(lambda: retrieve(store, spine), lambda: bare_joins(spine, frames))
    return Measurement(
        "pit_vs_polars",
        statistics.median(ours) / statistics.median(bare),
        "ratio",
        "≤ 3",
        f"Feast's get_historical_features with our store to a Polars frame, files read anew ({_spread(ours)}), over "
        f"{len(SHAPES)} times join_asof with by and tolerance on the same frames, already in memory, with the sorting "
        f"by time that it demands ({_spread(bare)}); {RUNS} runs of each in turn after one of each. {_SIZE}.",
    )


def _beside_duckdb(folder: Path) -> Measurement:
    """Feast with its DuckDB store and with ours, on the same files and rows."""
    spine = _spine(folder).gather_every(ONE_OF)
    theirs, ours = feast_store(folder, "duckdb"), feast_store(folder, OURS)
    in_pandas = spine.to_pandas()
    retrieve(theirs, in_pandas[:100])
    (seconds,) = _in_turn(lambda: retrieve(ours, spine))
    slow = _seconds(lambda: retrieve(theirs, in_pandas))
    return Measurement(
        "pit_vs_feast",
        slow / statistics.median(seconds),
        "ratio",
        "≥ 10",
        f"Feast's get_historical_features with its DuckDB store ({slow:.1f} s, to Arrow, one run after one of 100) "
        f"over that with our store ({_spread(seconds)}, to Polars, {RUNS} runs), for every {ONE_OF}th of the entity "
        f"rows ({spine.height:,}), as all of them took the DuckDB store more than five minutes. {_SIZE}.",
    )


def _growth(year: Path, ten: Path) -> Measurement:
    """Our store on a year and on ten of them side by side, in turn."""
    stores = {folder: (feast_store(folder, OURS), _spine(folder)) for folder in (year, ten)}
    few, many = _in_turn(lambda: retrieve(*stores[year]), lambda: retrieve(*stores[ten]))
    return Measurement(
        f"pit_growth_{REPEATS}x",
        statistics.median(many) / statistics.median(few),
        "ratio",
        "≤ 12",
        f"Retrieval of {REPEATS} times the rows, the year repeated with other keys in entity rows and sources "
        f"({_spread(many)}), over that of the year ({_spread(few)}); {RUNS} runs of each in turn after one of each. "
        f"{_SIZE}.",
    )


def _peak(folder: Path) -> Measurement:
    """The first retrieval of a process that has retrieved a hundredth of the rows from other files."""
    _, found = run_process(["-m", "benchmarks.retrieval", str(folder)], folder)
    peak, result = found["peak_bytes"], found["result_bytes"]
    return Measurement(
        "pit_peak_ratio",
        peak / result,
        "ratio",
        "≤ 2",
        f"Highest resident memory during a retrieval to a Polars frame above that before it ({peak / 2**20:.0f} MiB; "
        f"entity rows already in memory) over the size of the result ({result / 2**20:.0f} MiB), in a process that has "
        f"retrieved a hundredth of the rows from other files before. {_SIZE}.",
    )


# Data


def make(folder: Path, repeats: int, share: float = 1.0) -> None:
    """Writes the entity rows and a Parquet file per view, rows in the order in which they came.

    Parameters
    ----------
    repeats : how many times the year is there, each time with keys of its own.
    share : of the rows to make, for warming up.
    """
    import numpy as np

    folder.mkdir(parents=True)
    draw = np.random.default_rng(20130101)
    spine = _rows(draw, tuple(KEYS), int(SPINE_ROWS * share))
    _repeated(spine, tuple(KEYS), repeats).sort("event_timestamp").write_parquet(folder / "spine.parquet")
    for shape in SHAPES:
        rows = _repeated(_facts(draw, shape, int(shape.rows * share)), shape.keys, repeats)
        rows.sort("created").write_parquet(folder / f"{shape.name}.parquet")


def _facts(draw: Any, shape: Shape, count: int) -> pl.DataFrame:
    import polars as pl

    values = {name: draw.normal(size=count) for name in shape.feature_names()}
    rows = _rows(draw, shape.keys, count).with_columns(created=pl.col("event_timestamp"), **values)
    late = rows.filter(pl.Series(draw.random(count) < CORRECTED))
    late = late.with_columns(pl.col("created") + timedelta(days=1), *(pl.col(name) + 1 for name in values))
    return pl.concat([rows, late])


def _rows(draw: Any, keys: tuple[str, ...], count: int) -> pl.DataFrame:
    """Moments of the year in order, with keys drawn evenly."""
    import numpy as np
    import polars as pl

    seconds = np.sort(draw.integers(0, int(YEAR.total_seconds()), count))
    moments = (pl.Series(seconds) * 1_000_000).cast(pl.Duration("us")) + pl.Series([START], dtype=_moment())
    drawn = {key: pl.Series(draw.integers(0, KEYS[key], count)).cast(pl.String) for key in keys}
    return pl.DataFrame({"event_timestamp": moments, **{key: f"{key[0]}" + text for key, text in drawn.items()}})


def _repeated(rows: pl.DataFrame, keys: tuple[str, ...], repeats: int) -> pl.DataFrame:
    import polars as pl

    parts = [
        rows.with_columns(pl.format("{}_{}", pl.lit(number), key).alias(key) for key in keys)
        for number in range(repeats)
    ]
    return pl.concat(parts)


def _moment() -> pl.Datetime:
    import polars as pl

    return pl.Datetime("us", "UTC")


def _spine(folder: Path) -> pl.DataFrame:
    import polars as pl

    return pl.read_parquet(folder / "spine.parquet")


def _table(folder: Path, shape: Shape) -> pl.DataFrame:
    import polars as pl

    return pl.read_parquet(folder / f"{shape.name}.parquet")


# Retrieval

OURS = "feature_repo.offline_store.AsOfOfflineStore"


def feast_store(folder: Path, offline_store: str) -> FeatureStore:
    """A Feast repository over the files of a folder."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(folder / f"{offline_store}.db"),
        offline_store={"type": offline_store},
        # Nothing is read online here, but Feast makes the file, by default in the folder that one stands in.
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    entities = {key: Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in KEYS}
    views = [
        FeatureView(
            name=shape.name,
            entities=[entities[key] for key in shape.keys],
            ttl=shape.ttl,
            schema=[
                *(Field(name=key, dtype=String) for key in shape.keys),
                *(Field(name=name, dtype=Float64) for name in shape.feature_names()),
            ],
            source=FileSource(
                path=str(folder / f"{shape.name}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created",
            ),
        )
        for shape in SHAPES
    ]
    store = FeatureStore(config=config)
    store.apply([*entities.values(), *views])
    return store


def retrieve(store: FeatureStore, entities: Any) -> Any:
    """All features of the entity rows: as a Polars frame from our store, as an Arrow table from another."""
    features = [f"{shape.name}:{name}" for shape in SHAPES for name in shape.feature_names()]
    job: Any = store.get_historical_features(entities, features, filter_by_created_timestamp=True)
    found = job.to_polars() if hasattr(job, "to_polars") else job.to_arrow()
    if len(found) != len(entities):
        raise RuntimeError(f"asked for {len(entities)} rows, found {len(found)}: the time would say nothing")
    return found


def bare_joins(spine: pl.DataFrame, frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The least that can be done with as-of joins: nothing of creation, order or files."""
    spine = spine.sort("event_timestamp")
    for shape in SHAPES:
        rows = frames[shape.name].drop("created").sort("event_timestamp")
        spine = spine.join_asof(rows, on="event_timestamp", by=shape.keys, tolerance=shape.ttl, check_sortedness=False)
    return spine


# Clocks and memory


def _in_turn(*calls: Callable[[], object]) -> list[list[float]]:
    """Seconds of each call in turn, after one of each that is not counted."""
    seconds: list[list[float]] = [[] for _ in calls]
    for run in range(RUNS + 1):
        for call, kept in zip(calls, seconds, strict=True):
            took = _seconds(call)
            if run:
                kept.append(took)
    return seconds


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s"


def _memory(folder: Path) -> dict[str, int]:
    """What a retrieval adds to this process at most, and the size of its result, in bytes."""
    warm = folder / f"warm_{os.getpid()}"
    make(warm, repeats=1, share=0.01)
    retrieve(feast_store(warm, OURS), _spine(warm))
    store, spine = feast_store(folder, OURS), _spine(folder)
    before = _resident_now()
    found = retrieve(store, spine)
    return {"peak_bytes": _resident_peak() - before, "result_bytes": found.estimated_size()}


def _resident_now() -> int:
    """Resident bytes; on Linux the kernel's mark of the highest is set back to them."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return _resident_peak()
    clear.write_text("5")
    return _resident_peak()


def _resident_peak() -> int:
    """The highest resident bytes of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(_memory(Path(sys.argv[1]))))
