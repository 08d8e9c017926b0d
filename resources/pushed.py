"""Facts pushed as they happen: held against the contract, kept, and turned into fresh online values.

What belongs here: what lies between a pushed fact and the online rows it changes. The rows themselves are made by
``lifecycle.windows.feature_rows``, the same that makes them at night, from the facts of the lake and the pushed ones
together. Pushed facts are kept in the lake until the nightly runs have brought them, and count once whether they
were pushed once, twice, or came by both ways: the contract's key says which fact a row is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.business_day import business_day
from lifecycle.contract import Column, polars_type
from lifecycle.pipeline import Pipeline, Table
from lifecycle.validation import Sorted, mark_duplicates, sort_rows, type_rows
from lifecycle.windows import TICK, feature_rows, lookback_days
from resources.lake import Lake
from resources.landing import ORIGIN
from resources.online_writing import OnlineWriter
from resources.tables import pushed_table, validated_table

if TYPE_CHECKING:
    import polars as pl

# A fact known longer ago than this is not looked for among those that came before.
LATEST = timedelta(days=45)


@dataclass(frozen=True)
class PushReport:
    """What became of pushed rows: ``taken + duplicates + rejected.height`` are all of them.

    Parameters
    ----------
    taken : facts that are new and meet the contract.
    late : how many of them were known before the online store's last refresh; they count from the close of the
        current day, as they will in training.
    duplicates : rows that say what an earlier one said.
    rejected : the others: ``reasons``, ``row`` (JSON of its text), ``_file``, ``_line``.
    kept : facts that wait for a nightly run, these and earlier ones.
    overdue : how many of them a nightly run should have brought and did not.
    written : online rows written, by view.
    """

    taken: int
    late: int
    duplicates: int
    rejected: pl.DataFrame
    kept: int
    overdue: int
    written: dict[str, int]


def push(
    pipeline: Pipeline, table_name: str, rows: pl.DataFrame, now: datetime, lake: Lake, writer: OnlineWriter
) -> PushReport:
    """Takes in new facts of a table and brings the online rows of its views up to ``now``.

    Without rows it brings them up to the hour: facts leave windows also when none enters.

    Parameters
    ----------
    rows : the contract's columns, typed or as text as they would land in a file.

    Raises
    ------
    KeyError
        If the pipeline has no such table.
    ValueError
        If the rows lack a column, ``now`` has no time zone or lies before the last refresh, or there was none.
    OnlineStoreUnavailable
        If the online store cannot be reached; pushed facts that were taken are kept, and count with the next push.
    """
    table = pipeline.table(table_name)
    stands = _stands(pipeline, writer, now)
    log = _Log(pipeline, table, lake)
    found = _judge(pipeline, table, as_text(table, rows), stands, now, log)
    if found.valid.height:
        lake.append(pushed_table(pipeline, table_name), found.valid)
    written: dict[str, int] = {}
    state = None
    # Another push or a nightly run may come between reading and writing: then what was written lacks its facts.
    while state != (state := (writer.through(), log.version())):
        stands = _stands(pipeline, writer, now)
        after = log.unseen_since(stands)
        facts = log.facts(pipeline.calendar.day_of(after) - _reach(pipeline, table))
        for view in pipeline.views:
            if view.table == table_name:
                written[view.name] = writer.write(view, feature_rows(view, facts, after, now))
    waiting = log.waiting(stands)
    return PushReport(
        taken=found.valid.height,
        late=_count(found.valid, table, stands),
        duplicates=found.duplicates.height,
        rejected=found.quarantined.drop("day", "_extra"),
        kept=waiting.height,
        overdue=_overdue(pipeline, waiting, stands),
        written=written,
    )


def as_text(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as a landed file would bring them: text, with their origin.

    Raises
    ------
    ValueError
        If a column of the contract is missing, or moments have no time zone.
    """
    import polars as pl

    missing = [name for name in table.contract.names if name not in rows.columns]
    if missing:
        raise ValueError(f"rows for table {table.name!r} lack the columns {missing}; they have {rows.columns}")
    origin = {
        "_file": pl.lit("pushed"),
        "_line": pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        "_extra": pl.lit(None, dtype=pl.String),
        "_problem": pl.lit(None, dtype=pl.String),
    }
    return rows.select(
        *(_text(table, column, rows.schema[column.name]) for column in table.contract.columns),
        *(pl.col(name) if name in rows.columns else origin[name].alias(name) for name in ORIGIN),
    )


def _text(table: Table, column: Column, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    value = pl.col(column.name)
    if not isinstance(kind, pl.Datetime):
        return value.cast(pl.String)
    if kind.time_zone is None:
        raise ValueError(f"column {column.name!r} of table {table.name!r} holds moments without time zone")
    return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


class _Log:
    """The facts of a table: those that the lake has from nightly runs, and the pushed ones that it has not."""

    def __init__(self, pipeline: Pipeline, table: Table, lake: Lake) -> None:
        self._pipeline, self._table, self._lake = pipeline, table, lake
        self._name = pushed_table(pipeline, table.name)

    def version(self) -> int | None:
        return self._lake.version(self._name)

    def pushed(self) -> pl.DataFrame:
        """All pushed facts, one row each; of two pushed at once the first counts."""
        rows = self._lake.read_if_exists(self._name, self._schema())
        return rows.unique(self._table.contract.key, keep="first", maintain_order=True)

    def ingested(self, first: date) -> pl.DataFrame:
        name = validated_table(self._pipeline, self._table.name)
        return self._lake.read_if_exists(name, self._schema(), first).select(list(self._schema()))

    def facts(self, first: date) -> pl.DataFrame:
        """The facts of the days from ``first`` on, from both, with ``known_at``."""
        import polars as pl

        ingested = self.ingested(first)
        fresh = self.pushed().join(ingested, on=self._table.contract.key, how="anti", maintain_order="left")
        facts = pl.concat([ingested, fresh.select(ingested.columns)])
        return facts.with_columns(pl.col(self._table.known_at).alias("known_at"))

    def unseen_since(self, stands: datetime) -> datetime:
        """The moment from which online rows may lack pushed facts: the last refresh, or before it where a nightly
        run did not bring a fact that it should have."""
        first = self.pushed()["available_at"].min()
        return min(stands, first - TICK) if isinstance(first, datetime) else stands

    def waiting(self, stands: datetime) -> pl.DataFrame:
        """Drops the days of which the lake has all pushed facts, or that no window reaches; returns what is left."""
        version = self.version()
        pushed = self.pushed()
        if version is None or not pushed.height:
            return pushed
        ingested = self.ingested(_day_known(self._pipeline, self._table, pushed))
        left = pushed.join(ingested, on=self._table.contract.key, how="anti", maintain_order="left")
        oldest = self._pipeline.calendar.day_of(stands) - _reach(self._pipeline, self._table)
        done = set(pushed["day"].unique()) - {day for day in left["day"].unique() if day >= oldest}
        if done:
            self._lake.drop_days(self._name, done, version)
        return left.filter(~left["day"].is_in(list(done)))

    def _schema(self) -> dict[str, pl.DataType]:
        import polars as pl

        columns = {column.name: polars_type(column) for column in self._table.contract.columns}
        return {**columns, "available_at": pl.Datetime("us", "UTC"), "_file": pl.String(), "day": pl.Date()}


def _judge(pipeline: Pipeline, table: Table, raw: pl.DataFrame, stands: datetime, now: datetime, log: _Log) -> Sorted:
    """Holds rows against the contract as a nightly run does, and against the facts that came before."""
    import polars as pl

    from resources.expectations import validate

    today = pipeline.calendar.day_of(now)
    known = pl.col(table.known_at)
    typed = type_rows(raw.with_columns(pl.lit(today).alias("day")), table, pipeline.calendar, [today])
    # A fact belongs to the day it was known on while that day's nightly run is still to come, else it is late.
    day = pl.when((known > stands) & (known <= now)).then(business_day(known, pipeline.calendar)).otherwise(today)
    days = typed.select(day.alias("day"))["day"]
    typed = type_rows(raw.with_columns(days), table, pipeline.calendar, days.unique().to_list())
    typed = typed.with_columns((known > now).fill_null(value=False).alias("_premature"))
    earlier = _earlier(pipeline, table, typed, now, log)
    typed = mark_duplicates(typed, earlier, table.contract)
    verdict = validate(table, typed.filter(~pl.col("_duplicate")))
    if verdict.critical:
        raise ValueError(f"table {table.name!r}: " + "; ".join(outcome.sample for outcome in verdict.critical))
    failures = verdict.failures.with_columns(
        pl.when(pl.col("reason").str.contains("known by the close of the day", literal=True))
        .then(pl.lit(f"{table.known_at} is after now, {now:%Y-%m-%dT%H:%M:%SZ}: the fact cannot be known yet"))
        .otherwise("reason")
        .alias("reason")
    )
    return sort_rows(typed, failures, table.contract)


def _earlier(pipeline: Pipeline, table: Table, typed: pl.DataFrame, now: datetime, log: _Log) -> pl.DataFrame:
    """Facts with the keys of the pushed rows that came before, as if they had come long before."""
    import polars as pl

    key = list(table.contract.key)
    since = max(_day_known(pipeline, table, typed), pipeline.calendar.day_of(now - LATEST))
    names = [*table.contract.names, "day"]
    seen = pl.concat([log.ingested(since).select(names), log.pushed().select(names)])
    return seen.join(typed.select(key), on=key, how="semi").with_columns(pl.lit(date.min).alias("day"))


def _day_known(pipeline: Pipeline, table: Table, facts: pl.DataFrame) -> date:
    """The earliest business day on which one of the facts was known."""
    import polars as pl

    first = facts.select(business_day(pl.col(table.known_at).min(), pipeline.calendar)).item()
    return first if isinstance(first, date) else date.max


def _stands(pipeline: Pipeline, writer: OnlineWriter, now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"now {now} has no time zone; pass an aware datetime")
    stands = writer.through()
    if stands is None:
        raise ValueError(
            f"the online store has not all views of {pipeline.name!r} yet; materialize its asset online_features first"
        )
    if now < stands:
        raise ValueError(f"now {now} is before {stands}, the moment up to which the online store has {pipeline.name!r}")
    return stands


def _reach(pipeline: Pipeline, table: Table) -> timedelta:
    """How long before the first new row the windows of a table's views look back, in whole days; a day at least."""
    return timedelta(days=max([1, *(lookback_days(view) for view in pipeline.views if view.table == table.name)]))


def _count(facts: pl.DataFrame, table: Table, stands: datetime) -> int:
    return int((facts[table.known_at] <= stands).sum())


def _overdue(pipeline: Pipeline, waiting: pl.DataFrame, stands: datetime) -> int:
    return int((waiting["day"] <= pipeline.calendar.day_of(stands)).sum())
