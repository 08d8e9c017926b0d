"""Feast's offline store as as-of joins in Polars over Delta and Parquet files.

What belongs here: point-in-time retrieval for any Feast repository that names this class in its
``feature_store.yaml``, and what ``materialize`` and saved datasets need. Nothing of our pipelines, and no views:
those are in ``objects.py``.

How a view is joined: its rows are ranked by event timestamp, then by created timestamp, so that of all the rows an
entity row may see, the right one is the one of highest rank. The as-of join carries only ranks; the features are
gathered once, straight into the order of the entity rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from feast.data_format import DeltaFormat
from feast.errors import EntityTimestampInferenceException, SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.saved_dataset import SavedDatasetStorage

_ROW, _WHEN, _STAMP, _CREATED, _RANK, _PLACE = "_row", "_when", "_stamp", "_created", "_rank", "_place"
_NEVER = (datetime(1970, 1, 2, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))
_NANOSECONDS = (datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))  # what 64 bits of them can hold
_pins: ContextVar[Mapping[str, int] | None] = ContextVar("delta_version_pins", default=None)


class AsOfOfflineStoreConfig(FeastConfigBaseModel):
    """The ``offline_store`` block of ``feature_store.yaml``.

    ``storage_options`` are credentials and settings of an object store, as delta-rs and Polars take them.
    """

    type: Literal["feature_repo.offline_store.AsOfOfflineStore"] = "feature_repo.offline_store.AsOfOfflineStore"
    storage_options: dict[str, str] | None = None


@contextmanager
def read_at(versions: Mapping[str, int]) -> Iterator[None]:
    """Pins Delta tables to versions, so that a training set can be made again as it was.

    Parameters
    ----------
    versions : version by path of the table, as its ``FileSource`` names it. Tables not named are read as they are
        now, or at the version in the tag ``delta_version`` of their source.

    Notes
    -----
    Retrievals asked for inside the block keep the pins, also when they run after it. Blocks nest; the inner wins.

    Examples
    --------
    >>> with read_at({"/lake/driver_stats": 3}):
    ...     pass  # store.get_historical_features(...)
    """
    token = _pins.set({**(_pins.get() or {}), **{_plain(path): version for path, version in versions.items()}})
    try:
        yield
    finally:
        _pins.reset(token)


class AsOfRetrievalJob(RetrievalJob):
    """A retrieval that runs when, and each time, its result is asked for.

    ``to_df`` gives timestamps as ``datetime64[us, UTC]`` and, as pandas has no missing integers, integer features with
    misses as float64; ``to_arrow`` and ``to_polars`` keep the types of the source.
    """

    def __init__(
        self,
        run: Callable[[], pl.DataFrame],
        *,
        full_feature_names: bool = False,
        on_demand: Sequence[OnDemandFeatureView] = (),
        metadata: RetrievalMetadata | None = None,
        repo_path: Path | None = None,
    ) -> None:
        self._run = run
        self._full_feature_names = full_feature_names
        self._on_demand = list(on_demand)
        self._metadata = metadata
        self._repo_path = repo_path

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def to_polars(self) -> pl.DataFrame:
        """The result as a Polars frame, with on-demand features when there are any."""
        import polars as pl

        if self._on_demand:
            return pl.DataFrame(self.to_arrow())
        return self._run()

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Writes the result, on-demand features included, as a local Parquet file or Delta table.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            If something is there and ``allow_overwrite`` is not set.
        """
        import pyarrow.parquet as pq
        from deltalake import write_deltalake

        source = storage.to_data_source()
        if not isinstance(source, FileSource):
            raise ValueError(f"cannot save to a {type(source).__name__}; use SavedDatasetFileStorage")
        path = _path(source, self._repo_path)
        if Path(path).exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=path)
        table = self.to_arrow(timeout=timeout)
        if isinstance(source.file_format, DeltaFormat):
            write_deltalake(path, table, mode="overwrite", schema_mode="overwrite")
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 — Feast's signature
        import polars as pl

        # Feast's conversions know plain Arrow strings, not string views.
        return self._run().to_arrow(compat_level=pl.CompatLevel.oldest())


class AsOfOfflineStore(OfflineStore):
    """Point-in-time joins over the Delta and Parquet ``FileSource``s of feature views.

    Every entity row comes back once, in order. A feature is the value of the row with the latest event timestamp at
    or before the entity row's (the same moment counts) and, where the view has a ttl, at most ttl before it (exactly
    ttl counts). Of equal event timestamps the row created last wins. With ``filter_by_created_timestamp`` rows created
    after the entity row's moment do not exist. A null key finds nothing. Moments without a time zone are UTC.

    Only the columns and the span of time that can matter are read, one view after the other.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pl.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,  # noqa: ARG004 — what Feast passes when there is no entity_df
        end_date: datetime | None = None,  # noqa: ARG004
    ) -> RetrievalJob:
        """Features as they were at each entity row's moment; see the class for the rules.

        Parameters
        ----------
        entity_df : rows with the join keys of all views and a moment: the column ``event_timestamp`` or else the only
            datetime column. Its other columns come back as they are.

        Raises
        ------
        ValueError
            If join keys are missing, two columns of the result would have the same name, or rows are not given as a
            frame. What is wrong with a source is told when the job runs.
        """
        if entity_df is None or isinstance(entity_df, str):
            raise ValueError(
                "entity_df must be a pandas or Polars frame: this store neither runs SQL nor lists a range"
            )
        entities, event_column = _entities(entity_df)
        joins = [_Join.of(config, view, feature_refs, full_feature_names) for view in feature_views]
        joins = [join for join in joins if join.features]
        _check(joins, entities.columns)
        moments = entities[event_column]
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[column for column in entities.columns if column != event_column],
            min_event_timestamp=moments.min(),  # type: ignore[arg-type]
            max_event_timestamp=moments.max(),  # type: ignore[arg-type]
        )

        def run() -> pl.DataFrame:
            import polars as pl

            keys = dict.fromkeys(key for join in joins for key in join.keys.values())
            spine = _Spine.of(entities.select(*keys, pl.col(event_column).alias(_WHEN)))
            parts = [_features(join, spine, filter_by_created_timestamp) for join in joins]
            rows = entities.with_columns(pl.col(event_column).dt.cast_time_unit("us"))
            return pl.concat([rows, *parts], how="horizontal")

        return AsOfRetrievalJob(
            run,
            full_feature_names=full_feature_names,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=metadata,
            repo_path=config.repo_path,
        )

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
        """The latest row of every entity from ``start_date`` to ``end_date``, both included.

        Rows with a null key are left out: nobody can ask for them, and online stores refuse them. This is what
        ``materialize`` reads when ``feature_store.yaml`` sets ``materialization: {pull_latest_features: true}``;
        otherwise Feast reads all rows and drops the older ones in pandas.
        """
        table = _Table.of(config, data_source, f"source {data_source.name!r}")
        keys = _real(join_key_columns)
        order = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]

        def run() -> pl.DataFrame:
            rows = table.read([*keys, *feature_name_columns], order, start_date, end_date)
            rows = rows.sort(order, maintain_order=True)
            if keys:
                return rows.drop_nulls(keys).unique(keys, keep="last", maintain_order=True)
            return _with_placeholder(rows.tail(1))

        return AsOfRetrievalJob(run, repo_path=config.repo_path)

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
        table = _Table.of(config, data_source, f"source {data_source.name!r}")
        order = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        keys = _real(join_key_columns)

        def run() -> pl.DataFrame:
            rows = table.read([*keys, *feature_name_columns], order, start_date, end_date)
            return rows if keys else _with_placeholder(rows)

        return AsOfRetrievalJob(run, repo_path=config.repo_path)


@dataclass(frozen=True)
class _Table:
    """Where rows are: a Delta table at a version, or Parquet files."""

    path: str
    delta: bool
    version: int | None
    options: dict[str, str] | None
    reader: str  # who reads, for errors
    renamed: Mapping[str, str] = field(default_factory=dict)  # new name: name in the files

    @classmethod
    def of(
        cls, config: RepoConfig, source: DataSource | None, reader: str, renamed: Mapping[str, str] | None = None
    ) -> _Table:
        if not isinstance(source, FileSource):
            raise ValueError(f"{reader}: this store reads FileSources, not {type(source).__name__}")
        path = _path(source, config.repo_path)
        pins, tag = _pins.get() or {}, source.tags.get("delta_version")
        version = pins.get(_plain(path), pins.get(_plain(source.path), int(tag) if tag else None))
        delta = isinstance(source.file_format, DeltaFormat)
        if version is not None and not delta:
            raise ValueError(f"{reader}: {path} is pinned to version {version}, but only Delta tables have versions")
        options = getattr(config.offline_store, "storage_options", None)
        return cls(path, delta, version, options, reader, renamed or {})

    def read(
        self, columns: Sequence[str], moments: Sequence[str], first: datetime | None, last: datetime | None
    ) -> pl.DataFrame:
        """``columns`` and ``moments`` of the rows whose first of ``moments`` is from ``first`` to ``last``.

        Timestamps come in UTC and at least microseconds. Files whose statistics rule them out stay closed.
        """
        import polars as pl
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return self._select(self._open(), columns, moments, first, last).collect()
        except TableNotFoundError as error:
            raise FileNotFoundError(f"{self.reader}: there is no Delta table at {self.path}; write it first") from error
        except (DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            if isinstance(error, FileNotFoundError) and not self.delta:
                raise FileNotFoundError(f"{self.reader}: there is nothing at {self.path}; write it first") from error
            at = "" if self.version is None else f" at version {self.version}"
            raise RuntimeError(f"{self.reader}: cannot read {self.path}{at}: {error}") from error

    def _open(self) -> pl.LazyFrame:
        import polars as pl
        from deltalake import DeltaTable

        if self.delta:
            return pl.scan_delta(DeltaTable(self.path, version=self.version, storage_options=self.options))
        return pl.scan_parquet(self.path, storage_options=self.options)

    def _select(
        self,
        rows: pl.LazyFrame,
        columns: Sequence[str],
        moments: Sequence[str],
        first: datetime | None,
        last: datetime | None,
    ) -> pl.LazyFrame:
        import polars as pl

        schema = rows.collect_schema()
        names = {name: self._stored_name(name, schema) for name in dict.fromkeys([*columns, *moments])}
        missing = [name for name in names.values() if name not in schema]
        if missing:
            raise ValueError(f"{self.reader}: {self.path} lacks the columns {missing}; it has {schema.names()}")
        for name in (names[moment] for moment in moments):
            if not isinstance(schema[name], (pl.Datetime, pl.Date)):
                raise ValueError(f"{self.reader}: column {name!r} of {self.path} is {schema[name]}, not a timestamp")
        rows = rows.filter(_between(names[moments[0]], schema[names[moments[0]]], first, last))
        return rows.select(_aware(old, schema[old], new in moments).alias(new) for new, old in names.items())

    def _stored_name(self, name: str, schema: pl.Schema) -> str:
        old = self.renamed.get(name, name)
        return old if old in schema else name


@dataclass(frozen=True)
class _Spine:
    """The entity rows that have a moment, sorted by it."""

    rows: pl.DataFrame
    places: pl.Series  # per entity row its place in ``rows``, null for those without a moment
    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, entities: pl.DataFrame) -> _Spine:
        import polars as pl

        rows = entities.with_row_index(_ROW).drop_nulls(_WHEN).sort(_WHEN, maintain_order=True)
        found = rows.select(_ROW).with_row_index(_PLACE).sort(_ROW)
        every = pl.DataFrame({_ROW: pl.int_range(entities.height, dtype=pl.get_index_type(), eager=True)})
        places = every.join(found, on=_ROW, how="left", maintain_order="left")[_PLACE]
        return cls(rows, places, rows[_WHEN].min(), rows[_WHEN].max())  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Join:
    """What one feature view adds to the entity rows."""

    table: _Table
    stamp: str
    created: str | None
    ttl: timedelta | None
    keys: Mapping[str, str]  # join key of the view: column of the entity rows
    features: Mapping[str, str]  # feature: name in the result

    @classmethod
    def of(cls, config: RepoConfig, view: FeatureView, refs: Sequence[str], full_feature_names: bool) -> _Join:
        projection, source = view.projection, view.batch_source
        reader = f"view {projection.name_to_use()!r}"
        if source is None:
            raise ValueError(f"{reader} has no batch source to read history from")
        mapping = {new: old for old, new in source.field_mapping.items()}
        prefix = f"{projection.name_alias or view.name}__" if full_feature_names else ""
        wanted = [ref.split(":", 1) for ref in refs if ref.startswith(f"{projection.name_to_use()}:")]
        keys = _real([column.name for column in view.entity_columns])
        return cls(
            table=_Table.of(config, source, reader, mapping),
            stamp=source.timestamp_field,
            created=source.created_timestamp_column or None,
            ttl=view.ttl or None,  # Feast: a ttl of zero is none
            keys={key: (projection.join_key_map or {}).get(key, key) for key in keys},
            features={name: f"{prefix}{name}" for _, name in wanted},
        )


def _features(join: _Join, spine: _Spine, by_creation: bool) -> pl.DataFrame:
    """The features of one view beside the entity rows, in their order."""
    import polars as pl

    created = join.created or join.stamp
    source = join.table.read([*join.keys, *join.features], [join.stamp, created], *_span(join, spine))
    keys = {f"_key_{number}": names for number, names in enumerate(join.keys.items())}
    kinds = [source.schema[join.stamp], source.schema[created]]
    unit: Literal["ns", "us"] = "ns" if pl.Datetime("ns", "UTC") in kinds else "us"
    ranked = source.select(
        *(pl.col(ours).alias(key) for key, (ours, _) in keys.items()),
        pl.col(join.stamp).dt.cast_time_unit(unit).alias(_STAMP),
        pl.col(created).dt.cast_time_unit(unit).alias(_CREATED),
    )
    ranked = ranked.with_row_index(_PLACE).sort(_STAMP, _CREATED, maintain_order=True).with_row_index(_RANK)
    asked = spine.rows.select(
        pl.col(_WHEN).dt.cast_time_unit(unit), *(pl.col(theirs).alias(key) for key, (_, theirs) in keys.items())
    )
    for key, (ours, _) in keys.items():
        asked, ranked = _same_type(asked, ranked, key, f"{join.table.reader}: join key {ours!r}")
    with_keys = ranked.drop_nulls(list(keys)) if keys else ranked
    ranks = _ranks(asked, with_keys, list(keys), by_creation and join.created is not None)
    if join.ttl:
        age = asked[_WHEN] - ranked[_STAMP].gather(ranks)
        ranks = pl.select(pl.when(age <= join.ttl).then(ranks)).to_series()
    places = ranked[_PLACE].gather(ranks.gather(spine.places))
    return source.select(pl.col(feature).gather(places).alias(name) for feature, name in join.features.items())


def _ranks(asked: pl.DataFrame, rows: pl.DataFrame, keys: list[str], by_creation: bool) -> pl.Series:
    """Per asked row the highest rank among the rows it may see, null where there is none.

    A row created at or before its own event timestamp can be seen from that timestamp on, and the latest of those is
    a plain as-of join. A row created later can be seen from its creation on; what was created last may be the older
    fact, so there the highest rank so far is carried along. The better of both answers is exact.
    """
    import polars as pl

    if not by_creation:
        return _as_of(asked, rows, _STAMP, keys)
    ranks = _as_of(asked, rows.filter(pl.col(_CREATED) <= pl.col(_STAMP)), _STAMP, keys)
    late = rows.filter(pl.col(_CREATED) > pl.col(_STAMP)).sort(_CREATED, maintain_order=True)
    if late.is_empty():
        return ranks
    best = pl.col(_RANK).cum_max().over(keys) if keys else pl.col(_RANK).cum_max()
    late_ranks = _as_of(asked, late.with_columns(best), _CREATED, keys)
    return pl.select(pl.max_horizontal(ranks, late_ranks)).to_series()


def _as_of(asked: pl.DataFrame, rows: pl.DataFrame, on: str, keys: list[str]) -> pl.Series:
    """The rank of the last row at or before each moment; of equal moments the last row in order."""
    # Both sides are sorted; Polars cannot check that within groups and would warn.
    found = asked.join_asof(
        rows.select(*keys, on, _RANK), left_on=_WHEN, right_on=on, by=keys or None, check_sortedness=False
    )
    return found[_RANK]


def _same_type(asked: pl.DataFrame, rows: pl.DataFrame, key: str, what: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides with the key in a type that compares exactly: integers as Int64, texts as String."""
    import polars as pl

    ours, theirs = rows.schema[key], asked.schema[key]
    texts = (pl.String, pl.Categorical, pl.Enum)
    if asked[key].null_count() == asked.height:  # says nothing, and pandas gives it any type
        return asked.with_columns(pl.lit(None, dtype=ours).alias(key)), rows
    if ours == theirs and not isinstance(ours, pl.Categorical):
        return asked, rows
    if isinstance(ours, texts) and isinstance(theirs, texts):
        return asked.with_columns(pl.col(key).cast(pl.String)), rows.with_columns(pl.col(key).cast(pl.String))
    if ours.is_numeric() and theirs.is_numeric():
        # pandas turns integers with gaps into floats; one that is no whole number equals no integer.
        return asked.with_columns(_whole(key, theirs)), rows.with_columns(_whole(key, ours))
    raise ValueError(f"{what} is {ours} in the source and {theirs} in entity_df; convert one of them")


def _whole(key: str, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    column = pl.col(key)
    exact = column == column.floor() if kind.is_float() else pl.lit(value=True)
    return pl.when(exact).then(column.cast(pl.Int64, strict=False)).alias(key)


def _span(join: _Join, spine: _Spine) -> tuple[datetime | None, datetime]:
    """The event timestamps that can matter to the spine; a microsecond of margin for nanosecond moments."""
    if spine.first is None or spine.last is None:
        return _NEVER
    last = spine.last + timedelta(microseconds=1)
    try:
        return spine.first - join.ttl if join.ttl else None, last
    except OverflowError:  # a ttl of thousands of years
        return None, last


def _check(joins: Sequence[_Join], columns: Sequence[str]) -> None:
    """Refuses entity rows that cannot be joined, with all that is wrong."""
    wrong = [
        f"{join.table.reader} needs the join key {theirs!r}"
        for join in joins
        for theirs in join.keys.values()
        if theirs not in columns
    ]
    if wrong:
        raise ValueError(f"entity_df lacks join keys: {'; '.join(wrong)}; it has {list(columns)}")
    names = [*columns, *(name for join in joins for name in join.features.values())]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"the result would have several columns {doubled}; rename them or ask for full_feature_names")


def _entities(entity_df: pd.DataFrame | pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The entity rows in Polars with their moments in UTC, and the name of the column of moments."""
    import pandas as pd
    import polars as pl

    frame = entity_df if isinstance(entity_df, pl.DataFrame) else None
    if isinstance(entity_df, pd.DataFrame):
        column = DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL
        if column in entity_df and entity_df[column].dtype == object:
            # Texts, or Python datetimes of several zones.
            entity_df = entity_df.assign(**{column: pd.to_datetime(entity_df[column], utc=True)})
        frame = pl.from_pandas(entity_df)
    if frame is None:
        raise ValueError(f"entity_df must be a pandas or Polars frame, not {type(entity_df).__name__}")
    moments = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    if DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL in frame.columns:
        moments = [DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL]
    if len(moments) != 1:
        raise EntityTimestampInferenceException(DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL)
    event_column, kind = moments[0], frame.schema[moments[0]]
    if not isinstance(kind, (pl.Datetime, pl.Date, pl.Null)):
        raise ValueError(f"entity_df: column {event_column!r} is {kind}, not a timestamp")
    if isinstance(kind, pl.Null):
        frame, kind = frame.with_columns(pl.col(event_column).cast(pl.Datetime("us"))), pl.Datetime("us")
    return frame.with_columns(_aware(event_column, kind, moment=True)), event_column


def _aware(name: str, kind: pl.DataType, moment: bool) -> pl.Expr:
    """A timestamp column in UTC, in microseconds unless it holds nanoseconds; other columns as they are.

    ``moment``: the column says when; if it holds dates they mean their first instant.
    """
    import polars as pl

    column = pl.col(name)
    if isinstance(kind, pl.Date) and moment:
        column, kind = column.cast(pl.Datetime("us")), pl.Datetime("us")
    if not isinstance(kind, pl.Datetime):
        return column
    utc = column.dt.convert_time_zone("UTC") if kind.time_zone else column.dt.replace_time_zone("UTC")
    return utc.dt.cast_time_unit("us") if kind.time_unit == "ms" else utc


def _between(name: str, kind: pl.DataType, first: datetime | None, last: datetime | None) -> pl.Expr:
    """Rows from ``first`` to ``last``, both included where given.

    The column is compared as it is stored, so that the statistics of the files apply.
    """
    import polars as pl

    column = pl.col(name)
    if not isinstance(kind, pl.Datetime) or kind.time_unit == "ms":  # too coarse to hold the bounds exactly
        kind = pl.Datetime("us", getattr(kind, "time_zone", None))
        column = column.cast(kind)
    bounds = []
    if first is not None:
        bounds.append(column >= _literal(first, kind))
    if last is not None:
        bounds.append(column <= _literal(last, kind))
    return pl.all_horizontal(bounds) if bounds else pl.lit(value=True)


def _literal(moment: datetime, kind: pl.Datetime) -> pl.Expr:
    """A moment in a column's own type."""
    import polars as pl

    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if kind.time_unit == "ns":
        moment = min(max(moment, _NANOSECONDS[0]), _NANOSECONDS[1])
    moment = moment.astimezone(ZoneInfo(kind.time_zone or "UTC"))
    return pl.lit(moment if kind.time_zone else moment.replace(tzinfo=None), dtype=kind)


def _real(join_keys: Sequence[str]) -> list[str]:
    """The join keys without Feast's placeholder for views without entities."""
    return [key for key in join_keys if key != DUMMY_ENTITY_ID]


def _with_placeholder(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))


def _path(source: FileSource, repo_path: Path | None) -> str:
    return str(FileSource.get_uri_for_file_path(repo_path, source.path))


def _plain(path: str) -> str:
    """A path as pins are compared by."""
    return path.rstrip("/")
