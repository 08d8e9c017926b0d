"""Where feature rows are and how they are read: Delta tables at a version, and Parquet files.

What belongs here: paths, pins, columns, spans of time, and errors that say what is wrong with a source. What does
not: which row is right for whom; that is ``point_in_time``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from feast.data_format import DeltaFormat
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feature_repo.delta import open_table
from feature_repo.recent import recent_rows

if TYPE_CHECKING:
    import polars as pl
    from feast.data_source import DataSource

_NANOSECONDS = (datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))  # what 64 bits of them can hold
# Versions by path, for the block that reads; see ``offline_store.read_at``.
pins: ContextVar[Mapping[str, int] | None] = ContextVar("delta_version_pins", default=None)


@dataclass(frozen=True)
class Table:
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
    ) -> Table:
        if not isinstance(source, FileSource):
            raise ValueError(f"{reader}: this store reads FileSources, not {type(source).__name__}")
        path = file_path(source, config.repo_path)
        pinned, tag = pins.get() or {}, source.tags.get("delta_version")
        version = pinned.get(plain_path(path), pinned.get(plain_path(source.path), int(tag) if tag else None))
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
            return self._select(self._open(moments[0], first, last), columns, moments, first, last).collect()
        except TableNotFoundError as error:
            raise FileNotFoundError(f"{self.reader}: there is no Delta table at {self.path}; write it first") from error
        except (DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            if isinstance(error, FileNotFoundError) and not self.delta:
                raise FileNotFoundError(f"{self.reader}: there is nothing at {self.path}; write it first") from error
            at = "" if self.version is None else f" at version {self.version}"
            raise RuntimeError(f"{self.reader}: cannot read {self.path}{at}: {error}") from error

    def _open(self, moment: str, first: datetime | None, last: datetime | None) -> pl.LazyFrame:
        """The rows, at least those whose ``moment`` lies in the span."""
        import polars as pl

        if self.delta:
            table = open_table(self.path, self.version, self.options)
            rows = recent_rows(table, self.renamed.get(moment, moment), first, last)
            return pl.scan_delta(table) if rows is None else rows
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
        names = {name: self.stored_name(name, schema) for name in dict.fromkeys([*columns, *moments])}
        missing = [name for name in names.values() if name not in schema]
        if missing:
            raise ValueError(f"{self.reader}: {self.path} lacks the columns {missing}; it has {schema.names()}")
        for name in (names[moment] for moment in moments):
            if not isinstance(schema[name], (pl.Datetime, pl.Date)):
                raise ValueError(f"{self.reader}: column {name!r} of {self.path} is {schema[name]}, not a timestamp")
        rows = rows.filter(_between(names[moments[0]], schema[names[moments[0]]], first, last))
        return rows.select(aware(old, schema[old], new in moments).alias(new) for new, old in names.items())

    def stored_name(self, name: str, schema: Container[str]) -> str:
        """What a column is called in the files."""
        old = self.renamed.get(name, name)
        return old if old in schema else name


def aware(name: str, kind: pl.DataType, moment: bool) -> pl.Expr:
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


def file_path(source: FileSource, repo_path: Path | None) -> str:
    return str(FileSource.get_uri_for_file_path(repo_path, source.path))


def plain_path(path: str) -> str:
    """A path as pins are compared by."""
    return path.rstrip("/")
