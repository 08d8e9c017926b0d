"""The offline store through Feast's own front door: real registry, real files, real SQLite online store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from deltalake import write_deltalake
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast.data_format import DeltaFormat
from feast.errors import EntityTimestampInferenceException, SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.offline_store import AsOfOfflineStore, AsOfRetrievalJob, read_at

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIVER = Entity(name="driver", join_keys=["driver"], value_type=ValueType.STRING)
Row = tuple[str | None, datetime, datetime | None, int | None]


def feast(folder: Path, *objects: Any, pull_latest: bool = True) -> FeatureStore:
    config = RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": "feature_repo.offline_store.AsOfOfflineStore"},
        entity_key_serialization_version=3,
        materialization={"pull_latest_features": pull_latest},
    )
    store = FeatureStore(config=config)
    store.apply(list(objects))
    return store


def stats(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows (driver, event_timestamp, created, trips)."""
    moment = pl.Datetime("us", "UTC")
    schema = {"driver": pl.String, "event_timestamp": moment, "created": moment, "trips": pl.Int64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def delta(path: Path, frame: pl.DataFrame, **options: Any) -> FileSource:
    write_deltalake(str(path), frame.to_arrow(), mode="append", **options)
    return FileSource(
        path=str(path),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )


def parquet(path: Path, frame: pl.DataFrame, **options: Any) -> FileSource:
    frame.write_parquet(path)
    return FileSource(path=str(path), timestamp_field="event_timestamp", **options)


def driver_view(source: FileSource, ttl: timedelta | None = None, name: str = "stats") -> FeatureView:
    schema = [Field(name="driver", dtype=String), Field(name="trips", dtype=Int64)]
    return FeatureView(name=name, entities=[DRIVER], ttl=ttl, schema=schema, source=source)


def driver_store(folder: Path, rows: Sequence[Row], ttl: timedelta | None = None) -> FeatureStore:
    return feast(folder, DRIVER, driver_view(delta(folder / "stats", stats(rows)), ttl))


def asked(*rows: tuple[str | None, datetime]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "driver": [driver for driver, _ in rows],
            "event_timestamp": pd.to_datetime([when for _, when in rows], utc=True),
        }
    )


def ask(store: FeatureStore, entity_df: Any, refs: Sequence[str] = ("stats:trips",), **options: Any) -> pl.DataFrame:
    job = store.get_historical_features(entity_df, list(refs), **options)
    assert isinstance(job, AsOfRetrievalJob)
    return job.to_polars()


def trips(store: FeatureStore, *rows: tuple[str | None, datetime], **options: Any) -> list[int | None]:
    return ask(store, asked(*rows), **options)["trips"].to_list()


# What is found


def test_the_latest_row_at_or_before_the_moment_is_found_and_the_same_moment_counts(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1), ("a", NOON + HOUR, NOON + HOUR, 2)])
    microsecond = timedelta(microseconds=1)

    found = trips(store, ("a", NOON - microsecond), ("a", NOON), ("a", NOON + HOUR - microsecond), ("a", NOON + HOUR))

    assert found == [None, 1, 1, 2]


def test_a_row_exactly_as_old_as_the_ttl_is_found_and_an_older_one_is_not(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)], ttl=HOUR)

    assert trips(store, ("a", NOON + HOUR), ("a", NOON + HOUR + timedelta(microseconds=1))) == [1, None]


def test_a_ttl_of_zero_and_one_of_millennia_never_expire(tmp_path: Path) -> None:
    source = delta(tmp_path / "stats", stats([("a", NOON, NOON, 1)]))
    views = [driver_view(source, timedelta(0), "zero"), driver_view(source, timedelta(days=365 * 5000), "long")]
    store = feast(tmp_path, DRIVER, *views)

    found = ask(store, asked(("a", NOON + 10_000 * HOUR)), ["zero:trips", "long:trips"], full_feature_names=True)

    assert found.row(0)[2:] == (1, 1)


def test_of_equal_event_timestamps_the_row_created_last_wins_wherever_it_is_stored(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON + HOUR, 2), ("a", NOON, NOON, 1), ("a", NOON, None, 0)])

    assert trips(store, ("a", NOON + 2 * HOUR)) == [2]


def test_a_late_correction_leaks_unless_rows_are_filtered_by_creation(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1), ("a", NOON, NOON + 5 * HOUR, 100)])
    moments = [("a", NOON + HOUR), ("a", NOON + 5 * HOUR)]

    assert trips(store, *moments) == [100, 100]
    assert trips(store, *moments, filter_by_created_timestamp=True) == [1, 100]


def test_a_row_that_comes_late_never_hides_a_newer_fact_that_came_before_it(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("a", NOON, NOON + 4 * HOUR, 1),  # old fact, came last
        ("a", NOON + HOUR, NOON + 2 * HOUR, 2),
        ("a", NOON + 3 * HOUR, NOON + 9 * HOUR, 3),  # newest fact, not yet there
    ]
    store = driver_store(tmp_path, rows)
    moments = [("a", NOON + hours * HOUR) for hours in (1, 2, 5, 9)]

    assert trips(store, *moments, filter_by_created_timestamp=True) == [None, 2, 2, 3]


def test_every_entity_row_comes_back_in_order_with_its_other_columns(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1), ("b", NOON, NOON, 2)])
    entities = asked(
        ("b", NOON + HOUR), ("a", NOON), ("b", NOON + HOUR), (None, NOON), ("unknown", NOON), ("a", NOON - HOUR)
    )
    entities = entities.assign(label=list("uvwxyz")).set_index(pd.Index([9, 9, 1, 3, 2, 0]))
    entities.loc[2, "event_timestamp"] = pd.NaT

    found = store.get_historical_features(entities, ["stats:trips"]).to_df()

    assert list(found.columns) == ["driver", "event_timestamp", "label", "trips"]
    assert found["label"].tolist() == list("uvwxyz")
    assert found["driver"].tolist() == ["b", "a", "b", None, "unknown", "a"]
    assert found["trips"].fillna(-1).tolist() == [2, 1, 2, -1, -1, -1]
    assert found["trips"].dtype == "float64"  # pandas integers cannot be missing
    assert str(found["event_timestamp"].dtype) == "datetime64[us, UTC]"


def test_null_keys_in_the_source_match_nobody(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [(None, NOON, NOON, 7), ("a", NOON, NOON, None)])

    assert trips(store, (None, NOON), ("a", NOON)) == [None, None]


def test_no_entity_rows_give_no_rows_but_all_columns(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)], ttl=HOUR)

    found = ask(store, asked())

    assert found.height == 0
    assert found.schema["trips"] == pl.Int64


# Clocks


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_sources_and_entities_of_every_unit_and_zone_mean_the_same_instants(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    rows = stats([("a", NOON, NOON, 1), ("a", NOON + HOUR, NOON + HOUR, 2)])
    as_zone = pl.col("event_timestamp").dt.convert_time_zone(zone or "UTC").dt.cast_time_unit(unit)  # type: ignore[arg-type]
    rows = rows.with_columns(as_zone if zone else as_zone.dt.replace_time_zone(None))
    store = feast(tmp_path, DRIVER, driver_view(parquet(tmp_path / "stats.parquet", rows), ttl=HOUR / 2))
    entities = asked(("a", NOON), ("a", NOON + HOUR / 2), ("a", NOON + HOUR * 0.75), ("a", NOON + HOUR))
    stamps = entities["event_timestamp"].dt.tz_convert(zone).dt.as_unit(unit)

    assert ask(store, entities.assign(event_timestamp=stamps))["trips"].to_list() == [1, 1, None, 2]


def test_nanoseconds_are_compared_as_nanoseconds(tmp_path: Path) -> None:
    stamp = pl.Series([NOON], dtype=pl.Datetime("ns", "UTC")) + pl.Series([700]).cast(pl.Duration("ns"))
    rows = pl.DataFrame({"driver": ["a"], "event_timestamp": stamp, "trips": [1]})
    store = feast(tmp_path, DRIVER, driver_view(parquet(tmp_path / "stats.parquet", rows)))
    moments = [pd.Timestamp(NOON) + pd.Timedelta(nanoseconds) for nanoseconds in (699, 700)]

    assert ask(store, pd.DataFrame({"driver": ["a", "a"], "event_timestamp": moments}))["trips"].to_list() == [None, 1]


def test_moments_may_be_texts_or_of_mixed_zones_or_in_another_column(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    texts = pd.DataFrame(
        {"driver": ["a", "a"], "event_timestamp": ["2024-03-01T11:59:59Z", "2024-03-01T14:00:00+02:00"]}
    )
    other = asked(("a", NOON)).rename(columns={"event_timestamp": "asked_at"})

    assert ask(store, texts)["trips"].to_list() == [None, 1]
    assert ask(store, other).columns == ["driver", "asked_at", "trips"]
    with pytest.raises(EntityTimestampInferenceException):
        ask(store, other.assign(landed_at=other["asked_at"]))


def test_event_timestamps_may_be_dates_meaning_midnight(tmp_path: Path) -> None:
    rows = pl.DataFrame({"driver": ["a"], "event_timestamp": [date(2024, 3, 1)], "trips": [1]})
    store = feast(tmp_path, DRIVER, driver_view(parquet(tmp_path / "stats.parquet", rows)))
    midnight = datetime(2024, 3, 1, tzinfo=UTC)

    assert trips(store, ("a", midnight - HOUR), ("a", midnight)) == [None, 1]


# Views


def test_several_views_with_keys_of_several_columns_and_types_are_joined_side_by_side(tmp_path: Path) -> None:
    route = pl.DataFrame(
        {
            "driver": ["a", "a"],
            "stop": [1, 2],
            "event_timestamp": [NOON, NOON],
            "created": [NOON, NOON],
            "delay": [0.5, 1.5],
        }
    )
    stop = Entity(name="stop", join_keys=["stop"], value_type=ValueType.INT64)
    fields = [Field(name="driver", dtype=String), Field(name="stop", dtype=Int64), Field(name="delay", dtype=Float64)]
    source = delta(tmp_path / "route", route)
    routes = FeatureView(name="routes", entities=[DRIVER, stop], schema=fields, source=source)
    store = feast(tmp_path, DRIVER, stop, routes, driver_view(delta(tmp_path / "stats", stats([("a", NOON, NOON, 1)]))))
    # pandas turns the integers into floats because of the gap
    entities = asked(("a", NOON), ("a", NOON), ("b", NOON), ("a", NOON)).assign(stop=[2, None, 2, 1.5])

    found = ask(store, entities, ["stats:trips", "routes:delay"], full_feature_names=True)

    assert found["stats__trips"].to_list() == [1, 1, None, 1]
    assert found["routes__delay"].to_list() == [1.5, None, None, None]


def test_keys_of_several_texts_stay_apart_however_they_read_together(tmp_path: Path) -> None:
    route = pl.DataFrame(
        {
            "origin": ["a", "ab", "ab", None, "a"],
            "dest": ["bc", "c", "bc", "c", None],
            "event_timestamp": [NOON] * 5,
            "created": [NOON] * 5,
            "delay": [1, 2, 3, 4, 5],
        }
    )
    keys = ["origin", "dest"]
    entities = [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in keys]
    fields = [*(Field(name=key, dtype=String) for key in keys), Field(name="delay", dtype=Int64)]
    view = FeatureView(name="routes", entities=entities, schema=fields, source=delta(tmp_path / "route", route))
    store = feast(tmp_path, *entities, view)
    pairs = [("ab", "c"), ("a", "bc"), ("ab", "bc"), ("a", "c"), (None, "c"), ("a", None), ("new", "bc")]
    rows = pd.DataFrame(pairs, columns=keys).assign(event_timestamp=NOON)

    assert ask(store, rows, ["routes:delay"])["delay"].to_list() == [2, 1, 3, None, None, None, None]


def test_one_view_serves_two_shadow_entities(tmp_path: Path) -> None:
    source = delta(tmp_path / "stats", stats([("a", NOON, NOON, 1), ("b", NOON, NOON, 2)]))
    view = driver_view(source)
    shadows = [
        view.with_name(role).with_join_key_map({"driver": f"{role}_driver"})  # type: ignore[attr-defined]
        for role in ("first", "second")
    ]
    store = feast(tmp_path, DRIVER, view, FeatureService(name="pair", features=shadows))
    entities = pd.DataFrame({"first_driver": ["a", "b"], "second_driver": ["b", "c"], "event_timestamp": [NOON, NOON]})

    found = store.get_historical_features(entities, store.get_feature_service("pair"), full_feature_names=True).to_df()

    assert found["first__trips"].tolist() == [1, 2]
    assert found["second__trips"].fillna(-1).tolist() == [2, -1]


def test_columns_renamed_by_a_field_mapping_are_found_and_materialized(tmp_path: Path) -> None:
    rows = stats([("a", NOON, NOON, 1)]).rename({"trips": "n", "driver": "drv"})
    source = parquet(tmp_path / "stats.parquet", rows, field_mapping={"n": "trips", "drv": "driver"})
    store = feast(tmp_path, DRIVER, driver_view(source))

    assert trips(store, ("a", NOON)) == [1]
    store.materialize(NOON - HOUR, NOON)
    assert store.get_online_features(["stats:trips"], [{"driver": "a"}]).to_dict()["trips"] == [1]


def test_a_view_without_entities_has_one_value_for_all(tmp_path: Path) -> None:
    source = delta(tmp_path / "all", stats([("-", NOON, NOON, 1), ("-", NOON + HOUR, NOON + HOUR, 2)]))
    view = FeatureView(name="stats", entities=[], schema=[Field(name="trips", dtype=Int64)], source=source)
    store = feast(tmp_path, DRIVER, view)

    assert trips(store, ("a", NOON), ("b", NOON + HOUR), filter_by_created_timestamp=True) == [1, 2]
    store.materialize(NOON - HOUR, NOON + HOUR)
    assert store.get_online_features(["stats:trips"], [{"__dummy_id": ""}]).to_dict()["trips"] == [2]


def test_on_demand_features_are_computed_from_what_was_found(tmp_path: Path) -> None:
    view = driver_view(delta(tmp_path / "stats", stats([("a", NOON, NOON, 4)])))
    request = RequestSource(name="request", schema=[Field(name="hours", dtype=Int64)])

    @on_demand_feature_view(sources=[view, request], schema=[Field(name="pace", dtype=Float64)], mode="pandas")
    def pace(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"pace": inputs["trips"] / inputs["hours"]})

    store = feast(tmp_path, DRIVER, view, pace)

    found = ask(store, asked(("a", NOON)).assign(hours=[2]), ["stats:trips", "pace:pace"])

    assert found.select("trips", "pace").rows() == [(4, 2.0)]


def test_a_polars_frame_is_as_good_as_a_pandas_one(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])

    found = ask(store, pl.from_pandas(asked(("a", NOON), ("b", NOON))))

    assert found["trips"].to_list() == [1, None]


# Time travel, saved datasets, the online store


def test_a_pinned_table_is_read_as_it_was_even_when_the_job_runs_later(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    delta(tmp_path / "stats", stats([("a", NOON, NOON + HOUR, 2)]))
    entities = asked(("a", NOON))

    with read_at({f"{tmp_path}/stats": 0}):
        job = store.get_historical_features(entities, ["stats:trips"])
        with read_at({"/another/table": 5}):
            assert trips(store, ("a", NOON)) == [1]

    assert job.to_df()["trips"].tolist() == [1]
    assert trips(store, ("a", NOON)) == [2]


def test_a_source_may_carry_its_version_in_a_tag_and_a_pin_goes_before_it(tmp_path: Path) -> None:
    source = delta(tmp_path / "stats", stats([("a", NOON, NOON, 1)]))
    source.tags["delta_version"] = "0"
    delta(tmp_path / "stats", stats([("a", NOON, NOON + HOUR, 2)]))
    store = feast(tmp_path, DRIVER, driver_view(source))

    assert trips(store, ("a", NOON)) == [1]
    with read_at({source.path: 1}):
        assert trips(store, ("a", NOON)) == [2]
    with read_at({source.path: 9}), pytest.raises(RuntimeError, match="version 9"):
        trips(store, ("a", NOON))


@pytest.mark.parametrize("name", ["saved.parquet", "saved"])
def test_a_saved_dataset_comes_back_as_it_was_saved(tmp_path: Path, name: str) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    path = tmp_path / "sets" / name
    storage = SavedDatasetFileStorage(str(path), **({} if path.suffix else {"file_format": DeltaFormat()}))
    job = store.get_historical_features(asked(("a", NOON), ("b", NOON)), ["stats:trips"])

    store.create_saved_dataset(job, "set", storage)

    assert store.get_saved_dataset("set").to_df()["trips"].fillna(-1).tolist() == [1, -1]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        store.create_saved_dataset(job, "set", storage)
    store.create_saved_dataset(job, "set", storage, allow_overwrite=True)


@pytest.mark.parametrize("pull_latest", [True, False])
def test_materialize_brings_the_latest_row_of_every_key_in_the_period_online(tmp_path: Path, pull_latest: bool) -> None:
    rows: list[Row] = [
        ("a", NOON - 2 * HOUR, NOON, 0),
        ("a", NOON, NOON, 1),
        ("a", NOON, NOON + HOUR, 2),  # a correction
        ("a", NOON + 3 * HOUR, NOON + 3 * HOUR, 3),  # after the period
        ("b", NOON - HOUR, NOON, 4),  # at its first moment
        ("c", NOON - 2 * HOUR, NOON, 5),  # before the period
    ]
    view = driver_view(delta(tmp_path / "stats", stats(rows)))
    store = feast(tmp_path, DRIVER, view, pull_latest=pull_latest)

    store.materialize(NOON - HOUR, NOON + HOUR)

    online = store.get_online_features(["stats:trips"], [{"driver": driver} for driver in "abc"]).to_dict()
    assert online["trips"] == [2, 4, None]


def test_rows_without_a_key_do_not_stop_a_materialization(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [(None, NOON, NOON, 6), ("a", NOON, NOON, 1)])

    store.materialize(NOON - HOUR, NOON)

    assert store.get_online_features(["stats:trips"], [{"driver": "a"}]).to_dict()["trips"] == [1]


def test_only_files_that_can_matter_are_read(tmp_path: Path) -> None:
    days = [NOON + timedelta(days=number) for number in range(10)]
    rows = stats([("a", day, day, number) for number, day in enumerate(days)])
    source = delta(tmp_path / "stats", rows.with_columns(day=pl.col("event_timestamp").dt.date()), partition_by=["day"])
    for kept in ("04", "05"):
        assert list((tmp_path / "stats").glob(f"day=2024-03-{kept}/*.parquet"))
    for file in (tmp_path / "stats").glob("day=*/*.parquet"):
        if file.parent.name not in ("day=2024-03-04", "day=2024-03-05"):
            file.unlink()
    store = feast(tmp_path, DRIVER, driver_view(source, ttl=timedelta(days=1)))

    assert trips(store, ("a", days[4]), ("a", days[4] + HOUR)) == [4, 4]


# What goes wrong says so


def test_a_missing_source_is_named_with_its_view(tmp_path: Path) -> None:
    views = [
        driver_view(
            FileSource(path=str(tmp_path / name), file_format=kind, timestamp_field="event_timestamp"), name=name
        )
        for name, kind in (("gone", DeltaFormat()), ("gone.parquet", None))
    ]
    store = feast(tmp_path, DRIVER, *views)

    for view in views:
        with pytest.raises(FileNotFoundError, match=rf"view '{view.name}': .*{tmp_path}/{view.name}"):
            ask(store, asked(("a", NOON)), [f"{view.name}:trips"])


def test_a_column_that_the_source_lacks_is_named(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    write_deltalake(
        str(tmp_path / "stats"),
        stats([]).drop("trips").to_arrow(),
        mode="overwrite",
        schema_mode="overwrite",
    )

    with pytest.raises(ValueError, match=r"view 'stats': .* lacks the columns \['trips'\]; it has \['driver'"):
        trips(store, ("a", NOON))


def rewrite(path: Path, frame: pl.DataFrame) -> None:
    write_deltalake(str(path), frame.to_arrow(), mode="overwrite", schema_mode="overwrite")


def test_a_feature_that_changed_its_kind_is_named_and_one_number_may_stand_for_another(tmp_path: Path) -> None:
    rows = stats([("a", NOON, NOON, 1)])
    store = driver_store(tmp_path, rows.rows())

    for kind, found in ((pl.String, "texts"), (pl.Boolean, "booleans"), (pl.Datetime("us"), "timestamps")):
        rewrite(tmp_path / "stats", rows.with_columns(pl.col("trips").cast(kind)))
        with pytest.raises(ValueError, match=rf"'stats': {tmp_path}/stats .*'trips' holds {found}, declared is INT64"):
            trips(store, ("a", NOON))
    rewrite(tmp_path / "stats", rows.with_columns(pl.col("trips").cast(pl.Float64)))
    assert trips(store, ("a", NOON)) == [1.0]


def test_a_key_or_a_timestamp_that_changed_its_type_is_named(tmp_path: Path) -> None:
    rows = stats([("a", NOON, NOON, 1)])
    store = driver_store(tmp_path, rows.rows())

    rewrite(tmp_path / "stats", rows.with_columns(driver=pl.lit(1)))
    with pytest.raises(ValueError, match="view 'stats': join key 'driver' is Int32 in the source and String"):
        trips(store, ("a", NOON))
    rewrite(tmp_path / "stats", rows.with_columns(pl.col("event_timestamp").cast(pl.String)))
    with pytest.raises(ValueError, match=rf"'event_timestamp' of {tmp_path}/stats is String, not a timestamp"):
        trips(store, ("a", NOON))


def test_one_corrupt_file_among_good_ones_is_no_file_without_rows(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    delta(tmp_path / "stats", stats([("b", NOON, NOON, 2)]))
    assert trips(store, ("a", NOON), ("b", NOON)) == [1, 2]
    file = sorted((tmp_path / "stats").glob("*.parquet"))[0]
    file.write_bytes(file.read_bytes()[:-20] + bytes(20))

    with pytest.raises(RuntimeError, match=rf"view 'stats': cannot read {tmp_path}/stats"):
        trips(store, ("a", NOON), ("b", NOON))


def test_the_same_rows_twice_in_a_source_give_one_row_each(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1), ("a", NOON, NOON, 1), ("b", NOON, NOON, 2)])

    assert trips(store, ("a", NOON), ("a", NOON), ("b", NOON)) == [1, 1, 2]


def test_corrupt_files_are_named_with_their_view(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    file = next((tmp_path / "stats").glob("*.parquet"))
    content = file.read_bytes()

    for damaged in (b"x" * len(content), content[:40]):
        file.write_bytes(damaged)
        with pytest.raises(RuntimeError, match=rf"view 'stats': cannot read {tmp_path}/stats"):
            trips(store, ("a", NOON))
    file.unlink()
    with pytest.raises(RuntimeError, match=rf"view 'stats': cannot read {tmp_path}/stats"):
        trips(store, ("a", NOON))
    next((tmp_path / "stats" / "_delta_log").glob("*.json")).write_text("no log")
    with pytest.raises(RuntimeError, match=rf"view 'stats': cannot read {tmp_path}/stats"):
        trips(store, ("a", NOON))


def test_entity_rows_that_cannot_be_joined_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    store = driver_store(tmp_path, [("a", NOON, NOON, 1)])
    entities = asked(("a", NOON))

    with pytest.raises(ValueError, match=r"view 'stats' needs the join key 'driver'.*\['chauffeur'"):
        ask(store, entities.rename(columns={"driver": "chauffeur"}))
    with pytest.raises(ValueError, match=r"several columns \['trips'\]"):
        ask(store, entities.assign(trips=[5]))
    with pytest.raises(ValueError, match="must be a pandas or Polars frame"):
        ask(store, "SELECT 1")
    with pytest.raises(ValueError, match="must be a pandas or Polars frame"):
        ask(store, None, start_date=NOON, end_date=NOON + HOUR)
    with pytest.raises(ValueError, match="'driver' is String in the source and Int64 in entity_df"):
        ask(store, entities.assign(driver=[1]))


def test_only_delta_tables_can_be_pinned(tmp_path: Path) -> None:
    source = parquet(tmp_path / "stats.parquet", stats([("a", NOON, NOON, 1)]))
    store = feast(tmp_path, DRIVER, driver_view(source))

    with read_at({source.path: 1}), pytest.raises(ValueError, match="only Delta tables have versions"):
        trips(store, ("a", NOON))


# The rules against a plain reading of them


def reference(
    rows: Sequence[Row], driver: str | None, when: datetime, ttl: timedelta | None, created: bool
) -> set[Any]:
    """All answers that the rules allow: rows equal in both timestamps are tied."""
    seen = [row for row in rows if driver is not None and row[0] == driver and row[1] <= when]
    if created:
        seen = [row for row in seen if row[2] is not None and row[2] <= when]
    if ttl:
        seen = [row for row in seen if row[1] >= when - ttl]
    order = [(row[1], row[2] or datetime.min.replace(tzinfo=UTC)) for row in seen]
    return {row[3] for row, at in zip(seen, order, strict=True) if at == max(order)} if seen else {None}


drivers = st.sampled_from(["a", "b", None])
moments = st.integers(0, 8).map(lambda number: NOON + number * HOUR)
source_rows = st.lists(
    st.tuples(drivers, moments, st.one_of(st.none(), moments), st.integers(0, 99)), min_size=1, max_size=25
)


TTLS = {"unlimited": None, "one_hour": HOUR, "three_hours": 3 * HOUR}


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, str]:
    """A store whose views differ in ttl and share the file of the returned path."""
    folder = tmp_path_factory.mktemp("ruled")
    source = parquet(folder / "stats.parquet", stats([]), created_timestamp_column="created")
    return feast(folder, DRIVER, *(driver_view(source, ttl, name) for name, ttl in TTLS.items())), source.path


@settings(max_examples=80, deadline=None)
@given(
    rows=source_rows,
    entities=st.lists(st.tuples(drivers, moments), min_size=1, max_size=15),
    created=st.booleans(),
)
def test_answers_follow_the_rules(
    ruled: tuple[FeatureStore, str],
    rows: list[Row],
    entities: list[tuple[str | None, datetime]],
    created: bool,
) -> None:
    store, path = ruled
    stats(rows).write_parquet(path)

    refs = [f"{name}:trips" for name in TTLS]
    found = ask(store, asked(*entities), refs, full_feature_names=True, filter_by_created_timestamp=created)

    assert found.height == len(entities)
    for name, ttl in TTLS.items():
        for answer, (driver, when) in zip(found[f"{name}__trips"], entities, strict=True):
            assert answer in reference(rows, driver, when, ttl, created)


def test_a_hundred_thousand_rows_and_three_views_take_less_than_two_seconds(tmp_path: Path) -> None:
    count = 100_000
    number = pl.int_range(count, eager=True)
    rows = pl.DataFrame(
        {"driver": (number % 997).cast(pl.String), "event_timestamp": NOON + number * timedelta(minutes=1)}
    )
    rows = rows.with_columns(created=pl.col("event_timestamp") + pl.duration(minutes=number % 3), trips=number)
    source = delta(tmp_path / "stats", rows)
    names = ["one", "two", "three"]
    store = feast(tmp_path, DRIVER, *(driver_view(source, timedelta(days=30), name) for name in names))
    entities = rows.select("driver", pl.col("event_timestamp") + timedelta(days=1)).to_pandas()

    start = time.perf_counter()
    refs = [f"{name}:trips" for name in names]
    found = ask(store, entities, refs, full_feature_names=True, filter_by_created_timestamp=True)
    seconds = time.perf_counter() - start

    assert found.height == count
    assert found["one__trips"].null_count() == 0
    assert seconds < 2


def test_feast_knows_that_the_store_filters_by_creation() -> None:
    AsOfOfflineStore().ensure_filter_by_created_timestamp_supported()
