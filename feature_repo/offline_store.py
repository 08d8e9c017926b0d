"""Feast's offline store as as-of joins in Polars over Delta and Parquet files.

What belongs here: point-in-time retrieval for any Feast repository that names this class in its
``feature_store.yaml``, and what ``materialize`` and saved datasets need. Nothing of our pipelines, and no views:
those are in ``objects.py``. How rows are read is in ``sources.py``, how they are joined in ``point_in_time.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feature_repo.point_in_time import Join, Spine, check_names, entity_rows, features_of, real_keys
from feature_repo.sources import Table, file_path, pins, plain_path

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.saved_dataset import SavedDatasetStorage


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
    token = pins.set({**(pins.get() or {}), **{plain_path(path): version for path, version in versions.items()}})
    try:
        yield
    finally:
        pins.reset(token)


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
        path = file_path(source, self._repo_path)
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
        entities, event_column = entity_rows(entity_df)
        joins = [Join.of(config, view, feature_refs, full_feature_names) for view in feature_views]
        joins = [join for join in joins if join.features]
        check_names(joins, entities.columns)
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
            spine = Spine.of(entities, list(keys), event_column)
            parts = [features_of(join, spine, filter_by_created_timestamp) for join in joins]
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
        table = Table.of(config, data_source, f"source {data_source.name!r}")
        keys = real_keys(join_key_columns)
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
        table = Table.of(config, data_source, f"source {data_source.name!r}")
        order = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        keys = real_keys(join_key_columns)

        def run() -> pl.DataFrame:
            rows = table.read([*keys, *feature_name_columns], order, start_date, end_date)
            return rows if keys else _with_placeholder(rows)

        return AsOfRetrievalJob(run, repo_path=config.repo_path)


def _with_placeholder(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))
