"""The feature store: Feast over the lake. The one place that talks to it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.objects import feast_objects, view_name, view_table
from lifecycle.derived import derive
from lifecycle.features import View
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureStore as Feast

REPOSITORY = Path(__file__).parent.parent / "feature_repo"


@dataclass(frozen=True)
class FeatureStore:
    """Point-in-time retrieval from the lake, and the online store.

    Parameters
    ----------
    home : folder of all state; registry and online store of the default configuration live below it.
    """

    home: Path
    lake: Lake
    _applied: set[str] = field(default_factory=set, compare=False)

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
        """The stored inputs of the model, in their order."""
        import polars as pl

        service = self._feast(pipeline).get_feature_service(pipeline.feature_service)
        keys = dict.fromkeys(key for view in pipeline.views for key in view.keys)
        found = self._as_of(pipeline, rows.select(*keys, PREDICTION_TIME), service)
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
        stood is read again, up to the later of ``until`` and where it stood. The first time, all history is read.
        """
        feast = self._feast(pipeline)
        stands = self.online_through(pipeline)
        beginning = pipeline.calendar.open(pipeline.first_day)
        start, end = min(after, stands or beginning), max(until, stands or until)
        with redirect_stdout(io.StringIO()):  # Feast prints its progress
            feast.materialize(start, end, [view_name(pipeline, view) for view in pipeline.views])
        return end

    def online_through(self, pipeline: Pipeline) -> datetime | None:
        """The moment up to which all views are in the online store; None before the first refresh."""
        views = [self._feast(pipeline).get_feature_view(view_name(pipeline, view)) for view in pipeline.views]
        stands = [view.most_recent_end_time for view in views]
        known = [moment for moment in stands if moment is not None]
        return min(known) if len(known) == len(stands) else None

    def online(self, pipeline: Pipeline, entities: Sequence[Mapping[str, str | None]]) -> dict[str, list[object]]:
        """The current values for some entities, by feature name, from the online store."""
        feast = self._feast(pipeline)
        service = feast.get_feature_service(pipeline.feature_service)
        rows = [dict(entity) for entity in entities]
        answer: dict[str, list[object]] = feast.get_online_features(service, rows).to_dict()
        return answer

    def _feast(self, pipeline: Pipeline) -> Feast:
        """Feast's store with the pipeline's objects applied, once a process."""
        if pipeline.name not in self._applied:
            entities, views, service = feast_objects(pipeline, self.lake.path)
            self._store.apply([*entities, *views, service])
            self._applied.add(pipeline.name)
        return self._store

    @cached_property
    def _store(self) -> Feast:
        import yaml
        from feast import FeatureStore as Feast
        from feast.repo_config import RepoConfig

        text = (REPOSITORY / "feature_store.yaml").read_text().replace("${PERENNIAL_HOME}", str(self.home))
        (self.home / "feast").mkdir(parents=True, exist_ok=True)
        return Feast(config=RepoConfig(**yaml.safe_load(os.path.expandvars(text)), repo_path=REPOSITORY))


def _TYPES() -> dict[str, pl.DataType]:  # noqa: N802
    import polars as pl

    return {"float": pl.Float64(), "int": pl.Float64(), "string": pl.String()}
