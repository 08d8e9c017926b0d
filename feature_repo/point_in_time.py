"""Point-in-time joins of feature views with entity rows, as as-of joins in Polars.

What belongs here: the entity rows, and which feature row each of them may see. What does not: reading files
(``sources``) and Feast's interface (``offline_store``).

How a view is joined: its rows are ranked by event timestamp, then by created timestamp, so that of all the rows an
entity row may see, the right one is the one of highest rank. The as-of join carries only ranks, and codes in place
of text keys: one code per text that is asked for, whatever the number of views. The features are gathered once,
straight into the order of the entity rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from feast.errors import EntityTimestampInferenceException
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.offline_utils import DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL
from feast.repo_config import RepoConfig
from feast.value_type import ValueType

from feature_repo.sources import Table, aware

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from feast.feature_view import FeatureView

_ROW, _WHEN, _STAMP, _CREATED, _RANK, _PLACE = "_row", "_when", "_stamp", "_created", "_rank", "_place"
# Kinds of values by Feast's types. Numbers of one kind may stand for those of another; nothing else may.
_KINDS = {
    **dict.fromkeys(("INT32", "INT64", "FLOAT", "DOUBLE"), "number"),
    "STRING": "text",
    "BOOL": "boolean",
    "UNIX_TIMESTAMP": "timestamp",
}
_NEVER = (datetime(1970, 1, 2, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Spine:
    """The entity rows that have a moment, sorted by it."""

    rows: pl.DataFrame  # the moments and the keys; texts as Enum of those that occur
    places: pl.Series  # per entity row its place in ``rows``, null for those without a moment
    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, entities: pl.DataFrame, keys: Sequence[str], event_column: str) -> Spine:
        import polars as pl

        asked = entities.select(*keys, pl.col(event_column).alias(_WHEN))
        rows = _coded(asked, keys).with_row_index(_ROW).drop_nulls(_WHEN).sort(_WHEN, maintain_order=True)
        places = pl.int_range(entities.height, dtype=pl.get_index_type(), eager=True)
        if not rows[_ROW].equals(places.rename(_ROW)):
            found = rows.select(_ROW).with_row_index(_PLACE)
            places = places.to_frame(_ROW).join(found, on=_ROW, how="left", maintain_order="left")[_PLACE]
        return cls(rows, places, rows[_WHEN].min(), rows[_WHEN].max())  # type: ignore[arg-type]


@dataclass(frozen=True)
class Join:
    """What one feature view adds to the entity rows."""

    table: Table
    stamp: str
    created: str | None
    ttl: timedelta | None
    keys: Mapping[str, str]  # join key of the view: column of the entity rows
    features: Mapping[str, str]  # feature: name in the result
    declared: Mapping[str, ValueType]  # type of each feature as the view declares it

    @classmethod
    def of(cls, config: RepoConfig, view: FeatureView, refs: Sequence[str], full_feature_names: bool) -> Join:
        projection, source = view.projection, view.batch_source
        reader = f"view {projection.name_to_use()!r}"
        if source is None:
            raise ValueError(f"{reader} has no batch source to read history from")
        mapping = {new: old for old, new in source.field_mapping.items()}
        prefix = f"{projection.name_alias or view.name}__" if full_feature_names else ""
        wanted = [ref.split(":", 1) for ref in refs if ref.startswith(f"{projection.name_to_use()}:")]
        keys = real_keys([column.name for column in view.entity_columns])
        return cls(
            table=Table.of(config, source, reader, mapping),
            stamp=source.timestamp_field,
            created=source.created_timestamp_column or None,
            ttl=view.ttl or None,  # Feast: a ttl of zero is none
            keys={key: (projection.join_key_map or {}).get(key, key) for key in keys},
            features={name: f"{prefix}{name}" for _, name in wanted},
            declared={column.name: column.dtype.to_value_type() for column in view.features},
        )


def features_of(join: Join, spine: Spine, by_creation: bool) -> pl.DataFrame:
    """The features of one view beside the entity rows, in their order."""
    import polars as pl

    created = join.created or join.stamp
    source = join.table.read([*join.keys, *join.features], [join.stamp, created], *span(join, spine))
    check_types(join, {name: _kind(source.schema[name]) for name in join.features})
    keys = {f"_key_{number}": names for number, names in enumerate(join.keys.items())}
    kinds = [source.schema[join.stamp], source.schema[created]]
    unit: Literal["ns", "us"] = "ns" if pl.Datetime("ns", "UTC") in kinds else "us"
    rows = source.select(
        *(pl.col(ours).alias(key) for key, (ours, _) in keys.items()),
        pl.col(join.stamp).dt.cast_time_unit(unit).alias(_STAMP),
        pl.col(created).dt.cast_time_unit(unit).alias(_CREATED),
    ).with_row_index(_PLACE)
    asked = spine.rows.select(
        pl.col(_WHEN).dt.cast_time_unit(unit), *(pl.col(theirs).alias(key) for key, (_, theirs) in keys.items())
    )
    for key, (ours, _) in keys.items():
        asked, rows = _same_type(asked, rows, key, f"{join.table.reader}: join key {ours!r}")
    asked, rows, by = _one_key(asked, rows.drop_nulls(list(keys)) if keys else rows, list(keys))
    ranked = _in_order(rows).with_row_index(_RANK)
    ranks = _ranks(asked, ranked, by, by_creation and join.created is not None)
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
    late = rows.filter(pl.col(_CREATED) > pl.col(_STAMP)).sort(_CREATED, maintain_order=True)
    ranks = _as_of(asked, rows.filter(pl.col(_CREATED) <= pl.col(_STAMP)), _STAMP, keys)
    if late.is_empty():
        return ranks
    best = pl.col(_RANK).cum_max().over(keys) if keys else pl.col(_RANK).cum_max()
    late_ranks = _as_of(asked, late.with_columns(best), _CREATED, keys)
    return pl.select(pl.max_horizontal(ranks, late_ranks)).to_series()


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by event timestamp, then created timestamp, then as they are stored.

    Rows are mostly stored as they came, so that little of this has something to do; sorting by two columns at once
    would not notice.
    """
    for column in (_CREATED, _STAMP):
        if not rows[column].is_sorted():
            rows = rows.sort(column, maintain_order=True)
    return rows


def _as_of(asked: pl.DataFrame, rows: pl.DataFrame, on: str, keys: list[str]) -> pl.Series:
    """The rank of the last row at or before each moment; of equal moments the last row in order."""
    # Both sides are sorted; Polars cannot check that within groups and would warn.
    found = asked.join_asof(
        rows.select(*keys, on, _RANK), left_on=_WHEN, right_on=on, by=keys or None, check_sortedness=False
    )
    return found[_RANK]


def _same_type(asked: pl.DataFrame, rows: pl.DataFrame, key: str, what: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides with the key in a type that compares exactly: integers as Int64, texts as codes."""
    import polars as pl

    ours, theirs = rows.schema[key], asked.schema[key]
    if asked[key].null_count() == asked.height:  # says nothing, and pandas gives it any type
        return asked.with_columns(pl.lit(None, dtype=ours).alias(key)), rows
    if isinstance(ours, _TEXTS()) and isinstance(theirs, pl.Enum):
        # A text that nobody asks for has no code: null, which matches nobody.
        codes = pl.col(key).cast(pl.String).cast(theirs, strict=False).to_physical()
        return asked.with_columns(pl.col(key).to_physical()), rows.with_columns(codes)
    if ours == theirs:
        return asked, rows
    if ours.is_numeric() and theirs.is_numeric():
        # pandas turns integers with gaps into floats; one that is no whole number equals no integer.
        return asked.with_columns(whole(key, theirs)), rows.with_columns(whole(key, ours))
    theirs = pl.String() if isinstance(theirs, pl.Enum) else theirs
    raise ValueError(f"{what} is {ours} in the source and {theirs} in entity_df; convert one of them")


def _coded(asked: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The rows with texts as an Enum of those that occur; other keys as they are."""
    import polars as pl

    texts = {key: pl.col(key).cast(pl.String) for key in keys if isinstance(asked.schema[key], _TEXTS())}
    if not texts:
        return asked
    found = asked.select(text.drop_nulls().unique().implode() for text in texts.values())
    return asked.with_columns(text.cast(pl.Enum(found[key].item())) for key, text in texts.items())


def _TEXTS() -> tuple[type[pl.DataType], ...]:  # noqa: N802 — a constant, but of a library that is imported late
    import polars as pl

    return (pl.String, pl.Categorical, pl.Enum)


def _one_key(asked: pl.DataFrame, rows: pl.DataFrame, keys: list[str]) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Codes of several keys as one number, which joins faster, and the names of the keys there are then."""
    import polars as pl

    if len(keys) < 2 or not all(asked.schema[key].is_unsigned_integer() for key in keys):
        return asked, rows, keys
    sizes = [1 + max(int(frame[key].max() or 0) for frame in (asked, rows)) for key in keys]  # type: ignore[arg-type]
    if math.prod(sizes) >= 2**63:
        return asked, rows, keys
    one = pl.lit(0, dtype=pl.Int64)
    for key, size in zip(keys, sizes, strict=True):
        one = one * size + pl.col(key).cast(pl.Int64)
    first, *others = keys
    return asked.with_columns(one.alias(first)).drop(others), rows.with_columns(one.alias(first)).drop(others), [first]


def whole(key: str, kind: pl.DataType) -> pl.Expr:
    """Numbers as Int64; those that are not whole are null, as they equal no integer."""
    import polars as pl

    column = pl.col(key)
    exact = column == column.floor() if kind.is_float() else pl.lit(value=True)
    return pl.when(exact).then(column.cast(pl.Int64, strict=False)).alias(key)


def span(join: Join, spine: Spine) -> tuple[datetime | None, datetime]:
    """The event timestamps that can matter to the spine; a microsecond of margin for nanosecond moments."""
    if spine.first is None or spine.last is None:
        return _NEVER
    last = spine.last + timedelta(microseconds=1)
    try:
        return spine.first - join.ttl if join.ttl else None, last
    except OverflowError:  # a ttl of thousands of years
        return None, last


def check_types(join: Join, found: Mapping[str, str | None]) -> None:
    """Refuses features that are another kind of value in the source than the view declares.

    Parameters
    ----------
    found : kind of each feature as it is stored, a value of ``_KINDS``; None when it is of no such kind.
    """
    table = join.table
    wrong = [
        f"{table.renamed.get(name, name)!r} holds {kind}s, declared is {join.declared[name].name}"
        for name, kind in found.items()
        if kind and kind != _KINDS.get(join.declared[name].name, kind)
    ]
    if wrong:
        raise ValueError(
            f"{table.reader}: {table.path} does not hold what the view declares: column {'; column '.join(wrong)}; "
            "build the table again or change the view"
        )


def _kind(kind: pl.DataType) -> str | None:
    import polars as pl

    if kind.is_numeric():
        return "number"
    if isinstance(kind, _TEXTS()):
        return "text"
    return {pl.Boolean: "boolean", pl.Datetime: "timestamp"}.get(type(kind))


def check_names(joins: Sequence[Join], columns: Sequence[str]) -> None:
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


def entity_rows(entity_df: pd.DataFrame | pl.DataFrame) -> tuple[pl.DataFrame, str]:
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
    return frame.with_columns(aware(event_column, kind, moment=True)), event_column


def real_keys(join_keys: Sequence[str]) -> list[str]:
    """The join keys without Feast's placeholder for views without entities."""
    return [key for key in join_keys if key != DUMMY_ENTITY_ID]
