"""The feature store: Feast over the lake. The one place that talks to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.objects import feast_objects, view_name, view_table
from lifecycle.definitions import service_name
from lifecycle.derived import derive
from lifecycle.features import View
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from resources.lake import Lake
from resources.online import OnlineAnswers, OnlineReader
from resources.online_writing import OnlineWriter, latest

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureService, FeatureView
    from feast import FeatureStore as Feast
    from feast.repo_config import RepoConfig

    from feature_repo.online_backend import OnlineBackend
    from resources.pushed import PushReport

REPOSITORY = Path(__file__).parent.parent / "feature_repo"


@dataclass(frozen=True)
class _Objects:
    """What Feast was told of a pipeline; ``service`` has all its stored features."""

    pipeline: Pipeline
    views: tuple[FeatureView, ...]
    service: FeatureService


@dataclass(frozen=True)
class FeatureStore:
    """Point-in-time retrieval from the lake, and the online store.

    Parameters
    ----------
    home : folder of all state; registry and online store of the default configuration live below it.
    online_uri : where online rows are kept, as ``feature_repo.online_backend.open_backend`` takes it.
    """

    home: Path
    lake: Lake
    online_uri: str | None = None
    _applied: dict[str, _Objects] = field(default_factory=dict, compare=False)
    _readers: dict[str, OnlineReader] = field(default_factory=dict, compare=False)

    def retrieve(
        self, pipeline: Pipeline, spine: pl.DataFrame, versions: Mapping[str, int] | None = None
    ) -> pl.DataFrame:
        """The features of every spine row as they were known at its prediction time.

        Parameters
        ----------
        spine : rows with the columns of the pipeline's spine, ``event_time`` and ``event_timestamp``.
        versions : table versions to read, as a model recorded them; the current ones when not given.

        Returns
        -------
        polars.DataFrame
            ``spine`` with the join keys that were looked up and all features beside it, stored and derived; one row
            out per row in, in the same order.

        Raises
        ------
        RuntimeError
            If the store does not return one row per spine row.
        """
        import polars as pl

        from feature_repo.offline_store import read_at

        found_keys = {lookup.key for lookup in pipeline.lookups}
        keys = {key for view in pipeline.views for key in view.keys} - found_keys
        missing = sorted({*keys, PREDICTION_TIME} - set(spine.columns))
        if missing:
            raise ValueError(f"the spine of {pipeline.name!r} lacks the join keys {missing}; it has {spine.columns}")
        with read_at({self.lake.path(table): version for table, version in (versions or {}).items()}):
            looked_up = [
                self._historical(pipeline, pipeline.view(lookup.view), spine, lookup.feature).alias(lookup.key)
                for lookup in pipeline.lookups
            ]
            rows = spine.with_columns(looked_up)
            stored = self._stored(pipeline, rows)
        return derive(pipeline.derived, pl.concat([rows, stored], how="horizontal"))

    def _stored(self, pipeline: Pipeline, rows: pl.DataFrame) -> pl.DataFrame:
        """The stored features, in their order."""
        import polars as pl

        keys = dict.fromkeys(key for view in pipeline.views for key in view.keys)
        found = self._as_of(pipeline, rows.select(*keys, PREDICTION_TIME), self._objects_of(pipeline).service)
        return found.select(pl.col(feature.name).cast(_TYPES()[feature.type]) for feature in pipeline.stored_features)

    def _historical(self, pipeline: Pipeline, view: View, rows: pl.DataFrame, feature: str) -> pl.Series:
        found = self._as_of(
            pipeline, rows.select(*view.keys, PREDICTION_TIME), [f"{view_name(pipeline, view)}:{feature}"]
        )
        return found[feature]

    def _as_of(self, pipeline: Pipeline, entities: Any, features: Any) -> pl.DataFrame:
        # Feast's own type says pandas; our offline store takes Polars as it is.
        job: Any = self._feast(pipeline).get_historical_features(
            entities, features, full_feature_names=False, filter_by_created_timestamp=True
        )
        found: pl.DataFrame = job.to_polars()
        if found.height != entities.height:
            raise RuntimeError(f"asked for {entities.height} rows, the offline store returned {found.height}")
        return found

    def tables(self, pipeline: Pipeline) -> list[str]:
        """The lake tables that retrieval reads."""
        return [view_table(pipeline, view) for view in pipeline.views]

    def refresh_online(self, pipeline: Pipeline, after: datetime, until: datetime) -> datetime:
        """Brings the online store up to ``until`` and returns the moment it then stands at.

        Days built again or out of order never set it back: everything since the earlier of ``after`` and where it
        stood is read again, up to the later of ``until`` and where it stood. All history is read the first time, and
        when the store was emptied or a view declared anew. Rows count from when they could first be had, so a fact
        that came late is in, too.
        """
        writer = self._writer(pipeline)
        stands = writer.through()
        start, end = None if stands is None else min(after, stands), max(until, stands or until)
        for view in pipeline.views:
            writer.write(view, self._latest_between(pipeline, view, start, end))
        writer.mark(end)
        self._tell_registry(pipeline, start or pipeline.calendar.open(pipeline.first_day), end)
        return end

    def online_through(self, pipeline: Pipeline) -> datetime | None:
        """The moment up to which all views are in the online store; None where it does not have them all."""
        return self._writer(pipeline).through()

    def push(self, pipeline: Pipeline, table: str, rows: pl.DataFrame, now: datetime | None = None) -> PushReport:
        """Brings facts that just happened online, between nightly runs; see ``resources.pushed.push``."""
        from resources.pushed import push

        return push(pipeline, table, rows, now or datetime.now(UTC), self.lake, self._writer(pipeline))

    def online(
        self, pipeline: Pipeline, requests: Sequence[Mapping[str, object]], as_of: datetime | None = None
    ) -> OnlineAnswers:
        """The features of requests from the online store, with age and state; see ``OnlineReader.answer``."""
        return self.online_reader(pipeline).answer(requests, as_of)

    def online_reader(self, pipeline: Pipeline) -> OnlineReader:
        """What reads a pipeline's views online; made once a process."""
        if pipeline.name not in self._readers:
            self._readers[pipeline.name] = OnlineReader(pipeline, self._backend, self._config.project)
        return self._readers[pipeline.name]

    def _writer(self, pipeline: Pipeline) -> OnlineWriter:
        return OnlineWriter(pipeline, self._backend, self._config.project)

    def _latest_between(self, pipeline: Pipeline, view: View, start: datetime | None, end: datetime) -> pl.DataFrame:
        """The latest row of every entity that could first be had after ``start`` and by ``end``."""
        import polars as pl

        day_of = pipeline.calendar.day_of
        rows = self.lake.read(view_table(pipeline, view), None if start is None else day_of(start), day_of(end))
        rows = rows.filter(pl.col("created") <= end)
        return latest(view, rows if start is None else rows.filter(pl.col("created") > start))

    def _tell_registry(self, pipeline: Pipeline, start: datetime, end: datetime) -> None:
        """Lets Feast's registry, and who looks into it, know what is online."""
        feast, views = self._feast(pipeline), self._objects_of(pipeline).views
        with self._registry_alone():
            for view in views:
                # Together: each commit writes the whole registry.
                feast.registry.apply_materialization(view, feast.project, start, end, commit=False)
            feast.registry.commit()

    @contextmanager
    def _registry_alone(self) -> Iterator[None]:
        """Nobody else on this machine changes the registry meanwhile, and all that they did is known.

        Each writes the whole registry as it knows it: of two at once, one would take away what the other told.
        """
        store = self._store
        with (self.home / "feast" / "registry.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            store.refresh_registry()
            yield

    def _feast(self, pipeline: Pipeline) -> Feast:
        """Feast's store with the pipeline's objects applied."""
        self._objects_of(pipeline)
        return self._store

    def _objects_of(self, pipeline: Pipeline) -> _Objects:
        """The pipeline's objects as they were applied, once a process and declaration.

        Nothing is taken away: models are pinned to the services of earlier declarations.
        """
        applied = self._applied.get(pipeline.name)
        if applied is None or applied.pipeline is not pipeline:
            entities, views, services = feast_objects(pipeline, self.lake.path)
            with self._registry_alone():
                self._store.apply([*entities, *views, *services])
            name = service_name(pipeline, pipeline.features)
            service = next(service for service in services if service.name == name)
            applied = self._applied[pipeline.name] = _Objects(pipeline, tuple(views), service)
        return applied

    @property
    def _backend(self) -> OnlineBackend:
        block: Any = self._config.online_store
        backend: OnlineBackend = block.connect()
        return backend

    @cached_property
    def _store(self) -> Feast:
        from feast import FeatureStore as Feast

        (self.home / "feast").mkdir(parents=True, exist_ok=True)
        return Feast(config=self._config)

    @cached_property
    def _config(self) -> RepoConfig:
        import yaml
        from feast.repo_config import RepoConfig

        text = (REPOSITORY / "feature_store.yaml").read_text().replace("${PERENNIAL_HOME}", str(self.home))
        text = text.replace("${PERENNIAL_ONLINE_URI}", self.online_uri or "")
        return RepoConfig(**yaml.safe_load(os.path.expandvars(text)), repo_path=REPOSITORY)


def _TYPES() -> dict[str, pl.DataType]:  # noqa: N802
    import polars as pl

    return {"float": pl.Float64(), "int": pl.Float64(), "string": pl.String()}
