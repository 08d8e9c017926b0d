"""Writing features online: the latest row of every entity, and the moment up to which the store has them.

What belongs here: from feature rows to stored rows. Where the rows come from is the caller's: the lake, in
``feature_store.py``, or facts that were just pushed, in ``pushed.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from feature_repo.online_backend import OnlineBackend, StoredRow, microseconds, moment_of
from lifecycle.features import View
from lifecycle.pipeline import Pipeline
from resources.online import table_of

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class OnlineWriter:
    """Writes the views of a pipeline.

    The store itself remembers where each view stands, under a name that changes with the view's declaration: a store
    that was emptied, a new server, or a view with another feature stand nowhere, and are filled from all history.
    """

    pipeline: Pipeline
    backend: OnlineBackend
    project: str

    def through(self) -> datetime | None:
        """The moment up to which all views are in the store; None while one of them is in none."""
        keys = [_mark(view) for view in self.pipeline.views]
        found = [mark for mark in self.backend.get([(self._marks, keys)])[0] if mark is not None]
        return moment_of(min(event for event, _ in found)) if len(found) == len(keys) else None

    def mark(self, until: datetime) -> None:
        """Remembers that all views are in the store up to a moment; an earlier one than remembered is ignored."""
        rows = [StoredRow(_mark(view), microseconds(until), None, b"") for view in self.pipeline.views]
        self.backend.put(self._marks, rows)

    def write(self, view: View, rows: pl.DataFrame) -> int:
        """Writes the latest of some rows of a view per entity and returns their number.

        Parameters
        ----------
        rows : keys, ``event_timestamp``, ``created`` and features; those without a whole key are left out, because
            nobody can ask for them.
        """
        stored = list(_stored_rows(view, latest(view, rows)))
        if stored:
            self.backend.put(table_of(self.project, self.pipeline, view), stored)
        return len(stored)

    @property
    def _marks(self) -> str:
        return f"{self.project}_{self.pipeline.name}__stands"


def latest(view: View, rows: pl.DataFrame) -> pl.DataFrame:
    """The row of the latest event timestamp of every entity, of equal ones the one created last."""
    return (
        rows.drop_nulls(list(view.keys))
        .sort("event_timestamp", "created", maintain_order=True)
        .unique(list(view.keys), keep="last", maintain_order=True)
    )


def _stored_rows(view: View, rows: pl.DataFrame) -> Iterable[StoredRow]:
    from feast.protos.feast.types.Value_pb2 import Map

    from feature_repo.online_values import KeyEncoder

    encoder = KeyEncoder(view.keys)
    fields = {"float": "double_val", "int": "int64_val", "string": "string_val"}
    features = [(feature.name, fields[feature.type]) for feature in view.features]
    names = [*view.keys, "event_timestamp", "created", *(name for name, _ in features)]
    width = len(view.keys)
    for row in rows.select(names).iter_rows():
        key = encoder.encode(row[:width])
        values = Map()
        for (name, field), value in zip(features, row[width + 2 :], strict=True):
            entry = values.val[name]
            if value is not None:
                setattr(entry, field, value)
        assert key is not None, "rows without a whole key were left out"
        yield StoredRow(key, microseconds(row[width]), microseconds(row[width + 1]), values.SerializeToString())


def _mark(view: View) -> bytes:
    declared = ",".join(sorted(f"{feature.name}:{feature.type}" for feature in view.features))
    return f"{view.name}:{hashlib.sha256(declared.encode()).hexdigest()[:16]}".encode()
