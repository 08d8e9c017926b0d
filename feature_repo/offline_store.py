"""Feast's offline store as as-of joins in Polars over Delta and Parquet files.

What belongs here: point-in-time retrieval for any Feast repository that names this class in its
``feature_store.yaml``. Nothing of our pipelines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from feast.data_format import DeltaFormat
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry

ROW, WHEN = "_row", "_when"
_versions: ContextVar[Mapping[str, int]] = ContextVar("delta_versions", default={})  # noqa: B039


class AsOfOfflineStoreConfig(FeastConfigBaseModel):
    """The ``offline_store`` block of ``feature_store.yaml``."""

    type: Literal["feature_repo.offline_store.AsOfOfflineStore"] = "feature_repo.offline_store.AsOfOfflineStore"


@contextmanager
def read_at(versions: Mapping[str, int]) -> Iterator[None]:
    """Reads Delta tables at given versions, by path, so that a training set can be made again as it was."""
    token = _versions.set(dict(versions))
    try:
        yield
    finally:
        _versions.reset(token)


class AsOfRetrievalJob(RetrievalJob):
    """A retrieval that runs when its result is asked for."""

    def __init__(self, plan: Any, full_feature_names: bool, on_demand: list[OnDemandFeatureView]) -> None:
        self._plan = plan
        self._full_feature_names = full_feature_names
        self._on_demand = on_demand

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand

    def to_polars(self) -> pl.DataFrame:
        """The result without on-demand features, with Polars' types."""
        frame: pl.DataFrame = self._plan()
        return frame

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:  # noqa: ARG002
        return self.to_polars().to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        return self.to_polars().to_arrow()


class AsOfOfflineStore(OfflineStore):
    """Point-in-time joins over Delta and Parquet ``FileSource``s.

    Every entity row comes back once, in order. A feature is the latest value with a timestamp at or before the
    entity's, not older than the view's ttl; of equal timestamps the one created last. With
    ``filter_by_created_timestamp`` only values created at or before the entity's timestamp count.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,  # noqa: ARG004
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        import polars as pl

        if isinstance(entity_df, str):
            raise ValueError("entity_df must be a frame; this store does not run SQL")
        schema = dict(zip(entity_df.columns, entity_df.dtypes, strict=True))
        event_column = infer_event_timestamp_from_entity_df(schema)
        entities = pl.from_pandas(entity_df)
        versions = _versions.get()

        def plan() -> pl.DataFrame:
            rows = entities.with_columns(_utc(entities[event_column]).alias(event_column))
            spine = rows.with_row_index(ROW).with_columns(pl.col(event_column).alias(WHEN))
            parts = [
                _join_view(view, feature_refs, spine, full_feature_names, filter_by_created_timestamp, versions)
                for view in feature_views
            ]
            return pl.concat([rows, *parts], how="horizontal")

        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return AsOfRetrievalJob(plan, full_feature_names, on_demand)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,  # noqa: ARG004
        data_source: FileSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        keys = [key for key in join_key_columns if key != DUMMY_ENTITY_ID]
        columns = [*keys, *feature_name_columns, timestamp_field, *filter(None, [created_timestamp_column])]
        versions = _versions.get()

        def plan() -> pl.DataFrame:
            rows = _scan(data_source, columns, timestamp_field, start_date, end_date, versions).collect()
            order = [timestamp_field, *filter(None, [created_timestamp_column])]
            latest = rows.sort(order, maintain_order=True)
            return latest.unique(keys, keep="last", maintain_order=True) if keys else latest.tail(1)

        return AsOfRetrievalJob(plan, full_feature_names=False, on_demand=[])

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,  # noqa: ARG004
        data_source: FileSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, *filter(None, [created_timestamp_column])]
        versions = _versions.get()

        def plan() -> pl.DataFrame:
            return _scan(data_source, columns, timestamp_field, start_date, end_date, versions).collect()

        return AsOfRetrievalJob(plan, full_feature_names=False, on_demand=[])


def _join_view(
    view: FeatureView,
    feature_refs: Sequence[str],
    spine: pl.DataFrame,
    full_feature_names: bool,
    by_creation: bool,
    versions: Mapping[str, int],
) -> pl.DataFrame:
    """The features of one view beside the spine's rows: only the features, in the spine's order."""
    import polars as pl

    source = view.batch_source
    prefix = view.projection.name_to_use()
    features = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{prefix}:")]
    names = {f: f"{view.projection.name_alias or view.name}__{f}" if full_feature_names else f for f in features}
    key_map = view.projection.join_key_map or {}
    keys = {column.name: key_map.get(column.name, column.name) for column in view.entity_columns}
    keys = {ours: theirs for ours, theirs in keys.items() if ours != DUMMY_ENTITY_ID}
    missing = [theirs for theirs in keys.values() if theirs not in spine.columns]
    if missing:
        raise ValueError(f"view {view.name!r}: the entity rows lack the join keys {missing}; they have {spine.columns}")
    stamp, created = source.timestamp_field, source.created_timestamp_column
    columns = [*keys, *features, stamp, *([created] if created else [])]
    last = spine[WHEN].max()
    first = spine[WHEN].min() - view.ttl if view.ttl and spine.height else None  # type: ignore[operator]
    rows = _scan(source, columns, stamp, first, last, versions, view.name).collect()  # type: ignore[arg-type]
    rows = rows.rename({ours: theirs for ours, theirs in keys.items() if ours != theirs})
    # Names of our own, so that no column of the spine is in the way.
    rows = rows.rename({stamp: "_stamp", **({created: "_created"} if created else {}), **{f: f"_f_{f}" for f in features}})
    found = _as_of(spine, rows, list(keys.values()), by_creation and bool(created))
    fresh = (pl.col(WHEN) - pl.col("_stamp")) <= view.ttl if view.ttl else pl.lit(value=True)
    return found.select(pl.when(fresh).then(pl.col(f"_f_{f}")).alias(names[f]) for f in features)


def _as_of(spine: pl.DataFrame, rows: pl.DataFrame, keys: list[str], by_creation: bool) -> pl.DataFrame:
    """Each spine row with the latest source row at or before its moment; in the spine's order."""
    import polars as pl

    asked = spine.select(ROW, WHEN, *keys).sort(WHEN, maintain_order=True)
    if not keys:
        asked, rows, keys = asked.with_columns(_all=pl.lit(1)), rows.with_columns(_all=pl.lit(1)), ["_all"]
    rows = rows.with_columns(pl.col(key).cast(asked.schema[key]) for key in keys)
    if "_created" not in rows.columns:
        rows = rows.with_columns(pl.col("_stamp").alias("_created"))
    rows = rows.sort("_stamp", "_created", maintain_order=True)
    late = rows.filter(pl.col("_created") > pl.col("_stamp")) if by_creation else rows.head(0)
    prompt = rows.filter(pl.col("_created") <= pl.col("_stamp")) if late.height else rows
    joined = _join(asked, prompt.unique([*keys, "_stamp"], keep="last", maintain_order=True), "_stamp", keys)
    if late.height:
        joined = _newer(joined, _join(asked, _best_so_far(late, keys), "_created_sort", keys))
    return joined.sort(ROW)


def _join(asked: pl.DataFrame, rows: pl.DataFrame, on: str, keys: list[str]) -> pl.DataFrame:
    return asked.join_asof(rows.sort(on), left_on=WHEN, right_on=on, by=keys, check_sortedness=False, coalesce=False)


def _best_so_far(late: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Per key and moment of creation, the row with the latest timestamp among those created until then.

    A row that came late may be older than one that came before it: the newest creation is not the newest fact.
    """
    import polars as pl

    ordered = late.sort("_created", "_stamp", maintain_order=True).with_row_index("_n")
    best = ordered.with_columns(_best=pl.struct("_stamp", "_created", "_n").rank("ordinal").cast(pl.Int64))
    best = best.with_columns(_best=pl.col("_best").cum_max().over(keys), _rank=pl.col("_best"))
    payload = best.drop("_best", "_n")
    moments = best.select(*keys, "_best", pl.col("_created").alias("_created_sort"))
    moments = moments.unique([*keys, "_created_sort"], keep="last", maintain_order=True)
    return moments.join(payload.drop(keys), left_on="_best", right_on="_rank", how="left").drop("_best")


def _newer(prompt: pl.DataFrame, late: pl.DataFrame) -> pl.DataFrame:
    """Row by row the one of two answers whose fact is newer; of equal ones the later created."""
    import polars as pl

    late = late.select(prompt.columns)
    choose = pl.DataFrame({"p": prompt["_stamp"], "l": late["_stamp"], "pc": prompt["_created"], "lc": late["_created"]}).select(
        pl.col("l").is_not_null()
        & (pl.col("p").is_null() | (pl.col("l") > pl.col("p")) | ((pl.col("l") == pl.col("p")) & (pl.col("lc") > pl.col("pc"))))
    )[:, 0]
    return pl.DataFrame({name: late[name].zip_with(choose, prompt[name]) for name in prompt.columns})


def _scan(
    source: FileSource,
    columns: Sequence[str],
    stamp: str,
    first: datetime | None,
    last: datetime | None,
    versions: Mapping[str, int],
    view: str = "",
) -> pl.LazyFrame:
    """The columns of a source in a range of time, with timestamps in UTC microseconds."""
    import polars as pl

    frame = _open(source, versions, view)
    mapped = {old: new for old, new in source.field_mapping.items() if new in columns}
    frame = frame.rename(mapped) if mapped else frame
    schema = frame.collect_schema()
    missing = [name for name in columns if name not in schema]
    if missing:
        raise ValueError(f"view {view!r}: {source.path} lacks the columns {missing}; it has {schema.names()}")
    times = [name for name in columns if isinstance(schema[name], pl.Datetime)]
    if last is not None and "day" in schema and schema["day"] == pl.Date():
        # Tables partitioned by day: only those partitions are opened. A day may end a while after midnight.
        frame = frame.filter(pl.col("day") <= last.date() + timedelta(days=2))
        if first is not None:
            frame = frame.filter(pl.col("day") >= first.date() - timedelta(days=2))
    frame = frame.select(columns).with_columns(_utc_expression(name, schema[name]) for name in times)
    if first is not None:
        frame = frame.filter(pl.col(stamp) >= first)
    return frame.filter(pl.col(stamp) <= last) if last is not None else frame


def _open(source: FileSource, versions: Mapping[str, int], view: str) -> pl.LazyFrame:
    import polars as pl
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    path = str(source.path)
    if not isinstance(source.file_format, DeltaFormat):
        return pl.scan_parquet(path)
    try:
        return pl.scan_delta(DeltaTable(path, version=versions.get(path)))
    except TableNotFoundError as error:
        raise FileNotFoundError(f"view {view!r}: there is no Delta table at {path}; build its features first") from error


def _utc(moments: pl.Series) -> pl.Series:
    import polars as pl

    return pl.DataFrame({"m": moments}).select(_utc_expression("m", moments.dtype))["m"]


def _utc_expression(name: str, kind: pl.DataType) -> pl.Expr:
    """A moment in UTC microseconds; one without a time zone is taken to be in UTC."""
    import polars as pl

    column = pl.col(name)
    zoned = column.dt.convert_time_zone("UTC") if getattr(kind, "time_zone", None) else column.dt.replace_time_zone("UTC")
    return zoned.dt.cast_time_unit("us").alias(name)
