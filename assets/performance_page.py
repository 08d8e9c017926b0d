"""The page of the performance report: what a night found, as tables and pictures in Dagster."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.performance_history import performance_table
from lifecycle.pipeline import Pipeline
from resources.lake import Lake
from resources.registry import Version

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.performance.concept import Concept
    from lifecycle.performance.outlook import Outlook
    from lifecycle.performance.realised import PerformanceReport


@dataclass(frozen=True)
class Served:
    """How the forecasts that a night issued came about; None where no version served.

    Parameters
    ----------
    error_rate : share of them that came out without a score.
    batch_seconds : how long all of them took, features and scores; None, too, where a release before did not keep it.
    """

    forecasts: int
    error_rate: float | None
    batch_seconds: float | None

    @property
    def forecasts_per_second(self) -> float | None:
        return self.forecasts / self.batch_seconds if self.batch_seconds else None

    @property
    def numbers(self) -> dict[str, float | None]:
        """What the table and the page tell, by name."""
        return {
            "error_rate": self.error_rate,
            "batch_seconds": self.batch_seconds,
            "forecasts_per_second": self.forecasts_per_second,
        }

    @property
    def text(self) -> str:
        if self.error_rate is None:
            return "no version served"
        said = f"{self.forecasts:,} forecasts issued, {self.error_rate:.2%} without a score; "
        if self.batch_seconds is None or self.forecasts_per_second is None:
            return said + "how long they took is not known"
        return said + f"they took {self.batch_seconds:.3g} s, {self.forecasts_per_second:,.0f} a second"


@dataclass(frozen=True)
class Night:
    """What a day's close tells of performance.

    Parameters
    ----------
    concept, outlook : None before a version has forecast.
    forecasts : (rows,) that the report judges, with ``score`` and ``label``.
    week_to, week_ranking : the newest week whose labels have come, and its AUC or R².
    """

    report: "PerformanceReport"
    forecasts: "pl.DataFrame"
    served: Served
    version: Version | None
    concept: "Concept | None"
    outlook: "Outlook | None"
    week_to: date
    week_ranking: float | None


def page(pipeline: Pipeline, day: date, night: Night, lake: Lake) -> dict[str, Any]:
    # In the order of the page: the verdict, the pictures, the tables, then the numbers.
    report = night.report
    metadata: dict[str, Any] = {"dagster/row_count": report.rows}
    if report.reason:
        metadata["no_verdict"] = report.reason
    metadata |= _loss_picture(pipeline, day, lake)
    # Drawing takes a night's twentieth each; what changes slowly is drawn once a week, and when something is wrong.
    concern = report.errors or (night.concept and night.concept.errors) or (night.outlook and night.outlook.errors)
    if concern or day.weekday() == pipeline.monitor.report_weekday:
        metadata |= {**_outlook_picture(pipeline, day, lake), **_value_picture(pipeline, night)}
        metadata |= {**_speed_picture(pipeline, day, lake), **_level_picture(pipeline, night)}
    metadata["served"] = night.served.text
    if night.outlook:
        metadata["estimated"] = outlook_text(night.outlook)
        metadata |= _estimated_metrics(night.outlook)
        metadata["estimates_so_far"] = night.outlook.grade.verdict
    if report.slices.height:
        metadata["slices"] = stage.markdown_table(report.slices, 30)
    known = {**report.metrics, **night.served.numbers}
    numbers = {name: stage.number(value) for name, value in known.items() if value is not None}
    return metadata | {
        **numbers,
        "intervals": stage.markdown_table(_intervals(report)),
        "forecasts_without_label": report.forecasts_without_label,
        "labels_without_forecast": report.labels_without_forecast,
    }


def _loss_picture(pipeline: Pipeline, day: date, lake: Lake) -> dict[str, Any]:
    """The loss of the versions that served in the last months."""
    import polars as pl

    from lifecycle import plots

    measure = "log_loss" if pipeline.task == "classification" else "rmse"
    past = _drawn(pipeline, day, lake)
    if measure not in past.columns or past[measure].drop_nulls().len() < 2:
        return {}
    past = past.filter(pl.col(measure).is_not_null())
    window, unit = pipeline.monitor.performance_days, measure.replace("_", " ")
    value, last = past[measure][-1], past["day"][-1]
    title = f"{unit} of what the version that served forecast in {window} days was {value:.3f} on {last}"
    png = plots.over_days(past["day"].to_list(), {measure: past[measure].to_list()}, title, unit)
    return {"performance": dg.MetadataValue.md(stage.image(png, title))}


def _outlook_picture(pipeline: Pipeline, day: date, lake: Lake) -> dict[str, Any]:
    """Ranking of weeks as it was estimated before their labels, and as it turned out."""
    import polars as pl

    from lifecycle import plots

    past = _drawn(pipeline, day, lake)
    happened = past.select(pl.col("week_to").alias("estimated_to"), pl.col("week_ranking").alias("realised"))
    weeks = past.filter(pl.col("estimated").is_not_null()).select("estimated_to", "estimated")
    weeks = weeks.join(happened, on="estimated_to", how="left").sort("estimated_to")
    if weeks.height < 2:
        return {}
    ranked = "AUC" if pipeline.task == "classification" else "R²"
    title = f"{ranked} of the week that ends on a day: estimated before all its labels, and realised"
    series = {name: weeks[name].to_list() for name in ("estimated", "realised")}
    png = plots.over_days(weeks["estimated_to"].to_list(), series, title, ranked)
    return {"estimated_and_realised": dg.MetadataValue.md(stage.image(png, title))}


def _value_picture(pipeline: Pipeline, night: Night) -> dict[str, Any]:
    """What acting from other thresholds on would have been worth."""
    from lifecycle import plots
    from lifecycle.performance.realised import profit_curve

    threshold = night.version.threshold if night.version else None
    if pipeline.costs is None or threshold is None or night.report.reason:
        return {}
    scores, labels = (night.forecasts[name].cast(float).to_numpy() for name in ("score", "label"))
    curve = profit_curve(scores, labels, pipeline.costs)
    ends = [night.report.metrics[f"value_acting_on_{which}_per_1000"] or 0.0 for which in ("none", "all")]
    made, unit = night.report.metrics["value_per_1000"] or 0.0, f"{pipeline.costs.unit} per 1,000"
    title = f"Acting from {threshold:.2f} on was worth {made:,.0f} {unit}"
    thresholds, values = (curve[name].to_numpy() for name in ("threshold", "value_per_1000"))
    png = plots.value_by_threshold(thresholds, values, threshold, title, unit, *ends)
    # Not "value": a metric has that name.
    return {"value_by_threshold": dg.MetadataValue.md(stage.image(png, title))}


def _speed_picture(pipeline: Pipeline, day: date, lake: Lake) -> dict[str, Any]:
    """How long the forecasts of the last months took."""
    import polars as pl

    from lifecycle import plots

    past = _drawn(pipeline, day, lake)
    known = past.filter(pl.col("batch_seconds").is_not_null())
    if known.height < 2:
        return {}
    last, rate = known["batch_seconds"][-1], known["forecasts_per_second"][-1]
    title = f"The forecasts issued at the close of {known['day'][-1]} took {last:.3g} s, {rate:,.0f} a second"
    png = plots.over_days(known["day"].to_list(), {"seconds": known["batch_seconds"].to_list()}, title, "seconds")
    return {"speed": dg.MetadataValue.md(stage.image(png, title))}


def _level_picture(pipeline: Pipeline, night: Night) -> dict[str, Any]:
    """What happened minus what was forecast on each day, and what of it was no news that came later."""
    from lifecycle import plots

    told = dict(night.concept.level_by_day) if night.concept else {}
    if night.concept is None or len(told) < 2:
        return {}
    lines: dict[str, list[float | None]] = {
        "as forecast": [night.concept.errors_by_day[day].level for day in told],
        "apart from later news": [*told.values()],
    }
    last, unit = max(told), "log-odds" if pipeline.task == "classification" else pipeline.label.name
    title = f"What happened minus what was forecast, apart from later news, was {told[last]:+.2f} on {last}"
    return {"level": dg.MetadataValue.md(stage.image(plots.over_days(list(told), lines, title, unit), title))}


def _drawn(pipeline: Pipeline, day: date, lake: Lake) -> "pl.DataFrame":
    return lake.read(performance_table(pipeline), day - timedelta(days=90), day)


def _estimated_metrics(ahead: "Outlook") -> dict[str, Any]:
    """All that is expected of the week, with bands; it is by the ranking that they are graded and widened."""
    import polars as pl

    made = ahead.estimate
    if made is None:
        return {}
    rows = [(name, value, *made.intervals.get(name, (None, None))) for name, value in made.values.items()]
    table = pl.DataFrame(rows, schema=["metric", "expected", "low", "high"], orient="row", strict=False)
    return {"estimated_metrics": stage.markdown_table(table)}


def _intervals(report: "PerformanceReport") -> "pl.DataFrame":
    import polars as pl

    rows = [(name, report.metrics[name], *ends) for name, ends in report.intervals.items()]
    return pl.DataFrame(rows, schema=["metric", "value", "low", "high"], orient="row", strict=False)


def outlook_text(ahead: "Outlook | None") -> str:
    if ahead is None or ahead.estimate is None:
        return (ahead.reason if ahead else None) or "no version has forecast yet"
    made = ahead.estimate
    name, title = ("auc", "AUC") if "auc" in made.values else ("r2", "R²")
    value, (low, high) = made.values[name], made.intervals.get(name, (float("nan"), float("nan")))
    if value is None:
        return f"{title} of {made.rows} forecasts is not defined"
    return (
        f"{title} of {made.first_day} to {made.last_day} is estimated at {value:.3f} ({low:.3f} to {high:.3f}), "
        f"{ahead.known_share or 0:.0%} of the labels being known"
    )
