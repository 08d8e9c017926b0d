"""Reading features online: for requests that come one by one, straight from the online store's backend.

What belongs here: what serving needs to have the features of a request, with the age and the state of every stored
value. It knows neither Dagster nor Feast's registry. Writing is in ``online_writing.py`` and ``pushed.py``; the
bytes are in ``feature_repo/online_values.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from feature_repo.objects import view_name
from feature_repo.online_backend import Found, OnlineBackend, microseconds, moment_of
from lifecycle.contract import Column, ColumnType, polars_type
from lifecycle.derived import derive
from lifecycle.features import View
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME

if TYPE_CHECKING:
    import polars as pl

Status = Literal["present", "stale", "missing"]

_PYTHON: dict[ColumnType, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "timestamp": (datetime,),
}


class OnlineRow(NamedTuple):
    """What the online store has of one view for one entity.

    Parameters
    ----------
    values : by feature; numbers are floats, as models take them. All None unless ``status`` is "present".
    event_timestamp : the moment the stored values are as of; None where nothing is stored.
    age : how old they are; None where nothing is stored, or what is stored is of after the moment asked about.
    status : "stale" when older than the view's ttl; "missing" when nothing is stored, or only a row of after the
        moment asked about: the store holds the latest row alone, and what was before it is no longer there.
    lacking : features that a present row does not have in their declared type, because it was written when the view
        was declared otherwise; a value that is simply not known is None and not named here.
    """

    values: Mapping[str, object]
    event_timestamp: datetime | None
    age: timedelta | None
    status: Status
    lacking: tuple[str, ...] = ()


class OnlineAnswer(NamedTuple):
    """The features of one request.

    Parameters
    ----------
    features : all inputs of the model by name, stored and derived; None where missing or stale.
    views : what was stored, by view; also of views that only give join keys.
    """

    features: dict[str, object]
    views: dict[str, OnlineRow]

    @property
    def ages(self) -> dict[str, timedelta | None]:
        return {name: row.age for name, row in self.views.items()}

    @property
    def status(self) -> dict[str, Status]:
        return {name: row.status for name, row in self.views.items()}


@dataclass(frozen=True)
class OnlineAnswers(Sequence[OnlineAnswer]):
    """The features of several requests, in their order.

    Parameters
    ----------
    frame : the requests with all features beside them, one row a request: what a model scores.
    views : by view, what was stored for each request.
    inputs : names of the model's inputs.
    """

    frame: pl.DataFrame
    views: Mapping[str, Sequence[OnlineRow]]
    inputs: tuple[str, ...]

    def __len__(self) -> int:
        return self.frame.height

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        values = self._rows[place]
        return OnlineAnswer(
            dict(zip(self.inputs, values, strict=True)), {name: rows[place] for name, rows in self.views.items()}
        )

    def __iter__(self) -> Iterator[OnlineAnswer]:
        return (self[place] for place in range(len(self)))

    @cached_property
    def _rows(self) -> list[tuple[object, ...]]:
        places = [self.frame.get_column_index(name) for name in self.inputs]
        pick = itemgetter(*places) if len(places) > 1 else lambda row: tuple(row[place] for place in places)
        return [pick(row) for row in self.frame.rows()]


class OnlineReader:
    """Reads the views of a pipeline, and computes the features of requests.

    Parameters
    ----------
    project : name of the Feast project, which the tables' names begin with.
    """

    def __init__(self, pipeline: Pipeline, backend: OnlineBackend, project: str) -> None:
        self._pipeline, self._backend = pipeline, backend
        found = {lookup.key for lookup in pipeline.lookups}
        readers = [_ViewReader(view, table_of(project, pipeline, view)) for view in pipeline.views]
        self._first = [reader for reader in readers if not found & set(reader.view.keys)]
        self._second = [reader for reader in readers if found & set(reader.view.keys)]
        self._requests = _Requests(pipeline)
        self._inputs = tuple(feature.name for feature in pipeline.features)
        self._stored = [
            (view.name, feature.name)
            for view in pipeline.views
            for feature in view.features
            if feature in pipeline.stored_features
        ]

    def answer(self, requests: Sequence[Mapping[str, object]], as_of: datetime | None = None) -> OnlineAnswers:
        """The features of some requests.

        Parameters
        ----------
        requests : the columns of the pipeline's spine, the event's moment among them; moments have a time zone.
        as_of : the moment of the prediction; now when not given.

        Raises
        ------
        ValueError
            If a request lacks a column or holds a value of another type.
        OnlineStoreUnavailable
            If the online store cannot be reached.
        """
        as_of = _aware(as_of or datetime.now(UTC))
        columns = self._requests.columns(requests, as_of)
        views = self.read(columns, as_of)
        return OnlineAnswers(self._frame(columns, views), views, self._inputs)

    def read(self, columns: Mapping[str, Sequence[object]], as_of: datetime) -> dict[str, list[OnlineRow]]:
        """What is stored, by view, for the entities that columns of join keys name, as of a moment.

        Views whose key is looked up are read after the views that tell it: there are two round trips then, and one
        in a pipeline without lookups. An entity that several requests name is read once.
        """
        moment = microseconds(as_of)
        rows = self._read(self._first, columns, moment)
        if self._second:
            looked_up = {
                lookup.key: [row.values[lookup.feature] for row in rows[lookup.view]]
                for lookup in self._pipeline.lookups
            }
            rows |= self._read(self._second, {**columns, **looked_up}, moment)
        return rows

    def _read(
        self, readers: list[_ViewReader], columns: Mapping[str, Sequence[object]], as_of: int
    ) -> dict[str, list[OnlineRow]]:
        asked = [reader.keys(columns) for reader in readers]
        distinct = [list(dict.fromkeys(key for key in keys if key is not None)) for keys in asked]
        found = self._backend.get([(r.table, keys) for r, keys in zip(readers, distinct, strict=True)])
        answers = {}
        for reader, keys, some, rows in zip(readers, asked, distinct, found, strict=True):
            of_key = {key: reader.row(row, as_of) for key, row in zip(some, rows, strict=True)}
            answers[reader.view.name] = [of_key.get(key, reader.nothing) for key in keys]  # type: ignore[arg-type]
        return answers

    def _frame(self, columns: Mapping[str, Sequence[object]], views: Mapping[str, list[OnlineRow]]) -> pl.DataFrame:
        """The requests with stored and derived features beside them.

        The frame is made of rows in one step: a Polars column made by itself costs as much as reading a view.
        """
        import polars as pl

        stored = [[row.values[name] for row in views[view]] for view, name in self._stored]
        looked_up = [[row.values[lookup.feature] for row in views[lookup.view]] for lookup in self._pipeline.lookups]
        data = list(zip(*columns.values(), *looked_up, *stored, strict=True))
        try:
            rows = pl.DataFrame(data, schema=self._schema, orient="row")
        except pl.exceptions.PolarsError as error:  # a whole number of more than 64 bits
            raise ValueError(f"a request to {self._pipeline.name!r} cannot be read: {error}") from error
        return derive(self._pipeline.derived, rows)

    @cached_property
    def _schema(self) -> dict[str, Any]:
        import polars as pl

        # Classes and not instances of them: Polars compares them much faster.
        types: dict[str, Any] = {"string": pl.String, "float": pl.Float64, "int": pl.Float64}
        features = {feature.name: types[feature.type] for feature in self._pipeline.stored_features}
        looked_up = {lookup.key: pl.String for lookup in self._pipeline.lookups}
        return {**self._requests.schema, **looked_up, **{name: features[name] for _, name in self._stored}}


def table_of(project: str, pipeline: Pipeline, view: View) -> str:
    """The backend's table of a view; the name that Feast's ``compute_table_id`` gives it."""
    return f"{project}_{view_name(pipeline, view)}"


class _ViewReader:
    """One view: which keys it asks for, and what a stored row says at a moment."""

    def __init__(self, view: View, table: str) -> None:
        from feast.protos.feast.types.Value_pb2 import Map

        from feature_repo.online_values import NUMBERS, TEXT, KeyEncoder

        self.view, self.table = view, table
        self._encoder = KeyEncoder(view.keys)
        self._features = [(feature.name, feature.type == "string") for feature in view.features]
        self._none = {feature.name: None for feature in view.features}
        self._ttl = view.ttl // timedelta(microseconds=1) if view.ttl else None
        self._parse, self._text, self._numbers = Map.FromString, TEXT, NUMBERS
        self.nothing = OnlineRow(self._none, None, None, "missing")

    def keys(self, columns: Mapping[str, Sequence[object]]) -> list[bytes | None]:
        return [self._encoder.encode(values) for values in zip(*(columns[key] for key in self.view.keys), strict=True)]

    def row(self, found: Found | None, as_of: int) -> OnlineRow:
        if found is None:
            return self.nothing
        event, encoded = found
        age = as_of - event
        moment = moment_of(event)
        if age < 0:
            return OnlineRow(self._none, moment, None, "missing")
        if self._ttl is not None and age > self._ttl:
            return OnlineRow(self._none, moment, timedelta(microseconds=age), "stale")
        values, lacking = self._values(encoded)
        return OnlineRow(values, moment, timedelta(microseconds=age), "present", lacking)

    def _values(self, encoded: bytes) -> tuple[dict[str, object], tuple[str, ...]]:
        stored = self._parse(encoded).val
        values: dict[str, object] = {}
        lacking = []
        for name, text in self._features:
            values[name] = None
            if name not in stored:
                lacking.append(name)
                continue
            value = stored[name]
            kind = value.WhichOneof("val")
            if kind is None:
                continue
            if text and kind == self._text:
                values[name] = value.string_val
            elif not text and kind in self._numbers:
                values[name] = float(getattr(value, kind))
            else:
                lacking.append(name)
        return values, tuple(lacking)


class _Requests:
    """The columns that a request brings, in the types of the table that announces events."""

    def __init__(self, pipeline: Pipeline) -> None:
        spine, contract = pipeline.spine, pipeline.table(pipeline.spine.table).contract
        self._pipeline, self._event_time = pipeline, spine.event_time
        found = {lookup.key for lookup in pipeline.lookups}  # not asked for, and in the way of what is found
        names = [name for name in dict.fromkeys([*spine.columns, spine.event_time]) if name not in found]
        self._columns = [contract.column(name) for name in names]

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """The types of the columns, in their order."""
        moment = polars_type(Column("", "timestamp", ""))
        return {
            **{column.name: polars_type(column) for column in self._columns},
            "event_time": moment,
            PREDICTION_TIME: moment,
        }

    def columns(self, requests: Sequence[Mapping[str, object]], as_of: datetime) -> dict[str, Sequence[object]]:
        columns: dict[str, Sequence[object]] = {}
        for column in self._columns:
            try:
                columns[column.name] = [request[column.name] for request in requests]
            except KeyError as error:
                needed = [column.name for column in self._columns]
                raise ValueError(
                    f"a request to {self._pipeline.name!r} lacks {column.name!r}; it must bring {needed}"
                ) from error
        for column in self._columns:
            self._check(column, columns[column.name])
        columns["event_time"] = columns[self._event_time]
        columns[PREDICTION_TIME] = [as_of] * len(requests)
        return columns

    def _check(self, column: Column, values: Sequence[object]) -> None:
        """Polars would make 1 of 1.5 and take a moment without time zone to be in UTC."""
        kinds = _PYTHON[column.type]
        for value in values:
            if value is None:
                continue
            if type(value) not in kinds and not isinstance(value, datetime if datetime in kinds else ()):
                raise ValueError(f"request column {column.name!r} must be of type {column.type}, found {value!r}")
            if isinstance(value, datetime) and value.tzinfo is None:
                raise ValueError(f"request column {column.name!r}: {value} has no time zone; give one, e.g. +00:00")


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"as_of {moment} has no time zone; pass an aware datetime")
    return moment.astimezone(UTC)
