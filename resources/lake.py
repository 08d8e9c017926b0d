"""The lake: Delta tables partitioned by business day. The one place that opens, reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from feature_repo.delta import open_table
from feature_repo.recent import files_of, recent_rows

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

Item = TypeVar("Item")

CHECKPOINT_EVERY = 20  # commits; reading the log of a table costs the same on day 300 as on day 60


@dataclass(frozen=True)
class Lake:
    """Delta tables under one root.

    A table is named by its path below the root, e.g. ``flight_delays/raw/schedule``. All tables have a column
    ``day`` (the business day) by which they are partitioned: rewriting a day replaces it in one atomic commit.

    Parameters
    ----------
    root : folder or object-store URI.
    storage_options : credentials and settings of the object store, as delta-rs takes them.
    """

    root: str
    storage_options: Mapping[str, str] | None = None

    def path(self, table: str) -> str:
        return f"{self.root}/{table}"

    def exists(self, table: str) -> bool:
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(self.path(table), self._options)

    def write(self, table: str, frame: pl.DataFrame, first: date, last: date) -> int:
        """Replaces the days ``first`` to ``last`` (both included) of a table and returns the new version.

        Rows of days not in ``frame`` vanish: an empty frame empties the days. The table is made when missing. Where
        nothing is written in the place of nothing, the table stays at its version.

        Raises
        ------
        ValueError
            If the frame holds rows of other days.
        """
        return self._writing(table, frame, first, last)()

    def write_each(
        self, made: Iterable[tuple[Mapping[str, pl.DataFrame], Item]], first: date, last: date
    ) -> Iterator[tuple[dict[str, int], Item]]:
        """Like ``write`` for several tables, each while what comes after it is being made.

        Parameters
        ----------
        made : tables that are to be written one after the other, by name, and what they were made for.

        Yields
        ------
        versions, item
            In the order in which they were made, as soon as they are written; an error of writing is raised there.
        """
        with ThreadPoolExecutor(1) as pool:
            before: tuple[Future[dict[str, int]], Item] | None = None
            try:
                for frames, item in made:
                    # Opened here: this thread keeps its tables, and reads what it has written.
                    writing = {table: self._writing(table, frame, first, last) for table, frame in frames.items()}
                    now = pool.submit(lambda each: {table: write() for table, write in each.items()}, writing), item
                    if before:
                        yield before[0].result(), before[1]
                    before = now
            except Exception:
                if before:  # what was made before the error is written, and is told of
                    yield before[0].result(), before[1]
                raise
            if before:
                yield before[0].result(), before[1]

    def _writing(self, table: str, frame: pl.DataFrame, first: date, last: date) -> Callable[[], int]:
        """What remains to be done of ``write`` when all is known to be well; it holds no lock of Python's for long."""
        import polars as pl
        from deltalake import write_deltalake

        outside = frame.filter(~pl.col("day").is_between(first, last, closed="both"))
        if outside.height:
            days = outside["day"].unique().sort().to_list()
            raise ValueError(f"{table}: asked to write {first} to {last} but the frame has rows of {days}")
        # The first write makes the table and has nothing to replace.
        existing = self._open_if_exists(table)
        if existing and frame.is_empty() and _changes_nothing(existing, frame, first, last):
            return existing.version
        rows = frame.rechunk().to_arrow()  # of several pieces, delta-rs would write the last first

        def write() -> int:
            write_deltalake(
                existing or self.path(table),
                rows,
                mode="overwrite",
                predicate=f"day >= '{first}' AND day <= '{last}'" if existing else None,
                partition_by=["day"],
                schema_mode="merge" if existing else None,
                storage_options=self._options,
            )
            return self._finish(existing or self._open(table))

        return write

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Adds rows in one commit and returns the new version; safe from several processes at once."""
        from deltalake import write_deltalake

        write_deltalake(
            self.path(table),
            frame.to_arrow(),
            mode="append",
            partition_by=["day"],
            storage_options=self._options,
        )
        return self._finish(self._open(table))

    def drop_days(self, table: str, days: Iterable[date], version: int) -> int:
        """Removes days as they were at a version and returns the new one; rows appended since then stay."""
        opened = self._open(table, version)
        opened.delete(" OR ".join(f"day = '{day}'" for day in sorted(days)))
        return self._finish(opened)

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """A table as a lazy frame, at a version when one is named.

        Raises
        ------
        FileNotFoundError
            If the table does not exist yet.
        """
        import polars as pl

        return pl.scan_delta(self._open(table, version))

    def read(
        self,
        table: str,
        first: date | None = None,
        last: date | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """The rows of the days ``first`` to ``last`` (both included; None: no bound); only those days are read.

        They come in order of day, those of a day in the order in which they were written: what is kept of two rows
        must not depend on which file was written last.
        """
        import polars as pl

        opened = self._open(table, version)
        frame = None if first is None else recent_rows(opened, "day", first, last, in_order=True)
        if frame is None:
            frame = pl.scan_delta(opened).sort("day", maintain_order=True)
        if first is not None:
            frame = frame.filter(pl.col("day") >= first)
        if last is not None:
            frame = frame.filter(pl.col("day") <= last)
        return (frame.select(columns) if columns else frame).collect()

    def read_if_exists(
        self, table: str, schema: Mapping[str, pl.DataType], first: date | None = None, last: date | None = None
    ) -> pl.DataFrame:
        """Like ``read``, an empty frame of ``schema`` where there is no table yet."""
        import polars as pl

        with suppress(FileNotFoundError):
            return self.read(table, first, last)
        return pl.DataFrame(schema=dict(schema))

    def version(self, table: str) -> int | None:
        """The current version of a table, None where there is none yet."""
        found = self._open_if_exists(table)
        return found.version() if found else None

    def versions(self, tables: Iterable[str]) -> dict[str, int]:
        """The current versions of those tables that exist; what a model records about its data."""
        found = {table: self.version(table) for table in tables}
        return {table: version for table, version in found.items() if version is not None}

    def days(self, table: str) -> list[date]:
        """The days that have rows, from the table's log alone."""
        try:
            partitions = self._open(table).partitions()
        except FileNotFoundError:
            return []
        return sorted({date.fromisoformat(str(partition["day"])) for partition in partitions})

    def row_counts(self, table: str) -> dict[date, int]:
        """Rows per day, from the table's log alone."""
        try:
            files = files_of(self._open(table))
        except FileNotFoundError:
            return {}
        counts: dict[date, int] = {}
        for day, rows in files.select("partition.day", "num_records").iter_rows():
            counts[day] = counts.get(day, 0) + int(rows or 0)
        return counts

    def files(self, table: str, version: int | None = None) -> dict[date, frozenset[str]]:
        """The files that hold each day, by the table's log; a day that was written again has others."""
        try:
            files = files_of(self._open(table, version))
        except FileNotFoundError:
            return {}
        found: dict[date, set[str]] = {}
        for day, path in files.select("partition.day", "path").iter_rows():
            found.setdefault(day, set()).add(path)
        return {day: frozenset(paths) for day, paths in found.items()}

    def newest(self, table: str, column: str, until: date) -> datetime | None:
        """The latest moment in a column over all days up to ``until``, from the table's log alone.

        None where there are no rows, or where the log keeps no statistics of the column.
        """
        import polars as pl

        try:
            files = files_of(self._open(table))
        except FileNotFoundError:
            return None
        if f"max.{column}" not in files.columns:
            return None
        moment: Any = files.filter(pl.col("partition.day") <= until)[f"max.{column}"].max()
        return moment

    @property
    def _options(self) -> dict[str, str] | None:
        return dict(self.storage_options) if self.storage_options else None

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        from deltalake.exceptions import TableNotFoundError

        try:
            return open_table(self.path(table), version, self.storage_options)
        except TableNotFoundError as error:
            raise FileNotFoundError(
                f"table {table!r} does not exist in the lake {self.root}; materialize its asset first"
            ) from error

    def _open_if_exists(self, table: str) -> DeltaTable | None:
        try:
            return self._open(table)
        except FileNotFoundError:
            return None

    def _finish(self, written: DeltaTable) -> int:
        if written.version() and written.version() % CHECKPOINT_EVERY == 0:
            written.create_checkpoint()
        return written.version()


def _changes_nothing(table: DeltaTable, frame: pl.DataFrame, first: date, last: date) -> bool:
    """Whether a table has all columns of a frame without rows and, by its log, no rows of the days."""
    known = {column.name for column in table.schema().fields}
    return known.issuperset(frame.columns) and not files_of(table)["partition.day"].is_between(first, last).any()
