"""The Spark store beside our own, row by row, on a local Spark: only the type in the configuration differs."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, String

from feature_repo.offline_store import read_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="pyspark is not installed (the extra 'spark')"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, and there is no 'java' on the path"),
]

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENT = pl.Datetime("us", "UTC")
DRIVER = Entity(name="driver", join_keys=["driver"], value_type=ValueType.STRING)
STOP = Entity(name="stop", join_keys=["stop"], value_type=ValueType.INT64)
TYPES = {
    "ours": "feature_repo.offline_store.AsOfOfflineStore",
    "spark": "feature_repo.spark_store.SparkFileOfflineStore",
}
REFS = ["trips:trips", "brief:rating", "routes:delay", "routes:label", "city:rain"]


@pytest.fixture(scope="module", autouse=True)
def _small_spark() -> Iterator[None]:
    """A Spark in this machine, of few tasks, as queries over a few rows need no more."""
    if find_spec("pyspark") is None or shutil.which("java") is None:
        yield
        return
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder.master("local[2]")
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.codegen.wholeStage": "false",  # compiling takes longer than these rows
        "spark.sql.adaptive.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    yield
    spark.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sources with gaps, ties, late corrections, rows without keys, and a table that has been rewritten."""
    folder = tmp_path_factory.mktemp("sources")
    draw = random.Random(7)
    write_deltalake(str(folder / "trips"), facts(draw, 150, {"trips": draw.randrange}).to_arrow(), partition_by=["day"])
    write_deltalake(str(folder / "trips"), facts(draw, 50, {"trips": draw.randrange}).to_arrow(), mode="append")
    facts(draw, 150, {"rating": lambda _: draw.random()}).drop("day").write_parquet(folder / "brief.parquet")
    routes = facts(draw, 300, {"delay": lambda _: draw.random(), "label": lambda number: f"label {number}"})
    stops = pl.Series("stop", [draw.choice([1, 12, 123, None]) for _ in range(routes.height)], dtype=pl.Int64)
    write_deltalake(str(folder / "routes"), routes.drop("day").with_columns(stops).to_arrow())
    rain = [NOON + number * HOUR for number in range(0, 40, 3)]
    pl.DataFrame({"at": rain, "rain": range(len(rain))}).with_columns(
        pl.col("at").dt.replace_time_zone(None)
    ).write_parquet(folder / "city.parquet")
    return folder


def facts(draw: random.Random, count: int, features: dict[str, Any]) -> pl.DataFrame:
    """Rows of drivers at whole hours; some twice at one moment, created then, later, or nobody knows when."""
    rows = {}
    for _ in range(count):
        driver, when = draw.choice(["a", "a1", "b", "c", None]), NOON + draw.randrange(40) * HOUR
        created = draw.choice([when, when, when + draw.randrange(1, 9) * HOUR + HOUR / 2, None])
        # One row per key and moments: which of two equal ones wins is no rule.
        rows[driver, when, created] = [make(1000) for make in features.values()]
    frame = pl.DataFrame(
        [(*key, *values) for key, values in rows.items()],
        schema={"driver": pl.String, "event_timestamp": MOMENT, "created": MOMENT, **dict.fromkeys(features)},
        orient="row",
    )
    return frame.with_columns(day=pl.col("event_timestamp").dt.date())


def store(folder: Path, kind: str, home: Path, view: FeatureView | None = None) -> FeatureStore:
    """A Feast repository over the sources; ``kind`` decides about nothing but the type of its offline store."""
    config = RepoConfig(
        project="test",
        provider="local",
        registry=str(home / f"{kind}.db"),
        online_store={"type": "sqlite", "path": str(home / f"{kind}_online.db")},
        offline_store={"type": TYPES[kind]},
        entity_key_serialization_version=3,
        materialization={"pull_latest_features": True},
    )
    created = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created"}
    driver, stop = Field(name="driver", dtype=String), Field(name="stop", dtype=Int64)
    views = [
        FeatureView(
            name="trips",
            entities=[DRIVER],
            schema=[driver, Field(name="trips", dtype=Int64)],
            source=FileSource(path=str(folder / "trips"), file_format=DeltaFormat(), **created),
        ),
        FeatureView(
            name="brief",
            entities=[DRIVER],
            ttl=2 * HOUR,
            schema=[driver, Field(name="rating", dtype=Float64)],
            source=FileSource(path=str(folder / "brief.parquet"), **created),
        ),
        FeatureView(
            name="routes",
            entities=[DRIVER, STOP],
            ttl=12 * HOUR,
            schema=[driver, stop, Field(name="delay", dtype=Float64), Field(name="label", dtype=String)],
            source=FileSource(path=str(folder / "routes"), file_format=DeltaFormat(), **created),
        ),
        FeatureView(
            name="city",
            entities=[],
            ttl=HOUR,
            schema=[Field(name="rain", dtype=Int64)],
            source=FileSource(path=str(folder / "city.parquet"), timestamp_field="at"),
        ),
    ]
    found = FeatureStore(config=config)
    found.apply([DRIVER, STOP, *([view] if view else views)])
    return found


def entities() -> pl.DataFrame:
    """Entity rows in no order: some twice, without a key or a moment, and of a driver whom nobody knows."""
    draw = random.Random(11)
    rows = [
        (draw.choice(["a", "a1", "b", "c", "unknown", None]), draw.choice([1, 12, 123, 23, None]), when, number)
        for number, when in enumerate(NOON + draw.randrange(-10, 200) * HOUR / 4 for _ in range(300))
    ]
    rows += [*rows[:20], ("a", 1, None, -1)]
    schema = {"driver": pl.String, "stop": pl.Int64, "event_timestamp": MOMENT, "label_of_row": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def ask(feast: FeatureStore, rows: Any, refs: list[str] = REFS, **options: Any) -> pl.DataFrame:
    job: Any = feast.get_historical_features(rows, refs, **options)
    found: pl.DataFrame = job.to_polars()
    return found


@pytest.mark.parametrize("by_creation", [False, True])
def test_both_stores_give_the_same_rows_in_the_same_order(folder: Path, tmp_path: Path, by_creation: bool) -> None:
    rows = entities()

    ours, spark = (ask(store(folder, kind, tmp_path), rows, filter_by_created_timestamp=by_creation) for kind in TYPES)

    assert spark.height == rows.height == 321
    assert spark.equals(ours)
    assert spark.schema == ours.schema
    for feature in ("trips", "rating", "delay", "rain"):  # all say something somewhere
        assert 0 < spark[feature].null_count() < rows.height


def test_a_pinned_table_is_read_as_it_was_and_pandas_rows_are_as_good(folder: Path, tmp_path: Path) -> None:
    rows = entities().select("driver", "event_timestamp").drop_nulls().head(40).to_pandas()

    with read_at({str(folder / "trips"): 0}):
        ours, spark = (ask(store(folder, kind, tmp_path), rows, ["trips:trips"]) for kind in TYPES)

    assert spark.equals(ours)
    assert not spark.equals(ask(store(folder, "ours", tmp_path), rows, ["trips:trips"]))


def test_keys_that_read_the_same_when_strung_together_stay_apart(tmp_path: Path) -> None:
    source = pl.DataFrame({"driver": ["a", "a1"], "stop": [12, 2], "event_timestamp": [NOON] * 2, "delay": [1.0, 2.0]})
    source.with_columns(created="event_timestamp").write_parquet(tmp_path / "routes.parquet")
    view = FeatureView(
        name="routes",
        entities=[DRIVER, STOP],
        schema=[
            Field(name="driver", dtype=String),
            Field(name="stop", dtype=Int64),
            Field(name="delay", dtype=Float64),
        ],
        source=FileSource(path=str(tmp_path / "routes.parquet"), timestamp_field="event_timestamp"),
    )
    rows = pd.DataFrame({"driver": ["a1", "a", "a"], "stop": [2, 12, None], "event_timestamp": [NOON] * 3})

    found = ask(store(tmp_path, "spark", tmp_path, view), rows, ["routes:delay"])

    assert found["delay"].to_list() == [2.0, 1.0, None]


def test_equal_rows_in_a_source_do_not_multiply_entity_rows(tmp_path: Path) -> None:
    twice = pl.DataFrame({"driver": ["a", "a"], "event_timestamp": [NOON] * 2, "created": [NOON] * 2, "trips": [1, 1]})

    found = ask(over(tmp_path, twice), asked("a"), ["trips:trips"])

    assert found["trips"].to_list() == [1]


def test_materialize_brings_the_same_values_online(folder: Path, tmp_path: Path) -> None:
    found = {}
    for kind in TYPES:
        feast = store(folder, kind, tmp_path)
        feast.materialize(NOON, NOON + 20 * HOUR, ["trips"])
        asked = [{"driver": driver} for driver in ("a", "a1", "b", "c")]
        found[kind] = feast.get_online_features(["trips:trips"], asked).to_dict()

    assert found["spark"] == found["ours"]


def test_what_is_wrong_with_a_source_or_view_is_named(tmp_path: Path) -> None:
    good = pl.DataFrame({"driver": ["a"], "event_timestamp": [NOON], "created": [NOON], "trips": [1]})

    with pytest.raises(FileNotFoundError, match=rf"view 'trips': .*{tmp_path}/trips"):
        ask(over(tmp_path), asked("a"), ["trips:trips"])
    with pytest.raises(ValueError, match=r"view 'trips': .* lacks the columns \['trips'\]"):
        ask(over(tmp_path, good.drop("trips")), asked("a"), ["trips:trips"])
    with pytest.raises(ValueError, match=r"view 'trips': .*'trips' holds texts, declared is INT64"):
        ask(over(tmp_path, good.with_columns(pl.col("trips").cast(pl.String))), asked("a"), ["trips:trips"])
    with pytest.raises(ValueError, match=r"view 'trips': .* no whole number of seconds"):
        ask(over(tmp_path, good, ttl=HOUR + timedelta(milliseconds=1)), asked("a"), ["trips:trips"])
    with pytest.raises(ValueError, match="no row with a moment"):
        ask(over(tmp_path, good), asked("a").clear(), ["trips:trips"])
    feast = over(tmp_path, good)
    for file in (tmp_path / "trips").glob("*.parquet"):
        file.write_bytes(b"x" * 100)
    with pytest.raises(RuntimeError, match=rf"view 'trips' from {tmp_path}/trips"):
        ask(feast, asked("a"), ["trips:trips"])


def asked(driver: str) -> pl.DataFrame:
    return pl.DataFrame({"driver": [driver], "event_timestamp": [NOON + HOUR]})


def over(folder: Path, rows: pl.DataFrame | None = None, ttl: timedelta | None = None) -> FeatureStore:
    """A Spark store with one view over a Delta table of these rows."""
    if rows is not None:
        write_deltalake(str(folder / "trips"), rows.to_arrow(), mode="overwrite", schema_mode="overwrite")
    source = FileSource(
        path=str(folder / "trips"),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    schema = [Field(name="driver", dtype=String), Field(name="trips", dtype=Int64)]
    return store(
        folder, "spark", folder, FeatureView(name="trips", entities=[DRIVER], ttl=ttl, schema=schema, source=source)
    )
