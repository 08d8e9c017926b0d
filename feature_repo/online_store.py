"""Feast's online store with one row a view and entity, in SQLite or Redis.

What belongs here: Feast's interface, for any Feast repository that names this class in its ``feature_store.yaml``.
Where rows are kept is behind ``online_backend.py``. Feast itself applies no TTL when it reads online; who needs it
reads through ``resources/online.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feature_repo.online_backend import OnlineBackend, StoredRow, microseconds, moment_of, open_backend
from feature_repo.online_values import decode_values, encode_entity, encode_values

if TYPE_CHECKING:
    from feast import Entity, FeatureView
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value


class RowOnlineStoreConfig(FeastConfigBaseModel):
    """The ``online_store`` block of ``feature_store.yaml``.

    Parameters
    ----------
    uri : ``sqlite:///absolute/path.db`` or ``redis://[user:password@]host:port/db``. Feast puts environment
        variables in; one that is not set leaves its name there, and ``default_uri`` is taken.
    timeout_seconds : the longest wait for a connection, an answer, or another writer.
    """

    type: Literal["feature_repo.online_store.RowOnlineStore"] = "feature_repo.online_store.RowOnlineStore"
    uri: str = ""
    default_uri: str = ""
    timeout_seconds: float = 2.0

    def connect(self) -> OnlineBackend:
        """The backend that the block names.

        Raises
        ------
        ValueError
            If neither URI is given, or a variable in it is not set.
        """
        uri = self.uri if self.uri and not _unset(self.uri) else self.default_uri
        if not uri or _unset(uri):
            raise ValueError(
                f"online_store in feature_store.yaml: uri is {self.uri!r} and default_uri {self.default_uri!r}; give "
                f"one, and set the environment variables it names"
            )
        return open_backend(uri, self.timeout_seconds)


class RowOnlineStore(OnlineStore):
    """One row a view and entity; the row of the newest event timestamp stays, whatever the order of writes."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Writes rows, all or none of a batch in SQLite, batches of 500 in Redis.

        Raises
        ------
        ValueError
            If a row lacks a part of its key or its event timestamp; nothing is written then.
        OnlineStoreUnavailable
            If the store cannot be reached.
        """
        rows = [_row(config, table, *row) for row in data]
        _backend(config).put(table_id(config, table), rows)
        if progress:
            progress(len(rows))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """The latest rows; (None, None) for an entity that has none, or that lacks a part of its key."""
        keys = [encode_entity(entity, config.entity_key_serialization_version) for entity in entity_keys]
        asked = [key for key in keys if key is not None]
        found = dict(zip(asked, _backend(config).get([(table_id(config, table), asked)])[0], strict=True))
        answers: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for key in keys:
            row = found.get(key) if key is not None else None
            if row is None:
                answers.append((None, None))
                continue
            values = decode_values(row[1])
            if requested_features is not None:
                values = {name: values[name] for name in requested_features if name in values}
            answers.append((moment_of(row[0]), values))
        return answers

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],  # noqa: ARG002
        entities_to_delete: Sequence[Entity],  # noqa: ARG002
        entities_to_keep: Sequence[Entity],  # noqa: ARG002
        partial: bool,  # noqa: ARG002
    ) -> None:
        """Drops the rows of views that are gone; new ones get their table with their first row."""
        for table in tables_to_delete:
            _backend(config).drop(table_id(config, table))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:  # noqa: ARG002
        """Drops the rows of all views; the file or the server stays."""
        for table in tables:
            _backend(config).drop(table_id(config, table))


def table_id(config: RepoConfig, view: FeatureView) -> str:
    """Name of a view's table in the backend."""
    return str(compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning))


def _backend(config: RepoConfig) -> OnlineBackend:
    block: Any = config.online_store
    backend: OnlineBackend = block.connect()
    return backend


def _row(
    config: RepoConfig,
    table: FeatureView,
    entity: EntityKey,
    values: dict[str, Value],
    event: datetime,
    created: datetime | None,
) -> StoredRow:
    key = encode_entity(entity, config.entity_key_serialization_version)
    if key is None:
        given = dict(zip(entity.join_keys, (_shown(value) for value in entity.entity_values), strict=False))
        raise ValueError(f"view {table.name!r}: a row lacks a part of its key: {given}; leave such rows out")
    if _missing(event):
        raise ValueError(f"view {table.name!r}: the row of {list(entity.join_keys)} has no event timestamp")
    known = None if created is None or _missing(created) else microseconds(created)
    return StoredRow(key, microseconds(event), known, encode_values(values))


def _shown(value: Value) -> object:
    kind = value.WhichOneof("val")
    return getattr(value, kind) if kind else None


def _missing(moment: datetime) -> bool:
    """Whether a moment is pandas' own missing one, which does not equal itself."""
    return moment is None or moment != moment


def _unset(uri: str) -> bool:
    return bool(re.search(r"\$\{?\w", uri))
