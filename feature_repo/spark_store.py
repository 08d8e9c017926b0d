"""The same definitions on Spark: Feast's Spark offline store over the Delta and Parquet ``FileSource``s of views.

What belongs here: what Feast's store needs to give the answers of ``offline_store`` where data outgrow one machine.
Only the ``type`` in ``feature_store.yaml`` changes. Needs pyspark and Java; nothing is downloaded: delta-rs lists the
files of a Delta table's version and Spark reads them as Parquet.

Feast's query runs as it is. Four things in it would give wrong rows, so what it is fed with rules them out: keys of
several columns are one text (it strings them together, and 1, 23 would meet 12, 3); of rows equal in keys and both
timestamps one is kept (each would multiply the entity row); a missing creation is long ago (the row would be lost);
and a ttl must be whole seconds (it would be cut).
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from feast.field import Field
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    SparkRetrievalJob,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.repo_config import RepoConfig
from feast.types import String
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as fn
from pyspark.sql import types as kinds

from feature_repo.point_in_time import Join, check_names, check_types, entity_rows, real_keys, whole
from feature_repo.sources import Table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from pyspark.sql import Column, DataFrame

_ROW = "_row"
_ZONE = "spark.sql.session.timeZone"
_CONF = {_ZONE: "UTC", "spark.sql.execution.arrow.pyspark.enabled": "true", "spark.ui.enabled": "false"}
# Reader features of Delta tables that change nothing in the files of rows.
_HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
_WHOLE_NUMBERS = (kinds.ByteType, kinds.ShortType, kinds.IntegerType, kinds.LongType)
_FRACTIONS = (kinds.FloatType, kinds.DoubleType)


class SparkFileOfflineStoreConfig(SparkOfflineStoreConfig):
    """The ``offline_store`` block of ``feature_store.yaml``.

    ``storage_options`` are what delta-rs needs to list files; Spark's own access to them is in ``spark_conf``.
    """

    type: Literal["feature_repo.spark_store.SparkFileOfflineStore"] = "feature_repo.spark_store.SparkFileOfflineStore"
    storage_options: dict[str, str] | None = None


class SparkFileRetrievalJob(SparkRetrievalJob):
    """Feast's Spark job, with rows in the order of the entity rows and integers that stay integers."""

    def __init__(
        self,
        job: Any,  # the SparkRetrievalJob of Feast's store
        sources: Sequence[Table],
        columns: Sequence[str] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__(
            spark_session=job.spark_session,
            query=job.query,
            full_feature_names=job.full_feature_names,
            config=job._config,
            on_demand_feature_views=job.on_demand_feature_views,
            metadata=metadata,
        )
        self._read_from = "; ".join(f"{table.reader} from {table.path}" for table in sources)
        self._columns = columns

    def to_spark_df(self) -> DataFrame:
        """The result as a Spark frame, not yet computed."""
        found = super().to_spark_df()
        if self._columns is None:
            return found
        return found.orderBy(_ROW).select(*self._columns)

    def to_polars(self) -> pl.DataFrame:
        """The result as a Polars frame, with on-demand features when there are any."""
        import polars as pl

        return pl.DataFrame(self.to_arrow())

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 — Feast's signature
        try:
            return self.to_spark_df().toArrow()
        except (PySparkException, Py4JJavaError) as error:
            *_, cause = str(error).rpartition("Caused by: ")
            raise RuntimeError(f"Spark could not read {self._read_from}: {cause.splitlines()[0]}") from error


class SparkFileOfflineStore(SparkOfflineStore):
    """Feast's Spark store for repositories whose views have Delta and Parquet ``FileSource``s.

    The rules are those of ``AsOfOfflineStore``; which of several rows equal in keys and both timestamps is found is
    Spark's choice. Timestamps are compared to the microsecond.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,  # noqa: ARG004 — the dates that Feast passes when there is no entity_df
    ) -> RetrievalJob:
        """Features as they were at each entity row's moment; parameters as ``AsOfOfflineStore`` takes them.

        Raises
        ------
        ValueError
            As there, and for a ttl of broken seconds, a Delta table that Parquet readers misread, a Spark session
            that does not think in UTC.
        FileNotFoundError, RuntimeError
            If a source is not there or cannot be read.
        """
        if entity_df is None or isinstance(entity_df, str):
            raise ValueError("entity_df must be a pandas or Polars frame, whose order the result keeps")
        entities, event_column = entity_rows(entity_df)
        wanted = [(Join.of(config, view, feature_refs, full_feature_names), view) for view in feature_views]
        wanted = [(join, view) for join, view in wanted if join.features]
        joins = [join for join, _ in wanted]
        check_names(joins, entities.columns)
        moments = entities[event_column]
        if moments.null_count() == entities.height:
            raise ValueError(f"entity_df has no row with a moment in {event_column!r}; there is nothing to find")
        spark = _session(config)
        names: list[str] = []
        keys: dict[str, pl.Series] = {}
        views: list[FeatureView] = []
        for number, (join, view) in enumerate(wanted):
            key = f"_key_{number}" if join.keys else None
            if key:
                keys[key] = _entity_key(entities, join)
            name = _fed(spark, join, entities, key, filter_by_created_timestamp)
            views.append(_on_spark(view, join, name, key, moments.min()))  # type: ignore[arg-type]
            names += join.features.values()
        job = SparkOfflineStore.get_historical_features(
            config,
            views,
            feature_refs,
            _handed(entities.with_columns(**keys), event_column),
            registry,
            project,
            full_feature_names,
            filter_by_created_timestamp,
        )
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[column for column in entities.columns if column != event_column],
            min_event_timestamp=moments.min(),  # type: ignore[arg-type]
            max_event_timestamp=moments.max(),  # type: ignore[arg-type]
        )
        return SparkFileRetrievalJob(job, [join.table for join in joins], [*entities.columns, *names], metadata)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The latest row of every entity from ``start_date`` to ``end_date``, both included; none without a key."""
        keys = real_keys(join_key_columns)
        stamps = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        table, source = _spark_source(config, data_source, [*keys, *feature_name_columns], stamps, keys)
        job = SparkOfflineStore.pull_latest_from_table_or_query(
            config, source, keys, feature_name_columns, timestamp_field, created_timestamp_column, start_date, end_date
        )
        return SparkFileRetrievalJob(job, [table])

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows from ``start_date`` to ``end_date``, both included where given."""
        keys = real_keys(join_key_columns)
        stamps = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        table, source = _spark_source(config, data_source, [*keys, *feature_name_columns], stamps, [])
        job = SparkOfflineStore.pull_all_from_table_or_query(
            config, source, keys, feature_name_columns, timestamp_field, created_timestamp_column, start_date, end_date
        )
        return SparkFileRetrievalJob(job, [table])


def _session(config: RepoConfig) -> SparkSession:
    """The active session, or a new one that thinks in UTC."""
    spark = SparkSession.getActiveSession()
    if spark is None:
        builder: Any = SparkSession.builder
        for name, value in {**_CONF, **(config.offline_store.spark_conf or {})}.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
    zone = spark.conf.get(_ZONE)
    if zone != "UTC":
        # Moments are compared as texts in the session's zone, and an hour of autumn is there twice.
        raise ValueError(f"the Spark session has {_ZONE}={zone!r}; set it to 'UTC' to retrieve features")
    return spark


def _frame(spark: SparkSession, table: Table) -> DataFrame:
    """The rows of a source; not yet read."""
    from deltalake.exceptions import DeltaError, TableNotFoundError

    # Whatever the session says: a file that cannot be read is an error, not a file without rows.
    reader = spark.read.option("ignoreCorruptFiles", "false").option("ignoreMissingFiles", "false")
    try:
        if not table.delta:
            return reader.parquet(table.path)
        schema, files = _listed(table)
    except TableNotFoundError as error:
        raise FileNotFoundError(f"{table.reader}: there is no Delta table at {table.path}; write it first") from error
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            raise FileNotFoundError(f"{table.reader}: there is nothing at {table.path}; write it first") from error
        raise RuntimeError(f"{table.reader}: cannot read {table.path}: {error}") from error
    except (DeltaError, PySparkException, OSError) as error:
        at = "" if table.version is None else f" at version {table.version}"
        raise RuntimeError(f"{table.reader}: cannot read {table.path}{at}: {error}") from error
    if not files:
        return spark.createDataFrame([], schema)
    return reader.option("basePath", table.path).schema(schema).parquet(*files)


def _listed(table: Table) -> tuple[kinds.StructType, list[str]]:
    """The schema and the files of a Delta table's version, which Delta's log writes in Spark's own words."""
    from deltalake import DeltaTable

    delta = DeltaTable(table.path, version=table.version, storage_options=table.options)
    odd = set(delta.protocol().reader_features or []) - _HARMLESS
    if delta.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        odd.add("columnMapping")
    if odd:
        raise ValueError(
            f"{table.reader}: {table.path} uses {sorted(odd)}, with which its Parquet files alone are not its rows; "
            "rewrite the table without"
        )
    return kinds.StructType.fromJson(json.loads(delta.schema().to_json())), delta.file_uris()


def _chosen(rows: DataFrame, table: Table, columns: Sequence[str], moments: Sequence[str]) -> dict[str, Column]:
    """Columns by the names they go by, moments as timestamps in UTC."""
    schema = {field.name: field.dataType for field in rows.schema.fields}
    names = {name: table.stored_name(name, schema) for name in dict.fromkeys([*columns, *moments])}
    missing = [name for name in names.values() if name not in schema]
    if missing:
        raise ValueError(f"{table.reader}: {table.path} lacks the columns {missing}; it has {list(schema)}")
    for name in (names[moment] for moment in moments):
        if not isinstance(schema[name], (kinds.TimestampType, kinds.TimestampNTZType, kinds.DateType)):
            found = schema[name].simpleString()
            raise ValueError(f"{table.reader}: column {name!r} of {table.path} is {found}, not a timestamp")
    return {
        new: rows[old].cast("timestamp").alias(new) if new in moments else rows[old].alias(new)
        for new, old in names.items()
    }


def _fed(spark: SparkSession, join: Join, entities: pl.DataFrame, key: str | None, by_creation: bool) -> str:
    """Registers the rows of a view as Feast's query can take them; returns the name of the temporary view."""
    created = [join.created] if join.created else []
    rows = _frame(spark, join.table)
    columns = _chosen(rows, join.table, [*join.keys, *join.features], [join.stamp, *created])
    rows = rows.select(*columns.values())
    fields = {field.name: field.dataType for field in rows.schema.fields}
    check_types(join, {name: _kind(fields[name]) for name in join.features})
    if key:
        parts = [_source_key(join, ours, fields[ours], entities[theirs]) for ours, theirs in join.keys.items()]
        rows = rows.withColumn(key, _joined(parts)).filter(fn.col(key).isNotNull())
    if created and not by_creation:
        long_ago = fn.lit("0001-01-01 00:00:00").cast("timestamp")
        rows = rows.withColumn(created[0], fn.coalesce(fn.col(created[0]), long_ago))
    rows = rows.dropDuplicates([*([key] if key else []), join.stamp, *created])
    return _registered(rows)


def _kind(kind: kinds.DataType) -> str | None:
    """What ``check_types`` compares."""
    if isinstance(kind, (*_WHOLE_NUMBERS, *_FRACTIONS, kinds.DecimalType)):
        return "number"
    names = {kinds.StringType: "text", kinds.BooleanType: "boolean", kinds.TimestampType: "timestamp"}
    return names.get(type(kind))


def _source_key(join: Join, ours: str, kind: kinds.DataType, asked: pl.Series) -> Column:
    """A key of the source as text, as ``_entity_key`` writes it."""
    import polars as pl

    column, text = fn.col(ours), isinstance(asked.dtype, (pl.String, pl.Categorical, pl.Enum))
    if asked.null_count() == len(asked):
        return column.cast("string")
    if isinstance(kind, kinds.StringType) and text:
        return column
    if isinstance(kind, _WHOLE_NUMBERS) and asked.dtype.is_numeric():
        return column.cast("string")
    if isinstance(kind, _FRACTIONS) and asked.dtype.is_numeric():
        return fn.when(column == fn.floor(column), column.cast("bigint")).cast("string")
    raise ValueError(
        f"{join.table.reader}: join key {ours!r} is {kind.simpleString()} in the source and {asked.dtype} in "
        "entity_df; convert one of them to text or whole numbers"
    )


def _joined(parts: list[Column]) -> Column:
    """One text of several that no others make; null if one of them is."""
    if len(parts) == 1:
        return parts[0]
    return fn.concat(*(piece for part in parts for piece in (fn.length(part).cast("string"), fn.lit(":"), part)))


def _entity_key(entities: pl.DataFrame, join: Join) -> pl.Series:
    """The keys of the entity rows as ``_joined`` writes those of the source."""
    import polars as pl

    parts = []
    for theirs in join.keys.values():
        kind = entities.schema[theirs]
        parts.append((whole(theirs, kind) if kind.is_numeric() else pl.col(theirs)).cast(pl.String))
    if len(parts) == 1:
        return entities.select(parts[0]).to_series()
    pieces = [piece for part in parts for piece in (part.str.len_chars().cast(pl.String), pl.lit(":"), part)]
    return entities.select(pl.concat_str(pieces)).to_series()


def _on_spark(view: FeatureView, join: Join, name: str, key: str | None, first: datetime) -> FeatureView:
    """The view as Feast's Spark store takes it: over a temporary view, with at most one join key."""
    ttl = join.ttl
    if ttl and ttl.microseconds:
        raise ValueError(f"{join.table.reader}: its ttl of {ttl} is no whole number of seconds, which Spark would cut")
    try:
        first - (ttl or first.resolution)
    except OverflowError:  # a ttl of thousands of years
        ttl = None
    moved = copy.copy(view)
    moved.ttl = ttl
    moved.entity_columns = [Field(name=key, dtype=String)] if key else []
    moved.projection = copy.copy(view.projection)
    moved.projection.join_key_map = {}
    moved.batch_source = SparkSource(
        name=name, table=name, timestamp_field=join.stamp, created_timestamp_column=join.created or ""
    )
    return moved


def _handed(entities: pl.DataFrame, event_column: str) -> pd.DataFrame:
    """The entity rows in pandas, numbered; in Arrow's types, in which what is missing changes nothing."""
    import polars as pl

    rows = entities.with_row_index(_ROW).with_columns(
        pl.col(_ROW).cast(pl.Int64),
        pl.col(event_column).dt.cast_time_unit("us"),
        pl.col(pl.Categorical).cast(pl.String),
    )
    frame = rows.to_pandas(use_pyarrow_extension_array=True)
    frame[event_column] = rows[event_column].to_pandas()
    return frame


def _spark_source(
    config: RepoConfig, source: DataSource, columns: Sequence[str], moments: Sequence[str], keys: Sequence[str]
) -> tuple[Table, SparkSource]:
    """A temporary view over a source, without rows that lack one of the keys."""
    table = Table.of(config, source, f"source {source.name!r}")
    rows = _frame(_session(config), table)
    rows = rows.select(*_chosen(rows, table, columns, moments).values())
    name = _registered(rows.dropna(subset=list(keys)) if keys else rows)
    return table, SparkSource(name=name, table=name, timestamp_field=moments[0])


def _registered(rows: DataFrame) -> str:
    name = f"feast_source_{uuid.uuid4().hex}"
    rows.createOrReplaceTempView(name)
    return name
