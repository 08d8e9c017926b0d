"""Rows of the few files that a night reads again and again, kept in memory.

Forecasts, the proof of their inputs, reports and the next night's forecasts all read the last weeks of the same
tables: hundreds of small files, of which one a table is new. A file of a Delta table never changes, so one that was
read once is taken from memory. What belongs here: which files can hold the rows that are asked for, and the files'
rows. Whoever asks filters them; long spans, large files and unusual tables are left to Polars' own scan.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from feature_repo.delta import commit_stamp

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

MOST_FILES, LARGEST_SPAN = 64, 32 * 2**20  # files, and bytes on disk; beyond that, reading only some columns is better
MOST_BYTES = 128 * 2**20  # of all rows that are kept

Key = tuple[str, str, int, int]


class _Kept:
    """Frames by what they are read from; those not asked for the longest go first."""

    def __init__(self) -> None:
        self._frames: OrderedDict[Key, pl.DataFrame] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Key) -> pl.DataFrame | None:
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def put(self, key: Key, frame: pl.DataFrame) -> None:
        with self._lock:
            if key not in self._frames:
                self._frames[key] = frame
                self._bytes += int(frame.estimated_size())
            while self._bytes > MOST_BYTES:
                self._bytes -= int(self._frames.popitem(last=False)[1].estimated_size())


_kept = _Kept()
_empty: dict[str, pl.DataFrame] = {}  # a table's columns, by its schema as it is stored


def recent_rows(
    table: DeltaTable,
    column: str,
    first: date | datetime | None,
    last: date | datetime | None,
    *,
    in_order: bool = False,
) -> pl.LazyFrame | None:
    """All rows of the files that can hold values of a column from ``first`` to ``last``, both included where given.

    They have the columns and the order of ``polars.scan_delta``, and may be more than asked for: filter them.

    Parameters
    ----------
    in_order : the table is partitioned by the column, and the rows are to come in its order; those of a partition
        keep theirs.

    Returns
    -------
    polars.LazyFrame or None
        None where the table is not on this machine, uses more than plain Parquet files, or where the span is long.
    """
    import polars as pl

    root = table.table_uri.removeprefix("file://")
    if "://" in root or table.protocol().min_reader_version > 1:
        return None
    listing = _listed(table)
    places = listing.places(column, first, last)
    records = [listing.records[place] for place in places]
    if len(places) > MOST_FILES or sum(listing.sizes[place] for place in places) > LARGEST_SPAN or None in records:
        return None
    if in_order:
        days = listing.numbers(f"partition.{column}")
        places = sorted(places, key=lambda place: (days[place] is not None, days[place]))
    stored = table.schema().to_json()
    if stored not in _empty:
        _empty[stored] = pl.DataFrame(schema=pl.scan_delta(table).collect_schema())
    keys = [_key(os.path.join(root, listing.paths[place]), stored) for place in places]
    frames = {key: frame for key in keys if (frame := _kept.get(key)) is not None}
    new = [number for number, key in enumerate(keys) if key not in frames]
    if new:
        try:
            files = [listing.files.row(places[number], named=True) for number in new]
            read = _read([keys[number][0] for number in new], files, _empty[stored].schema)
        except pl.exceptions.SchemaError:  # a column is not stored in the table's own type; Polars' scan converts
            return None
        for number, frame in zip(new, read, strict=True):
            frames[keys[number]] = frame
            _kept.put(keys[number], frame)
    # In one piece: what is made of rows in as many pieces as there are days takes longer.
    return pl.concat([_empty[stored], *(frames[key] for key in keys)], rechunk=True).lazy()


def _key(path: str, stored: str) -> Key:
    """What a file's rows are kept by: one that was damaged or put back since must be read again."""
    found = os.stat(path)
    return path, stored, found.st_size, found.st_mtime_ns


@dataclass
class _Listing:
    """The files of a table by its log, in the log's order; what is looked at every time is kept as plain numbers."""

    files: pl.DataFrame

    def __post_init__(self) -> None:
        self.paths: list[str] = [unquote(path) for path in self.files["path"]]
        self.sizes: list[int] = self.files["size_bytes"].to_list()
        self.records: list[int | None] = self.files["num_records"].to_list()
        self._known: dict[str, list[int | None]] = {}

    def places(self, column: str, first: date | datetime | None, last: date | datetime | None) -> list[int]:
        """The files whose partition or statistics do not rule them out; those without statistics may hold anything."""
        partition, least, most = f"partition.{column}", f"min.{column}", f"max.{column}"
        if partition in self.files.columns:
            least = most = partition
        possible = list(range(self.files.height))
        if first is not None and _comparable(self.files, most, first):
            values = self.numbers(most)
            # Statistics of moments may be cut to milliseconds.
            since = _number(first) - (1000 if isinstance(first, datetime) else 0)
            possible = [place for place in possible if (value := values[place]) is None or value >= since]
        if last is not None and _comparable(self.files, least, last):
            values, until = self.numbers(least), _number(last)
            possible = [place for place in possible if (value := values[place]) is None or value <= until]
        return possible

    def numbers(self, column: str) -> list[int | None]:
        """Days or microseconds since 1970 of each file, None where they are not known."""
        import polars as pl

        if column not in self._known:
            values = self.files[column]
            if isinstance(values.dtype, pl.Datetime) and values.dtype.time_unit != "us":
                values = values.dt.cast_time_unit("us")
            self._known[column] = values.to_physical().to_list()
        return self._known[column]


def _number(bound: date | datetime) -> int:
    """Days since 1970, or microseconds if it is a moment."""
    if isinstance(bound, datetime):
        start = datetime(1970, 1, 1, tzinfo=None if bound.tzinfo is None else UTC)
        return (bound - start) // timedelta(microseconds=1)
    return (bound - date(1970, 1, 1)).days


_listings: dict[str, tuple[tuple[int, int], _Listing]] = {}


def files_of(table: DeltaTable) -> pl.DataFrame:
    """All files of a table by its log (``DeltaTable.get_add_actions``, flat), which is parsed once for each version."""
    return _listed(table).files


def _listed(table: DeltaTable) -> _Listing:
    import polars as pl

    stamp = commit_stamp(table.table_uri.removeprefix("file://"), table.version())
    kept = _listings.get(table.table_uri)
    if stamp is not None and kept is not None and kept[0] == stamp:
        return kept[1]
    listing = _Listing(pl.DataFrame(table.get_add_actions(flatten=True)))
    if stamp is not None:
        _listings[table.table_uri] = (stamp, listing)
    return listing


def _comparable(files: pl.DataFrame, column: str, bound: date | datetime) -> bool:
    """Whether the log has a column that a bound can be held against as it is."""
    import polars as pl

    kind = files.schema.get(column)
    if isinstance(bound, datetime):
        return isinstance(kind, pl.Datetime) and (kind.time_zone is None) == (bound.tzinfo is None)
    return isinstance(kind, pl.Date)


def _read(paths: list[str], files: list[dict[str, Any]], schema: pl.Schema) -> list[pl.DataFrame]:
    """The rows of some files with all columns of their table, a frame a file.

    Parameters
    ----------
    files : what the table's log says of each.
    """
    import polars as pl

    partitions = {name: f"partition.{name}" for name in schema if f"partition.{name}" in files[0]}
    written = {name: kind for name, kind in schema.items() if name not in partitions}
    rows = pl.scan_parquet(
        paths, schema=written, glob=False, hive_partitioning=False, missing_columns="insert", extra_columns="ignore"
    ).collect()
    frames, start = [], 0
    for file in files:
        own = rows.slice(start, file["num_records"])
        of_file = [pl.lit(file[column]).cast(schema[name]).alias(name) for name, column in partitions.items()]
        frames.append(own.with_columns(of_file).select(schema.names()).rechunk())
        start += own.height
    if start != rows.height:
        raise RuntimeError(f"the log says {start} rows are in {paths[0]} and others; they have {rows.height}")
    return frames
