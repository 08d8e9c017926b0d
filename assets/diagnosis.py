"""The diagnosis: when a report raises an error, a page with what moved, where it came from, and what it touches."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.drift_report import drift_table
from assets.issued import predictions_table
from assets.performance_history import performance_table
from assets.performance_report import ESTIMATED_TO_PERFORM, NO_CONCEPT_DRIFT, PERFORMS
from assets.validated import quarantine_table
from lifecycle.blast_radius import DAY, Radius
from lifecycle.calendar import days_between
from lifecycle.diagnosis import (
    Diagnosis,
    Doubt,
    Moved,
    Serving,
    markdown,
    moved_columns,
    outlook,
    shortened,
    suspects,
    worse_slices,
)
from lifecycle.pipeline import Pipeline
from lifecycle.policy import Night
from lifecycle.retraining import State
from resources.alerts import Alerts
from resources.check_history import Said, failed_between, said_about
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl

# While an error lasts, a new page says little that the last one did not.
PAGE_EVERY_DAYS = 7
DRAWN = 3
KIND = {
    "no_drift": "drift",
    PERFORMS: "performance",
    NO_CONCEPT_DRIFT: "performance",
    ESTIMATED_TO_PERFORM: "estimate",
}


def diagnosis_table(pipeline: Pipeline) -> str:
    """Days with errors: since when they last, which checks, and the day of the page that tells of them."""
    return f"{pipeline.name}/diagnosis"


def reporting_checks(pipeline: Pipeline) -> list[dg.AssetCheckKey]:
    """The checks whose errors are diagnosed."""
    return [
        dg.AssetCheckKey(stage.key(pipeline, asset), name)
        for asset, names in (
            ("drift_report", ("no_drift",)),
            ("performance_report", (PERFORMS, NO_CONCEPT_DRIFT, ESTIMATED_TO_PERFORM)),
        )
        for name in names
    ]


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "diagnosis")

    @dg.multi_asset(
        name=f"{pipeline.name}__diagnosis",
        specs=[
            stage.spec(
                pipeline,
                "diagnosis",
                group="monitoring",
                description="When drift or performance is an error: what moved, since when and how much it matters, "
                "which groups became worse, what was wrong upstream, which forecasts and versions are touched, what "
                "serves and why, and what the policy does next. A page is made on the day an error begins and every "
                f"{PAGE_EVERY_DAYS} days while it lasts. Other nights there is nothing to diagnose.",
                kinds={"html"},
                deps=[stage.key(pipeline, "drift_report"), stage.key(pipeline, "performance_report")],
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def diagnosis(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        registry: dg.ResourceParam[Registry],
        ledger: dg.ResourceParam[Ledger],
        alerts: dg.ResourceParam[Alerts],
        reports: dg.ResourceParam[Path],
    ) -> dg.MaterializeResult:
        day = stage.last_day(context)
        failed = [said for said in said_about(context.instance, reporting_checks(pipeline), day) if said.error]
        table = diagnosis_table(pipeline)
        if not failed:
            if day in lake.days(table):
                lake.write(table, _record(day, day, day, ()), day, day)
            return dg.MaterializeResult(asset_key=asset, metadata={"verdict": "nothing to diagnose", "errors": 0})
        since, page_day = _story(pipeline, day, failed, lake)
        lake.write(table, _record(day, since, page_day, [said.title for said in failed]), day, day)
        path = reports / pipeline.name / "diagnosis" / f"{page_day}.html"
        if page_day != day:
            return dg.MaterializeResult(asset_key=asset, metadata=_goes_on(since, page_day, failed, path))
        case = _Case(pipeline, day, lake, registry, ledger, context.instance)
        found = case.diagnose(since, failed, alerts.ui_url.rstrip("/"))
        return dg.MaterializeResult(asset_key=asset, metadata=_metadata(found, case.pictures(found.moved), path))

    return dg.Definitions(assets=[diagnosis])


def _record(day: date, since: date, page_day: date, checks: Sequence[str]) -> "pl.DataFrame":
    """One row of the table, none without checks."""
    import polars as pl

    row = {"day": day, "since": since, "page_day": page_day, "checks": json.dumps(list(checks))}
    return pl.DataFrame([row] if checks else [], schema=_schema())


def _schema() -> "dict[str, pl.DataType]":
    import polars as pl

    return {"day": pl.Date(), "since": pl.Date(), "page_day": pl.Date(), "checks": pl.String()}


def _story(pipeline: Pipeline, day: date, failed: Sequence[Said], lake: Lake) -> tuple[date, date]:
    """Since when errors last, and the day of the page that tells of them; today where a new one is due."""
    yesterday = lake.read_if_exists(diagnosis_table(pipeline), _schema(), day - DAY, day - DAY).to_dicts()
    if not yesterday:
        return day, day
    since, page_day = yesterday[0]["since"], yesterday[0]["page_day"]
    another = {said.title for said in failed} - set(json.loads(yesterday[0]["checks"]))
    return since, day if another or (day - page_day).days >= PAGE_EVERY_DAYS else page_day


def _goes_on(since: date, page_day: date, failed: Sequence[Said], path: Path) -> dict[str, Any]:
    return {
        "verdict": f"the errors since {since} go on; they are diagnosed on {page_day}",
        "errors": len(failed),
        "page": dg.MetadataValue.path(path),
        "said": dg.MetadataValue.md("\n".join(f"- `{said.title}`: {shortened(said.message)}" for said in failed)),
    }


def _metadata(found: Diagnosis, pictures: Mapping[str, bytes], path: Path) -> dict[str, Any]:
    from resources.diagnosis_page import write_diagnosis

    drawn = "\n\n".join(stage.image(png, title) for title, png in list(pictures.items())[:1])
    return {
        "verdict": found.headline,
        "errors": len(found.errors),
        "page": dg.MetadataValue.path(write_diagnosis(found, pictures, path)),
        "diagnosis": dg.MetadataValue.md(f"{markdown(found)}\n\n{drawn}"),
        "next": found.next,
    }


class _Case:
    """What is looked up for one diagnosis; each table is read once."""

    def __init__(
        self,
        pipeline: Pipeline,
        day: date,
        lake: Lake,
        registry: Registry,
        ledger: Ledger,
        instance: dg.DagsterInstance,
    ) -> None:
        self._pipeline, self._day = pipeline, day
        self._lake, self._registry, self._ledger, self._instance = lake, registry, ledger, instance
        self._first_day = day - timedelta(days=pipeline.monitor.drift_days - 1)
        self._drift = lake.read_if_exists(drift_table(pipeline), {}, day, day)
        self._performance = lake.read_if_exists(performance_table(pipeline), {}, day, day).to_dicts()
        self._version = self._forecast_last()

    def diagnose(self, since: date, failed: Sequence[Said], ui_url: str) -> Diagnosis:
        moved, steady = moved_columns(self._drift) if self._drift.height else ((), 0)
        entries = self._ledger.entries(self._pipeline.name)
        entries = entries.filter(entries["day"] <= self._day)
        return Diagnosis(
            pipeline=self._pipeline.name,
            day=self._day,
            first_day=self._first_day,
            since=since,
            errors={said.title: said.message for said in failed},
            moved=moved,
            steady=steady,
            slices=worse_slices(self._slices(), self._judged_slices()),
            doubts=tuple(self._doubts(moved)),
            radius=self._radius(moved, failed),
            serving=self._serving(entries),
            decided=tuple(
                f"{row['day']} {row['event']}"
                f"{' of version ' + str(row['version']) if row['version'] else ''} by {row['decided_by']}: "
                f"{shortened(row['reason'])}"
                for row in reversed(entries.tail(4).to_dicts())
            ),
            next=outlook(self._pipeline.name, self._night(failed), self._state(), self._pipeline.retraining),
            links=self._links(ui_url),
        )

    def pictures(self, moved: Sequence[Moved]) -> dict[str, bytes]:
        """The worst columns then and now, and since when they moved."""
        from lifecycle import plots

        if self._version is None or not moved:
            return {}
        drawn = {}
        reference = self._registry.reference(self._version)
        profiles = {profile.name: profile for profile in reference.features} | {"prediction": reference.predictions}
        rows = self._window()
        for column in moved[:DRAWN]:
            counts = _counts(profiles.get(column.name), rows, "score" if column.kind == "prediction" else column.name)
            if counts is not None:
                means = f", mean {column.mean_reference:.4g} → {column.mean_current:.4g}" if column.mean_current else ""
                title = f"{column.name}: PSI {column.psi or 0.0:.2f} against the reference{means}"
                profile = profiles[column.name]
                drawn[title] = plots.distribution(profile.bins, profile.bin_counts, counts, title)
        return drawn | self._since_when([column.name for column in moved[:DRAWN]])

    def _since_when(self, names: list[str]) -> dict[str, bytes]:
        import polars as pl

        from lifecycle import plots

        first = self._day - timedelta(days=60)
        past = self._lake.read(drift_table(self._pipeline), first, self._day, ["day", "name", "psi"])
        past = past.filter(pl.col("name").is_in(names)).sort("day")
        days = past["day"].unique().sort().to_list()
        if len(days) < 2:
            return {}
        lines = {
            name: [of_day.get(day) for day in days]
            for name in names
            if (of_day := dict(past.filter(pl.col("name") == name).select("day", "psi").iter_rows()))
        }
        title = f"How far the columns that moved most were from the reference, up to {self._day}"
        limit = self._pipeline.monitor.feature_psi
        return {title: plots.over_days(days, lines, title, "population stability index (nats)", limit=limit)}

    def _forecast_last(self) -> Version | None:
        """The version whose forecasts the reports are about."""
        numbers = [*self._drift.get_column("model_version", default=_none()).drop_nulls().to_list()]
        numbers += [row["model_version"] for row in self._performance if row.get("model_version") is not None]
        number = numbers[0] if numbers else self._ledger.served_at(self._pipeline.name, self._day)
        return None if number is None else self._registry.version(self._pipeline.name, number)

    def _window(self) -> "pl.DataFrame":
        """The forecasts that the drift report looked at."""
        assert self._version is not None
        rows = self._lake.read(predictions_table(self._pipeline), self._first_day, self._day)
        return rows.filter(rows["model_version"] == self._version.number)

    def _slices(self) -> list[dict[str, Any]]:
        return json.loads(self._performance[0]["slices"]) if self._performance else []

    def _judged_slices(self) -> list[dict[str, Any]]:
        """The same groups when the champion was judged, of the same kind of forecasts where these were kept."""
        import polars as pl

        from lifecycle.losses import row_losses

        if self._version is None:
            return []
        told = self._registry.document(self._version.run_id, "evaluation.json")["unseen"]["slices"]
        judged = self._registry.judged(self._version)
        kept = [name for name in self._pipeline.slices if judged is not None and name in judged.columns]
        if judged is None or not kept:
            return list(told)
        losses = row_losses(judged["label"].to_numpy(), judged["score"].to_numpy(), self._pipeline.task)
        judged = judged.with_columns(pl.Series("loss", losses))
        found = [
            judged.group_by(pl.col(name).cast(pl.String).alias("value"))
            .agg(pl.len().alias("rows"), pl.col("loss").mean())
            .with_columns(pl.lit(name).alias("slice"))
            .to_dicts()
            for name in kept
        ]
        return [row for rows in found for row in rows] + [row for row in told if row["slice"] not in kept]

    def _doubts(self, moved: Sequence[Moved]) -> list[Doubt]:
        """Failed checks and quarantined rows among the days of the window, errors first."""
        first = min([self._first_day, *(column.first_day for column in moved if column.first_day)])
        failed = failed_between(self._instance, _upstream_checks(self._pipeline), first, self._day)
        found = [
            Doubt(
                said.asset, said.day, f"{said.check} {'failed' if said.error else 'warned'}: {shortened(said.message)}"
            )
            for said in sorted(failed, key=lambda said: not said.error)
        ]
        for table in self._pipeline.tables:
            counts = self._lake.row_counts(quarantine_table(self._pipeline, table.name))
            found += [
                Doubt(f"validated/{table.name}", day, f"has {rows} rows in quarantine")
                for day, rows in sorted(counts.items())
                if rows and first <= day <= self._day
            ]
        return found

    def _radius(self, moved: Sequence[Moved], failed: Sequence[Said]) -> Radius:
        """From what moved; where nothing did, from the forecasts that were judged."""
        from assets.lineage import Lineage

        named: Mapping[str, Sequence[date]] = suspects(self._pipeline, moved, self._day)
        what = f"drift_report:no_drift:{self._day}"
        if not named:
            first = self._day - timedelta(days=self._pipeline.monitor.performance_days)
            named, what = {"batch_predictions": days_between(first, self._day - DAY)}, f"{failed[0].title}:{self._day}"
        lineage = Lineage(
            self._pipeline, _specs(self._pipeline), self._lake, self._registry, self._ledger, self._instance
        )
        return lineage.radius(what, named)

    def _serving(self, entries: "pl.DataFrame") -> Serving | None:
        if self._version is None:
            return None
        number = self._version.number
        came = entries.filter(entries["event"].is_in(["promotion", "rollback"]) & (entries["version"] == number))
        last = came.to_dicts()[-1] if came.height else None
        return Serving(
            version=number,
            trained_through=self._version.trained_through,
            since=last["day"] if last else None,
            decided_by=last["decided_by"] if last else "",
            reason=last["reason"] if last else "",
        )

    def _night(self, failed: Sequence[Said]) -> Night:
        told: dict[str, tuple[str, ...]] = {}
        for said in failed:
            told[KIND[said.check]] = (
                *told.get(KIND[said.check], ()),
                f"{said.title}: {said.message[:200].rstrip('.')}",
            )
        return Night(self._day, **told)  # type: ignore[arg-type]

    def _state(self) -> State:
        name = self._pipeline.name
        return State(
            last_training_day=self._ledger.last_training_day(name), last_probe_day=self._ledger.last_probe_day(name)
        )

    def _links(self, ui_url: str) -> dict[str, str]:
        pages = {"drift": "drift_report", "performance": "performance_report", "forecasts": "batch_predictions"}
        links = {
            name: f"{ui_url}/assets/{self._pipeline.name}/{asset}?view=partitions&partition={self._day}"
            for name, asset in pages.items()
        }
        return links | {"decisions": f"{ui_url}/assets/{self._pipeline.name}/deployment"}


def _none() -> "pl.Series":
    import polars as pl

    return pl.Series("model_version", [], dtype=pl.Int64)


def _counts(profile: Any, rows: "pl.DataFrame", name: str) -> "list[int] | None":
    """How many rows are in each bin of the reference now; None where that cannot be said."""
    import numpy as np

    from lifecycle.drift.profiles import column_bins

    if profile is None or name not in rows.columns:
        return None
    bins = column_bins(profile, rows[name])
    return None if bins is None else np.bincount(bins, minlength=len(profile.bins)).tolist()


def _upstream_checks(pipeline: Pipeline) -> list[dg.AssetCheckKey]:
    """The checks of what forecasts are made from, and of the forecasts."""
    named = [
        *((("raw", table.name), "landed") for table in pipeline.tables if table.cadence == "daily"),
        *((("validated", table.name), name) for table in pipeline.tables for name in ("contract", "reconciled")),
        *((("features", view.name), "in_range") for view in pipeline.views),
        *((("batch_predictions",), name) for name in ("parity", "one_row_out")),
    ]
    return [dg.AssetCheckKey(stage.key(pipeline, *path), name) for path, name in named]


def _specs(pipeline: Pipeline) -> tuple[dg.AssetSpec, ...]:
    """The specs of the assets that a touched partition can go into."""
    from assets import (
        batch_predictions,
        deployment,
        drift_report,
        features,
        hindcasts,
        online_features,
        performance_report,
        raw,
        registered_version,
        trained_model,
        training_set,
        validated,
    )

    stages = (
        raw,
        validated,
        features,
        online_features,
        training_set,
        trained_model,
        registered_version,
        deployment,
        batch_predictions,
        hindcasts,
        drift_report,
        performance_report,
    )
    return tuple(
        spec
        for module in stages
        for assets in module.build(pipeline).assets or ()
        if isinstance(assets, dg.AssetsDefinition)
        for spec in assets.specs
    )
