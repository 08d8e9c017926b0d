"""The catalogue of features: a page on which people find what a feature is, how it fares and who uses it."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.batch_predictions import predictions_table
from feature_repo.objects import owner_of, view_table
from lifecycle.catalogue import Catalogue, Entry, User, coverage, distribution, uses
from lifecycle.definitions import Definition, definitions
from lifecycle.features import Feature, View
from lifecycle.pipeline import Pipeline
from resources.catalogue import duration_text, write_catalogue
from resources.lake import Lake
from resources.registry import CHAMPION, Registry

if TYPE_CHECKING:
    import polars as pl

WINDOW_DAYS = 14  # of forecasts that coverage and distribution are of


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "feature_catalogue")

    @dg.multi_asset(
        name=f"{pipeline.name}__feature_catalogue",
        specs=[
            stage.spec(
                pipeline,
                "feature_catalogue",
                group="monitoring",
                description="A page with every feature: its definition, how fresh it is, in how many of the last "
                f"{WINDOW_DAYS} days' forecasts it was present, its distribution there, its importance in the "
                "champion, its owner, and the model versions that take it.",
                kinds={"feast", "mlflow"},
                deps=[
                    *(stage.key(pipeline, "features", view.name) for view in pipeline.views),
                    stage.trailing(stage.key(pipeline, "batch_predictions"), WINDOW_DAYS - 1),
                ],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "fresh",
                "No stored feature is as old, at the close of the day, as makes all its values missing.",
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def feature_catalogue(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        registry: dg.ResourceParam[Registry],
        reports: dg.ResourceParam[Path],
    ) -> dg.MaterializeResult:
        # The page tells how things stand: of a range of days it is the last one's.
        catalogue = _catalogue(pipeline, stage.last_day(context), lake, registry)
        path = write_catalogue(catalogue, reports / pipeline.name / "features.html")
        return dg.MaterializeResult(
            asset_key=asset, metadata=_metadata(catalogue, path), check_results=[_fresh(asset, catalogue)]
        )

    return dg.Definitions(assets=[feature_catalogue])


def _catalogue(pipeline: Pipeline, day: date, lake: Lake, registry: Registry) -> Catalogue:
    first = max(pipeline.first_day, day - timedelta(days=WINDOW_DAYS - 1))
    versions = registry.versions(pipeline.name)
    roles = {version.number: alias for alias, version in reversed(registry.live(pipeline.name).items())}
    champion = next((version for version in versions if roles.get(version.number) == CHAMPION), None)
    users = [
        User(version.number, roles.get(version.number, ""), version.features, version.fingerprints)
        for version in versions
    ]
    importances = champion.importances if champion else {}
    declared = definitions(pipeline)
    sources = _Sources(pipeline, lake, first, day)
    return Catalogue(
        pipeline=pipeline.name,
        description=pipeline.description,
        day=day,
        close=pipeline.calendar.close(day),
        first=first,
        champion=champion.number if champion else None,
        service=pipeline.feature_service,
        entries=tuple(
            _entry(pipeline, feature, declared[feature.name], sources, importances.get(feature.name), users)
            for feature in pipeline.features
        ),
        gone={
            name: uses(name, None, users)
            for name in sorted({name for version in versions for name in version.features} - set(declared))
        },
    )


def _entry(
    pipeline: Pipeline,
    feature: Feature,
    definition: Definition,
    sources: "_Sources",
    importance: float | None,
    users: list[User],
) -> Entry:
    view = sources.view_of(feature.name)
    # What is derived is as old as the oldest it is made from.
    views = [view] if view else [found for name in definition.uses if (found := sources.view_of(name))]
    moments = [moment for each in views if (moment := sources.newest(each))]
    newest = min(moments, default=None)
    values = sources.values(feature.name, view)
    return Entry(
        definition=definition,
        description=feature.description,
        view=view.name if view else "",
        owner=owner_of(pipeline, view) if view else pipeline.owner,
        tags={"pipeline": pipeline.name, "kind": definition.kind} | ({"table": view.table} if view else {}),
        retired=feature.name in pipeline.retired,
        newest=newest,
        age=pipeline.calendar.close(sources.day) - newest if newest else None,
        ttl=view.ttl if view else None,
        rows=values.len(),
        coverage=coverage(values),
        distribution=distribution(values),
        importance=importance,
        used_by=uses(feature.name, definition, users),
    )


class _Sources:
    """The rows that the entries are counted from; each table is read once."""

    def __init__(self, pipeline: Pipeline, lake: Lake, first: date, day: date) -> None:
        self._pipeline, self._lake, self.first, self.day = pipeline, lake, first, day
        self._views = {feature.name: view for view in pipeline.views for feature in view.features}
        self._newest: dict[str, datetime | None] = {}
        self._rows: dict[str, pl.DataFrame] = {}
        self._forecasts = self._read(predictions_table(pipeline), [feature.name for feature in pipeline.features])

    def view_of(self, feature: str) -> View | None:
        return self._views.get(feature)

    def newest(self, view: View) -> datetime | None:
        """Moment of the newest row of a view that could be had by the close."""
        if view.name not in self._newest:
            self._newest[view.name] = self._lake.newest(view_table(self._pipeline, view), "event_timestamp", self.day)
        return self._newest[view.name]

    def values(self, feature: str, view: View | None) -> "pl.Series":
        """A feature in the forecasts of the window; in its view's rows where no forecast has it."""
        import polars as pl

        if feature in self._forecasts.columns and self._forecasts.height:
            return self._forecasts[feature]
        if view is None:
            return pl.Series(feature, [], dtype=pl.Float64)
        if view.name not in self._rows:
            names = [offered.name for offered in view.features]
            self._rows[view.name] = self._read(view_table(self._pipeline, view), names)
        rows = self._rows[view.name]
        return rows[feature] if feature in rows.columns else pl.Series(feature, [], dtype=pl.Float64)

    def _read(self, table: str, columns: list[str]) -> "pl.DataFrame":
        rows = self._lake.read_if_exists(table, {}, self.first, self.day)
        return rows.select([name for name in columns if name in rows.columns])


def _fresh(asset: dg.AssetKey, catalogue: Catalogue) -> dg.AssetCheckResult:
    stale = [entry for entry in catalogue.entries if entry.stale]
    named = [f"{entry.name} ({duration_text(entry.age)} old, holds {duration_text(entry.ttl)})" for entry in stale]
    return stage.passed(
        asset,
        "fresh",
        not stale,
        f"all values are too old: {', '.join(named)}" if stale else "every stored feature has values that hold",
        warn=True,
        metadata={"features": len(catalogue.entries), "stale": len(stale)},
    )


def _metadata(catalogue: Catalogue, path: Path) -> dict[str, Any]:
    import polars as pl

    rows = pl.DataFrame(
        [
            (
                entry.name,
                entry.definition.type,
                " × ".join(entry.definition.entity) or "request",
                duration_text(entry.age) or "when asked",
                duration_text(entry.ttl),
                f"{entry.coverage:.1%}" if entry.coverage is not None else "",
                entry.importance,
                entry.owner,
                ", ".join(map(str, entry.used_by[:3])),
            )
            for entry in catalogue.entries
        ],
        schema={
            **dict.fromkeys(("feature", "type", "entity", "age", "holds", "present"), pl.String()),
            "importance": pl.Float64(),
            **dict.fromkeys(("owner", "used by"), pl.String()),
        },
        orient="row",
    ).sort("importance", descending=True, nulls_last=True)
    return {
        "page": dg.MetadataValue.path(path),
        "features": len(catalogue.entries),
        "service": catalogue.service,
        "champion": catalogue.champion or "none",
        "catalogue": stage.markdown_table(rows, 100),
    }
